"""Does compression rate predict accuracy? Codes x data sets x shots x seeds, each cell once, remembered in a journal.

The question is that of "Neural NCD" (arXiv 2410.15280). For every data set and number of shots the codes are ranked by
bits a byte of the documents and by accuracy on the same documents, and the two rankings are correlated; intervals are
from a bootstrap over documents (all seeds together; the same documents for all codes).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..cluster import Workers
from .codes import lengths_of
from .data import Labelled, split
from .decide import Rule
from .evaluation import baselines, judge
from .journal import Journal
from .lengths import Lengths
from .statistics import Interval, bootstrap, kendall, percentiles, permutation_p, spearman

Floats = NDArray[np.float64]
StudyProgress = Callable[[str, int, int], None]
BASELINES: Final = ("tf-idf", "majority")


@dataclass(frozen=True)
class DataSet:
    """Where documents come from. Without `test` shots and documents are drawn from one file."""

    name: str
    train: Labelled
    test: Labelled | None = None


@dataclass(frozen=True)
class Cell:
    """What one code did with one draw. right: P(right) of each document; bits, sizes: C and bytes of each (no bits: baseline)."""

    dataset: str
    code: str
    rule: str
    unit: str
    shots: int
    seed: int
    right: tuple[float, ...]
    bits: tuple[float, ...]
    sizes: tuple[int, ...]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def cell_of(record: dict[str, Any]) -> Cell:
    """The inverse of `to_dict`, after JSON. Raises KeyError, TypeError for something else."""
    lists = {name: tuple(record[name]) for name in ("right", "bits", "sizes")}
    return Cell(**{**record, **lists})


@dataclass(frozen=True)
class Plan:
    """What is to be run. `rules`: each code with each of them. `documents`: drawn for each seed; 0 for all. `threads`: a model's."""

    datasets: Sequence[DataSet]
    codes: Sequence[str | Lengths]
    rules: Sequence[Rule] = (Rule(),)
    shots: Sequence[int] = (5,)
    seeds: Sequence[int] = (0, 1, 2, 3, 4)
    documents: int = 100
    separator: bytes = b" "
    threads: int | None = None

    def draws(self) -> Iterator[tuple[DataSet, int, int]]:
        for dataset in self.datasets:
            for shots in self.shots:
                for seed in self.seeds:
                    yield dataset, shots, seed


def run(
    plan: Plan, journal: Journal | None = None, workers: Workers | None = None, progress: StudyProgress | None = None
) -> list[Cell]:
    """All cells of the plan; those in the journal are taken from it. Raises what `judge` does."""
    lengths = [lengths_of(code, plan.separator, plan.threads) for code in plan.codes]
    total = len(list(plan.draws())) * (len(lengths) * len(plan.rules) + len(BASELINES))
    remembered = Journal(None) if journal is None else journal
    out: list[Cell] = []
    for dataset, shots, seed in plan.draws():
        train, test = split(dataset.train, dataset.test, shots, plan.documents, seed)
        for cell in _cells(dataset.name, shots, seed, train, test, lengths, plan, remembered, workers):
            out.append(cell)
            if progress:
                progress(f"{dataset.name}, {cell.code}", len(out), total)
    return out


def _cells(
    dataset: str, shots: int, seed: int, train: Labelled, test: Labelled, lengths: Sequence[Lengths], plan: Plan,
    journal: Journal, workers: Workers | None,
) -> Iterator[Cell]:  # fmt: skip
    draw = {"texts": _digest(train, test), "separator": plan.separator.hex()}
    sizes = tuple(map(len, test.texts))
    for code in lengths:
        for rule in plan.rules:
            key = {**draw, "code": code.identity, "rule": rule.describe()}

            def made(code: Lengths = code, rule: Rule = rule) -> dict[str, Any]:
                found = judge(code, rule, train, test, workers=workers)
                bits = tuple(code.each(test.texts).tolist())
                return Cell(
                    dataset, found.name, found.rule, found.unit, shots, seed, found.right, bits, sizes, found.seconds
                ).to_dict()

            yield cell_of({**journal.remember(key, made), "dataset": dataset, "shots": shots, "seed": seed})
    for found in baselines(train, test):
        yield Cell(dataset, found.name, found.rule, "", shots, seed, found.right, (), sizes, found.seconds)


def _digest(train: Labelled, test: Labelled) -> str:
    from hashlib import sha256

    return sha256(repr((train, test)).encode()).hexdigest()


@dataclass(frozen=True)
class Row:
    """A code's figures over all seeds: expected accuracy, its bootstrap interval, bits a byte of the documents."""

    dataset: str
    shots: int
    code: str
    rule: str
    unit: str
    accuracy: float
    interval: Interval
    bits_per_byte: float | None
    documents: int
    seconds: float


@dataclass(frozen=True)
class Correlation:
    """Of bits a byte with accuracy, over the codes: -1 would mean that who compresses better classifies better."""

    dataset: str
    shots: int
    rule: str
    codes: int
    spearman: float
    interval: Interval
    kendall: float
    p: float


def _groups(cells: Sequence[Cell]) -> dict[tuple[str, int, str, str], list[Cell]]:
    out: dict[tuple[str, int, str, str], list[Cell]] = {}
    for cell in cells:
        out.setdefault((cell.dataset, cell.shots, cell.code, cell.rule), []).append(cell)
    return out


def _joined(cells: Sequence[Cell], field: str) -> Floats:
    return np.concatenate([np.array(getattr(cell, field), np.float64) for cell in cells])


def rows(cells: Sequence[Cell]) -> list[Row]:
    """The table, in the order of the cells."""
    out = []
    for (dataset, shots, code, rule), group in _groups(cells).items():
        right, sizes = _joined(group, "right"), _joined(group, "sizes")
        bits = _joined(group, "bits")
        rate = float(bits.sum() / sizes.sum()) if len(bits) else None
        interval = bootstrap(lambda index, right=right: float(right[index].mean()), len(right))  # type: ignore[misc]
        seconds = sum(cell.seconds for cell in group)
        out.append(
            Row(dataset, shots, code, rule, group[0].unit, float(right.mean()), interval, rate, len(right), seconds)
        )
    return out


def correlations(cells: Sequence[Cell]) -> list[Correlation]:
    """One for each data set, number of shots and rule of three codes or more; then the mean of sets with the same codes."""
    sets: dict[tuple[str, int, str], list[list[Cell]]] = {}
    for (dataset, shots, _, rule), group in _groups(cells).items():
        if group[0].bits:
            sets.setdefault((dataset, shots, rule), []).append(group)
    ranked = {key: _Ranked.of(groups) for key, groups in sets.items() if len(groups) >= 3}
    alike: dict[tuple[int, str, tuple[str, ...]], list[_Ranked]] = {}
    for (_, shots, rule), found in ranked.items():
        alike.setdefault((shots, rule, found.codes), []).append(found)
    out = [_correlation(key, [found]) for key, found in ranked.items()]
    means = ((shots, rule, sets) for (shots, rule, _), sets in alike.items() if len(sets) > 1)
    return out + [_correlation((f"mean of {len(sets)} sets", shots, rule), sets) for shots, rule, sets in means]


@dataclass(frozen=True)
class _Ranked:
    """Codes on the documents of one data set. right, bits: float64 [codes, documents]; sizes: float64 [documents]."""

    codes: tuple[str, ...]
    right: Floats
    bits: Floats
    sizes: Floats

    @staticmethod
    def of(groups: Sequence[Sequence[Cell]]) -> _Ranked:
        right = np.array([_joined(g, "right") for g in groups])
        bits = np.array([_joined(g, "bits") for g in groups])
        return _Ranked(tuple(g[0].code for g in groups), right, bits, _joined(groups[0], "sizes"))

    def figures(self, index: NDArray[np.int64] | slice = slice(None)) -> tuple[Floats, Floats]:
        """Bits a byte and accuracy of each code on some of the documents."""
        rate: Floats = self.bits[:, index].sum(axis=1) / self.sizes[index].sum()
        return rate, self.right[:, index].mean(axis=1)

    def resampled(self, generator: np.random.Generator) -> float:
        count = len(self.sizes)
        return spearman(*self.figures(generator.integers(0, count, count)))


def _correlation(key: tuple[str, int, str], sets: Sequence[_Ranked]) -> Correlation:
    """Of one set, or the mean of several, whose documents are resampled apart."""
    pairs = [found.figures() for found in sets]
    count = len(sets)
    interval = percentiles(lambda generator: sum(found.resampled(generator) for found in sets) / count)
    rank = sum(spearman(*pair) for pair in pairs) / count
    tau = sum(kendall(*pair) for pair in pairs) / count
    return Correlation(*key, len(sets[0].codes), rank, interval, tau, permutation_p(pairs))

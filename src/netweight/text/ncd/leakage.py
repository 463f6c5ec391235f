"""Texts of a test set that are in the training set too, as they are or nearly: they make any neighbour search look good.

Texts are compared without regard to case, digits' values, punctuation and spacing. Near duplicates share most runs of
three words: candidates by MinHash (Broder, "On the resemblance and containment of documents", 1997) in bands, then the
Jaccard index itself. Bands find a pair of index 0.8 with a probability of 1 - 6e-8, one of 0.5 with 0.87.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest

NEAR: Final = 0.8
"""Jaccard index from which texts are near duplicates."""
_WORDS: Final = 3
_BANDS: Final = 32
_ROWS: Final = 4
_WORD: Final = re.compile(r"[^\W_]+")
_DIGITS: Final = re.compile(r"\d+")
_MOST_ALIKE: Final = 200
"""Training texts of one band's value that are compared; more are boilerplate."""


@dataclass(frozen=True)
class Leakage:
    """How many of `tests` texts have an exact or near duplicate among `trains`.

    exact, near: indices of test texts (near: not exact ones). of_train: indices of the training texts they are like.
    """

    tests: int
    trains: int
    exact: tuple[int, ...]
    near: tuple[int, ...]
    of_train: tuple[int, ...]

    @property
    def share(self) -> float:
        return (len(self.exact) + len(self.near)) / max(1, self.tests)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"share": self.share}


def audit(train: Sequence[bytes], test: Sequence[bytes], near: float = NEAR) -> Leakage:
    """Look for every test text in the training texts."""
    plain_train, plain_test = [_plain(t) for t in train], [_plain(t) for t in test]
    known: dict[str, list[int]] = defaultdict(list)
    for k, text in enumerate(plain_train):
        known[text].append(k)
    exact = [n for n, text in enumerate(plain_test) if text in known]
    leaked = {k for n in exact for k in known[plain_test[n]]}
    alike = _near(plain_train, plain_test, near)
    of_train = leaked | {k for found in alike.values() for k in found}
    only_near = sorted(set(alike) - set(exact))
    return Leakage(len(test), len(train), tuple(exact), tuple(only_near), tuple(sorted(of_train)))


def _plain(text: bytes) -> str:
    """Words alone, in lower case, numbers as 0."""
    return " ".join(_WORD.findall(_DIGITS.sub("0", text.decode("utf-8", "replace").casefold())))


def _shingles(text: str) -> NDArray[np.uint64]:
    """Hashes of the runs of three words; of the whole where there are fewer words."""
    words = text.split()
    runs = {" ".join(words[k : k + _WORDS]) for k in range(max(1, len(words) - _WORDS + 1))}
    return np.array(sorted(xxh3_64_intdigest(run.encode()) for run in runs), np.uint64)


def _near(train: Sequence[str], test: Sequence[str], least: float) -> dict[int, list[int]]:
    """Training texts of a Jaccard index of `least` or more, by test text."""
    sets = [_shingles(t) for t in train]
    bands = [_bands(s) for s in sets]
    table: dict[tuple[int, int], list[int]] = defaultdict(list)
    for k, values in enumerate(bands):
        for band, value in enumerate(values):
            table[band, value].append(k)
    out = {}
    for n, text in enumerate(test):
        shingles = _shingles(text)
        some = {k for band, v in enumerate(_bands(shingles)) for k in table.get((band, v), [])[:_MOST_ALIKE]}
        if found := [k for k in sorted(some) if _jaccard(shingles, sets[k]) >= least]:
            out[n] = found
    return out


def _bands(shingles: NDArray[np.uint64]) -> list[int]:
    """A hash of each band of MinHash values."""
    least = (shingles[:, None] * _FACTORS + _TERMS).min(axis=0).reshape(_BANDS, _ROWS)
    return [xxh3_64_intdigest(row.tobytes()) for row in least]


def _jaccard(a: NDArray[np.uint64], b: NDArray[np.uint64]) -> float:
    common = len(np.intersect1d(a, b, assume_unique=True))
    return common / (len(a) + len(b) - common)


_generator = np.random.default_rng(0)
_FACTORS: Final = _generator.integers(1, 1 << 63, _BANDS * _ROWS, np.uint64) * np.uint64(2) + np.uint64(1)
_TERMS: Final = _generator.integers(0, 1 << 63, _BANDS * _ROWS, np.uint64)

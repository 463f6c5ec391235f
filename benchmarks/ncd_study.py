"""Does compression rate predict accuracy? Few-shot classification of four data sets by eleven codes and a language model.

    python benchmarks/ncd_study.py --data DIR [--parts agnews sms r8 kirundi classic] [--journal FILE] [--seeds 5]
        [--documents 100] [--report] [--cluster local:2] [--out benchmarks/results]

DIR has ag_news-test.tsv, r8-*.tsv, sms_spam.tsv and kirundi-*.tsv. Five texts of each label, documents drawn anew for every
seed, all codes on the same texts and documents, references first. A part with a data set's name is that set under all codes
and the model; of R8 and Kirundi, whose texts are long, on the first bytes of every text. `classic` is all codes but the
model on whole texts. What is in the journal isn't run again, and seeds take turns over the parts, so a run that is stopped
can be reported: with --report nothing is run, and every seed counts that the journal has in full. Lengths under the model
are a bound; all others are payloads.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from run import RESULTS, machine

from netweight.report.ncd import correlation_text, study_plot, study_text
from netweight.text.cluster import workers
from netweight.text.ncd.codes import lengths_of
from netweight.text.ncd.data import Labelled, read_labelled
from netweight.text.ncd.decide import Rule
from netweight.text.ncd.journal import Journal
from netweight.text.ncd.lengths import Lengths
from netweight.text.ncd.study import Cell, DataSet, Plan, correlations, rows, run

CLASSIC = ("deflate:1", "gzip", "bz2", "xz", "zstd:3", "zstd", "brotli:5", "brotli", "ppmd:3", "ppmd", "netweight")
RULES = (Rule("ncd", "reference-first"), Rule("conditional"), Rule("per-class"))
FILES = {
    "agnews": ("ag_news-test.tsv", None),
    "sms": ("sms_spam.tsv", None),
    "r8": ("r8-train.tsv", "r8-test.tsv"),
    "kirundi": ("kirundi-train.tsv", "kirundi-test.tsv"),
}
CLASSIC_DOCUMENTS = {"agnews": 100, "sms": 100, "r8": 60, "kirundi": 30}
MODEL_DOCUMENTS = {"agnews": 100, "sms": 100, "r8": 20, "kirundi": 10}
"""How many documents a seed are labelled at most: a pair of long texts takes milliseconds, or seconds under the model."""
FIRST_BYTES = {"r8": 400, "kirundi": 400}
"""What is taken of every text where the model is among the codes."""


WITH_MODEL, WHOLE = "All codes and the model", "All codes but the model, on whole texts"


def datasets(folder: Path) -> dict[str, DataSet]:
    return {
        name: DataSet(name, read_labelled(folder / train), read_labelled(folder / test) if test else None)
        for name, (train, test) in FILES.items()
    }


def beginnings(data: Labelled, most: int) -> Labelled:
    """The first `most` bytes of every text, less what is there of a character that they end in."""
    return replace(data, texts=tuple(text[:most].decode(errors="ignore").encode() for text in data.texts))


def shortened(dataset: DataSet) -> DataSet:
    """The data set as the model gets it."""
    most = FIRST_BYTES.get(dataset.name)
    if most is None:
        return dataset
    test = dataset.test and beginnings(dataset.test, most)
    return DataSet(f"{dataset.name}, first {most} bytes", beginnings(dataset.train, most), test)


def plans(parts: list[str], folder: Path, seeds: int, documents: int, model: Lengths | str) -> Iterator[Plan]:
    """One seed of every part, then the next: of the sets under all codes and the model, of whole texts under the codes."""
    sets = datasets(folder)
    for seed in range(seeds):
        for name, dataset in sets.items():
            if name in parts:
                most = min(documents, MODEL_DOCUMENTS[name])
                yield Plan([shortened(dataset)], [*CLASSIC, model], RULES, (5,), (seed,), most)
    if "classic" in parts:
        for seed in range(seeds):
            for name, dataset in sets.items():
                whole = replace(dataset, name=f"{name}, whole texts")
                yield Plan([whole], CLASSIC, RULES, (5,), (seed,), min(documents, CLASSIC_DOCUMENTS[name]))


def report(groups: dict[str, list[Cell]], out: Path) -> None:
    """`groups`: cells by what they are called; the first one that has any is plotted."""
    found = {title: (rows(cells), correlations(cells)) for title, cells in groups.items() if cells}
    tables = [r for table, _ in found.values() for r in table]
    ranks = [c for _, correlation in found.values() for c in correlation]
    result = {"machine": machine(), "rows": [asdict(r) for r in tables], "correlations": [asdict(c) for c in ranks]}
    out.mkdir(exist_ok=True)
    (out / "ncd-study.json").write_text(json.dumps(result, indent=1) + "\n")
    lines = [
        "# Does compression rate predict accuracy?",
        "",
        "`python benchmarks/ncd_study.py`",
        "",
        "![](ncd-study.png)",
    ]
    for title, (table, correlation) in found.items():
        lines += [
            "",
            f"## {title}",
            "",
            "```",
            correlation_text(correlation, 200),
            "```",
            "",
            "```",
            study_text(table, [], 200),
            "```",
        ]
    text = "\n".join(lines)
    print(text)
    (out / "ncd-study.md").write_text(f"{text}\n")
    plotted = next(iter(found.values()))[0]
    ncd = [r for r in plotted if r.rule.startswith("ncd") or r.bits_per_byte is None]
    (out / "ncd-study.png").write_bytes(study_plot(ncd))


class UnfinishedError(Exception):
    """The journal hasn't got it."""


class Finished(Journal):
    """A journal that is only read. Raises UnfinishedError."""

    def remember(self, parts: dict[str, Any], make: Callable[[], dict[str, Any]]) -> dict[str, Any]:  # noqa: ARG002
        def missing() -> dict[str, Any]:
            raise UnfinishedError

        return super().remember(parts, missing)


def told(where: str, what: str, done: int, total: int) -> None:
    print(f"{where}, {done}/{total} {what}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--parts", nargs="+", default=[*FILES, "classic"], choices=[*FILES, "classic"])
    parser.add_argument("--journal", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--documents", type=int, default=100)
    parser.add_argument("--report", action="store_true", help="run nothing: report the seeds that are done")
    parser.add_argument("--cluster")
    parser.add_argument("--threads", type=int, default=1, help="of the model")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    model: Lengths | str = "smollm2"
    if set(args.parts) - {"classic"}:
        model = lengths_of("smollm2", threads=args.threads)
    groups: dict[str, list[Cell]] = {WITH_MODEL: [], WHOLE: []}
    journal = (Finished if args.report else Journal)(args.journal)
    with workers(args.cluster, 1 if args.cluster is None else None) as mapped:
        for plan in plans(args.parts, args.data, args.seeds, args.documents, model):
            say = partial(told, f"seed {plan.seeds[0]} of {args.seeds}")
            with suppress(UnfinishedError):
                groups[WITH_MODEL if model in plan.codes else WHOLE] += run(plan, journal, mapped, say)
    report(groups, args.out)


if __name__ == "__main__":
    main()

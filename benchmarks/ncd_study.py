"""Does compression rate predict accuracy? Few-shot classification of four data sets by eleven codes and a language model.

    python benchmarks/ncd_study.py --data DIR [--parts classic agnews sms r8 kirundi] [--journal FILE] [--seeds 5]
        [--model-seeds 5] [--documents 100] [--cluster local:2] [--out benchmarks/results]

DIR has ag_news-test.tsv, r8-*.tsv, sms_spam.tsv and kirundi-*.tsv. Five texts of each label (one for Kirundi under the
model, whose texts are long), documents drawn anew for every seed, all codes on the same ones, references first. `classic`
runs all codes but the model on all data sets; the other parts run the model on one. What is in the journal isn't run again,
so parts can be run one by one; the report has all of them. Lengths under the model are a bound; all others are payloads.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

from run import RESULTS, machine

from netweight.report.ncd import study_plot, study_text
from netweight.text.cluster import workers
from netweight.text.ncd.codes import lengths_of
from netweight.text.ncd.data import read_labelled
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
MODEL_DOCUMENTS = {"agnews": 100, "sms": 100, "r8": 20, "kirundi": 5}
"""How many documents a seed are labelled at most: a pair of long texts takes milliseconds, or seconds under the model."""


def datasets(folder: Path) -> dict[str, DataSet]:
    return {
        name: DataSet(name, read_labelled(folder / train), read_labelled(folder / test) if test else None)
        for name, (train, test) in FILES.items()
    }


def plans(
    parts: list[str], folder: Path, seeds: tuple[int, int], documents: int, model: Lengths | str
) -> Iterator[Plan]:
    """The classic codes on everything, and the model, on fewer `seeds` perhaps, with the codes on its documents."""
    for name, dataset in datasets(folder).items():
        most = min(documents, CLASSIC_DOCUMENTS[name])
        few = min(documents, MODEL_DOCUMENTS[name])
        whole = Plan([dataset], CLASSIC, RULES, (5,), range(seeds[0]), most)
        if "classic" in parts:
            yield whole
        if name in parts:
            same = few == most and seeds[0] == seeds[1]
            part = dataset if same else replace(dataset, name=f"{name}, {seeds[1]} x {few} documents")
            plan = replace(whole, datasets=[part], codes=[*CLASSIC, model], seeds=range(seeds[1]), documents=few)
            yield plan if name != "kirundi" else replace(plan, shots=(1,), rules=RULES[:2])


def report(cells: list[Cell], out: Path) -> None:
    unique = list({(c.dataset, c.shots, c.seed, c.code, c.rule): c for c in cells}.values())
    table, found = rows(unique), correlations(unique)
    text = study_text(table, found, 200)
    print(text)
    out.mkdir(exist_ok=True)
    result = {"machine": machine(), "rows": [asdict(r) for r in table], "correlations": [asdict(c) for c in found]}
    (out / "ncd-study.json").write_text(json.dumps(result, indent=1) + "\n")
    head = "# Does compression rate predict accuracy?\n\n`python benchmarks/ncd_study.py`\n\n"
    (out / "ncd-study.md").write_text(f"{head}```\n{text}\n```\n")
    ncd = [r for r in table if r.rule.startswith("ncd") or r.bits_per_byte is None]
    (out / "ncd-study.png").write_bytes(study_plot(ncd))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--parts", nargs="+", default=["classic", *FILES], choices=["classic", *FILES])
    parser.add_argument("--journal", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--model-seeds", type=int, help="fewer for the model, which takes hours")
    parser.add_argument("--documents", type=int, default=100)
    parser.add_argument("--cluster")
    parser.add_argument("--threads", type=int, default=1, help="of the model")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    model: Lengths | str = "smollm2"
    if set(args.parts) - {"classic"}:
        model = lengths_of("smollm2", threads=args.threads)
    cells: list[Cell] = []
    journal = Journal(args.journal)
    seeds = args.seeds, min(args.model_seeds or args.seeds, args.seeds)
    with workers(args.cluster, 1 if args.cluster is None else None) as mapped:
        for plan in plans(args.parts, args.data, seeds, args.documents, model):
            cells += run(plan, journal, mapped, lambda what, done, total: print(f"{done}/{total} {what}", flush=True))
    report(cells, args.out)


if __name__ == "__main__":
    main()

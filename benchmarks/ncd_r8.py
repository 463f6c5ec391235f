"""R8 by gzip and the nearest neighbour: our distances against npc_gzip's loop, to the bit and by the clock.

    python benchmarks/ncd_r8.py --data DIR [--rows 12] [--our-rows 200] [--rounds 3] [--threads N] [--quick] [--out benchmarks/results]

DIR has r8-train.tsv and r8-test.tsv. The loop that npc_gzip runs for one document (github.com/bazingagin/npc_gzip,
MIT) compresses the document once, then for every training text that text and both joined by a space, each anew with
`gzip.compress`; it is written out here in the same way. A fair reading of its time is given too: training texts
compressed once. Loop and library take turns; the library on the loop's rows, whose distances must be equal, and on some
more, so that preparing the texts (once, be there one document or thousands) weighs what it does for all documents. The
loop's time for all documents is extrapolated from its rows by the number of pairs, ours is measured. Times are processor
time of one thread, and seconds on the clock.
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from run import RESULTS, machine

from netweight.text.cluster import Threads
from netweight.text.ncd.codes import lengths_of
from netweight.text.ncd.data import Labelled, read_labelled
from netweight.text.ncd.decide import Rule
from netweight.text.ncd.evaluation import Evaluation, baselines, evaluate
from netweight.text.ncd.pairs import distances
from netweight.text.ncd.search import nearest_distances

Clock = dict[str, float]
OURS = {
    "ours, one thread": (1, False),
    "ours": (None, False),
    "nearest, one thread": (1, True),
    "nearest": (None, True),
}
"""Threads, and whether only the nearest text is looked for."""


def compressed_size(text: str) -> int:
    return len(gzip.compress(text.encode("utf-8")))


def their_row(document: str, texts: list[str]) -> list[float]:
    """npc_gzip: calc_dis_single_multi."""
    out = []
    size = compressed_size(document)
    for text in texts:
        other = compressed_size(text)
        both = compressed_size(f"{document} {text}")
        out.append((both - min(size, other)) / max(size, other))
    return out


def remembering_row(document: str, texts: list[str], sizes: list[int]) -> list[float]:
    """The same with the training texts' sizes at hand."""
    size = compressed_size(document)
    both = [compressed_size(f"{document} {text}") for text in texts]
    return [(b - min(size, s)) / max(size, s) for b, s in zip(both, sizes, strict=True)]


def timed(work: Callable[[], Any]) -> tuple[Any, Clock]:
    cpu, wall = time.process_time(), time.perf_counter()
    result = work()
    return result, {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}


def compare(
    train: Labelled, test: Labelled, rows: int, our_rows: int, rounds: int, threads: int | None
) -> dict[str, Any]:
    """Turns; every distance of the rows that both work out must be equal."""
    texts = [text.decode() for text in train.texts]
    sizes = [compressed_size(text) for text in texts]
    chosen = np.random.default_rng(0).choice(len(test), min(max(rows, our_rows), len(test)), replace=False)
    queries = [test.texts[k] for k in chosen]
    lengths = lengths_of("gzip")
    lengths.each(train.texts)  # C(y) is remembered, and the kernels are compiled
    distances(lengths, test.texts[:1], train.texts[:300])
    clocks: dict[str, list[Clock]] = {name: [] for name in ("npc_gzip", "remembering", *OURS)}
    for _ in range(rounds):
        documents = [text.decode() for text in queries[:rows]]
        theirs, clock = timed(lambda q=documents: [their_row(text, texts) for text in q])  # type: ignore[misc]
        clocks["npc_gzip"].append(clock)
        fair, clock = timed(lambda q=documents: [remembering_row(text, texts, sizes) for text in q])  # type: ignore[misc]
        clocks["remembering"].append(clock)
        for name, (count, search) in OURS.items():
            work = partial(nearest_distances, method="ncd", k=1) if search else distances
            ours, clock = timed(partial(work, lengths, queries, train.texts, workers=Threads(count or threads)))
            clocks[name].append(clock)
            ours = ours[:rows]
            known = np.isfinite(ours)
            if not (np.array_equal(ours[known], np.array(theirs)[known]) and np.array_equal(theirs, fair)):
                raise SystemExit("a distance differs")
            if not (search or known.all()) or (ours.min(axis=1) != np.min(theirs, axis=1)).any():
                raise SystemExit("a distance is missing")
    best = {name: {k: min(c[k] for c in found) for k in ("cpu", "wall")} for name, found in clocks.items()}
    pairs = {name: (len(queries) if name in OURS else rows) * len(train) for name in clocks}
    return {
        "rows": rows,
        "our_rows": len(queries),
        "texts": len(train),
        "pairs": pairs,
        "rounds": rounds,
        "seconds": best,
    }


def whole(train: Labelled, test: Labelled, threads: int | None) -> dict[str, Any]:
    """All documents: gzip's NCD, its per-class form and zstd's, baselines."""
    found, clock = timed(lambda: evaluate([lengths_of("gzip")], Rule(), train, test, workers=Threads(threads)))
    rows = [*found.judged]
    for code in ("gzip", "zstd:3", "zstd"):
        per_class = evaluate([lengths_of(code)], Rule("per-class"), train, test, workers=Threads(threads))
        rows += per_class.judged
    rows += baselines(train, test)
    clean = evaluate([lengths_of("gzip")], Rule(), train, test, drop_duplicates=True, workers=Threads(threads))
    return {
        "seconds": clock, "pairs": len(train) * len(test), "leakage": found.leakage.to_dict(),
        "results": [_short(row.to_dict()) for row in rows], "without duplicates": _short(_gzip(clean)),
    }  # fmt: skip


def _gzip(evaluation: Evaluation) -> dict[str, Any]:
    return evaluation.judged[0].to_dict()


def _short(row: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in row.items() if k != "right"}


def markdown(result: dict[str, Any]) -> str:
    race, all_of_it = result["race"], result.get("whole")
    lines = [
        "# R8 by gzip: the same distances, faster", "", f"{result['machine']['processor']}, {result['machine']['cores']} cores", "",
        (f"{race['rows']} documents x {race['texts']:,} texts, best of {race['rounds']} turns; every distance equal to the last "
        f"bit. Ours is timed on {race['our_rows']} documents, the preparation of the texts included."), "",
        "| | microseconds a pair, processor | on the clock | times npc_gzip's loop (processor, clock) |", "|---|---|---|---|",
    ]  # fmt: skip
    each = {n: {k: 1e6 * clock[k] / race["pairs"][n] for k in clock} for n, clock in race["seconds"].items()}
    loop = each["npc_gzip"]
    for name, clock in each.items():
        times = f"{loop['cpu'] / clock['cpu']:.1f}, {loop['wall'] / clock['wall']:.1f}"
        lines.append(f"| {name} | {clock['cpu']:.2f} | {clock['wall']:.2f} | {times} |")
    lines += [
        "", ("remembering: the same loop with the training texts' sizes at hand, as anyone would write it. nearest: only what may "
        "be the nearest text is worked out to the end; these distances are the same ones."), "",
    ]  # fmt: skip
    if all_of_it:
        lines += _whole_lines(all_of_it, loop, each["ours, one thread"])
    return "\n".join(lines)


def _seconds(clock: Clock) -> str:
    return f"{clock['cpu']:.0f} s of processor time ({clock['wall']:.0f} s)"


def _whole_lines(found: dict[str, Any], loop: Clock, matrix: Clock) -> list[str]:
    theirs, ours = (1e-6 * each["cpu"] * found["pairs"] for each in (loop, matrix))
    leakage = found["leakage"]
    rows = [
        f"| {r['name']} | {r['rule']} | {r['expected']:.4f} | {r['interval'][0]:.3f} to {r['interval'][1]:.3f} |"
        for r in found["results"]
    ]
    clean = found["without duplicates"]
    return [
        (
        f"All {found['pairs']:,} pairs (on the clock of a shared machine in brackets): labels, with the audit of leakage, "
        f"{_seconds(found['seconds'])}. Extrapolated from the rows above, processor time: npc_gzip's loop {theirs:.0f} s, our "
        f"whole matrix {ours:.0f} s."
        ),
        "", "| code | rule | expected accuracy | 95 % |", "|---|---|---|---|", *rows, "",
        (f"{len(leakage['exact'])} of {leakage['tests']} documents have a duplicate among the texts, {len(leakage['near'])} "
        f"more a near one. Without those texts gzip's NCD has {clean['expected']:.4f}."), "",
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=12)
    parser.add_argument("--our-rows", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--quick", action="store_true", help="only the race")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    train, test = read_labelled(args.data / "r8-train.tsv"), read_labelled(args.data / "r8-test.tsv")
    result: dict[str, Any] = {
        "machine": machine(),
        "race": compare(train, test, args.rows, args.our_rows, args.rounds, args.threads),
    }
    print(markdown(result))
    if not args.quick:
        result["whole"] = whole(train, test, args.threads)
        print(markdown(result))
    args.out.mkdir(exist_ok=True)
    (args.out / "ncd-r8.json").write_text(json.dumps(result, indent=1) + "\n")
    (args.out / "ncd-r8.md").write_text(markdown(result))


if __name__ == "__main__":
    main()

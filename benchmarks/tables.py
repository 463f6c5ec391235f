"""The benchmark's raw figures as text: one line each, or Markdown tables.

python benchmarks/tables.py benchmarks/results/lossless.json
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

REFERENCE = "zipnn"
Figures = dict[str, Any]


def saved(r: Figures) -> float:
    """Percent saved."""
    return float(100 * (1 - r["archive_bytes"] / r["original_bytes"]))


def speed(r: Figures, way: str) -> float:
    """MB/s of the original file; `way` is "encode" or "decode"."""
    return float(r["original_bytes"] / r[f"median_{way}_seconds"] / 1e6)


def line(r: Figures) -> str:
    """One record for a terminal."""
    head = f"{r['file']:32} {r['codec']:20} {r['mode']} x{r['threads']}"
    if r["problem"]:
        return f"{head}  {r['problem']}"
    both = f"{speed(r, 'encode'):8.1f} {speed(r, 'decode'):8.1f} MB/s"
    return f"{head} {r['archive_bytes']:>12,} B {saved(r):6.2f} % {both}  ({len(r['encode_seconds'])} times)"


def _table(records: list[Figures], cell: Callable[[Figures], str], best: Callable[[Figures], float] | None) -> str:
    files = list(dict.fromkeys(r["file"] for r in records))
    codecs = list(dict.fromkeys(r["codec"] for r in records))
    by_place = {(r["file"], r["codec"]): r for r in records}
    rows = [f"| | {' | '.join(codecs)} |", "|---|" + "---:|" * len(codecs)]
    for file in files:
        there = [r for c in codecs if (r := by_place.get((file, c))) and not r["problem"]]
        top = max(map(best, there), default=None) if best else None
        cells = []
        for codec in codecs:
            r = by_place.get((file, codec))
            text = "" if r is None else "fails" if r["problem"] else cell(r)
            bold = best and r and not r["problem"] and best(r) == top
            cells.append(f"**{text}**" if bold else text)
        rows.append(f"| {file} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _ratio_cell(records: list[Figures]) -> Callable[[Figures], str]:
    reference = {r["file"]: r for r in records if r["codec"] == REFERENCE and not r["problem"]}

    def cell(r: Figures) -> str:
        other = reference.get(r["file"])
        if other is None:
            return ""
        return " / ".join(f"{speed(r, way) / speed(other, way):.2f}" for way in ("encode", "decode"))

    return cell


def _spread(records: list[Figures]) -> str:
    """How far repetitions lie from their median, for the reader to judge the noise."""
    off = sorted(
        abs(t / r[f"median_{way}_seconds"] - 1)
        for r in records
        for way in ("encode", "decode")
        for t in r[f"{way}_seconds"]
        if len(r[f"{way}_seconds"]) > 2
    )
    return f"Half of the repetitions lie within {100 * off[len(off) // 2]:.0f} % of their median." if off else ""


_ABOUT = """\
Timed for every coder alike, medians over alternated repetitions, every decoded byte compared. *File*: one call that
reads a file and writes a file, both in memory (tmpfs). *Memory*: from a buffer to buffers, the coder alone. MB is 10^6
bytes of the original file. Coders of arrays get each tensor with its dtype; finding the tensors isn't timed for them,
what is not in a tensor is stored raw, and blocks of quantised weights are plain bytes for them (in memory for netweight
too).
"""


def _setting(r: Figures) -> tuple[str, int]:
    return r["mode"], r["threads"]


def markdown(report: dict[str, Any]) -> str:
    """The whole report: sizes once, speeds for each mode and number of threads, and what was timed."""
    records, machine = report["records"], report["machine"]
    settings = list(dict.fromkeys(map(_setting, records)))
    first = [r for r in records if _setting(r) == settings[0]]
    where = f"{machine['processor']}, {machine['cores']} cores, {machine['system']}, Python {machine['python']}"
    out = [
        "# Lossless compression of real weights",
        f"{where}; load at the start {machine['load_at_start']}.",
        f"    {machine['command']}",
        f"{_ABOUT}{_spread(records)}".strip(),
        f"## Percent saved ({settings[0][0]})",
        _table(first, lambda r: f"{saved(r):.2f}", saved),
    ]
    for mode, threads in settings:
        here = [r for r in records if _setting(r) == (mode, threads)]
        label = f"{mode}, {threads} thread{'s' if threads > 1 else ''}"
        out += [f"## Encode / decode in MB/s ({label})", _table(here, _speed_cell, None)]
        if any(r["codec"] == REFERENCE for r in here):
            out += [f"## Speed against {REFERENCE}, encode / decode ({label})", _table(here, _ratio_cell(here), None)]
    problems = {f"- {r['codec']} on {r['file']}: {r['problem']}" for r in records if r["problem"]}
    if problems:
        out += ["## Failures", "\n".join(sorted(problems))]
    versions = {f"{r['codec']} ({r['version']})": None for r in records}
    out += ["Versions: " + ", ".join(versions) + "."]
    return "\n\n".join(out) + "\n"


def _speed_cell(r: Figures) -> str:
    return f"{speed(r, 'encode'):.0f} / {speed(r, 'decode'):.0f}"


if __name__ == "__main__":
    print(markdown(json.loads(Path(sys.argv[1]).read_text())), end="")

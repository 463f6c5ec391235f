"""The points of benchmarks/lossy_rates.py as text: one line each, or Markdown tables at equal error.

python benchmarks/lossy_tables.py benchmarks/results/lossy.json
"""

from __future__ import annotations

import json
import math
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

Figures = dict[str, Any]
FAST, OURS, MAX = "netweight fast", "netweight balanced", "netweight max"
ANCHOR, PLAIN = "NNCodec RDO", "NNCodec"
FIXED = ("round to nearest", "GGUF")
"""Codes with a few settings far apart: each is set against ours at its own error."""


def decibels(p: Figures) -> float:
    """Relative squared error in dB."""
    return 10 * math.log10(p["rel_mse"]) if p["rel_mse"] > 0 else -math.inf


def line(p: Figures) -> str:
    """One point for a terminal."""
    head = f"{p['network']:28} {p['code']:18} {p['setting']:22}"
    if p["problem"]:
        return f"{head} {p['problem']}"
    seconds = f"{p['encode_seconds'][-1]:7.2f} {p['decode_seconds'][-1]:7.2f} s"
    return f"{head} {p['bytes']:>11,} B {p['bits_per_weight']:7.4f} b/w {decibels(p):7.2f} dB {seconds}"


def rate_at(points: list[Figures], rel_mse: float, field: str = "bits_per_weight") -> float | None:
    """A code's rate at an error: linear in dB between its nearest points on either side; None outside them."""
    wanted = 10 * math.log10(rel_mse)
    there = sorted((decibels(p), p[field]) for p in points if not p["problem"])
    for (fine, high), (coarse, low) in pairwise(there):
        if fine <= wanted <= coarse:
            return float(high if fine == coarse else high + (low - high) * (wanted - fine) / (coarse - fine))
    return None


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", "|---|" + "---:|" * (len(head) - 1)]
    return "\n".join(lines + [f"| {' | '.join(r)} |" for r in rows])


def _of(points: list[Figures], network: str, code: str) -> list[Figures]:
    return [p for p in points if p["network"] == network and p["code"] == code]


def _places(points: list[Figures], network: str) -> list[Figures]:
    """Where codes are compared: our points, coarse to fine, or the bounds' while there are none of ours."""
    ours = [p for p in _of(points, network, OURS) if not p["problem"]]
    if not ours:
        ours = _of(points, network, "bound: Shannon, i.i.d.")
    return sorted(ours, key=decibels, reverse=True)


def _number(x: float | None, digits: int = 3) -> str:
    return "" if x is None else f"{x:.{digits}f}"


def _against(points: list[Figures], place: Figures, code: str, rival: str) -> str:
    """Percent that `code` takes more than `rival` at the error that `code` has in this place."""
    mine = [p for p in _of(points, place["network"], code) if p["setting"] == place["setting"] and not p["problem"]]
    if not mine:
        return ""
    other = rate_at(_of(points, place["network"], rival), mine[0]["rel_mse"])
    return "" if other is None else f"{100 * (mine[0]['bits_per_weight'] / other - 1):+.2f}"


def rates(points: list[Figures]) -> str:
    """Bits a weight of every tunable code at our error."""
    codes = list(dict.fromkeys(p["code"] for p in points))
    bounds = [c for c in codes if c.startswith("bound")]
    rivals = [c for c in codes if c not in (FAST, OURS, MAX, ANCHOR, PLAIN, *FIXED, *bounds)]
    contests = [(FAST, ANCHOR), (OURS, ANCHOR), (MAX, ANCHOR), (OURS, PLAIN)]
    head = ["network", "error, dB", OURS, "its payload", ANCHOR, PLAIN, *(f"{a} against {b}, %" for a, b in contests)]
    rows = []
    for network in dict.fromkeys(p["network"] for p in points):
        for place in _places(points, network):
            at = {c: rate_at(_of(points, network, c), place["rel_mse"]) for c in (ANCHOR, PLAIN, *rivals)}
            near = [_bound_near(_of(points, network, c), place["rel_mse"]) for c in bounds]
            ours = place["bits_per_weight"] if place["code"] == OURS else None
            payload = None if ours is None else 8 * place["payload_bytes"] / place["weights"]
            figures = [_number(x) for x in (ours, payload, at[ANCHOR], at[PLAIN])]
            figures += [_against(points, place, a, b) for a, b in contests]
            figures += [_number(x) for x in [*(at[c] for c in rivals), *near]]
            rows.append([network, _number(decibels(place), 2), *figures])
    return _table([*head, *rivals, *bounds], rows)


def _bound_near(points: list[Figures], rel_mse: float) -> float | None:
    """A bound at the smallest error that is no less than `rel_mse`: it stays a bound there."""
    above = [p for p in points if p["rel_mse"] >= rel_mse * (1 - 1e-12)]
    return min(above, key=lambda p: p["rel_mse"])["bits_per_weight"] if above else None


def fixed(points: list[Figures]) -> str:
    """Formats of a few settings, beside our rate at the same error."""
    rows = []
    for p in points:
        if p["code"] in FIXED and not p["problem"]:
            ours = rate_at(_of(points, p["network"], OURS), p["rel_mse"])
            ratio = "" if ours is None else f"{p['bits_per_weight'] / ours:.2f}"
            cells = [_number(p["bits_per_weight"]), _number(decibels(p), 2), _number(ours), ratio]
            rows.append([p["network"], f"{p['code']} {p['setting']}", *cells])
    return _table(["network", "format", "bits a weight", "error, dB", f"{OURS} there", "ratio"], rows)


def _speeds(p: Figures) -> tuple[float, float]:
    """MB/s of the float32 weights, encode and decode."""
    return tuple(4e-6 * p["weights"] / p[f"median_{way}_seconds"] for way in ("encode", "decode"))


def speeds(points: list[Figures]) -> str:
    """Our speeds and the anchor's where they took turns, and ours over the anchor's."""
    rows = []
    for network in dict.fromkeys(p["network"] for p in points):
        theirs = [p for p in _of(points, network, ANCHOR) if len(p["encode_seconds"]) > 1]
        theirs.sort(key=decibels, reverse=True)
        for place, other in zip(_places(points, network), theirs, strict=False):
            its, cells = _speeds(other), []
            for code in (FAST, OURS, MAX):
                same = [p for p in _of(points, network, code) if p["setting"] == place["setting"] and not p["problem"]]
                mine = _speeds(same[0]) if same else None
                cells.append(f"{mine[0]:.1f} / {mine[1]:.1f}" if mine else "")
                cells.append(f"{mine[0] / its[0]:.2f} / {mine[1] / its[1]:.2f}" if mine else "")
            rows.append([network, _number(other["bits_per_weight"]), f"{its[0]:.1f} / {its[1]:.1f}", *cells])
    return _table(["network", "bits a weight", ANCHOR, FAST, "ratio", OURS, "ratio", MAX, "ratio"], rows)


_ABOUT = """\
Float32 matrices alone; every rate is the length of all bytes that were decoded again, names and shapes included, over
the number of weights. Error is ||w - q||^2 / ||w||^2 over all matrices of a network, in dB, after decoding. Rivals
are given at our error: linear in dB between their nearest points on either side. A *bound* is a rate without bytes: one
step and the order-0 entropy of each matrix's indices, and the Shannon lower bound for independent weights, which a
code that knows rows and columns can go below. *NNCodec RDO* is NNCodec with its rate-distortion optimisation on at its
best strength; NNCodec's own default is off. *Payload* leaves out the archive's index and the header of the file that
comes back.
"""


def markdown(report: Figures) -> str:
    """The whole report."""
    points, machine = report["points"], report["machine"]
    where = f"{machine['processor']}, one thread, {machine['system']}, Python {machine['python']}"
    out = [
        "# Lossy compression of real weights",
        f"{where}.",
        "\n".join(f"    {c}" for c in report["commands"]),
        _ABOUT.strip(),
    ]
    out += ["## Bits a weight at equal error", rates(points)]
    if any(p["code"] == OURS and not p["problem"] for p in points):
        out += [
            "## Speed, encode / decode, MB of float32 per second of processor time, medians of alternated repetitions",
            speeds(points),
        ]
    if any(p["code"] in FIXED for p in points):
        out += ["## Formats with few settings", fixed(points)]
    problems = {f"- {p['code']} on {p['network']} ({p['setting']}): {p['problem']}" for p in points if p["problem"]}
    if problems:
        out += ["## Failures", "\n".join(sorted(problems))]
    versions = {f"{p['code']} ({p['version']})": None for p in points if p["version"]}
    return "\n\n".join([*out, "Versions: " + ", ".join(versions) + "."]) + "\n"


def main() -> None:
    print(markdown(json.loads(Path(sys.argv[1]).read_text())))


if __name__ == "__main__":
    main()

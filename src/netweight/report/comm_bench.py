"""What `netweight comm bench` prints."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from ..comm.bench.worker import Plan, Row
from ..errors import InputError
from . import numbers
from .layout import render
from .tables import Cell, Column, Table

_BIT_UNITS: Final = {"": 1, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12}


def bits_per_second(text: str) -> float:
    """100Mbit, 1.5Gbit, 56kbit. Raises InputError."""
    match = re.fullmatch(r"(\d+(?:\.\d*)?)\s*([kmgt]?)bit(?:/s|ps)?", text.strip(), re.IGNORECASE)
    if match is None or not float(match[1]):
        raise InputError(f"{text!r} is no bandwidth: say 100Mbit or 1Gbit")
    return float(match[1]) * _BIT_UNITS[match[2].lower()]


def modelled_ms(row: Row, bandwidth: float) -> float:
    """A step under a model of a network: processor time, then the received bytes at `bandwidth` bits a second. Nothing
    overlaps, and a message takes no time to set out.
    """
    return row.cpu_ms + 8e3 * row.received / bandwidth


def bench_text(rows: Sequence[Row], plan: Plan, world: int, bandwidth: float | None, width: int) -> str:
    """All that `netweight comm bench` prints."""
    data = "scikit-learn's digits" if plan.data is None else numbers.printable(plan.data)
    subject = f"{data}: LeNet-300-100, {world} ranks, {plan.steps} steps, {numbers.plural(len(plan.seeds), 'seed')}"
    text = f"{subject}\n\n{render(_table(rows, bandwidth), width)}\n\n{_note(rows)}"
    if bandwidth is not None:
        text += (
            "\nModel: processor time, then the received bytes at the given bandwidth; no overlap, no latency. Nothing of it "
            "was measured."
        )
    broken = [row.name for row in rows if not row.identical]
    return f"{text}\nThe replicas differ after {', '.join(broken)}." if broken else text


_NOTE: Final = (
    "Bytes are a rank's a step. Handed: counted at the collective call. Received: from other ranks; for a sum of n bytes over w "
    "ranks\n2 n (w - 1) / w, as in the ring algorithm. Fewer: received, against {reference}. Times: the first rank's a step, on "
    "this machine's loopback."
)


def _reference(rows: Sequence[Row]) -> Row:
    """What bytes are compared with: no compression if that was measured, else the first row."""
    return next((row for row in rows if row.name == "none"), rows[0])


def _note(rows: Sequence[Row]) -> str:
    uncompressed = _reference(rows).name == "none"
    return _NOTE.format(reference="no compression" if uncompressed else "the first row")


def _table(rows: Sequence[Row], bandwidth: float | None) -> Table:
    columns = [Column("method", number=False, folds=True), Column("accuracy"), Column("handed")]
    columns += [Column(title) for title in ("received", "fewer", "CPU ms", "ms")]
    if bandwidth is not None:
        columns.append(Column("model ms"))
    return Table(tuple(columns), tuple(tuple(map(Cell, _cells(row, _reference(rows), bandwidth))) for row in rows))


def _cells(row: Row, reference: Row, bandwidth: float | None) -> list[str]:
    texts = [
        row.what, f"{100 * row.accuracy:.2f} %", numbers.size(row.handed), numbers.size(row.received),
        f"{reference.received / row.received:.1f}x" if row.received else numbers.DASH, f"{row.cpu_ms:.1f}", f"{row.wall_ms:.1f}",
    ]  # fmt: skip
    return texts if bandwidth is None else [*texts, f"{modelled_ms(row, bandwidth):.1f}"]


def bench_json(rows: Sequence[Row], plan: Plan, world: int, bandwidth: float | None) -> dict[str, Any]:
    """JSON-able; what is modelled says so."""
    out = []
    for row in rows:
        entry: dict[str, Any] = {"method": row.name, "what": row.what, "accuracy": row.accuracy}
        entry |= {"accuracies": row.accuracies, "handed_bytes": row.handed, "received_bytes": row.received}
        entry |= {"cpu_ms": row.cpu_ms, "wall_ms": row.wall_ms, "replicas_identical": row.identical}
        entry["resident_growth_bytes"] = row.grown_bytes
        if bandwidth is not None:
            entry["model"] = {"bandwidth_bits_per_second": bandwidth, "ms": modelled_ms(row, bandwidth)}
        out.append(entry)
    settings = {
        "data": plan.data or "digits",
        "world": world,
        "steps": plan.steps,
        "batch": plan.batch,
        "seeds": plan.seeds,
    }
    return {"settings": settings, "rows": out}

"""What `weigh` and `inspect` print."""

from __future__ import annotations

from ..weights.inspection import Inspection
from ..weights.ladder import Weighing
from . import numbers
from .layout import render
from .tables import headline, inspection_table, ladder_table, subject


def ladder_text(weighing: Weighing, width: int) -> str:
    """All that `netweight weigh` prints."""
    best = weighing.best
    by = f" ({best.label})" if best is not None and best.bytes is not None else ""
    lines = [subject(weighing), "", render(ladder_table(weighing), width), ""]
    return "\n".join([*lines, headline(weighing).removesuffix(".") + by + "."])


def inspection_text(inspection: Inspection, width: int) -> str:
    """All that `netweight inspect` prints."""
    text = f"{_inspected_subject(inspection)}\n\n{render(inspection_table(inspection), width)}"
    if any(t.codec.endswith("shared") for t in inspection.tensors):
        text += "\n\nshared: small tensors share a block, whose bytes are split by length."
    if any(t.rel_mse is not None for t in inspection.tensors):
        text += "\n\nrelMSE, max error: of the quantised weights; their bound is Shannon's at that error, i.i.d."
    return text


def _inspected_subject(inspection: Inspection) -> str:
    formats = ", ".join(dict.fromkeys(f.format for f in inspection.files if f.format)) or "bytes"
    name = numbers.printable(inspection.name)
    if inspection.kind == "archive":
        whole, coded = inspection.original_bytes, inspection.total_bytes
        amounts = f"{numbers.size(whole)} in {numbers.size(coded)} ({numbers.saved(whole, coded)} saved)"
        return f"{name}: netweight archive of {numbers.plural(len(inspection.files), 'file')} ({formats}), {amounts}"
    return f"{name}: {formats}, {numbers.size(inspection.total_bytes)}"

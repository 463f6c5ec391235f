"""The one-line results of compress, decompress and verify."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ..weights.archive import ArchiveReceipt
from . import numbers

if TYPE_CHECKING:
    from ..weights.lossy.budget import TaskReceipt
    from ..weights.lossy.compress import LossyReceipt
    from ..weights.lossy.search import Evaluation
    from ..weights.symmetry.compress import SymmetryReceipt


def compressed(receipt: ArchiveReceipt) -> str:
    """`model.safetensors  90.9 MB -> 59.6 MB  (34.5 % saved, 10.49 bits/weight, 1.9 s)  model.safetensors.nw`."""
    facts = [f"{numbers.saved(receipt.original_bytes, receipt.archive_bytes)} saved"]
    if receipt.bits_per_weight is not None:
        facts.append(f"{numbers.bits(receipt.bits_per_weight)} bits/weight")
    facts.append(numbers.seconds(receipt.seconds))
    sizes = f"{numbers.size(receipt.original_bytes)} -> {numbers.size(receipt.archive_bytes)}"
    return line(receipt.source, sizes, facts, receipt.archive)


def decompressed(receipt: ArchiveReceipt) -> str:
    """`model.nw  59.6 MB -> 90.9 MB  (every checksum right, 0.9 s)  model.safetensors`."""
    sizes = f"{numbers.size(receipt.archive_bytes)} -> {numbers.size(receipt.original_bytes)}"
    facts = ["every checksum right", *_other_order(receipt), numbers.seconds(receipt.seconds)]
    return line(receipt.archive, sizes, facts, receipt.source)


def _other_order(receipt: ArchiveReceipt) -> list[str]:
    """What to say of a network that isn't the one that was given, but computes the same."""
    return ["same function, units in another order"] if receipt.guarantee.startswith("same function") else []


def verified(receipt: ArchiveReceipt) -> str:
    """`model.nw  sound  (103 tensors, 90.9 MB decoded, same bytes as model.safetensors, 0.9 s)`."""
    facts = [
        numbers.plural(receipt.tensors, "tensor"),
        f"{numbers.size(receipt.original_bytes)} decoded",
        "every checksum right",
    ]
    facts += _other_order(receipt)
    if receipt.source:
        what = "function" if receipt.guarantee.startswith("same function") else "bytes"
        facts.append(f"same {what} as {numbers.printable(receipt.source)}")
    return line(receipt.archive, "sound", [*facts, numbers.seconds(receipt.seconds)])


def line(subject: str, what: str, facts: list[str], result: str = "") -> str:
    parts = [_place(subject, "standard input"), what, f"({', '.join(facts)})", _place(result, "standard output")]
    return "  ".join(p for p in parts if p)


def _place(name: str, stdio: str) -> str:
    return stdio if name in ("-", "<stdin>") else numbers.printable(name)


def symmetric(receipt: SymmetryReceipt) -> str:
    """`mlp.safetensors  1.07 MB -> 889 kB  (16.7 % saved, 26.69 bits/weight, same function: 400 units in 2 groups, ...)  mlp.nw`."""
    facts = [f"{numbers.saved(receipt.original_bytes, receipt.archive_bytes)} saved"]
    if receipt.bits_per_weight is not None:
        facts.append(f"{numbers.bits(receipt.bits_per_weight)} bits/weight")
    if receipt.quantised:
        facts.append(f"relMSE {receipt.rel_mse:.3g} ({_decibels(receipt.rel_mse)})")
    if not receipt.guarantee.startswith("same function"):
        facts += ["units as they were: their order wouldn't make it smaller", numbers.seconds(receipt.seconds)]
        sizes = f"{numbers.size(receipt.original_bytes)} -> {numbers.size(receipt.archive_bytes)}"
        return line(receipt.source, sizes, facts, receipt.archive)
    units = f"{numbers.plural(receipt.units, 'unit')} in {numbers.plural(receipt.groups, 'group')} coded without order"
    if receipt.dead:
        units += f", {numbers.plural(receipt.dead, 'dead unit')} emptied"
    facts += [f"same function: {units}", numbers.seconds(receipt.seconds)]
    sizes = f"{numbers.size(receipt.original_bytes)} -> {numbers.size(receipt.archive_bytes)}"
    return line(receipt.source, sizes, facts, receipt.archive)


def quantised(receipt: LossyReceipt) -> str:
    """`model.safetensors  90.9 MB -> 9.1 MB  (3.20 bits/weight quantised, relMSE 0.00993, ...)  model.safetensors.nw`."""
    facts = [
        f"{numbers.bits(receipt.quantised_bits)} bits a quantised weight",
        f"relMSE {receipt.rel_mse:.3g} ({_decibels(receipt.rel_mse)})",
        f"largest error {receipt.max_error:.3g}",
        f"{numbers.percent(receipt.quantised / receipt.elements)} of the weights quantised",
        numbers.seconds(receipt.seconds),
    ]
    sizes = f"{numbers.size(receipt.original_bytes)} -> {numbers.size(receipt.archive_bytes)}"
    return line(receipt.source, sizes, facts, receipt.archive)


def _decibels(rel_mse: float) -> str:
    return f"{10 * math.log10(rel_mse):.1f} dB" if rel_mse else "exact"


def evaluation(number: int, most: int, made: Evaluation) -> str:
    """`evaluation 3 of at most 12: 105 kB, score 0.82`."""
    return f"evaluation {number} of at most {most}: {numbers.size(made.bytes)}, score {made.score:.6g}"


def for_task(source: str, archive: str | None, receipt: TaskReceipt) -> str:
    """The bytes, and the score before and after."""
    how = "stored losslessly" if receipt.t is None else f"{numbers.size(receipt.lossless_bytes)} losslessly"
    facts = [receipt.summary(), how]
    return line(source, f"-> {numbers.size(receipt.bytes)}", facts, archive or f"{source}.nw")

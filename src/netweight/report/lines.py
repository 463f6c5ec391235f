"""The one-line results of compress, decompress and verify."""

from __future__ import annotations

from ..weights.archive import ArchiveReceipt
from . import numbers


def compressed(receipt: ArchiveReceipt) -> str:
    """`model.safetensors  90.9 MB -> 59.6 MB  (34.5 % saved, 10.49 bits/weight, 1.9 s)  model.safetensors.nw`."""
    facts = [f"{numbers.saved(receipt.original_bytes, receipt.archive_bytes)} saved"]
    if receipt.bits_per_weight is not None:
        facts.append(f"{numbers.bits(receipt.bits_per_weight)} bits/weight")
    facts.append(numbers.seconds(receipt.seconds))
    sizes = f"{numbers.size(receipt.original_bytes)} -> {numbers.size(receipt.archive_bytes)}"
    return _line(receipt.source, sizes, facts, receipt.archive)


def decompressed(receipt: ArchiveReceipt) -> str:
    """`model.nw  59.6 MB -> 90.9 MB  (every checksum right, 0.9 s)  model.safetensors`."""
    sizes = f"{numbers.size(receipt.archive_bytes)} -> {numbers.size(receipt.original_bytes)}"
    return _line(receipt.archive, sizes, ["every checksum right", numbers.seconds(receipt.seconds)], receipt.source)


def verified(receipt: ArchiveReceipt) -> str:
    """`model.nw  sound  (103 tensors, 90.9 MB decoded, same bytes as model.safetensors, 0.9 s)`."""
    facts = [
        numbers.plural(receipt.tensors, "tensor"),
        f"{numbers.size(receipt.original_bytes)} decoded",
        "every checksum right",
    ]
    if receipt.source:
        facts.append(f"same bytes as {numbers.printable(receipt.source)}")
    return _line(receipt.archive, "sound", [*facts, numbers.seconds(receipt.seconds)])


def _line(subject: str, what: str, facts: list[str], result: str = "") -> str:
    parts = [_place(subject, "standard input"), what, f"({', '.join(facts)})", _place(result, "standard output")]
    return "  ".join(p for p in parts if p)


def _place(name: str, stdio: str) -> str:
    return stdio if name in ("-", "<stdin>") else numbers.printable(name)

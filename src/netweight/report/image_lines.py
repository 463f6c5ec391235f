"""What the verbs print of pictures: lines for compress, decompress, verify and inspect."""

from __future__ import annotations

from typing import Any

from . import numbers
from .lines import line


def compressed(receipt: dict[str, Any]) -> str:
    """`photo.png  612 kB -> 7.37 kB  (0.150 bits/pixel, 31.85 dB, 2 min 05 s)  photo.png.nw`."""
    sizes = f"{numbers.size(receipt['original_bytes'])} -> {numbers.size(receipt['compressed_bytes'])}"
    facts = [
        f"{receipt['bits_per_pixel']:.3f} bits/pixel",
        _psnr(receipt["psnr_db"]),
        *(["interrupted"] if receipt["interrupted"] else []),
        numbers.seconds(receipt["seconds"]),
    ]
    return line(receipt["source"], sizes, facts, receipt["compressed"])


def decompressed(receipt: dict[str, Any]) -> str:
    """`photo.png.nw  7.37 kB -> 540 kB  (every checksum right, 0.9 s)  photo.png`."""
    sizes = f"{numbers.size(receipt['compressed_bytes'])} -> {numbers.size(receipt['original_bytes'])}"
    return line(
        receipt["compressed"], sizes, ["every checksum right", numbers.seconds(receipt["seconds"])], receipt["source"]
    )


def verified(receipt: dict[str, Any]) -> str:
    """`photo.png.nw  sound  (31.85 dB against photo.png, 0.9 s)`."""
    facts = (
        [f"{_psnr(receipt['psnr_db'])} against {numbers.printable(receipt['against'])}"] if "against" in receipt else []
    )
    if receipt.get("alpha_equal"):
        facts.append("the same alpha")
    return line(receipt["compressed"], "sound", [*facts, numbers.seconds(receipt["seconds"])])


def inspected(receipt: dict[str, Any]) -> str:
    """`photo.png.nw  7.37 kB  (grid, 768 x 512, 3 channels, 0.150 bits/pixel)`, and what isn't pixels."""
    shape = f"{receipt['width']} x {receipt['height']}"
    facts = [
        receipt["method"],
        shape,
        numbers.plural(receipt["channels"], "channel"),
        f"{receipt['bits_per_pixel']:.3f} bits/pixel",
    ]
    kinds = (("alpha", "alpha_bytes"), ("ICC profile", "icc_bytes"), ("EXIF", "exif_bytes"))
    facts += [f"{name} {numbers.size(receipt[key])}" for name, key in kinds if receipt[key]]
    return line(receipt["compressed"], numbers.size(receipt["compressed_bytes"]), facts)


def _psnr(psnr: float | None) -> str:
    return "the same pixels" if psnr is None else f"{psnr:.2f} dB"

"""What the verbs print of texts: lines for compress, decompress and verify, tables for weigh and inspect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from . import numbers
from .layout import render
from .tables import Cell, Column, Table, words

if TYPE_CHECKING:
    from ..text.codec.ladder import TextRow, TextWeighing

_LADDER: Final = (
    Column("code", number=False),
    Column("bytes"),
    Column("bits/byte"),
    Column("ratio"),
    Column("with the model"),
    Column("encode MB/s"),
    Column("decode MB/s"),
    Column("a receiver needs", number=False, folds=True),
)
_BLOCKS: Final = (
    Column("block"),
    Column("from byte"),
    Column("bytes"),
    Column("code", number=False),
    Column("coded"),
    Column("bits/byte"),
)


def compressed(receipt: dict[str, Any], parts: str = "block") -> str:
    """`book.txt  152 kB -> 19.0 kB  (87.5 % saved, 0.999 bits/byte, 3 blocks, 2 min 05 s)  book.txt.nw`."""
    original, coded = receipt["original_bytes"], receipt["compressed_bytes"]
    facts = [_saved(original, coded)]
    if receipt["bits_per_byte"] is not None:
        facts.append(f"{receipt['bits_per_byte']:.3f} bits/byte")
    facts += [numbers.plural(receipt[f"{parts}s"], parts), numbers.seconds(receipt["seconds"]), *_needed(receipt)]
    return line(receipt["source"], f"{numbers.size(original)} -> {numbers.size(coded)}", facts, receipt["compressed"])


def decompressed(receipt: dict[str, Any]) -> str:
    """`book.txt.nw  19.0 kB -> 152 kB  (every checksum right, 2 min 05 s)  book.txt`."""
    lost = receipt["lost"]
    state = f"{numbers.plural(len(lost), 'part')} lost, the rest is right" if lost else "every checksum right"
    sizes = f"{numbers.size(receipt['compressed_bytes'])} -> {numbers.size(receipt['original_bytes'])}"
    return line(receipt["compressed"], sizes, [state, numbers.seconds(receipt["seconds"])], receipt["source"])


def compressed_folder(receipt: dict[str, Any]) -> str:
    """`books  1.2 MB -> 210 kB  (82.5 % saved, 1.400 bits/byte, 12 files, 9 min 05 s)  books.nw`."""
    return compressed(receipt, "file")


def decompressed_folder(receipt: dict[str, Any]) -> str:
    """`books.nw  210 kB -> 1.2 MB  (every checksum right, 12 files, 9 min 05 s)  books`."""
    sizes = f"{numbers.size(receipt['compressed_bytes'])} -> {numbers.size(receipt['original_bytes'])}"
    facts = ["every checksum right", numbers.plural(receipt["files"], "file"), numbers.seconds(receipt["seconds"])]
    return line(receipt["compressed"], sizes, facts, receipt["source"])


def _saved(original: int, coded: int) -> str:
    return f"{numbers.size(coded - original)} more" if coded > original else f"{numbers.saved(original, coded)} saved"


def _needed(receipt: dict[str, Any]) -> list[str]:
    if not receipt["model"]:
        return []
    return [f"a receiver needs the model {numbers.printable(receipt['model'].rsplit(' ', 1)[0])}"]


def verified(receipt: dict[str, Any]) -> str:
    """`book.txt.nw  sound  (3 blocks, 152 kB decoded, every checksum right, 2 min 05 s)`."""
    decoded = f"{numbers.size(receipt['original_bytes'])} decoded"
    facts = [numbers.plural(receipt["blocks"], "block"), decoded, "every checksum right"]
    if receipt["against"]:
        facts.append(f"same bytes as {numbers.printable(receipt['against'])}")
    return line(receipt["compressed"], "sound", [*facts, numbers.seconds(receipt["seconds"])])


def line(subject: str, what: str, facts: list[str], result: str = "") -> str:
    parts = [_place(subject), what, f"({', '.join(facts)})", _place(result)]
    return "  ".join(p for p in parts if p)


def _place(name: str) -> str:
    return "standard output" if name == "-" else numbers.printable(name)


def inspected(found: dict[str, Any], width: int) -> str:
    """The blocks of a compressed text."""
    original, coded = found["original_bytes"], found["compressed_bytes"]
    head = (
        f"{numbers.printable(found['compressed'])}: compressed text, {numbers.size(original)} in {numbers.size(coded)}"
    )
    if found["model_digest"]:
        head += f"\nmodel {numbers.printable(found['model'])} ({found['model_digest']}...), window {found['window']}, keeps {found['keep']}"
    rows = tuple(
        (
            Cell(numbers.exact(b["number"]), b["number"]), Cell(numbers.exact(b["start"]), b["start"]),
            Cell(numbers.exact(b["bytes"]), b["bytes"]), words(b["kind"]),
            Cell(numbers.exact(b["compressed_bytes"]), b["compressed_bytes"]),
            _rate(8 * b["compressed_bytes"] / b["bytes"] if b["bytes"] else None),
        )
        for b in found["blocks"]
    )  # fmt: skip
    return f"{head}\n\n{render(Table(_BLOCKS, rows), width)}"


def _rate(value: float | None) -> Cell:
    return Cell(numbers.DASH if value is None else f"{value:.3f}", value)


def ladder_text(weighing: TextWeighing, width: int) -> str:
    """All that `netweight weigh` prints of a text."""
    head = f"{numbers.printable(weighing.name)}: text, {numbers.exact(weighing.original_bytes)} bytes"
    table = render(Table(_LADDER, tuple(_row(weighing, row) for row in weighing.rows)), width)
    lines = [head, "", table, "", "Every row's bytes were decoded again and compared."]
    if weighing.model and weighing.model_bytes is not None:
        model = numbers.printable(weighing.model.rsplit(" ", 1)[0])
        lines.append(
            f"A receiver of the rows that need it has the model {model} already, {numbers.size(weighing.model_bytes)}."
        )
    return "\n".join(lines)


def _row(weighing: TextWeighing, row: TextRow) -> tuple[Cell, ...]:
    if row.bytes is None:
        return (words(row.label), *[Cell(numbers.DASH)] * 6, words(row.problem))
    original = weighing.original_bytes
    return (
        words(row.label),
        Cell(numbers.exact(row.bytes), row.bytes),
        _rate(weighing.bits_per_byte(row.bytes)),
        Cell(numbers.ratio(original, row.bytes), row.bytes),
        _rate(weighing.bits_per_byte(row.with_model)),
        Cell(numbers.speed(original, row.encode_seconds), row.encode_seconds),
        Cell(numbers.speed(original, row.decode_seconds), row.decode_seconds),
        words(row.receiver),
    )

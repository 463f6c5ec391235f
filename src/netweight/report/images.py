"""What `netweight weigh` shows of a picture: the table, and the page with the pictures side by side."""

from __future__ import annotations

import base64
import io
from pathlib import PurePath
from typing import TYPE_CHECKING, Final

from . import numbers
from .layout import render
from .page import image_ladder, shell
from .page.markup import Html, escape, table, tag
from .tables import Cell, Column, Table, words

if TYPE_CHECKING:
    from ..image.ladder import ImageRow, ImageWeighing, Pixels

_LADDER: Final = (
    Column("code", number=False),
    Column("setting", number=False),
    Column("bytes"),
    Column("bits/pixel"),
    Column("PSNR dB"),
    Column("MS-SSIM"),
    Column("encode"),
    Column("decode"),
    Column("problem", number=False, folds=True),
)


def ladder_table(weighing: ImageWeighing) -> Table:
    """Every code; the column of problems only if there is one."""
    rows = tuple(_row(row) for row in weighing.rows)
    if any(row.problem for row in weighing.rows):
        return Table(_LADDER, rows)
    return Table(_LADDER[:-1], tuple(row[:-1] for row in rows))


def _row(row: ImageRow) -> tuple[Cell, ...]:
    if row.bytes is None:
        return (words(row.code), words(row.setting), *[Cell(numbers.DASH)] * 6, words(row.problem))
    return (
        words(row.code),
        words(row.setting),
        Cell(numbers.exact(row.bytes), row.bytes),
        Cell(f"{row.bpp:.4f}", row.bpp),
        Cell(decibels(row.psnr), row.psnr),
        Cell(numbers.DASH if row.ms_ssim is None else f"{row.ms_ssim:.4f}", row.ms_ssim),
        *(Cell(numbers.DASH if s is None else numbers.seconds(s), s) for s in (row.encode_seconds, row.decode_seconds)),
        words(row.problem),
    )


def decibels(value: float | None) -> str:
    """PSNR with two decimals; equal pictures have no finite one."""
    return numbers.DASH if value is None else "equal" if value == float("inf") else f"{value:.2f}"


def ladder_text(weighing: ImageWeighing, width: int) -> str:
    """All that `netweight weigh` prints of a picture."""
    lines = [f"{numbers.printable(weighing.name)}: {_size(weighing)}, at {weighing.bpp:g} bits a pixel", ""]
    lines += [render(ladder_table(weighing), width), ""]
    lines.append("Every file was decoded again; bits count the whole file, PSNR and MS-SSIM are of what came back.")
    return "\n".join([*lines, weighing.note] if weighing.note else lines)


def _size(weighing: ImageWeighing) -> str:
    kind = "grey" if weighing.channels == 1 else "RGB"
    return f"{weighing.width} x {weighing.height} pixels, {kind}"


def page(weighing: ImageWeighing) -> bytes:
    """One self-contained HTML page: figures, plot, table, and every decoded picture beside the original."""
    shown = [row for row in weighing.rows if row.pixels is not None]
    figures = {
        "plot": image_ladder.plot(shown, weighing.bpp),
        "table": table(ladder_table(weighing), "Every code at this rate"),
        "pictures": _pictures(weighing, shown),
    }
    notes = [weighing.note] if weighing.note else []
    return shell.page(
        "images",
        figures,
        name=PurePath(weighing.name).name or weighing.name,
        subject=f"{weighing.bpp:g} bits a pixel",
        headline=image_ladder.headline(weighing),
        facts=image_ladder.facts(weighing),
        notes=[*notes, *(f"{row.code}: {row.problem}" for row in weighing.rows if row.problem)],
        footer="Every file was decoded again, and every figure is of what came back.",
        parts=("images.css", "images.js"),
    ).encode()


def _pictures(weighing: ImageWeighing, shown: list[ImageRow]) -> Html:
    """The original, then each decoded picture; the script lets the reader swap one for the other in place."""
    original = _figure("original", _size(weighing), weighing.original, original=True)
    others = [_figure(r.code, _caption(r), r.pixels) for r in shown if r.pixels is not None]
    return tag("div", original, *others, cls="pictures")


def _caption(row: ImageRow) -> str:
    similarity = "" if row.ms_ssim is None else f", MS-SSIM {row.ms_ssim:.4f}"
    return f"{row.bpp:.4f} bits a pixel, {decibels(row.psnr)} dB{similarity}"


def _figure(label: str, caption: str, pixels: Pixels, *, original: bool = False) -> Html:
    words_of = tag("figcaption", tag("strong", escape(label)), tag("span", escape(caption)))
    picture = tag(
        "img", src=_data_uri(pixels), alt=escape(f"{label}: {caption}"), width=pixels.shape[1], height=pixels.shape[0]
    )
    return tag("figure", picture, words_of, cls="original" if original else "decoded")


def _data_uri(pixels: Pixels) -> str:
    """The pixels, exactly, as a PNG in a data URI."""
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(pixels).save(out, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()

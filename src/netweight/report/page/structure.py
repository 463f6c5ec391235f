"""The page of `netweight explain`: a map of each tensor in which structure was found, with its bits before and after."""

from __future__ import annotations

import base64
import struct
import zlib
from pathlib import PurePath
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ...weights.structure.explain import Explained, Explanation
from .. import numbers, structure
from . import shell
from .layers import Column, scale, typical_top
from .markup import Html, escape, join, legend, percent, table, tag

_MOST_MAPS: Final = 96
_HEIGHT: Final = 240
_BAR: Final = 18
_WHITE: Final = np.array([255.0, 255.0, 255.0])
_ABOVE: Final = np.array([14.0, 124.0, 134.0])
_BELOW: Final = np.array([194.0, 65.0, 12.0])


def render(explanation: Explanation) -> str:
    """The whole page. Every text of the checkpoint is escaped."""
    figures = {
        "overview": _overview([t for t in explanation.tensors if t.weights and not t.problem]),
        "maps": _maps(explanation.found),
        "table": table(structure.structure_table(explanation.tensors), "Every tensor", cls="tall"),
    }
    return shell.page(
        "structure",
        figures,
        name=PurePath(explanation.name).name or explanation.name,
        subject="structure",
        headline=escape(structure.headline(explanation)),
        facts=_facts(explanation),
        notes=[*explanation.problems, *(f"{t.name}: {t.problem}" for t in explanation.tensors if t.problem)],
        footer="A structure pays for its parameters and for what it leaves unsaid.",
        parts=("structure.css",),
    )


def _facts(explanation: Explanation) -> Html:
    found = len(explanation.found)
    facts = [
        (
            "tolerance",
            "lossless" if explanation.rel_mse is None else f"{explanation.rel_mse:g}",
            "relMSE of each tensor",
        ),
        ("tensors", numbers.exact(len(explanation.tensors)), f"{found} with structure that pays"),
        ("before", numbers.size(explanation.plain_bytes), "plain code, decoded again"),
        (
            "after",
            numbers.size(explanation.bytes),
            numbers.saved(explanation.plain_bytes, explanation.bytes) + " saved",
        ),
    ]
    return join(
        tag("div", tag("dt", escape(k)), tag("dd", tag("strong", escape(v)), tag("span", escape(more))))
        for k, v, more in facts
    )


def _overview(tensors: list[Explained]) -> Html:
    """Two bars a tensor: what is left after structure in front of what the plain code takes."""
    if not tensors:
        return tag("p", "No tensor could be looked at.")
    total = sum(t.weights for t in tensors)
    columns = [Column(t.name, t.weights, 8 * t.plain_bytes / t.weights, None) for t in tensors]
    top, ticks = scale(typical_top(columns))
    drawn = [
        join(
            [
                tag("line", x1="0", x2="100%", y1=percent(1 - t / top), y2=percent(1 - t / top), cls="grid"),
                tag("text", escape(f"{t:g}"), x="-8", y=percent(1 - t / top), dy="0.32em", cls="tick"),
            ]
        )
        for t in ticks
    ]
    at = 0.0
    for t in tensors:
        width = t.weights / total
        for nbytes, cls in ((t.plain_bytes, "theirs"), (t.bytes, "ours")):
            height = min(8 * nbytes / t.weights / top, 1.0)
            title = tag("title", escape(f"{numbers.printable(t.name)}: {numbers.exact(8 * nbytes)} bits"))
            place = {"x": percent(at), "width": percent(width), "y": percent(1 - height), "height": percent(height)}
            drawn.append(tag("rect", title, cls=f"bar {cls}", **place))
        at += width
    key = legend(("theirs", "saved by structure"), ("ours", "bits per weight that are left"))
    label = "Bits per weight of each tensor before and after; the table below has the figures"
    svg = tag("svg", *drawn, cls="layers", width="100%", height=_HEIGHT, role="img", aria_label=label)
    axis = tag("p", "tensors in file order, as wide as they have weights →", cls="axis")
    return tag("figure", tag("figcaption", key), tag("div", svg, cls="plot"), axis)


def _maps(found: tuple[Explained, ...]) -> Html:
    if not found:
        return tag("p", "Nothing.")
    maps = tag("div", *(_map(t) for t in found[:_MOST_MAPS]), cls="small")
    if len(found) <= _MOST_MAPS:
        return maps
    return join([maps, tag("p", f"The {_MOST_MAPS} largest savings; the table has all.", cls="axis")])


def _map(t: Explained) -> Html:
    """A picture of the weights, what was found, and two bars."""
    label = f"{numbers.printable(t.name)}, {numbers.shape(t.shape)}"
    picture = tag("img", src=_data_uri(t.map), alt=f"Map of {label}")
    bars = tag(
        "svg", _bar(0, 1.0, "theirs"), _bar(_BAR, t.bytes / t.plain_bytes, "ours"), width="100%", height=2 * _BAR
    )
    sizes = f"{numbers.exact(8 * t.plain_bytes)} bits before, {numbers.exact(8 * t.bytes)} after"
    facts = [tag("strong", escape(label)), tag("p", escape(t.text)), bars, tag("figcaption", escape(sizes))]
    return tag("figure", tag("div", picture, tag("div", *facts), cls="map"))


def _bar(y: int, share: float, cls: str) -> Html:
    return tag("rect", x="0", y=y, width=percent(share), height=_BAR - 4, cls=f"bar {cls}")


def _data_uri(map_: NDArray[np.int8]) -> str:
    """The map as a PNG (RGB, 8 bits) in a data URI."""
    shades = map_.astype(np.float64)[..., None] / 127
    ends = np.where(shades > 0, _ABOVE, _BELOW)
    pixels = np.rint(_WHITE + np.abs(shades) * (ends - _WHITE)).astype(np.uint8)
    height, width = map_.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, -1)], axis=1)
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b""))
    png = b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*p) for p in parts)
    return "data:image/png;base64," + base64.b64encode(png).decode()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

"""Labels under every code, and the story of bits-back, as text."""

from __future__ import annotations

import textwrap
from typing import Any, Final

import numpy as np

from ..data import demo_network, demo_test_set
from ..weights.bits_back.mlp import Recipe
from ..weights.labels.network import Plan
from ..weights.labels.prequential import Schedule
from ..weights.labels.story import Story, StoryRow, tell
from ..weights.labels.study import LabelRow, LabelStudy, weigh_labels
from . import numbers
from .layout import render
from .tables import Cell, Column, Table, words

_WIDTH: Final = 120
DEMO_SCHEDULE: Final = Schedule(views=1, plan=Plan(rate=0.005))

LABEL_COLUMNS: Final = (
    Column("code", number=False),
    Column("bits"),
    Column("bits/label"),
    Column("network"),
    Column("bound"),
    Column("initial bits"),
    Column("enc s"),
    Column("dec s"),
    Column("the receiver must have", number=False, folds=True),
)
STORY_COLUMNS: Final = (
    Column("code", number=False),
    Column("prior cost"),
    Column("refund"),
    Column("weights"),
    Column("KL bound"),
    Column("labels"),
    Column("total"),
    Column("initial bits"),
    Column("receiver knows, beside the prior", number=False, folds=True),
)


def demo_labels(codes: tuple[str, ...], progress: Any = None) -> LabelStudy:
    """The digits that ship with netweight, under `codes` (none: all); the joint file carries the demo network's file."""
    inputs, labels = demo_test_set()
    return weigh_labels(
        inputs.reshape(-1, 8, 8), labels.astype(np.int64), name="the digits that ship with netweight", codes=codes,
        schedule=DEMO_SCHEDULE, carried=demo_network().read_bytes(), progress=progress,
    )  # fmt: skip


def demo_story() -> Story:
    """Hinton and van Camp's story on the same digits."""
    inputs, labels = demo_test_set()
    return tell(inputs.astype(np.float64) / 16, labels.astype(np.int64), 10, Recipe())


def labels_text(found: LabelStudy, width: int) -> str:
    """All that `netweight labels` prints."""
    heading = (
        f"{numbers.printable(found.name)}: {numbers.exact(found.count)} labels, {found.classes} classes; "
        f"{found.uniform_bits:,.0f} bits if nothing is known (a bound)"
    )
    table = Table(LABEL_COLUMNS, tuple(_label_row(found, row) for row in found.rows))
    return "\n\n".join([heading, render(table, width), _wrapped(_LABELS_MEAN, width)])


_LABELS_MEAN: Final = (
    "bits: 8 x the bytes of a file that another process decoded from the pictures alone. network: of these, what says the "
    "weights. bound: KL(posterior || prior). initial bits: what bits-back took before it gave anything back; they come "
    "out of other data that the file carries and gives back, and which isn't counted."
)


def _label_row(found: LabelStudy, row: LabelRow) -> tuple[Cell, ...]:
    return (
        words(row.code),
        Cell(numbers.exact(8 * row.bytes), row.bytes),
        Cell(f"{8 * row.bytes / found.count:.3f}", row.bytes),
        _figure(row.weight_bits or None),
        _figure(row.divergence_bits),
        _figure(row.initial_bits or None),
        Cell(f"{row.encode_seconds:.1f}", row.encode_seconds),
        Cell(f"{row.decode_seconds:.1f}", row.decode_seconds),
        words(row.knowledge),
    )


def story_text(found: Story, width: int) -> str:
    """All that `netweight bitsback` prints."""
    heading = (
        f"A network of {found.weights} weights, fitted to {found.count} labelled digits as Gaussians; prior "
        f"N(0, {found.recipe.sigma:g}^2). The labels alone: {found.uniform_bits:,.0f} bits (a bound)."
    )
    table = Table(STORY_COLUMNS, tuple(_story_row(row) for row in found.rows))
    back, step = found.rows[0], found.rows[-1]
    verdict = (
        f"A sample of the posterior costs {back.prior_bits:,.0f} bits under the prior; choosing it gives "
        f"{back.refund_bits:,.0f} back, so it costs {back.weight_bits:,}, its divergence from the prior being "
        f"{back.bound_bits:,.0f}. One step size that harms the labels as little costs {step.weight_bits:,}."
    )
    return "\n\n".join([heading, render(table, width), _wrapped(verdict, width), _wrapped(_STORY_MEANS, width)])


_STORY_MEANS: Final = (
    "All in bits. weights and labels are bytes that were decoded again (bits-back: what the message that it was pushed on grew "
    "by); prior cost and refund are its parts; KL is a bound. A receiver knows the posterior if it can fit it itself: "
    "see the variational file of `netweight labels`, which is complete."
)


def _story_row(row: StoryRow) -> tuple[Cell, ...]:
    return (
        words(row.code),
        _figure(row.prior_bits),
        _figure(row.refund_bits),
        _figure(row.weight_bits),
        _figure(row.bound_bits),
        _figure(row.label_bits),
        _figure(row.total_bits),
        _figure(row.initial_bits),
        words(row.knowledge),
    )


def _figure(value: float | None) -> Cell:
    return Cell(numbers.DASH) if value is None else Cell(f"{value:,.0f}", value)


def _wrapped(text: str, width: int) -> str:
    return textwrap.fill(text, min(width, _WIDTH))

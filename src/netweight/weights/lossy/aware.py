"""Weights quantised for the least error of a layer's outputs: a trellis down the columns, with error feedback.

The bytes are those of coders/trellis.py, the path running down the columns, so that a column is decided before the next
one, which takes up what it can of the column's error. Along the way column j's weights are chosen by
D_j (v - q)^2 + lambda R: D and the feedback are those of feedback.py. That the rate has a say within the feedback is as in
CERWU (2025); one lambda for all columns and tensors is one slope of output error against bits.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from ..coders import mixed_indices, trellis, trellis_points
from ..coders.scales import Shape
from ..coders.state_machine import lower_branches, machine
from ..coders.trellis import Settings
from ..coders.trellis_design import REACH, Design, Path, design, first_design, informed, path_of
from ..coders.trellis_stream import segments
from ..coders.trellis_symbols import LARGEST
from .aware_search import pass_on, run_columns
from .feedback import Feedback
from .values import Floats

_GROUP: Final = 64  # columns whose errors reach the later groups together
_ROUNDS: Final = 2
_CHEAPER: Final = 0.6  # times lambda: a weight that is given up for its bits is an error that later columns must carry


def encode_aware(values: Floats, shape: Shape, settings: Settings, feedback: Feedback) -> tuple[bytes, Floats] | None:
    """(body, what it decodes to) of finite float32 [rows x columns] with the output error in mind.

    `settings` has one step; its lambda (here a little less) is for a column of mean importance. None if a weight is too
    many steps large. Raises ValueError if `feedback` is of another number of columns.
    """
    if len(feedback.dear) != shape.columns:
        raise ValueError(f"feedback between {len(feedback.dear)} columns for a matrix of {shape.columns}")
    step = np.float32(settings.steps[0])
    with np.errstate(over="ignore"):
        scaled = np.ascontiguousarray((values / step).reshape(shape.rows, -1).T)
    if not _fits(scaled):
        return None
    turned, strength = [Shape(shape.columns, shape.rows, 1)], _CHEAPER * settings.strength
    made, _ = design(scaled.reshape(-1), turned, settings.states, strength)
    left, path = _follow(scaled, made, feedback)
    for _ in range(_ROUNDS - 1):
        if not _fits(left):
            return None
        made = _redesigned(left.reshape(-1), turned, made, path, strength, settings.mixed)
        left, path = _follow(scaled, made, feedback)
    if not _fits(left):
        return None
    steps = np.array([step])
    tabled = trellis.write(made, path, turned, steps, down=True)
    if not settings.mixed:
        return tabled
    payload, coded = mixed_indices.encode(path.indices, turned, made.states)
    offsets = np.tile(made.offsets[: trellis_points.PER_GROUP], mixed_indices.CLASSES)
    mixed = trellis.write_mixed(payload, coded, offsets, made.states, turned, steps, down=True)
    return mixed if len(mixed[0]) < len(tabled[0]) else tabled


def _fits(scaled: Floats) -> bool:
    """Whether float32 numbers of grid steps have indices."""
    return bool((np.abs(scaled) < LARGEST).all())


def _redesigned(
    left: Floats, turned: list[Shape], before: Design, path: Path, strength: float, one_group: bool
) -> Design:
    """Contexts, points and rates from what the columns had left to code, and the path that they took.

    With `one_group` the points are the same in all groups: those that errors are passed on for must be the decoder's, and
    the mixing coder has no such groups.
    """
    made = informed(left, first_design(left, turned, before.states, strength), path, before.count, strength)
    if one_group:
        unions = (path.contexts >= before.count).astype(np.uint8)
        made.offsets = np.tile(trellis_points.fit(left, path.indices, unions, 1), made.count)
    return made


def _follow(scaled: Floats, made: Design, feedback: Feedback) -> tuple[Floats, Path]:
    """(what each weight had left to code, the path), in the path's order, of float32 [columns, rows] in grid steps."""
    left = scaled.copy()
    indices, unions, errors = np.empty(left.shape, np.int32), np.empty(left.shape, np.uint8), np.empty_like(left)
    points = trellis_points.table(made.offsets, made.count, REACH).reshape(2 * made.count, -1)
    rates, groups = made.rates.reshape(points.shape), made.groups.reshape(left.shape)
    moves = machine(made.states)
    union, twist = lower_branches(made.states)
    cuts = np.array([end for _, end in segments(left.size)], np.int64)
    state, rows, dear = 0, left.shape[1], feedback.dear.astype(np.float32)
    for start in range(0, len(left), _GROUP):
        part = slice(start, start + _GROUP)
        state = run_columns(
            left[part], groups[part], rates, points, dear[part], np.ascontiguousarray(feedback.passed[part, part]),
            union, twist, moves.next_state, moves.union_of, cuts, start * rows, state,
            indices[part], unions[part], errors[part],
        )  # fmt: skip
        pass_on(left[start + _GROUP :], feedback.passed[part, start + _GROUP :], errors[part])
    return left, path_of(indices.reshape(-1), unions.reshape(-1), made)

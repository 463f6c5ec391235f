"""Any orthogonal rotation of a residual stream: n (n - 1) / 2 numbers that tell nothing.

Where a stream of n channels is only added to, read by matrices and normalised by its length (RMSNorm without gains: fold them into
what reads it), turning all that writes and reads it by one orthogonal matrix changes nothing (SliceGPT: Ashkboos et al.
2024). The turn is chosen so that the first n rows of one matrix, the *anchor*, are lower triangular with a diagonal
that isn't negative (a QR decomposition), and the zeros aren't sent. Turned weights are rounded: the network computes
the same to rounding, and weights that were rounded before (16-bit values in 32) lose more than they gain.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ...tensors import dtype_name
from .architecture import IN, Axis, Group
from .words import is_signed_float

Array = NDArray[Any]
Layout = Mapping[str, tuple[str, tuple[int, ...]]]

TRIANGLE: Final = ":triangle"
"""Ends the name under which an anchor's triangle is coded; its other rows have the anchor's name."""


def split(groups: Iterable[Group]) -> tuple[tuple[Group, ...], tuple[Group, ...]]:
    """(rotations, all others)."""
    groups = tuple(groups)
    return tuple(g for g in groups if g.rotation), tuple(g for g in groups if not g.rotation)


def anchor(rotation: Group, layout: Layout, others: Iterable[Group]) -> Axis:
    """The first matrix that makes the stream and that no other group cuts. Raises InputError if there is none."""
    cut = {axis.tensor for group in others for axis in group.axes}
    for axis in rotation.axes:
        if axis.tensor not in layout:
            raise InputError(f"{rotation.units}: the checkpoint has no tensor {axis.tensor!r}")
        shape = layout[axis.tensor][1]
        if axis.axis >= len(shape) or shape[axis.axis] != rotation.count or axis.start or axis.block > 1:
            raise InputError(
                f"{rotation.units}: axis {axis.axis} of tensor {axis.tensor!r} of shape {list(shape)} isn't the whole stream "
                f"of {rotation.count} channels"
            )
    for axis in rotation.axes:
        shape = layout[axis.tensor][1]
        if axis.role == IN and len(shape) == 2 and shape[1 - axis.axis] >= rotation.count and axis.tensor not in cut:
            return axis
    raise InputError(f"{rotation.units}: no matrix makes all {rotation.count} channels of the stream alone")


def rotate(tensors: Mapping[str, Array], groups: Iterable[Group]) -> dict[str, Array]:
    """The same network, its streams turned so that each anchor begins with a triangle. Raises InputError."""
    rotations, others = split(groups)
    out = {name: np.array(array) for name, array in tensors.items()}
    for rotation in rotations:
        layout = {name: (dtype_name(a.dtype), a.shape) for name, a in out.items()}
        first = anchor(rotation, layout, others)
        for axis in rotation.axes:
            _check(rotation, axis, out[axis.tensor])
        rows = np.moveaxis(out[first.tensor], first.axis, 1).astype(np.float64)
        turn, triangle = np.linalg.qr(rows[: rotation.count].T)
        turn *= np.where(np.diag(triangle) < 0, -1.0, 1.0)
        for axis in rotation.axes:
            _apply(out, axis, turn)
        top = np.moveaxis(out[first.tensor], first.axis, 1)[: rotation.count]  # a view
        top[np.triu_indices(rotation.count, 1)] = 0
    return out


def _check(rotation: Group, axis: Axis, array: Array) -> None:
    """Raises InputError unless `array` holds finite floats."""
    if not is_signed_float(dtype_name(array.dtype)):
        raise InputError(f"{rotation.units}: tensor {axis.tensor!r} holds {array.dtype}: a rotation needs floats")
    if not bool(np.isfinite(array.astype(np.float64, copy=False)).all()):
        raise InputError(f"{rotation.units}: tensor {axis.tensor!r} holds NaN or infinity: a rotation is undefined")


def _apply(tensors: dict[str, Array], axis: Axis, turn: NDArray[np.float64]) -> None:
    array = tensors[axis.tensor]
    turned = np.tensordot(array.astype(np.float64), turn, axes=(axis.axis, 0))
    tensors[axis.tensor] = np.ascontiguousarray(np.moveaxis(turned, -1, axis.axis)).astype(array.dtype)


def folded_layout(layout: Layout, groups: Iterable[Group]) -> dict[str, tuple[str, tuple[int, ...]]]:
    """What is coded: each anchor as its triangle and its other rows. Raises InputError."""
    rotations, others = split(groups)
    out = dict(layout)
    for rotation in rotations:
        first, n = anchor(rotation, layout, others), rotation.count
        dtype, shape = layout[first.tensor]
        if first.tensor + TRIANGLE in out:
            raise InputError(f"{rotation.units}: tensor {first.tensor!r} is the anchor of two rotations")
        out[first.tensor] = (dtype, (shape[1 - first.axis] - n, n))
        out[first.tensor + TRIANGLE] = (dtype, (n * (n + 1) // 2,))
    return out


def fold(tensors: Mapping[str, Array], groups: Iterable[Group]) -> dict[str, Array]:
    """Rotated tensors as they are coded, in the order of `folded_layout`."""
    rotations, others = split(groups)
    layout = {name: (dtype_name(a.dtype), a.shape) for name, a in tensors.items()}
    out = dict(tensors)
    for rotation in rotations:
        first, n = anchor(rotation, layout, others), rotation.count
        rows = np.moveaxis(tensors[first.tensor], first.axis, 1)
        out[first.tensor] = np.ascontiguousarray(rows[n:])
        out[first.tensor + TRIANGLE] = rows[:n][np.tril_indices(n)]
    return out


def unfold(coded: Mapping[str, Array], layout: Layout, groups: Iterable[Group]) -> dict[str, Array]:
    """The inverse: tensors of `layout`."""
    rotations, others = split(groups)
    out = {name: coded[name] for name in layout}
    for rotation in rotations:
        first, n = anchor(rotation, layout, others), rotation.count
        top = np.zeros((n, n), coded[first.tensor].dtype)
        top[np.tril_indices(n)] = coded[first.tensor + TRIANGLE]
        rows = np.concatenate([top, coded[first.tensor]])
        out[first.tensor] = np.ascontiguousarray(np.moveaxis(rows, 1, first.axis))
    return out

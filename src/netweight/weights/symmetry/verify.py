"""Whether two networks compute the same: equal, bit for bit, once dead units are silent, and units scaled, signed and sorted alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from .architecture import IN, OUT, Fitted, Group, fit
from .canonical import Tensors, canonical, negate, require_floats
from .dead import silence
from .message import plan_of
from .orbit import layout_of

Array = NDArray[Any]


def require_same_function(
    decoded: Mapping[str, Array], original: Mapping[str, Array], groups: tuple[Group, ...]
) -> None:
    """Raises InputError that names the first tensor by which they differ up to the symmetries of `groups`."""
    if layout_of(decoded) != layout_of(original):
        raise InputError("the networks have other tensors, dtypes or shapes")
    one, other = (_normal(tensors, groups) for tensors in (decoded, original))
    for name, array in one.items():
        if array.tobytes() != other[name].tobytes():
            raise InputError(f"tensor {name!r} differs, whatever the order of the units")


def _normal(tensors: Mapping[str, Array], groups: tuple[Group, ...]) -> Tensors:
    """The canonical network, its dead units silent, each unit that may be negated or rescaled in one way."""
    plan = plan_of(layout_of(tensors), tuple(replace(group, sign=False, scale=False) for group in groups))
    out = {name: np.array(array) for name, array in tensors.items()}
    silence(out, fit(groups, {name: array.shape for name, array in out.items()}))
    for group, fitted in zip(groups, plan.groups, strict=True):
        if group.sign:
            require_floats(out, fitted, "a change of sign")
            _make_positive(out, fitted)
        if group.scale:
            require_floats(out, fitted, "a change of scale")
            _level(out, fitted)
    return canonical(out, plan.groups, [list(owned) for owned in plan.owned])


def _make_positive(tensors: Tensors, fitted: Fitted) -> None:
    """Negate the units that `_leans_down`; 0 has no sign then."""
    rows = [
        np.moveaxis(tensors[axis.tensor], axis.axis, 0)[places].astype(np.float64).reshape(len(places), -1)
        for axis, places in zip(fitted.group.axes, fitted.places, strict=True)
        if axis.role == IN
    ]
    if rows:
        negate(tensors, fitted, _leans_down(np.concatenate(rows, axis=1)))
    for axis in fitted.group.axes:
        array = tensors[axis.tensor]
        array[array == 0] = 0


def _leans_down(made: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which rows [n, k] come before their negatives, both sorted: what other groups do to the order in a row changes nothing.

    A row that is its own mirror image leans nowhere; there the first number that isn't 0 decides.
    """
    upward = np.sort(made, axis=1)
    apart = upward != -upward[:, ::-1]
    rows, at = np.arange(len(made)), apart.argmax(axis=1)
    mirrored = ~apart.any(axis=1)
    first = made[rows, (made != 0).argmax(axis=1)]
    leans: NDArray[np.bool_] = upward[rows, at] < -upward[rows, -1 - at]
    leans[mirrored] = first[mirrored] < 0
    return leans


def _level(tensors: Tensors, fitted: Fitted) -> None:
    """Multiply each unit by the power of two that brings the largest number that makes it to [1/2, 1), and what reads it back."""
    sides = list(zip(fitted.group.axes, fitted.places, strict=True))
    largest = np.zeros(fitted.group.count)
    for axis, places in sides:
        if axis.role == IN:
            rows = np.moveaxis(tensors[axis.tensor], axis.axis, 0)[places].astype(np.float64)
            np.maximum(largest, np.abs(rows).reshape(len(places), -1).max(axis=1, initial=0.0), out=largest)
    shifts = np.where(largest > 0, -np.frexp(largest)[1], 0)
    for axis, places in sides:
        rows = np.moveaxis(tensors[axis.tensor], axis.axis, 0)  # a view
        factors = np.ldexp(1.0, -shifts if axis.role == OUT else shifts).reshape(-1, *[1] * rows.ndim)
        rows[places] = (rows[places].astype(np.float64) * factors).astype(rows.dtype)

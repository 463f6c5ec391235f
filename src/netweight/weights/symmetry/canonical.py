"""One network for all that compute the same: units rescaled, signs made positive, units sorted.

Groups are worked in order. A tensor is *owned* by the last group that touches it, if that group's places tile one axis of it;
what a group owns, cut into one record a unit, decides the order of its units, so that the axes of earlier groups are
in order by then. The receiver needs none of this: it gets the
canonical network.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ...tensors import dtype_name
from .architecture import Fitted
from .scale import rescale
from .words import is_signed_float, to_words

Array = NDArray[Any]
Tensors = dict[str, Array]


@dataclass(frozen=True)
class Owned:
    """A tensor as one record a unit: `places` int64 [count, places a unit] tile its axis `axis`."""

    tensor: str
    axis: int
    places: NDArray[np.int64]

    def records(self, array: Array) -> Array:
        """[count, elements a unit], a copy."""
        rows = np.moveaxis(array, self.axis, 0)[self.places]
        return np.ascontiguousarray(rows.reshape(len(self.places), -1))

    def restore(self, records: Array, shape: tuple[int, ...]) -> Array:
        """The inverse of `records`: an array of `shape`."""
        front = (shape[self.axis], *shape[: self.axis], *shape[self.axis + 1 :])
        out = np.empty(front, records.dtype)
        out[self.places] = records.reshape(*self.places.shape, *front[1:])
        return np.ascontiguousarray(np.moveaxis(out, 0, self.axis))


def owners(groups: Iterable[Fitted], shapes: Mapping[str, tuple[int, ...]]) -> list[list[Owned]]:
    """What each group owns. Raises InputError for a group that owns nothing: its order couldn't be told."""
    groups = list(groups)
    last = {axis.tensor: number for number, fitted in enumerate(groups) for axis in fitted.group.axes}
    found = []
    for number, fitted in enumerate(groups):
        names = dict.fromkeys(axis.tensor for axis in fitted.group.axes if last[axis.tensor] == number)
        owned = [tile for name in names if (tile := _tiling(fitted, name, shapes[name])) is not None]
        if not owned:
            raise InputError(
                f"{fitted.group.units}: every tensor of these units is also cut by later ones; list them after those"
            )
        found.append(owned)
    return found


def _tiling(fitted: Fitted, name: str, shape: tuple[int, ...]) -> Owned | None:
    """The group's places on tensor `name`, None unless they tile one axis."""
    mine = [
        (axis.axis, places)
        for axis, places in zip(fitted.group.axes, fitted.places, strict=True)
        if axis.tensor == name
    ]
    places = np.concatenate([p for _, p in mine], axis=1)
    axis = mine[0][0]
    same = all(a == axis for a, _ in mine)
    tiles = same and np.array_equal(np.sort(places, axis=None), np.arange(shape[axis]))
    return Owned(name, axis, places) if tiles else None


def records_of(tensors: Mapping[str, Array], owned: Iterable[Owned]) -> NDArray[np.uint8]:
    """uint8 [count, bytes a unit]: the words of everything owned, one record a unit."""
    return np.concatenate([to_words(own.records(tensors[own.tensor])) for own in owned], axis=1)


def sign_bits(tensors: Mapping[str, Array], owned: Iterable[Owned]) -> NDArray[np.uint8]:
    """uint8 [bytes a unit]: 1 where a record's byte has a sign in its lowest bit."""
    parts = []
    for own in owned:
        array = tensors[own.tensor]
        width = array.dtype.itemsize
        pattern = np.zeros(width, np.uint8)
        pattern[0] = is_signed_float(dtype_name(array.dtype))
        parts.append(np.tile(pattern, array.size // len(own.places)))
    return np.concatenate(parts)


def canonical(tensors: Mapping[str, Array], groups: Iterable[Fitted], owned: list[list[Owned]]) -> Tensors:
    """The canonical network, other arrays. Raises InputError for weights that can't be negated or rescaled."""
    out = {name: np.array(array) for name, array in tensors.items()}
    for fitted, own in zip(groups, owned, strict=True):
        if fitted.group.scale:
            require_floats(out, fitted, "a change of scale")
            rescale(out, fitted)
        if fitted.group.sign:
            _make_positive(out, fitted, own)
        records = records_of(out, own)
        order = np.array(sorted(range(len(records)), key=lambda j: records[j].tobytes()), np.int64)
        permute(out, fitted, order)
    return out


def permute(tensors: Tensors, fitted: Fitted, order: NDArray[np.int64]) -> None:
    """Put unit order[j] at place j, in all tensors that the group touches."""
    for axis, places in zip(fitted.group.axes, fitted.places, strict=True):
        rows = np.moveaxis(tensors[axis.tensor], axis.axis, 0)  # a view
        rows[places] = rows[places[order]]


def require_floats(tensors: Tensors, fitted: Fitted, what: str) -> None:
    """Raises InputError unless all tensors of the group are finite floats."""
    for axis in fitted.group.axes:
        array = tensors[axis.tensor]
        if not is_signed_float(dtype_name(array.dtype)):
            raise InputError(f"{fitted.group.units}: tensor {axis.tensor!r} holds {array.dtype}: {what} needs floats")
        if not bool(np.isfinite(array.astype(np.float64, copy=False)).all()):
            raise InputError(f"{fitted.group.units}: tensor {axis.tensor!r} holds NaN or infinity: {what} is undefined")


def negate(tensors: Tensors, fitted: Fitted, units: NDArray[np.bool_]) -> None:
    """Flip the sign of `units` (bool [count]): in all that makes them and all that reads them."""
    for axis, places in zip(fitted.group.axes, fitted.places, strict=True):
        rows = np.moveaxis(tensors[axis.tensor], axis.axis, 0)
        rows[places[units]] = -rows[places[units]]


def _make_positive(tensors: Tensors, fitted: Fitted, owned: list[Owned]) -> None:
    """Negate the units whose record begins with a negative number (or zero)."""
    require_floats(tensors, fitted, "a change of sign")
    first = owned[0].records(tensors[owned[0].tensor])[:, 0]
    negate(tensors, fitted, np.signbit(first.astype(np.float64)))

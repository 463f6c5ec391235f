"""Which axes of which tensors belong to the same hidden units: a small JSON file, checked against the checkpoint.

    {"symmetries": [
      {"units": "fc1", "count": 300, "in": ["fc1.weight:0", "fc1.bias:0"], "out": ["fc2.weight:1"], "scale": true},
      {"units": "layer {i} mlp", "repeat": {"i": 30}, "count": 1536, "in": ["h.{i}.up.weight:0"], "out": ["h.{i}.down.weight:1"]}
    ]}

"tensor:axis" says that the axis runs over the units, unit j owning places j b .. (j + 1) b - 1 with b = length / count (a
flattened feature map, an attention head). {"tensor": ..., "axis": ..., "start": s, "block": b} says so for a part of an axis.
`in` makes the units, `out` reads them, `along` goes with them (gains, running means). `sign`: the units may be negated
(odd activation); `scale`: multiplied by a positive number (ReLU); `rotation`: turned by any orthogonal matrix.
docs/symmetries.md tells more.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError, NotFoundError

IN, OUT, ALONG = "in", "out", "along"
_ROLES: Final = (IN, OUT, ALONG)
_FLAGS: Final = ("sign", "scale", "rotation")
_KEYS: Final = {"units", "count", "repeat", *_FLAGS, *_ROLES}
_MOST_UNITS: Final = 1 << 24
_MOST_REPEATS: Final = 1 << 12
_MOST_TEXT: Final = 1 << 24


@dataclass(frozen=True, slots=True)
class Axis:
    """A run of an axis that has `block` places a unit, from `start` on; `block` 0: the rest of the axis, evenly."""

    tensor: str
    axis: int
    role: str
    start: int = 0
    block: int = 0


@dataclass(frozen=True, slots=True)
class Group:
    """`count` interchangeable units and all that they touch; negatable if `sign`, rescalable if `scale`; with `rotation` any
    orthogonal mixture of them will do (rotation.py).
    """

    units: str
    count: int
    axes: tuple[Axis, ...]
    sign: bool = False
    scale: bool = False
    rotation: bool = False


@dataclass(frozen=True)
class Fitted:
    """A group whose axes fit a checkpoint: `places[k]` (int64 [count, places a unit]) are those of `group.axes[k]`."""

    group: Group
    places: tuple[NDArray[np.int64], ...] = field(repr=False)


def read(path: str | Path) -> tuple[Group, ...]:
    """The groups that an architecture file declares. Raises NotFoundError, InputError."""
    try:
        text = Path(path).read_bytes()
    except FileNotFoundError:
        raise NotFoundError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: can't be read: {error.strerror}") from None
    return parse(text[: _MOST_TEXT + 1], str(path))


def parse(text: bytes | str, name: str = "architecture") -> tuple[Group, ...]:
    """The same of the file's text. Raises InputError that names the entry."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise InputError(f"{name}: isn't JSON") from None
    entries = found.get("symmetries") if isinstance(found, dict) else None
    if not isinstance(entries, list) or not entries:
        raise InputError(f'{name}: has no list "symmetries"')
    return tuple(group for k, entry in enumerate(entries) for group in _groups(entry, f"{name}: entry {k + 1}"))


def _groups(entry: Any, where: str) -> Iterator[Group]:
    if not isinstance(entry, dict) or not set(entry) <= _KEYS:
        raise InputError(f"{where}: must be an object with no keys but {', '.join(sorted(_KEYS))}")
    repeat = entry.get("repeat", {})
    if not isinstance(repeat, dict) or not all(isinstance(n, int) and 0 < n <= _MOST_REPEATS for n in repeat.values()):
        raise InputError(f'{where}: "repeat" must give each letter a number of times')
    ranges = [range(n) for n in repeat.values()]
    if np.prod([len(r) for r in ranges], dtype=np.float64) > _MOST_REPEATS:
        raise InputError(f"{where}: repeats more than {_MOST_REPEATS} times")
    for numbers in product(*ranges):
        yield _group(entry, dict(zip(repeat, numbers, strict=True)), where)


def _group(entry: dict[str, Any], numbers: Mapping[str, int], where: str) -> Group:
    units, count = entry.get("units", where), entry.get("count")
    if not isinstance(units, str) or type(count) is not int or not 0 < count <= _MOST_UNITS:
        raise InputError(f'{where}: "units" must be a name and "count" a number of units')
    flags = [entry.get(flag, False) for flag in _FLAGS]
    if not all(isinstance(flag, bool) for flag in flags):
        raise InputError(f'{where}: "sign", "scale" and "rotation" are true or false')
    axes = []
    for role in _ROLES:
        listed = entry.get(role, [])
        if not isinstance(listed, list):
            raise InputError(f'{where}: "{role}" must be a list of axes')
        axes += [_axis(item, role, numbers, where) for item in listed]
    if not axes:
        raise InputError(f"{where}: names no axis")
    group = Group(_filled(units, numbers), count, tuple(axes), *flags)
    if any(flags) and any(axis.role == ALONG for axis in axes):
        raise InputError(
            f'{where}: {group.units}: what goes "along" with units forbids their sign, scale and rotation '
            "(fold a normalisation's gains into what reads them)"
        )
    if group.rotation and (group.sign or group.scale):
        raise InputError(f"{where}: {group.units}: a rotation is neither sign nor scale")
    return group


def _axis(item: Any, role: str, numbers: Mapping[str, int], where: str) -> Axis:
    if isinstance(item, str):
        tensor, colon, axis = item.rpartition(":")
        if not colon or not axis.isdecimal():
            raise InputError(f"{where}: {item!r} isn't tensor:axis")
        return Axis(_filled(tensor, numbers), int(axis), role)
    if not isinstance(item, dict) or not {"tensor", "axis"} <= set(item) <= {"tensor", "axis", "start", "block"}:
        raise InputError(f"{where}: an axis is tensor:axis, or an object with tensor, axis, start and block")
    whole = [item["axis"], item.get("start", 0), item.get("block", 0)]
    if not isinstance(item["tensor"], str) or not all(type(n) is int and n >= 0 for n in whole):
        raise InputError(f"{where}: an axis of {item['tensor']!r} has impossible numbers")
    return Axis(_filled(item["tensor"], numbers), whole[0], role, *whole[1:])


def _filled(text: str, numbers: Mapping[str, int]) -> str:
    for letter, number in numbers.items():
        text = text.replace("{" + letter + "}", str(number))
    return text


def fit(groups: tuple[Group, ...], shapes: Mapping[str, tuple[int, ...]]) -> tuple[Fitted, ...]:
    """The groups with their places. Raises InputError that names the tensor and its shape where one doesn't fit."""
    return tuple(Fitted(group, tuple(_places(group, axis, shapes) for axis in group.axes)) for group in groups)


def _places(group: Group, axis: Axis, shapes: Mapping[str, tuple[int, ...]]) -> NDArray[np.int64]:
    if axis.tensor not in shapes:
        raise InputError(f"{group.units}: the checkpoint has no tensor {axis.tensor!r}")
    shape = shapes[axis.tensor]
    if axis.axis >= len(shape):
        raise InputError(f"{group.units}: tensor {axis.tensor!r} of shape {list(shape)} has no axis {axis.axis}")
    length = shape[axis.axis] - axis.start
    block = axis.block or length // group.count
    if block < 1 or length < group.count * block or (not axis.block and length != group.count * block):
        raise InputError(
            f"{group.units}: axis {axis.axis} of tensor {axis.tensor!r} of shape {list(shape)} doesn't hold "
            f"{group.count} units of the same size"
            + (f" from {axis.start} on" if axis.start else "")
            + (f", {axis.block} places each" if axis.block else "")
        )
    return axis.start + np.arange(group.count * block, dtype=np.int64).reshape(group.count, block)

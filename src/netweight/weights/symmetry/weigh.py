"""What a checkpoint's symmetries save: real messages, each decoded and compared with the canonical network bit for bit."""

from __future__ import annotations

import math
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...errors import GuaranteeError
from ..archive.inputs import open_inputs
from ..lossy.convert import arrays_of
from ..lossy.task import Task
from .architecture import Group, read
from .canonical import Tensors, permute
from .message import canonical_of, decode, encode, plan_of
from .onnx_graph import groups_of_onnx
from .orbit import layout_of
from .rotation import split
from .words import to_words

Array = NDArray[Any]
PathLike = str | os.PathLike[str]
Progress = Callable[[str, int, int], None]

ARCHIVED: Final = 1 << 22
RECEIVER = "the architecture file, and the names, dtypes and shapes of the tensors"


@dataclass(frozen=True)
class SymmetryRow:
    """One message: `bytes` long in all, of which `table_bytes` are tables and `initial_bytes` what bits-back began with.

    `bound_bits` is what the symmetries are worth by counting (log2 n!, one bit a sign; None with free scales);
    `score` is the task's, of the decoded network; `check` says what decoding was compared with. Times are processor seconds.
    """

    label: str
    bytes: int
    table_bytes: int
    initial_bytes: int
    saved_bits: int
    bound_bits: float | None
    encode_seconds: float
    decode_seconds: float
    score: float | None = None
    check: str = "decoded, the canonical network bit for bit"


@dataclass(frozen=True)
class SymmetryWeighing:
    """The plain code and, beside it, the same code with ever more symmetries. `score` is the original network's."""

    name: str
    weights: int
    original_bytes: int
    groups: int
    units: int
    rows: tuple[SymmetryRow, ...]
    receiver: str = RECEIVER
    score: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def order_bits(tensors: Mapping[str, Array], groups: tuple[Group, ...]) -> float:
    """log2 of the number of orders that differ: n! over the orders of equal units, of all groups. The bound on their refund."""
    total = 0.0
    chosen = canonical_of(tensors, groups)
    for fitted in plan_of(layout_of(tensors), groups).groups:
        rows = [
            to_words(np.moveaxis(chosen[axis.tensor], axis.axis, 0)[places].reshape(len(places), -1))
            for axis, places in zip(fitted.group.axes, fitted.places, strict=True)
        ]
        alike = Counter(unit.tobytes() for unit in np.concatenate(rows, axis=1))
        total += math.lgamma(fitted.group.count + 1) - sum(math.lgamma(m + 1) for m in alike.values())
    return total / math.log(2)


def stages(
    tensors: Mapping[str, Array], groups: tuple[Group, ...]
) -> Iterator[tuple[str, tuple[Group, ...], float | None]]:
    """(label, groups, bound in bits) of each message, from no symmetry to all that are declared."""
    yield "plain code, no symmetry", (), 0.0
    _, movable = split(groups)
    bound = 0.0
    if movable:
        ordered = tuple(replace(g, sign=False, scale=False) for g in movable)
        bound = order_bits(tensors, ordered)
        yield "any order of units", ordered, bound
    if signs := sum(g.count for g in movable if g.sign):
        yield "... and any sign", tuple(replace(g, scale=False) for g in movable), bound + signs
    if any(g.scale for g in movable):
        yield "... and any scale (powers of two)", movable, None
    if len(movable) < len(groups):
        yield "... and any rotation (to rounding)", groups, None


def weigh_symmetries(
    path: PathLike, architecture: PathLike, *, task: Task | None = None, progress: Progress | None = None
) -> SymmetryWeighing:
    """Weigh a checkpoint with the symmetries that an architecture file declares, or those found in an .onnx model's graph; up to
    `ARCHIVED` weights its archives too, with and without them.

    Raises InputError and its kin.
    """
    groups = declared(architecture)
    with open_inputs(path) as inputs:
        tensors = arrays_of(inputs)
        inputs.check_unchanged()
        name = inputs.name
        alone = len(inputs.files) == 1
    found = weigh_network(tensors, groups, name=name, task=task, progress=progress)
    if not alone or split(groups)[0] or found.weights > ARCHIVED:
        return found
    if progress:
        progress("weighing archives", 0, 1)
    from .archives import archive_rows

    return replace(found, rows=(*found.rows, *archive_rows(path, architecture)))


def declared(architecture: PathLike) -> tuple[Group, ...]:
    """Groups of an architecture file, or of the graph of an .onnx model. Raises InputError and its kin."""
    name = os.fspath(architecture)
    return groups_of_onnx(name).groups if name.endswith(".onnx") else read(name)


def weigh_network(
    tensors: Mapping[str, Array],
    groups: tuple[Group, ...],
    *,
    name: str = "network",
    task: Task | None = None,
    progress: Progress | None = None,
) -> SymmetryWeighing:
    """The same of tensors by name. Raises InputError; GuaranteeError if a message decodes to anything else."""
    planned = list(stages(tensors, groups))
    rows: list[SymmetryRow] = []
    for number, (label, chosen, bound) in enumerate(planned):
        if progress:
            progress("weighing", number, len(planned))
        rows.append(_row(tensors, chosen, label, bound, rows[0].bytes if rows else None, task))
    return SymmetryWeighing(
        name,
        weights=sum(a.size for a in tensors.values()),
        original_bytes=sum(a.nbytes for a in tensors.values()),
        groups=len(groups),
        units=sum(g.count for g in groups),
        rows=tuple(rows),
        score=task.score({n: a.copy() for n, a in tensors.items()}) if task else None,
    )


def _row(
    tensors: Mapping[str, Array], groups: tuple[Group, ...], label: str, bound: float | None, plain: int | None,
    task: Task | None,
) -> SymmetryRow:  # fmt: skip
    start = time.process_time()
    message = encode(tensors, groups)
    middle = time.process_time()
    decoded = decode(message.data, layout_of(tensors), groups)
    end = time.process_time()
    if not _equal(decoded, canonical_of(tensors, groups)):
        raise GuaranteeError(f"{label}: the message decodes to another network")
    return SymmetryRow(
        label,
        len(message.data),
        message.table_bytes,
        message.initial_bytes,
        saved_bits=8 * (plain - len(message.data)) if plain is not None else 0,
        bound_bits=bound,
        encode_seconds=middle - start,
        decode_seconds=end - middle,
        score=task.score(decoded) if task else None,
    )


def _equal(one: Tensors, other: Tensors) -> bool:
    """Bit for bit."""
    return one.keys() == other.keys() and all(
        a.dtype == other[n].dtype and a.shape == other[n].shape and a.tobytes() == other[n].tobytes()
        for n, a in one.items()
    )


def reordered(tensors: Mapping[str, Array], seed: int, groups: tuple[Group, ...]) -> Tensors:
    """A network that computes the same with its units in an order drawn from `seed`: for checks and demonstrations."""
    out = {name: np.array(array) for name, array in tensors.items()}
    random = np.random.Generator(np.random.PCG64(seed))
    for fitted in plan_of(layout_of(tensors), groups).groups:
        permute(out, fitted, random.permutation(fitted.group.count))
    return out

"""Which structure each tensor has, and what it saves in bytes: every tensor coded with and without, and decoded again."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...errors import GuaranteeError, UnsupportedError
from ...spec import Spec
from ..archive.container import is_archive
from ..archive.inputs import open_inputs
from ..lossy.matrices import Matrix, matrices_of
from ..lossy.values import Bytes, floats_of, rel_mse, squares
from ..pieces import split
from . import tied
from .model import Floats, Tolerance
from .pricing import Way, best_ways, decoded_values, tied_way

PIECE: Final = 1 << 20
"""Weights that are looked at together."""
MAP: Final = 64
_LEAST: Final = 4

PathLike = str | os.PathLike[str]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Explained:
    """One tensor. `plain_bytes` without structure, `bytes` with the cheapest code; both were decoded again.

    `kind` is the code that was found ("" for none) and `text` says it in words; `problem` why nothing was looked for.
    `rel_mse` is the error found, `map` a picture: int8 [rows, columns], at most MAP a side, of weights in 64ths of their
    root mean square.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    weights: int
    plain_bytes: int = 0
    bytes: int = 0
    kind: str = ""
    text: str = ""
    rel_mse: float = 0.0
    problem: str = ""
    map: NDArray[np.int8] = field(default_factory=lambda: np.zeros((1, 1), np.int8), repr=False, compare=False)

    @property
    def saved_bits(self) -> int:
        return 8 * (self.plain_bytes - self.bytes)

    def to_dict(self) -> dict[str, Any]:
        """For JSON, without the map."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "map"}
        return own | {"saved_bits": self.saved_bits}


@dataclass(frozen=True)
class Explanation:
    """All float tensors of two axes or more of a checkpoint, in file order; `rel_mse` is the tolerance (None: lossless)."""

    name: str
    rel_mse: float | None
    tensors: tuple[Explained, ...]
    problems: tuple[str, ...] = ()
    plain_bytes: int = field(init=False)
    bytes: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "plain_bytes", sum(t.plain_bytes for t in self.tensors))
        object.__setattr__(self, "bytes", sum(t.bytes for t in self.tensors))

    @property
    def found(self) -> tuple[Explained, ...]:
        """Tensors that a structure makes smaller, the largest saving first."""
        return tuple(sorted((t for t in self.tensors if t.kind), key=lambda t: -t.saved_bits))

    def to_dict(self) -> dict[str, Any]:
        """For JSON, without the maps."""
        whole = {k: getattr(self, k) for k in ("name", "rel_mse", "problems", "plain_bytes", "bytes")}
        return whole | {"tensors": [t.to_dict() for t in self.tensors]}


def explain(path: PathLike, rel_mse: float | None = 1e-4, *, progress: Progress | None = None) -> Explanation:
    """Look for structure in every float tensor of a file, a folder or shards, at ||x - y||^2 / ||x||^2 of `rel_mse`.

    None asks for lossless codes. Raises InputError and its kin; GuaranteeError if a code breaks its promise.
    """
    with open_inputs(path) as inputs:
        for file in inputs.files:
            if is_archive(file.source):
                raise UnsupportedError(f"{file.source.name}: is an archive of netweight's; decompress it first")
        matrices = [m for f in inputs.files for m in matrices_of(f, _LEAST)]
        work = _Work(rel_mse, sum(m.spec.nbytes for m in matrices), progress or (lambda _done, _total: None))
        tensors = tuple(work.look_at(m) for m in matrices)
        problems = tuple(f"{f.path}: {f.layout.problem}" for f in inputs.files if f.layout.problem)
        inputs.check_unchanged()
        return Explanation(inputs.name, rel_mse, tensors, problems)


@dataclass
class _Root:
    """A tensor that later ones may be made of: its payload, decoded when one of them is like it."""

    name: str
    spec: Spec
    payload: bytes
    fingerprints: dict[tuple[int, ...], Floats]


@dataclass
class _Work:
    rel_mse: float | None
    total: int
    tell: Progress
    done: int = 0
    roots: list[_Root] = field(default_factory=list)

    def look_at(self, matrix: Matrix) -> Explained:
        """One tensor, piece by piece."""
        data, spec, shape = matrix.read(), matrix.spec, matrix.spec.shapes[0]
        values = floats_of(data, spec)
        if values is None:
            self._step(spec.nbytes)
            problem = "has NaN or infinite weights: skipped"
            return Explained(matrix.name, spec.dtype, shape, spec.count, problem=problem)
        noise = 0.0 if self.rel_mse is None else self.rel_mse * squares(values) / values.size
        pieces = list(self._pieces(data, values, spec, Tolerance(noise)))
        decoded = np.concatenate([best.decoded for _, best in pieces])
        plain, length = (sum(len(w.payload) for w in ways) for ways in zip(*pieces, strict=True))
        kind, text = _told(pieces)
        tie = self._tie(values, spec, Tolerance(noise)) if spec.count <= tied.MOST else None
        if tie is not None and len(tie.payload) < length:
            decoded, length, kind, text = tie.decoded, len(tie.payload), tie.name, tie.text
        elif spec.count <= tied.MOST:
            prints = tied.fingerprints(decoded, shape)
            self.roots.append(_Root(matrix.name, spec, pieces[0][1].payload, prints))
        error = rel_mse(values, decoded)
        if error > (self.rel_mse or 0.0):
            raise GuaranteeError(f"{matrix.name}: decoded with an error of {error}; please report this")
        picture = _map_of(values.reshape(shape[0], -1)) if kind else np.zeros((1, 1), np.int8)
        return Explained(
            matrix.name, spec.dtype, shape, spec.count, plain, length, kind, text, error, map=picture
        )  # fmt: skip

    def _step(self, nbytes: int) -> None:
        self.done += nbytes
        self.tell(self.done, self.total)

    def _pieces(self, data: Bytes, values: Floats, spec: Spec, tolerance: Tolerance) -> Any:
        """(plain way, best way) of each piece."""
        at = weight = 0
        for part in split(spec, PIECE):
            own = values[weight : weight + part.count]
            yield best_ways(data[at : at + part.nbytes], own, part, tolerance)
            at, weight = at + part.nbytes, weight + part.count
            self._step(part.nbytes)

    def _tie(self, values: Floats, spec: Spec, tolerance: Tolerance) -> Way | None:
        """The tensor as another one, where their fingerprints are alike."""
        shape = spec.shapes[0]
        mine = tied.fingerprint(values, shape)
        near = [(abs(float(mine @ r.fingerprints[shape])), r) for r in self.roots if shape in r.fingerprints]
        if not near:
            return None
        likeness, root = max(near, key=lambda pair: pair[0])
        if not tied.alike(likeness, values.size):
            return None
        decoded = decoded_values(root.payload, root.spec)
        return tied_way(values, spec, decoded, root.spec.shapes[0], root.name, tolerance)


def _map_of(values: Floats) -> NDArray[np.int8]:
    """Weights [rows, columns], evenly spaced ones where they are more than MAP a side."""
    rows, columns = (np.linspace(0, n - 1, min(n, MAP)).astype(int) for n in values.shape)
    size = float(np.sqrt(np.square(values, dtype=np.float64).mean())) or 1.0
    picked = np.rint(values[np.ix_(rows, columns)] * (64 / size))
    return np.asarray(np.clip(picked, -127, 127), np.int8)


def _told(pieces: list[tuple[Way, Way]]) -> tuple[str, str]:
    """(name, words) of what was found; of many pieces that which saves most, and in how many anything was found."""
    found = [(len(plain.payload) - len(best.payload), best) for plain, best in pieces if best.name]
    if not found:
        return "", ""
    _, best = max(found, key=lambda pair: pair[0])
    many = f" (in {len(found)} of {len(pieces)} pieces)" if len(pieces) > 1 else ""
    return best.name, best.text + many

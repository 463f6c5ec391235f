"""An archive whose blocks of units are coded without their order: plans, prices and writes what arrange.py arranged."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...errors import GuaranteeError, InputError
from ...source import FileSource
from ...spec import Spec
from ...tensors import dtype_name, to_bytes
from ..archive import outputs
from ..archive.api import descriptor_sink
from ..archive.digests import piece_hash
from ..archive.index import OWN, REGION, SYMMETRIES, Index, Loss, Piece, Segment
from ..archive.inputs import InputFile, Inputs
from ..archive.lossy_wire import header_of
from ..archive.plan import Plan, make_plan
from ..archive.writer import Coded, Encoder, LosslessEncoder, write_archive
from ..coders.trellis_design import LAMBDA
from ..lossy.bounds import shannon_lower_bound
from ..lossy.compress import STATES
from ..lossy.encoder import LossyEncoder, Quantiser, Sums, encode_touched
from ..lossy.rate import Bracket, Figure, find_step, first_step
from ..lossy.target import Target, Touched
from ..lossy.values import squares
from ..methods import SYMMETRY, Effort, encode_block
from . import unit_block
from .architecture import Group
from .arrange import Arranged, Block, arrange, spec_of
from .canonical import Tensors
from .message import plan_of
from .orbit import layout_of

Array = NDArray[Any]
Progress = Callable[[str, int, int], None]

_BOUND_SAMPLE: Final = 1 << 16
_ENOUGH_WRITES, _MOST_WRITES = 3, 7


def silent(_what: str, _done: int, _total: int) -> None:
    """Progress that nobody sees."""


@dataclass
class Job:
    """One network, its groups, and how it is to be coded; `used` blocks, (units, why not) of those `left`, `dead` units, and the
    `total` error once it is written.
    """

    tensors: Tensors
    groups: tuple[Group, ...]
    effort: Effort
    touched: Touched
    target: Target | None
    threads: int
    progress: Progress
    used: list[Block] = field(default_factory=list)
    left: list[tuple[str, str]] = field(default_factory=list)
    total: Sums = field(default_factory=Sums)
    dead: int = 0

    def __post_init__(self) -> None:
        plan = plan_of(layout_of(self.tensors), self.groups)
        self._fitted, self._owned = plan.groups, [list(owned) for owned in plan.owned]

    # --- quantising --------------------------------------------------------------------------------------------------------

    def _quantises(self, name: str, array: Array) -> bool:
        if self.target is None:
            return False
        dtype = dtype_name(array.dtype)
        return self.touched(Segment(REGION, array.nbytes, name, dtype, array.shape))

    def _arranged(self, step: float | None, *, code: bool) -> Arranged:
        def step_of(name: str, array: Array) -> float | None:
            return step if self._quantises(name, array) else None

        label, total = ("coding units" if code else "quantising"), len(self._fitted)
        return arrange(
            self.tensors,
            self._fitted,
            self._owned,
            step_of,
            code=code,
            progress=lambda k: self.progress(label, k, total),
        )

    def _quantiser(self, step: float) -> Quantiser:
        return Quantiser(lambda _: step, STATES[self.effort.name], LAMBDA)

    def _sums(self, step: float) -> Sums:
        """Of all that is quantised at a step, measured."""
        made, total = self._arranged(step, code=False), Sums()
        held = {name for block in made.blocks for name in block.tensors}
        for name, array in made.given.items():
            if self._quantises(name, array):
                decoded = made.decoded[name] if name in held else self._plainly(array, step)[1]
                total.add(_difference(array, decoded))
        return total

    def _plainly(self, array: Array, step: float | None) -> tuple[int, Array]:
        """(bytes, what comes back) of a tensor under the code that it would have without symmetries."""
        data, spec = to_bytes(array)
        if step is None:
            return len(encode_block(data, spec, self.effort)), array
        payload, decoded = encode_touched(data, spec, self._quantiser(step), [0], self.effort)
        return sum(map(len, payload)), decoded.view(array.dtype).reshape(array.shape)

    def _step(self) -> float | None:
        """The grid step for the target; None if nothing is quantised."""
        if self.target is None:
            return None
        chosen = [a for n, a in self.tensors.items() if self._quantises(n, a)]
        if not chosen:
            raise InputError(f"no tensor to quantise: none is a float matrix of at least {self.touched.least} weights")
        energy = sum(squares(a.astype(np.float32)) for a in chosen)
        start = first_step(self.target, energy, sum(a.size for a in chosen))
        return find_step(self._sums, Figure(self.target), start) or start

    # --- writing -----------------------------------------------------------------------------------------------------------

    def write(self, name: str, out: Path) -> tuple[int, Index]:
        """Write the archive of one file called `name`; (its bytes, its index). Raises InputError, OutputError."""
        step = self._step()
        bracket = Bracket(Figure(self.target)) if self.target else None
        with outputs.new_file(out, force=False) as descriptor:
            for attempt in range(_MOST_WRITES):
                os.ftruncate(descriptor, 0)
                size, index = self._write(name, descriptor, step)
                if bracket is None or step is None:
                    return size, index
                value = self.total.rel_mse
                bracket.add(step, value)
                if bracket.figure.close(value) or (bracket.figure.kept(value) and attempt >= _ENOUGH_WRITES - 1):
                    return size, index
                late = bracket.best and attempt >= _ENOUGH_WRITES - 1
                step = 2.0 ** bracket.best[0] if bracket.best and late else bracket.next_step()
            raise InputError(f"{name}: {self.total.rel_mse:.3g} is as near as it came to the error that was asked for")

    def _write(self, name: str, descriptor: int, step: float | None) -> tuple[int, Index]:
        made = self._arranged(step, code=True)
        self.dead = made.dead
        self.used = [block for block in made.blocks if self._pays(block, made, step)]
        dropped = [b for b in made.blocks if b not in self.used]
        self.left = [*made.left, *((b.units, "its order wouldn't make it smaller") for b in dropped)]
        for block in dropped:
            made.decoded.update({n: made.given[n] for n in block.tensors})
        with tempfile.TemporaryDirectory(prefix="netweight-") as folder:
            path = Path(folder) / "network.safetensors"
            _save(made.given, path)
            with FileSource(path) as source:
                inputs = Inputs(name, False, [InputFile(name, source)])
                return self._write_blocks(inputs, made, descriptor, step)

    def _pays(self, block: Block, made: Arranged, step: float | None) -> bool:
        """Whether a block costs less, in bits and the error that they could buy, than its tensors by themselves."""
        plain = own = 0.0
        for name in block.tensors:
            given = made.given[name]
            quantised = step if step is not None and self._quantises(name, given) else None
            size, decoded = self._plainly(given, quantised)
            plain += 8 * size
            if quantised:
                slope = LAMBDA * quantised * quantised
                plain += _difference(given, decoded).noise / slope
                own += _difference(given, made.decoded[name]).noise / slope
        return own + 8 * (len(block.body) + 1) < plain

    def _write_blocks(self, inputs: Inputs, made: Arranged, descriptor: int, step: float | None) -> tuple[int, Index]:
        plan = make_plan(inputs, self.effort, None, kind=self.touched if step is not None else lambda _: None)
        index, coded = plan.index, _Blocks(plan, self.used, made)
        touched = {k for k, s in enumerate(index.segments) if step is not None and s.how == OWN and self.touched(s)}
        plain = LosslessEncoder(plan, inputs, None, self.effort)
        encoder: Encoder = plain
        if step is not None:
            encoder = lossy = LossyEncoder(plain, index, touched, self._quantiser(step), self.effort, bounds=True)
        self.used = coded.blocks
        index.notes = {SYMMETRIES: sum(block.count for block in self.used)}
        if self.target:
            index.notes["target"] = {self.target.kind: self.target.limit}

        def encode(pieces: tuple[Piece, ...]) -> Coded:
            return coded.get(pieces) or encoder(pieces)

        def complete() -> None:
            self.total = Sums()
            own = {k: _difference(made.given[n], made.decoded[n]) for k, n in coded.names.items() if k in touched}
            for k, n in coded.names.items():
                if k in touched:
                    own[k].bound = _bound(made.given[n], own[k])
            for sums in own.values():
                self.total.add(sums)
            if step is not None:
                self.total.add(lossy.total())
                index.losses = lossy.losses() | {
                    k: Loss(s.rel_mse, s.worst, s.bound / max(s.weights, 1)) for k, s in own.items()
                }

        size = write_archive(
            plan, inputs, encode, self.threads, descriptor_sink(descriptor),
            lambda done, total: self.progress("compressing", done, total), complete,
        )  # fmt: skip
        return size, index


class _Blocks:
    """Blocks of units in a plan: which pieces they take, and what is written for them."""

    def __init__(self, plan: Plan, blocks: list[Block], made: Arranged) -> None:
        own = {s.name: k for k, s in enumerate(plan.index.segments) if s.kind == REGION and s.how == OWN}
        self.blocks = [block for block in blocks if all(name in own for name in block.tensors)]
        self.names = {own[name]: name for block in self.blocks for name in block.tensors}
        kept = (tuple(p for p in group if p.segment not in self.names) for group in plan.groups)
        plan.groups[:] = [group for group in kept if group]
        self._coded: dict[tuple[Piece, ...], Coded] = {}
        for block in self.blocks:
            pieces = tuple(Piece(own[name], 0, made.given[name].nbytes) for name in block.tensors)
            data = [to_bytes(made.decoded[name])[0] for name in block.tensors]
            spec = spec_of(block, made.given)
            if not np.array_equal(unit_block.decode(block.body, spec), np.concatenate(data)):
                raise GuaranteeError(f"{block.units}: the block decodes to other weights")
            payload = (bytes([SYMMETRY]), block.body)
            self._coded[pieces] = Coded(payload, tuple(piece_hash(d) for d in data), pieces)
            plan.groups.append(pieces)

    def get(self, pieces: tuple[Piece, ...]) -> Coded | None:
        """What is written for these pieces; None if they are no block of units."""
        return self._coded.get(pieces)


def _difference(given: Array, decoded: Array) -> Sums:
    x, y = given.astype(np.float64), decoded.astype(np.float64)
    return Sums(x.size, squares(x), squares(x - y), float(np.abs(x - y).max(initial=0.0)))


def _bound(given: Array, sums: Sums) -> float:
    """Shannon's lower bound on the bits of independent weights at the error of `sums`."""
    if not 0 < sums.rel_mse < 1:
        return 0.0
    return sums.weights * shannon_lower_bound(given.astype(np.float32).reshape(-1)[:_BOUND_SAMPLE], sums.rel_mse)


def _save(tensors: Mapping[str, Array], path: Path) -> None:
    """A safetensors file. Raises UnsupportedError for dtypes that it lacks."""
    parts = [(name, dtype_name(a.dtype), a.shape) for name, a in tensors.items()]
    segments = [Segment(REGION, Spec(d, (s,)).nbytes, n, d, s) for n, d, s in parts]
    with path.open("wb") as out:
        out.write(header_of(segments))
        for array in tensors.values():
            out.write(to_bytes(array)[0].data)

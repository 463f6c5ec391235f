"""One step for all weights, its multiples coded under a prior: Gaussian, Laplace, generalised Gaussian, with a spike, or counted.

body      := step (float32) | centre (zigzag varint) | multiples, less the centre
multiples := kind(1) | widths | prior | stream                                       (prior, stream: entropy/priors.py)
           | kind(1) | widths | alphabet - 1 (1) | contexts | tables | rANS blob | raw           a counted distribution
kind      := 0..5: flags of row and column scales | 6: a step a tensor; and 8 for a counted distribution
widths    := scales (coders/scales.py)              | blob of steps

A weight's level, 0..63, is 32 plus the steps of its tensor, or of its row and column; at level l the prior is
2^((l - 32) / 4) times as wide. Counted: neighbouring levels are merged into contexts with a table each.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ....entropy import priors, rans, tables
from ....entropy.prior_fit import FAMILIES, fit
from ....entropy.priors import Prior
from ....errors import FormatError
from ....wire import Reader, Writer, from_zigzag, zigzag
from ...coders import scales
from ...coders.scaled import MOST_CONTEXTS
from ...coders.scales import Estimator, Scales, Shape
from ..code import LossyCode
from ..values import Floats, squares
from .indices import count_of
from .uniform import restored_of, step_for

Multiples = NDArray[np.int32]

AUTO, EMPIRICAL = "auto", "empirical"
PRIORS: Final = (AUTO, *FAMILIES, EMPIRICAL)
WIDTHS: Final = ("tensor", "rows-columns")
_BY_TENSOR: Final = 6
_COUNTED: Final = 8
_MIDDLE: Final = 32
_LARGEST: Final = priors.LIMIT // 2 - 1  # so that the difference of two is below the limit
_LEAN: Final = 0.15  # of the mean magnitude
_WIDEST: Final = 28
_SIXTEENTHS: Final = 16 // scales.STEPS


@dataclass(frozen=True, slots=True)
class Widths:
    """How wide the prior is where: its kind and what is sent of it, and the level of each weight (uint8 [n])."""

    kind: int
    sent: bytes
    levels: NDArray[np.uint8]


def one_width(shapes: list[Shape]) -> Widths:
    """The same for all weights."""
    return Widths(0, b"", np.full(count_of(shapes), _MIDDLE, np.uint8))


def _by_tensor(steps: NDArray[np.int8], shapes: list[Shape]) -> NDArray[np.uint8]:
    """Levels, from a step (int8) a tensor."""
    rows = np.repeat(steps, [s.rows for s in shapes])
    return scales.all_levels(Scales(rows, scales.NO_COLUMNS, None), shapes)


def _tensor_widths(values: Floats, shapes: list[Shape]) -> Widths:
    """A step a tensor, if there are several."""
    if len(shapes) < 2:
        return one_width(shapes)
    ends = np.cumsum([s.rows * s.columns for s in shapes])
    means = np.array([float(np.abs(part).mean()) if part.size else 0.0 for part in np.split(values, ends[:-1])])
    with np.errstate(divide="ignore"):
        steps = np.rint(scales.STEPS * np.log2(means / np.abs(values).mean(dtype=np.float64)))
    clipped = np.clip(steps, -_WIDEST, _WIDEST).astype(np.int8)
    sent = Writer().blob(scales.encode_steps(clipped)).bytes()
    return Widths(_BY_TENSOR, sent, _by_tensor(clipped, shapes))


def _candidates(values: Floats, shapes: list[Shape]) -> Iterator[Scales]:
    """Row and column scales of the weights themselves, whatever they are quantised to."""
    magnitudes = np.abs(values)
    with np.errstate(divide="ignore"):
        octaves = np.log2(magnitudes / magnitudes.max())
    fine = np.clip(np.rint(255 + 8 * octaves), 0, 255).astype(np.uint8)
    energy = np.exp2((np.arange(256) - 255) / 4.0)
    energy[0] = 0.0
    estimator = Estimator(fine, energy, shapes)
    rows = sum(s.rows for s in shapes)
    if rows > 1:
        yield Scales(estimator.rows, scales.NO_COLUMNS, None)
    for mode in (scales.COLUMNS, scales.CHANNELS):
        if rows > len(shapes) and (mode == scales.COLUMNS or any(s.kernel > 1 for s in shapes)):
            columns = estimator.columns(mode)
            yield Scales(None, mode, columns)
            yield Scales(estimator.rows, mode, columns)


def _likelihood(values: Floats, levels: NDArray[np.uint8]) -> float:
    """Bits of the weights at their levels under the best Laplace prior, to a constant."""
    widths = np.exp2((np.arange(scales.LEVELS) - _MIDDLE) / scales.STEPS)
    counts = np.bincount(levels, minlength=scales.LEVELS)
    sums = np.bincount(levels, weights=np.abs(values), minlength=scales.LEVELS)
    mean = float((sums / widths).sum()) / values.size
    return values.size * float(np.log2(mean)) + float(counts @ np.log2(widths))


def _scaled_widths(values: Floats, shapes: list[Shape]) -> Widths:
    """The row and column scales that pay most, or none."""
    best = one_width(shapes)
    least = _likelihood(values, best.levels)
    for candidate in _candidates(values, shapes):
        levels = scales.all_levels(candidate, shapes)
        bits = _likelihood(values, levels) + scales.sent_bits(candidate)
        if bits < least:
            out = Writer()
            scales.write_scales(out, candidate)
            least, best = bits, Widths(candidate.flags, out.bytes(), levels)
    return best


def widths_of(values: Floats, shapes: list[Shape], kind: str) -> Widths:
    """How wide a prior is where that suits `values` (float32 [n]), by `kind`, one of WIDTHS."""
    if not values.any():
        return one_width(shapes)
    return _tensor_widths(values, shapes) if kind == "tensor" else _scaled_widths(values, shapes)


def _read_levels(source: Reader, kind: int, shapes: list[Shape]) -> NDArray[np.uint8]:
    """Raises FormatError."""
    if kind == _BY_TENSOR:
        return _by_tensor(scales.decode_steps(source.blob(), len(shapes)), shapes)
    return scales.all_levels(scales.read_scales(source, kind, shapes), shapes)


def _contexts(levels: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], list[int]]:
    """The levels that occur, numbered (uint8 [n]), and how much wider each is (in sixteenths of an octave).

    Level 0, eight octaves under the middle and more, counts as level 1: that leaves priors.CONTEXTS.
    """
    levels = np.maximum(levels, 1)
    used = np.flatnonzero(np.bincount(levels, minlength=scales.LEVELS)) if levels.size else np.array([_MIDDLE])
    numbers = np.zeros(scales.LEVELS, np.uint8)
    numbers[used] = np.arange(used.size)
    return numbers[levels], [_SIXTEENTHS * (int(u) - _MIDDLE) for u in used]


def write_under(out: Writer, multiples: Multiples, widths: Widths, prior: Prior) -> None:
    """`multiples` (int32 [n], magnitudes under priors.LIMIT) under a parametric prior."""
    contexts, offsets = _contexts(widths.levels)
    out.raw(bytes([widths.kind])).raw(widths.sent)
    prior.write(out)
    priors.write(out, multiples, contexts, [prior.moved(o) for o in offsets])


def write_counted(out: Writer, multiples: Multiples, widths: Widths) -> None:
    """The same under the counted distribution of each group of levels."""
    symbols, contexts = priors.symbols_of(multiples), widths.levels.copy()
    alphabet = int(symbols.max()) + 1
    counts = np.ascontiguousarray(_counts(symbols, contexts)[:, :alphabet])
    group_of, merged, _ = tables.merge_contexts(counts, MOST_CONTEXTS)
    scales.regroup(contexts, group_of)
    levels, scale = tables.levels_of(merged.astype(np.int64)), tables.scale_for(symbols.size)
    out.raw(bytes([widths.kind | _COUNTED])).raw(widths.sent).raw(bytes([alphabet - 1]))
    tables.write_borders(out, group_of, "u1")
    tables.write_tables(out, levels)
    out.blob(rans.encode(symbols, contexts, tables.frequencies_of(levels, scale), scale))
    priors.write_raw(out, multiples, symbols)


def _counts(symbols: NDArray[np.uint8], levels: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """uint32 [LEVELS, 256]: how often each symbol occurs at each level."""
    out = np.zeros((scales.LEVELS, rans.SYMBOLS), np.uint32)
    tables.count_pairs(levels, symbols, out.reshape(-1))
    return out


def read_multiples(source: Reader, shapes: list[Shape]) -> Multiples:
    """What `write_under` or `write_counted` wrote: int32 [n]. Raises FormatError."""
    kind = source.byte()
    levels = _read_levels(source, kind & ~_COUNTED, shapes)
    if kind & _COUNTED:
        return _read_counted(source, levels)
    prior = Prior.read(source)
    contexts, offsets = _contexts(levels)
    return priors.read(source, contexts, [prior.moved(o) for o in offsets])


def _read_counted(source: Reader, contexts: NDArray[np.uint8]) -> Multiples:
    """Raises FormatError."""
    alphabet, scale = source.byte() + 1, tables.scale_for(contexts.size)
    group_of, firsts = tables.read_borders(source, scales.LEVELS, MOST_CONTEXTS, "u1")
    frequencies = tables.frequencies_of(tables.read_tables(source, firsts.size, alphabet), scale)
    scales.regroup(contexts, group_of)
    symbols = rans.decode(source.blob(), contexts, frequencies, scale)
    return priors.read_raw(source, symbols)


def fitted(multiples: Multiples, widths: Widths, family: str) -> Prior:
    """The most likely prior of a family of prior_fit.py."""
    counts = _counts(priors.symbols_of(multiples), widths.levels)
    used = np.flatnonzero(counts.any(axis=1))
    return fit(counts[used].astype(np.int64), _SIXTEENTHS * (used - _MIDDLE), FAMILIES[family])


def encode_multiples(multiples: Multiples, widths: Widths, prior: str) -> bytes:
    """The shortest bytes under the best of `prior`, one of PRIORS; "auto" makes and measures all."""
    bodies, tried = [], set()
    for family in FAMILIES if prior == AUTO else (prior,) if prior != EMPIRICAL else ():
        chosen = fitted(multiples, widths, family)
        if chosen not in tried:
            tried.add(chosen)
            bodies.append(Writer())
            write_under(bodies[-1], multiples, widths, chosen)
    if prior in (AUTO, EMPIRICAL):
        bodies.append(Writer())
        write_counted(bodies[-1], multiples, widths)
    return min(bodies, key=len).bytes()


class UnderPrior(LossyCode):
    """A uniform quantiser at the largest step that holds the error, coded under `prior`, as wide as `scales` says."""

    id = "netweight.lossy.prior"

    def __init__(self, rel_mse: float = 0.01, prior: str = AUTO, scales: str = "rows-columns") -> None:
        """Raises ValueError unless `prior` is one of PRIORS and `scales` one of WIDTHS."""
        super().__init__(rel_mse)
        for what, given, known in (("prior", prior, PRIORS), ("scales", scales, WIDTHS)):
            if given not in known:
                raise ValueError(f"{what} is {given!r}; it must be one of {', '.join(known)}")
        self.prior, self.scales = prior, scales

    def config(self) -> dict[str, Any]:
        return super().config() | {"prior": self.prior, "scales": self.scales}

    def quantise(self, values: Floats, shapes: list[Shape], rel_mse: float) -> tuple[bytes, Floats] | None:
        step = np.nextafter(np.float32(step_for(values, rel_mse * squares(values))), np.float32(0))
        if not float(np.abs(values).max()) < _LARGEST * float(step) < np.inf:
            return None
        multiples = np.rint(values.astype(np.float64) / np.float64(step)).astype(np.int32)
        bodies = []
        for centre in _centres(multiples):
            moved = np.asarray(values - np.float32(centre * np.float64(step)))
            widths = widths_of(moved, shapes, self.scales)
            body = Writer().raw(step.astype("<f4").tobytes()).varint(zigzag(centre))
            bodies.append(body.raw(encode_multiples(multiples - np.int32(centre), widths, self.prior)).bytes())
        return min(bodies, key=len), restored_of(multiples, step)

    def restore(self, body: memoryview, shapes: list[Shape]) -> Floats:
        source = Reader(body, self.id)
        step = source.array(1, "<f4").astype(np.float32)[0]
        centre = from_zigzag(source.varint(limit=2 * _LARGEST))
        restored = restored_of(read_multiples(source, shapes) + np.int32(centre), step)
        source.end()
        if not bool(np.isfinite(restored).all()):
            raise FormatError(f"{self.id}: a weight that isn't finite")
        return restored


def _centres(multiples: Multiples) -> list[int]:
    """What the prior may be symmetric about: 0, and the median if that is far enough from 0 to matter."""
    median = int(np.median(multiples))
    return [0, median] if abs(median) > _LEAN * float(np.abs(multiples).mean(dtype=np.float64)) else [0]

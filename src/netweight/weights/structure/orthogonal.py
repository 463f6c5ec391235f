"""Orthogonal matrices, times a number: n (n - 1) / 2 angles of plane rotations instead of n^2 weights.

W = c G_1 G_2 ... G_m diag(1, ..., 1, +-1), with a rotation G for each weight under the diagonal, column by column
(Givens; Golub and Van Loan 2013, 5.1.8). A rotation keeps lengths, so that rounding every angle by a uniform
step puts the noise of a uniform quantiser of c / sqrt(n) times the weights' scale on every weight: dW / d angle has the Frobenius
norm sqrt(2) c wherever it stands, and (n - 1) / n of a weight's noise comes out. Of a matrix drawn evenly (Haar), the
k-th angle of a column has a density of cos^(k-1) between -1/4 and 1/4 of a turn (the first: even around the circle)
(Hurwitz 1897; Stewart 1980), nearly a normal one of variance 1/k: that is the prior.

parameters := flags(1: bit 0 reflected, bit 1 times a number) | [the number, float32] | step (varint, as of numbers.py)
              | message of message.py to the end: angles in cells of the step
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numba import njit

from ...errors import FormatError
from ...wire import Reader, Writer, from_zigzag, zigzag
from .cores import TooFineError
from .elementary import cos_sin_of_turns
from .labels import Ints
from .message import fits, pack_cells, unpack_cells
from .model import Floats, Found, Layout, Matrix, Tolerance, Wide, found_if_it_pays
from .numbers import step_number, step_of

NAME = "orthogonal"
_LARGEST: Final = 1024
_REFLECTED, _SCALED = 1, 2
_ROWS_TESTED: Final = 24
_CLEARLY: Final = 0.35  # of the energy: no orthogonal matrix is so far from the weights
_TURN: Final = 2 * math.pi
_WIDE: Final = 0.29  # of a turn: the standard deviation of an even angle
_FARTHEST: Final = 4000


@njit(nogil=True, cache=True)
def _eliminate(w, step, cells):  # type: ignore[no-untyped-def]
    """Rotate w [n, n] (transposed: its columns are rows) to a diagonal with angles that are whole cells of `step` radians.

    What rounding leaves is in the angles that follow, as far as they can mend it. For the encoder alone: it may use libm.
    """
    n, k = w.shape[0], 0
    for j in range(n - 1):
        for i in range(j + 1, n):
            angle = math.atan2(w[j, i], w[j, j])
            cells[k] = np.rint(angle / step)
            c, s = math.cos(cells[k] * step), math.sin(cells[k] * step)
            for t in range(j, n):
                a, b = w[t, j], w[t, i]
                w[t, j] = c * a + s * b
                w[t, i] = c * b - s * a
            k += 1


@njit(nogil=True, cache=True)
def _build(w, cosines, sines):  # type: ignore[no-untyped-def]
    """The inverse, from the last rotation to the first; w [n, n] is the transpose of what comes out."""
    n, k = w.shape[0], cosines.size
    for j in range(n - 2, -1, -1):
        for i in range(n - 1, j, -1):
            k -= 1
            c, s = cosines[k], sines[k]
            for t in range(j, n):
                a, b = w[t, j], w[t, i]
                w[t, j] = c * a - s * b
                w[t, i] = c * b + s * a


def _deviations(n: int) -> Wide:
    """Standard deviation of each angle under the prior, in radians."""
    column = np.concatenate([[_WIDE * _TURN], 1 / np.sqrt(np.arange(2, n + 1))])
    return np.concatenate([column[: n - 1 - j] for j in range(n - 1)]) if n > 1 else np.zeros(0)


def _widths(n: int, step: float) -> Ints:
    cells = _deviations(n) / step
    return np.clip(cells * 2.0**16, 2.0**12, 2.0**35).astype(np.int64)


def detect(matrix: Matrix, tolerance: Tolerance) -> Found | None:
    """The nearest multiple of an orthogonal matrix (Higham 1989: of W = U S V^T it is mean(S) U V^T)."""
    layout = matrix.layout
    n = layout.rows
    if n != layout.columns or not 2 <= n <= _LARGEST:
        return None
    sample = matrix.wide[:: max(1, n // _ROWS_TESTED)]
    gram = sample @ sample.T
    own = float(np.trace(gram)) ** 2 / len(sample)
    if float(np.square(gram).sum()) - own > 2 * _CLEARLY * own:
        return None
    u, s, vt = np.linalg.svd(matrix.wide)
    scale = float(s.mean())
    if abs(scale - 1) < max(math.sqrt(tolerance.noise / n), 1e-6 if not tolerance.lossless else 1e-7):
        scale = 1.0
    noise = float(np.square(s - scale).sum()) / n**2
    reflected = bool(np.linalg.det(u @ vt) < 0)
    found = Found(
        _text(u @ vt, scale, reflected), noise, n * (n - 1) // 2, 40.0 if scale != 1.0 else 8.0,
        lambda step: _code(u @ vt, scale, reflected, step),
    )  # fmt: skip
    return found_if_it_pays(matrix, tolerance, found)


def _text(rotation: Wide, scale: float, reflected: bool) -> str:
    times = "" if scale == 1.0 else f", times {scale:.6g}"
    n = len(rotation)
    if n > 2 or reflected:
        kind = "reflection" if reflected else "rotation"
        return f"{kind} in {n} dimensions: {n * (n - 1) // 2} angles{times}"
    turns = math.atan2(rotation[1, 0], rotation[0, 0]) / _TURN % 1.0
    return f"rotation by {360 * turns:.4g} degrees{times}"


def _code(rotation: Wide, scale: float, reflected: bool, step: float) -> bytes:
    if not step:
        raise TooFineError
    number = step_number(step / scale)
    angle = step_of(number)
    cells = np.empty(len(rotation) * (len(rotation) - 1) // 2)
    _eliminate(np.ascontiguousarray(rotation.T), angle, cells)
    if not fits(cells) or abs(number) > _FARTHEST:
        raise TooFineError
    out = Writer().raw(bytes([_REFLECTED * reflected | _SCALED * (scale != 1.0)]))
    if scale != 1.0:
        out.raw(np.array([scale], np.float32).view(np.uint8))
    out.varint(int(zigzag(number)))
    return out.raw(pack_cells(cells.astype(np.int64), _widths(len(rotation), angle))).bytes()


def restore(source: Reader, layout: Layout) -> Floats:
    """float32 [n, n]. Raises FormatError."""
    n, flags = layout.rows, source.byte()
    if n != layout.columns or not 2 <= n <= _LARGEST or flags > (_REFLECTED | _SCALED):
        raise FormatError(f"orthogonal structure of {layout.shape}, flags {flags}")
    scale = float(source.array(1, "<f4")[0]) if flags & _SCALED else 1.0
    step = step_of(int(from_zigzag(source.varint(limit=2 * _FARTHEST))))
    if not math.isfinite(scale):
        raise FormatError("orthogonal structure: times a number that isn't finite")
    cells = unpack_cells(source.raw(source.remaining), n * (n - 1) // 2, _widths(n, step))
    turns: Wide = cells.astype(np.float64) * (step / _TURN)
    if not bool((np.abs(turns) < 2.0**30).all()):
        raise FormatError("orthogonal structure: impossible angles")
    w = np.eye(n)
    w[n - 1, n - 1] = -1.0 if flags & _REFLECTED else 1.0
    _build(w, *cos_sin_of_turns(turns))
    return np.ascontiguousarray((w.T * scale).astype(np.float32))

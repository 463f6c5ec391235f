"""The loops of training that BLAS doesn't have: sines with cosines, and the sums behind the separable first layer.

Only the encoder runs these, so floats, and fused multiply-adds, will do.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit

F32 = np.float32
_INVERSE: Final = F32(0.15915494309189535)  # 1 / (2 pi)
_TURN: Final = F32(6.283185307179586)
_ROUND: Final = F32(12582912.0)  # 1.5 * 2^23: adding and subtracting it rounds to a whole number
# least squares on [-pi, pi], errors below 1e-7 and 8e-7
_S = tuple(F32(c) for c in (0.9999996, -0.16666553, 0.008332403, -0.00019808633, 2.6997146e-06, -2.0362245e-08))
_C = tuple(F32(c) for c in (0.99999921, -0.49999421, 0.041659778, -0.001385879, 2.4202941e-05, -2.1972964e-07))
_S0, _S1, _S2, _S3, _S4, _S5 = _S
_C0, _C1, _C2, _C3, _C4, _C5 = _C

kernel: Any = njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})


@kernel
def sincos(phase, bias, sine, cosine):  # type: ignore[no-untyped-def]
    """Sines and cosines of phase[j, i] + bias[j, 0] (float32, radians)."""
    for j in range(phase.shape[0]):
        b = bias[j, 0]
        for i in range(phase.shape[1]):
            t = (phase[j, i] + b) * _INVERSE
            x = (t - ((t + _ROUND) - _ROUND)) * _TURN
            y = x * x
            sine[j, i] = x * (_S0 + y * (_S1 + y * (_S2 + y * (_S3 + y * (_S4 + y * _S5)))))
            cosine[j, i] = _C0 + y * (_C1 + y * (_C2 + y * (_C3 + y * (_C4 + y * _C5))))


@kernel
def outer_sum(columns, rows, out):  # type: ignore[no-untyped-def]
    """out[j, r * W + c] = columns[j, c] + rows[j, r]."""
    n = columns.shape[1]
    for j in range(columns.shape[0]):
        for r in range(rows.shape[1]):
            b, at = rows[j, r], r * n
            for i in range(n):
                out[j, at + i] = columns[j, i] + b


@kernel
def outer_gradients(delta, by_column, by_row):  # type: ignore[no-untyped-def]
    """The transpose of `outer_sum`: delta [width, R * W] is added to by_column [width, W], its rows' sums to by_row [width, R]."""
    n = by_column.shape[1]
    for j in range(delta.shape[0]):
        for r in range(by_row.shape[1]):
            at, total = r * n, F32(0)
            for i in range(n):
                by_column[j, i] += delta[j, at + i]
            for i in range(n):
                total += delta[j, at + i]
            by_row[j, r] += total

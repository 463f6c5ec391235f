"""Products of integer activations with integer weights: the same sums by every kernel.

Activations are 15-bit integers, weights 8-bit ones. A matrix knows how large its activations may be (`limit`), so that
no sum, of whatever terms in whatever order, leaves 32 bits.

    torch    two int8 products (high and low seven bits) by oneDNN: 5 to 8 times the others on a processor with VNNI
    numba    int16 dot products
    numpy    float64 BLAS: integers below 2^53 are exact
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ..._lazy import required
from ...errors import InputError, MissingExtraError, UnsupportedError

LOW_BITS: Final = 7
MAX_LEVEL: Final = 127 << LOW_BITS | 63
"""The greatest activation: its high part is at most 127."""
_INT32: Final = (1 << 31) - 1
_TILE: Final = 1 << 20

Int16 = NDArray[np.int16]
Int32 = NDArray[np.int32]
Over = Callable[[Callable[[slice], None], int], None]


@dataclass(frozen=True, slots=True)
class Matrix:
    """int8 [m, k] with float64 [m]: row j of the weights is values[j] x scales[j]. |activations| are at most `limit`."""

    values: NDArray[np.int8]
    scales: NDArray[np.float64]
    limit: int

    @classmethod
    def of(cls, values: NDArray[np.int8], scales: NDArray[np.float64]) -> Matrix:
        """The matrix, with its limit from the largest sum of |values| in a row. Raises UnsupportedError if that is none."""
        largest = int(_largest_row(values)) if values.size else 0
        limit = min(MAX_LEVEL, _INT32 // max(largest, 1))
        if limit < 255:
            raise UnsupportedError(f"rows of {values.shape[1]} weights are too long to be summed in 32 bits")
        assert limit * largest <= _INT32
        return cls(values, scales, limit)


class Linear(Protocol):
    """`apply(x, matrix, over)`: int16 [n, k], within the matrix's limit, times its transpose: int32 [n, m], exactly.

    `over(function, count)` calls a function for slices of 0..count, perhaps on several threads.
    """

    name: str
    torch: Any
    """The module, if the kernel uses it."""

    def apply(self, x: Int16, matrix: Matrix, over: Over) -> Int32: ...


@njit(nogil=True, cache=True)
def _largest_row(values):  # type: ignore[no-untyped-def]
    largest = np.int32(0)
    for j in range(values.shape[0]):
        total = np.int32(0)
        for i in range(values.shape[1]):
            total = np.int32(total + abs(np.int32(values[j, i])))
        largest = max(largest, total)
    return largest


@njit(nogil=True, cache=True)
def _dot_products(x, values, out):  # type: ignore[no-untyped-def]
    """out[r, j] = sum of x[r] * values[j]; the compiler makes multiply-add instructions of it."""
    n, k = x.shape
    for j in range(values.shape[0]):
        for r in range(n):
            total = np.int32(0)
            for i in range(k):
                total = np.int32(total + np.int32(x[r, i]) * np.int32(values[j, i]))
            out[r, j] = total


class NumbaLinear:
    name = "numba"
    torch = None

    def apply(self, x: Int16, matrix: Matrix, over: Over) -> Int32:
        out = np.empty((len(x), len(matrix.values)), np.int32)
        over(lambda part: _dot_products(x, matrix.values[part], out[:, part]), len(matrix.values))
        return out


class NumpyLinear:
    name = "numpy"
    torch = None

    def apply(self, x: Int16, matrix: Matrix, over: Over) -> Int32:
        out = np.empty((len(x), len(matrix.values)), np.int32)
        wide = x.astype(np.float64)

        def product(part: slice) -> None:
            step = max(1, _TILE // x.shape[1])
            for at in range(part.start, part.stop, step):
                rows = slice(at, min(at + step, part.stop))
                out[:, rows] = wide @ matrix.values[rows].astype(np.float64).T

        over(product, len(matrix.values))
        return out


class TorchLinear:
    """oneDNN's int8 product; few rows go to the numba kernel, which is as fast. Raises MissingExtraError, InputError."""

    name = "torch"
    _FEW: Final = 3

    def __init__(self) -> None:
        self.torch = required("torch", "torch")
        self._small = NumbaLinear()
        if not self._is_exact():
            raise InputError("this processor or build of torch has no exact int8 product; use another kernel")

    def _is_exact(self) -> bool:
        """Old processors sum pairs of int8 products in saturated 16 bits: try the greatest ones."""
        torch = self.torch
        if not hasattr(torch, "_int_mm"):
            return False
        for n, k in ((8, 576), (64, 640), (300, 1536)):
            a = torch.full((n, k), 127, dtype=torch.int8)
            b = torch.full((96, k), -127, dtype=torch.int8)
            b[::2] = 127
            product = torch._int_mm(a, b.t())  # noqa: SLF001  torch has no public name for it
            if not bool((product[:, ::2] == 127 * 127 * k).all() and (product[:, 1::2] == -127 * 127 * k).all()):
                return False
        return True

    def apply(self, x: Int16, matrix: Matrix, over: Over) -> Int32:
        if len(x) <= self._FEW:
            return self._small.apply(x, matrix, over)
        torch, n = self.torch, len(x)
        parts = np.empty((2 * n, x.shape[1]), np.int8)
        _split(x, parts)
        weights = torch.from_numpy(matrix.values)
        both = torch._int_mm(torch.from_numpy(parts), weights.t())  # noqa: SLF001
        joined: Int32 = torch.add(both[n:], both[:n], alpha=1 << LOW_BITS).numpy()
        return joined


@njit(nogil=True, cache=True)
def _split(x, parts):  # type: ignore[no-untyped-def]
    """Rows x = high * 128 + low: first all high parts, then all low parts (-64..63)."""
    n, k = x.shape
    for r in range(n):
        for i in range(k):
            high = (np.int32(x[r, i]) + 64) >> LOW_BITS
            parts[r, i] = high
            parts[n + r, i] = np.int32(x[r, i]) - (high << LOW_BITS)


def choose(kernel: str) -> Linear:
    """The kernel of that name; "auto" is torch where it is installed and exact, else numba. Raises InputError."""
    kinds: dict[str, type[Linear]] = {"torch": TorchLinear, "numba": NumbaLinear, "numpy": NumpyLinear}
    if kernel == "auto":
        try:
            return TorchLinear()
        except (MissingExtraError, InputError):
            return NumbaLinear()
    if kernel not in kinds:
        raise InputError(f"no kernel {kernel!r}: choose one of {', '.join(('auto', *kinds))}")
    return kinds[kernel]()

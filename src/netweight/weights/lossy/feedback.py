"""What the error of one input's weights asks of the later inputs' weights: the factors of an input's second moments.

With inputs X [samples, in] and H = X^T X, an error E of a weight [out, in] changes the outputs by tr(E H E^T) in
squared norm. H = U^-1 D U^-T with U upper triangular and of unit diagonal turns that into sum_j D_j |e_j|^2, where
e_j is what is left in column j after the earlier columns' errors were passed on by U: error feedback, as in GPTQ (Frantar
et al. 2022, arXiv:2210.17323), which is LDLQ (Chee et al. 2023, arXiv:2307.13304).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

DAMPING: Final = 1e-2  # of the mean diagonal, as in GPTQ: what few samples haven't shown isn't free
_DEAREST: Final = 64.0


@dataclass(frozen=True)
class Feedback:
    """`passed` (float32 [in, in], upper triangular): column i loses passed[j, i] times the error of column j < i.

    `dear` (float64 [in]) is D over its geometric mean `level`: how much an error of each column matters.
    """

    passed: NDArray[np.float32]
    dear: NDArray[np.float64]
    level: float

    @property
    def nbytes(self) -> int:
        return self.passed.nbytes + self.dear.nbytes


def feedback_of(moments: NDArray[Any], damping: float = DAMPING) -> Feedback | None:
    """The factors of H (float [in, in], symmetric, finite) + damping x its mean diagonal; None if H is no such matrix
    of second moments: it is all zero, or has a clearly negative eigenvalue.
    """
    wide = np.asarray(moments, np.float64)
    mean = float(np.trace(wide)) / max(len(wide), 1)
    if not mean > 0:
        return None
    damped = (wide + wide.T) * (0.5 / mean) + damping * np.eye(len(wide))
    try:
        lower = np.linalg.cholesky(np.linalg.inv(damped))
    except np.linalg.LinAlgError:
        return None
    diagonal = np.diagonal(lower).copy()
    dear = mean / np.square(diagonal)
    level = float(np.exp(np.log(dear).mean()))
    passed = np.ascontiguousarray((lower / diagonal).T, np.float32)
    return Feedback(passed, np.clip(dear / level, 1 / _DEAREST, _DEAREST), level)


def output_error(error: NDArray[Any], moments: NDArray[Any]) -> float:
    """tr(E H E^T) of E [rows, in] and H [in, in], in float64 of float32 products."""
    product = np.asarray(error, np.float32) @ np.asarray(moments, np.float32)
    return float(np.einsum("ij,ij->", product, error, dtype=np.float64))

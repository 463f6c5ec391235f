"""Adam (Kingma and Ba 2015, arXiv 1412.6980, algorithm 1)."""

from __future__ import annotations

from typing import Final

import numpy as np

from .network import Parameters

_EPSILON: Final = np.float32(1e-12)


class Adam:
    """Keeps the moments of one list of parameters."""

    def __init__(self, params: Parameters, beta1: float = 0.9, beta2: float = 0.99) -> None:
        self._mean = [np.zeros_like(p) for p in params]
        self._square = [np.zeros_like(p) for p in params]
        self._beta1, self._beta2, self._steps = beta1, beta2, 0

    def step(self, params: Parameters, gradients: Parameters, rate: float) -> None:
        """Move the parameters, in place, by about `rate` each."""
        self._steps += 1
        a, b = 1 - self._beta1**self._steps, 1 - self._beta2**self._steps
        for p, g, mean, square in zip(params, gradients, self._mean, self._square, strict=True):
            mean += np.float32(1 - self._beta1) * (g - mean)
            square += np.float32(1 - self._beta2) * (g * g - square)
            p -= np.float32(rate / a) * mean / (np.sqrt(square / np.float32(b)) + _EPSILON)

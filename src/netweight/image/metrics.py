"""How near a decoded picture is to its original: PSNR and MS-SSIM, measured on the decoded 8-bit pixels."""

from __future__ import annotations

from math import inf, log10
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError

Pixels = NDArray[np.uint8]
_Plane = NDArray[np.float64]

_WEIGHTS: Final = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_TAPS: Final = 11
_SIGMA: Final = 1.5
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def _checked(original: Pixels, decoded: Pixels) -> None:
    """Raises InputError for what can't be compared."""
    if original.shape != decoded.shape or original.dtype != np.uint8 or decoded.dtype != np.uint8 or not original.size:
        raise InputError(
            f"pictures to compare must be uint8 of one shape, not {original.dtype} {list(original.shape)} and "
            f"{decoded.dtype} {list(decoded.shape)}"
        )


def psnr(original: Pixels, decoded: Pixels) -> float:
    """10 log10(255^2 / MSE) in dB over all pixels and channels; infinite for equal pictures. Raises InputError."""
    _checked(original, decoded)
    error = float(np.square(original.astype(np.float64) - decoded).mean())
    return 10 * log10(255**2 / error) if error else inf


def ms_ssim(original: Pixels, decoded: Pixels) -> float:
    """Multi-scale structural similarity in [0, 1], the mean over the channels (uint8 [H, W] or [H, W, channels]).

    Wang, Simoncelli and Bovik 2003 (equation 7): a Gaussian window of 11 taps and deviation 1.5, five scales halved by
    averaging 2 x 2 pixels, contrast and structure at each, luminance at the last. A picture whose shorter side is below
    176 has room for fewer scales: their weights are scaled to the same sum. Raises InputError below 11 pixels.
    """
    _checked(original, decoded)
    shorter = min(original.shape[:2])
    if shorter < _TAPS:
        raise InputError(f"MS-SSIM needs at least {_TAPS} pixels each way, not {shorter}")
    scales = max(k for k in range(1, len(_WEIGHTS) + 1) if shorter >> (k - 1) >= _TAPS)
    weights = np.array(_WEIGHTS[:scales]) / sum(_WEIGHTS[:scales])
    pairs = zip(_planes(original), _planes(decoded), strict=True)
    return float(np.mean([_plane_similarity(x, y, weights) for x, y in pairs]))


def _planes(pixels: Pixels) -> list[_Plane]:
    stacked = pixels.reshape(*pixels.shape[:2], -1).astype(np.float64)
    return [stacked[..., k] for k in range(stacked.shape[2])]


def _plane_similarity(x: _Plane, y: _Plane, weights: NDArray[np.float64]) -> float:
    product = 1.0
    for k, weight in enumerate(weights):
        luminance, structure = _similarities(x, y)
        value = structure * luminance if k == len(weights) - 1 else structure
        product *= max(float(value.mean()), 0.0) ** float(weight)
        x, y = _halved(x), _halved(y)
    return product


def _similarities(x: _Plane, y: _Plane) -> tuple[_Plane, _Plane]:
    """(luminance, contrast times structure) of each window."""
    mean_x, mean_y = _blurred(x), _blurred(y)
    var_x, var_y = _blurred(x * x) - mean_x**2, _blurred(y * y) - mean_y**2
    covariance = _blurred(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + _C1) / (mean_x**2 + mean_y**2 + _C1)
    return luminance, (2 * covariance + _C2) / (var_x + var_y + _C2)


def _blurred(plane: _Plane) -> _Plane:
    """Gaussian means of all whole windows."""
    offsets = np.arange(_TAPS) - _TAPS // 2
    taps = np.exp(-(offsets**2) / (2 * _SIGMA**2))
    taps /= taps.sum()
    rows = plane.shape[0] - _TAPS + 1
    down = sum((taps[k] * plane[k : k + rows] for k in range(_TAPS)), np.zeros((rows, plane.shape[1])))
    columns = plane.shape[1] - _TAPS + 1
    return sum((taps[k] * down[:, k : k + columns] for k in range(_TAPS)), np.zeros((rows, columns)))


def _halved(plane: _Plane) -> _Plane:
    """Means of 2 x 2 pixels; an odd last row or column is left out."""
    even = plane[: plane.shape[0] // 2 * 2, : plane.shape[1] // 2 * 2]
    return (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / 4

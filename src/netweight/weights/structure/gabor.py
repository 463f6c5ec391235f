"""Gabor filters: a wave under a Gaussian window, as first layers of vision networks have them.

    w[y, x] = exp(-(u^2 + v^2) / 2) cos(2 pi t),  u = (x' cos a + y' sin a) / s1,  v = (y' cos a - x' sin a) / s2,
    t = f (x' cos a + y' sin a) + p,  x' = x - x0,  y' = y - y0     (Daugman 1985; lengths in kernel widths)

A filter is one such image times a number for each input channel. Seven parameters and those numbers are found by the method of
Levenberg and Marquardt from the peak of the filter's spectrum.

parameters := 7 numbers a filter [7, rows] | amplitudes [rows, inner]    (numbers)
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from ...errors import FormatError
from ...wire import Reader, Writer
from .cores import read_core, write_core
from .elementary import cos_sin_of_turns, exp
from .model import Floats, Found, Layout, Matrix, Tolerance, Wide, found_if_it_pays, saving

NAME = "Gabor"
_FIXED: Final = 7  # of a filter: angle a (turns), frequency f, phase p (turns), log2 of s1 and s2, x0, y0
_SMALLEST: Final = 5  # kernels of fewer pixels a side have hardly more weights than a filter has parameters
_ROUNDS: Final = 30
_PADDED: Final = 32
_HOPE: Final = 0.5
_PROBED: Final = 16
_RANGE: Final = 64.0


def _is_size(layout: Layout) -> bool:
    return len(layout.kernel) == 2 and min(layout.kernel) >= _SMALLEST and layout.rows >= 1


def _images(parameters: Wide, kernel: tuple[int, ...]) -> Wide:
    """Images [rows, pixels] of parameters [7, rows]; in fixed-order arithmetic: what the receiver computes."""
    height, width = kernel
    y, x = (g.reshape(1, -1) for g in np.mgrid[:height, :width].astype(np.float64))
    scale = 1.0 / max(height, width)
    angle, frequency, phase, log1, log2, x0, y0 = (p[:, None] for p in parameters)
    dx, dy = x * scale - x0, y * scale - y0
    c, s = cos_sin_of_turns(angle)
    along, across = dx * c + dy * s, dy * c - dx * s
    u, v = along * exp(-log1 * math.log(2)), across * exp(-log2 * math.log(2))
    wave = cos_sin_of_turns(frequency * along + phase)[0]
    return exp((u * u + v * v) * -0.5) * wave


def _amplitudes(images: Wide, filters: Wide) -> Wide:
    """Least-squares numbers [rows, inner] of filters [rows, inner, pixels]."""
    norms = np.maximum(np.square(images).sum(axis=1), 1e-12)
    return np.asarray(np.einsum("rip,rp->ri", filters, images) / norms[:, None])


def _left(parameters: Wide, filters: Wide, kernel: tuple[int, ...]) -> tuple[Wide, Wide]:
    """(what is left of filters [rows, inner * pixels], its energy [rows])."""
    images = _images(parameters, kernel)
    rest = filters - _amplitudes(images, filters)[:, :, None] * images[:, None, :]
    flat = rest.reshape(len(filters), -1)
    return flat, np.square(flat).sum(axis=1)


def _starts(filters: Wide, kernel: tuple[int, ...]) -> list[Wide]:
    """Parameters [7, rows] from the strongest frequency of each filter, with windows of two widths."""
    height, width = kernel
    rows = len(filters)
    planes = filters.reshape(rows, -1, height, width)
    spectra = np.abs(np.fft.fft2(planes, s=(_PADDED, _PADDED))).sum(axis=1).reshape(rows, -1)
    fy, fx = (g.reshape(-1) for g in np.meshgrid(np.fft.fftfreq(_PADDED), np.fft.fftfreq(_PADDED), indexing="ij"))
    peak = spectra.argmax(axis=1)
    largest = max(height, width)
    energy = np.square(planes).sum(axis=1)
    total = np.maximum(energy.sum(axis=(1, 2)), 1e-300)
    y0 = (energy.sum(axis=2) @ np.arange(height)) / total / largest
    x0 = (energy.sum(axis=1) @ np.arange(width)) / total / largest
    angle = np.arctan2(fy[peak], fx[peak]) / (2 * math.pi)
    frequency = np.hypot(fx[peak], fy[peak]) * largest
    one = np.ones(rows)
    settings = [(phase, math.log2(window)) for window in (0.18, 0.35) for phase in (0.0, 0.25)]
    return [np.stack([angle, frequency, phase * one, log * one, log * one, x0, y0]) for phase, log in settings]


def _refine(parameters: Wide, filters: Wide, kernel: tuple[int, ...]) -> tuple[Wide, Wide]:
    """(parameters, energy left [rows]) after a few damped Gauss-Newton steps, all filters at once."""
    rest, energy = _left(parameters, filters, kernel)
    damping = np.full(len(filters), 1e-2)
    for _ in range(_ROUNDS):
        slopes = np.stack([_slope(parameters, filters, kernel, k, rest) for k in range(_FIXED)], axis=1)
        normal = slopes @ slopes.transpose(0, 2, 1)
        diagonal = np.einsum("rkk->rk", normal) + 1e-12
        damped = normal + damping[:, None, None] * np.einsum("rk,kl->rkl", diagonal, np.eye(_FIXED))
        move = np.linalg.solve(damped + 1e-12 * np.eye(_FIXED), (slopes @ rest[:, :, None]))[:, :, 0]
        tried = np.clip(parameters - move.T, -_RANGE / 8, _RANGE / 8)
        new_rest, new_energy = _left(tried, filters, kernel)
        better = new_energy < energy
        parameters = np.where(better, tried, parameters)
        rest, energy = np.where(better[:, None], new_rest, rest), np.where(better, new_energy, energy)
        damping = np.clip(np.where(better, damping / 4, damping * 5), 1e-9, 1e6)
    return parameters, energy


def _slope(parameters: Wide, filters: Wide, kernel: tuple[int, ...], k: int, rest: Wide) -> Wide:
    moved = parameters.copy()
    moved[k] += 1e-6
    return (_left(moved, filters, kernel)[0] - rest) / 1e-6


def _fit(filters: Wide, kernel: tuple[int, ...]) -> tuple[Wide, Wide]:
    """(parameters [7, rows], energy left [rows]): the best of several starts."""
    best, least = np.zeros((_FIXED, len(filters))), np.full(len(filters), np.inf)
    for start in _starts(filters, kernel):
        parameters, energy = _refine(start, filters, kernel)
        better = energy < least
        best, least = np.where(better, parameters, best), np.where(better, energy, least)
    return best, least


def detect(matrix: Matrix, tolerance: Tolerance) -> Found | None:
    """A Gabor filter for each row, if it does well on some."""
    layout = matrix.layout
    if not _is_size(layout):
        return None
    numbers = layout.rows * (_FIXED + layout.inner)
    if saving(matrix, tolerance, 0.0, numbers, 32.0) <= 0:
        return None
    filters = matrix.wide.reshape(layout.rows, layout.inner, -1)
    some = filters[:: max(1, layout.rows // _PROBED)]
    if float(_fit(some, layout.kernel)[1].sum()) > _HOPE * float(np.square(some).sum()):
        return None
    parameters, left = _fit(filters, layout.kernel)
    amplitudes = _amplitudes(_images(parameters, layout.kernel), filters)
    found = Found(
        f"Gabor filters: {_FIXED} parameters each, and {layout.inner} amplitudes", float(left.sum()) / layout.count,
        numbers, 32.0, lambda step: _code(parameters, amplitudes, layout, step),
    )  # fmt: skip
    return found_if_it_pays(matrix, tolerance, found)


def _code(parameters: Wide, amplitudes: Wide, layout: Layout, step: float) -> bytes:
    """Parameters are of order 1 and felt by about the size of the weights, times 2 pi for what turns the wave."""
    out = Writer()
    size = math.sqrt(float(np.square(amplitudes).sum()) / layout.rows) / math.sqrt(layout.columns / layout.inner)
    share = math.sqrt(layout.columns / (_FIXED + layout.inner))
    write_core(out, parameters, (_FIXED, layout.rows), step / (size or 1.0) / 6, layout)
    write_core(out, amplitudes, amplitudes.shape, step * share / 2, layout)
    return out.bytes()


def restore(source: Reader, layout: Layout) -> Floats:
    """float32 [rows, columns]. Raises FormatError."""
    if not _is_size(layout):
        raise FormatError(f"Gabor filters of {layout.shape}")
    parameters = read_core(source, (_FIXED, layout.rows), layout).astype(np.float64)
    if not bool((np.abs(parameters) <= _RANGE).all()):
        raise FormatError("Gabor filters: impossible parameters")
    amplitudes = read_core(source, (layout.rows, layout.inner), layout).astype(np.float64)
    images = _images(parameters, layout.kernel)
    out = amplitudes[:, :, None] * images[:, None, :]
    return np.ascontiguousarray(out.reshape(layout.rows, layout.columns).astype(np.float32))

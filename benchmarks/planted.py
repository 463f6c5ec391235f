"""Matrices with a structure planted in them, and noise: what detectors are to find."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Wide = NDArray[np.float64]
Rng = np.random.Generator


def constant(n: int, rng: Rng) -> Wide:
    """Each row one number."""
    return np.repeat(rng.normal(size=(n, 1)), n, axis=1)


def dead(n: int, rng: Rng) -> Wide:
    """A half of all rows and of all columns are zero."""
    out = rng.normal(size=(n, n))
    out[rng.permutation(n)[: n // 2]] = 0
    out[:, rng.permutation(n)[: n // 2]] = 0
    return out


def _copied(n: int, rng: Rng, change: Callable[[Wide], Wide]) -> Wide:
    """The lower half is a change of the upper half in another order."""
    out = rng.normal(size=(n, n))
    out[n // 2 :] = change(out[: n // 2])[rng.permutation(n // 2)]
    return out


def duplicates(n: int, rng: Rng) -> Wide:
    return _copied(n, rng, lambda rows: rows)


def negated(n: int, rng: Rng) -> Wide:
    return _copied(n, rng, lambda rows: -rows)


def scaled(n: int, rng: Rng) -> Wide:
    return _copied(n, rng, lambda rows: rows * rng.uniform(0.5, 2, size=(n // 2, 1)))


def shifted(n: int, rng: Rng) -> Wide:
    return _copied(
        n, rng, lambda rows: np.stack([np.roll(r, k) for r, k in zip(rows, rng.integers(1, n, n // 2), strict=True)])
    )


def _filters(n: int, rng: Rng, change: Callable[[Wide], Wide]) -> Wide:
    """n filters of 3 x 5 x 5, of which half are changed others."""
    out = rng.normal(size=(n, 3, 5, 5))
    out[n // 2 :] = change(out[: n // 2])
    return out


def flipped_filters(n: int, rng: Rng) -> Wide:
    return _filters(n, rng, lambda filters: filters[..., ::-1])


def turned_filters(n: int, rng: Rng) -> Wide:
    return _filters(n, rng, lambda filters: np.rot90(filters, axes=(2, 3)))


def orthogonal(n: int, rng: Rng) -> Wide:
    q, r = np.linalg.qr(rng.normal(size=(n, n)))
    return np.asarray(q * np.sign(np.diag(r)))


def block_diagonal(n: int, rng: Rng) -> Wide:
    """Four blocks, rows and columns in another order."""
    out, k = np.zeros((n, n)), n // 4
    for i in range(4):
        out[i * k : i * k + k, i * k : i * k + k] = rng.normal(size=(k, k))
    return out[rng.permutation(n)][:, rng.permutation(n)]


def circulant(n: int, rng: Rng) -> Wide:
    numbers = rng.normal(size=n)
    return np.stack([np.roll(numbers, k) for k in range(n)])


def toeplitz(n: int, rng: Rng) -> Wide:
    numbers = rng.normal(size=2 * n - 1)
    return np.stack([numbers[n - 1 - k : 2 * n - 1 - k] for k in range(n)])


def kronecker(n: int, rng: Rng) -> Wide:
    return np.kron(rng.normal(size=(8, 8)), rng.normal(size=(n // 8, n // 8)))


def hadamard(n: int, rng: Rng) -> Wide:
    """Sylvester's, its rows negated at random."""
    out = np.ones((1, 1))
    while len(out) < n:
        out = np.block([[out, out], [out, -out]])
    return np.asarray(out * rng.choice([-1.0, 1.0], size=(n, 1)))


def butterfly(n: int, rng: Rng) -> Wide:
    if n == 1:
        return rng.normal(size=(1, 1))
    d = rng.normal(size=(4, n // 2, 1))
    p, q = butterfly(n // 2, rng), butterfly(n // 2, rng)
    return np.block([[d[0] * p, d[1] * q], [d[2] * p, d[3] * q]])


def fourier(n: int, rng: Rng) -> Wide:
    """Embeddings of 113 tokens in n dimensions, of five frequencies: as networks for modular addition have them."""
    angles = 2 * np.pi * np.arange(113)[:, None] * rng.permutation(np.arange(1, 57))[:5] / 113
    return np.concatenate([np.cos(angles), np.sin(angles)], axis=1) @ rng.normal(size=(10, n))


def cosines(n: int, rng: Rng) -> Wide:
    """One in 20 coefficients of the two-dimensional cosine transform."""
    k, t = np.arange(n)[:, None], np.arange(n)[None, :]
    basis = np.cos(np.pi * k * (2 * t + 1) / (2 * n)) * np.sqrt(2 / n)
    basis[0] /= np.sqrt(2)
    return np.asarray(basis.T @ (rng.normal(size=(n, n)) * (rng.random((n, n)) < 0.05)) @ basis)


def low_rank(n: int, rng: Rng) -> Wide:
    return np.asarray(rng.normal(size=(n, 3)) @ rng.normal(size=(3, n)))


def low_rank_and_sparse(n: int, rng: Rng) -> Wide:
    sparse = (rng.random((n, n)) < 0.01) * rng.choice([-20.0, 20.0], size=(n, n))
    return low_rank(n, rng) + sparse


def gabor(n: int, rng: Rng) -> Wide:
    """n filters of 3 x 11 x 11."""
    y, x = np.mgrid[:11, :11] / 11
    angle, phase = rng.uniform(0, 2 * np.pi, (2, n, 1, 1))
    dx, dy = x - rng.uniform(0.35, 0.65, (n, 1, 1)), y - rng.uniform(0.35, 0.65, (n, 1, 1))
    along = dx * np.cos(angle) + dy * np.sin(angle)
    window = np.exp(-0.5 * (dx**2 + dy**2) / rng.uniform(0.15, 0.3, (n, 1, 1)) ** 2)
    images = window * np.cos(2 * np.pi * rng.uniform(1, 3, (n, 1, 1)) * along + phase)
    return np.asarray(images[:, None] * rng.normal(size=(n, 3, 1, 1)))


def dictionary(n: int, rng: Rng) -> Wide:
    """16 n rows in 16 dimensions, each two of 32 atoms."""
    codes = np.zeros((16 * n, 32))
    for row in codes:
        row[rng.choice(32, 2, replace=False)] = rng.normal(size=2)
    return np.asarray(codes @ rng.normal(size=(32, 16)))


def random(n: int, rng: Rng) -> Wide:
    return rng.normal(size=(n, n))


PLANTED: dict[str, Callable[[int, Rng], Wide]] = {
    f.__name__.replace("_", " "): f
    for f in (
        constant, dead, duplicates, negated, scaled, shifted, flipped_filters, turned_filters, orthogonal, block_diagonal,
        circulant, toeplitz, kronecker, hadamard, butterfly, fourier, cosines, low_rank, low_rank_and_sparse, gabor, dictionary,
    )
}  # fmt: skip


def with_noise(weights: Wide, share: float, rng: Rng) -> NDArray[np.float32]:
    """Plus Gaussian noise of `share` of the root mean square."""
    size = share * np.sqrt(np.square(weights).mean())
    return np.ascontiguousarray(weights + size * rng.normal(size=weights.shape), np.float32)

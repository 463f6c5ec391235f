"""k-means of short vectors: training on a sample, and the nearest centroid of every vector. The encoder alone runs this.

Vectors of one component have the exact design of levels.py instead.

Centroids are kept sorted by their first component, so that the search for the nearest starts where that component fits
and goes outwards until the first component alone is too far (exact, and quick for two or four components).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .cells import cells_of
from .levels import best_levels

Floats = NDArray[np.float32]

_CELLS: Final = 2048
_ROUNDS: Final = 12
_SAMPLE: Final = 1 << 15
_PER_CENTROID: Final = 64  # training vectors; more hardly change a centroid
_HOPELESS: Final = 2  # times as many as there may be; few networks need fewer than a Gaussian
_TRIES: Final = 6
_CLOSE: Final = 0.98
_AIM: Final = 0.995


@njit(nogil=True, cache=True)
def nearest(vectors, centroids, out):  # type: ignore[no-untyped-def]
    """out[i] = number of the centroid nearest to vectors[i]; the sum of squared distances.

    `centroids` (float32 [k, dim]) ascend in their first component.
    """
    count, dim = centroids.shape
    noise = 0.0
    for i in range(vectors.shape[0]):
        x = vectors[i, 0]
        low, high = 0, count
        while low < high:
            middle = (low + high) // 2
            if centroids[middle, 0] < x:
                low = middle + 1
            else:
                high = middle
        below, above = low - 1, low
        best, at = np.float32(np.inf), 0
        while below >= 0 or above < count:
            down = x - centroids[below, 0] if below >= 0 else np.float32(np.inf)
            up = centroids[above, 0] - x if above < count else np.float32(np.inf)
            k = below if down <= up else above
            first = min(down, up)
            distance = first * first
            if distance >= best:
                break
            for d in range(1, dim):
                step = vectors[i, d] - centroids[k, d]
                distance += step * step
            if distance < best:
                best, at = distance, k
            if down <= up:
                below -= 1
            else:
                above += 1
        out[i] = at
        noise += np.float64(best)
    return noise


@njit(nogil=True, cache=True)
def _means(vectors, assigned, sums, counts):  # type: ignore[no-untyped-def]
    sums[:], counts[:] = 0.0, 0
    for i in range(vectors.shape[0]):
        k = assigned[i]
        counts[k] += 1
        for d in range(vectors.shape[1]):
            sums[k, d] += vectors[i, d]


def sampled(vectors: Floats, count: int) -> Floats:
    """Enough of the vectors to train `count` centroids, evenly spread, the same ones every time."""
    wanted = max(_SAMPLE, _PER_CENTROID * count)
    if len(vectors) <= wanted:
        return vectors
    chosen = np.random.default_rng(0).choice(len(vectors), wanted, replace=False)
    return np.ascontiguousarray(vectors[np.sort(chosen)])


def train(vectors: Floats, count: int) -> Floats:
    """At most `count` centroids (float32 [k, dim], ascending in the first component) of vectors (float32 [n, dim])."""
    if vectors.shape[1] == 1:
        cells = cells_of(vectors.reshape(-1), _CELLS)
        return cells.centroids(best_levels(cells, count)[0]).astype(np.float32)[:, None]
    vectors = sampled(vectors, count)
    rng = np.random.default_rng(count)
    centroids = _ascending(np.unique(vectors[rng.permutation(len(vectors))[:count]], axis=0))
    assigned = np.empty(len(vectors), np.int32)
    for _ in range(_ROUNDS):
        nearest(vectors, centroids, assigned)
        sums, counts = np.empty(centroids.shape), np.empty(len(centroids), np.int64)
        _means(vectors, assigned, sums, counts)
        means = sums[counts > 0] / counts[counts > 0, None]
        # a centroid without vectors is put beside the most popular ones
        popular = means[np.argsort(-counts[counts > 0], kind="stable")[: len(centroids) - len(means)]]
        centroids = _ascending(np.concatenate([means, popular * 1.01]).astype(np.float32))
    return centroids


def fewest_centroids(vectors: Floats, noise: float, most: int) -> Floats | None:
    """The fewest centroids found, of at most `most`, with a squared error of at most `noise`; None if there are none.

    The error falls about as (number of centroids)^(-2 / dim), which tells what to try next.
    """
    dim = vectors.shape[1]
    part = sampled(vectors, most)
    share = len(part) / len(vectors)
    count, lowest, highest = _guess(float(np.square(part, dtype=np.float64).sum()) / (noise * share), dim), 1, most + 1
    if count > _HOPELESS * most:
        return None
    best: Floats | None = None
    for _ in range(_TRIES):
        if not lowest <= count < highest:
            count = int(np.sqrt(lowest * highest)) if highest <= most else highest - 1
        centroids = train(part, count)
        made = nearest(vectors, centroids, np.empty(len(vectors), np.int32))
        if made <= noise:
            best, highest = centroids, count
        else:
            lowest = count + 1
        if lowest >= highest or _CLOSE * noise <= made <= noise:
            break
        count = int(min(count * (made / (noise * _AIM)) ** (dim / 2), 2.0 * most) + 0.5)
    return best


def _guess(ratio: float, dim: int) -> int:
    """Centroids for a Gaussian at fixed rate (Zador), to begin with."""
    return int(min(max(ratio, 1.0) ** (dim / 2) * 1.5, 1 << 20)) + 1


def _ascending(centroids: Floats) -> Floats:
    return np.ascontiguousarray(centroids[np.argsort(centroids[:, 0], kind="stable")])


def as_vectors(values: Floats, dim: int) -> Floats:
    """float32 [n] as [ceil(n / dim), dim], the last one filled up with zeros."""
    return np.pad(values, (0, -values.size % dim)).reshape(-1, dim)

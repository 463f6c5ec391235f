"""Pictures for tests: shading, edges and some grain, made by arithmetic."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def scene(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """uint8 [height, width, 3]: a shaded ground, two discs and a stripe, with grain of a few grey levels."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    out = np.stack([90 + 80 * x, 120 + 60 * y, 160 - 70 * x * y], -1)
    for _ in range(2):
        cy, cx, r = (
            rng.random() * height / max(height, width),
            rng.random() * width / max(height, width),
            0.1 + 0.1 * rng.random(),
        )
        out[(y - cy) ** 2 + (x - cx) ** 2 < r * r] = rng.integers(20, 236, 3)
    out[np.abs(y - x - 0.1) < 0.04] *= 0.6
    return np.clip(out + rng.normal(0, 2, out.shape), 0, 255).astype(np.uint8)

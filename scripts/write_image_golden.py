"""Write the golden images of tests/golden_image:  python scripts/write_image_golden.py

They pin the image format: what an older netweight wrote must decode to the same pixels for ever. Encoders train in floating
point, so files needn't come out the same twice; PIXELS holds the hashes of what they decode to. Run this when the
format has a new version, or the codec a new start, on purpose, and say so in the changelog.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from image_scenes import scene  # noqa: E402
from netweight.image import decode, encode  # noqa: E402

GOLDEN = ROOT / "tests" / "golden_image"
PIXELS = GOLDEN / "SHA256SUMS"


def _with_alpha() -> np.ndarray:
    picture = scene(24, 40, 3)
    return np.dstack([picture, np.arange(40, dtype=np.uint8)[None].repeat(24, 0)])


CASES: dict[str, tuple[Callable[[], np.ndarray], dict[str, object]]] = {
    "colour": (lambda: scene(40, 56), {"bpp": 1.0}),
    "adapted": (lambda: scene(80, 96, 1), {"quality": 95, "effort": "max", "steps": 60}),
    "fine": (lambda: scene(32, 24, 2), {"quality": 100}),
    "coarse": (lambda: scene(64, 48, 4), {"quality": 0}),
    "grey": (lambda: scene(33, 17)[..., 0], {"psnr": 32.0}),
    "alpha": (_with_alpha, {"quality": 40}),
    "tiles": (lambda: scene(9, 1300, 5), {"quality": 30}),
    "pixel": (lambda: scene(1, 1), {"quality": 50}),
    "pair": (lambda: scene(1, 2, 6), {"quality": 50}),
    "flat": (lambda: np.full((300, 200, 3), (1, 2, 3), np.uint8), {"bpp": 0.1}),
    "siren": (lambda: scene(40, 56), {"method": "siren", "bpp": 2.0, "effort": "fast"}),
    "siren-grey": (lambda: scene(33, 17)[..., 0], {"method": "siren", "bpp": 3.0, "effort": "fast"}),
    "coin": (lambda: scene(40, 56), {"method": "coin", "bpp": 4.0, "effort": "fast"}),
}
STEPS = 12


def main() -> None:
    GOLDEN.mkdir(exist_ok=True)
    sums = []
    for case, (make, options) in CASES.items():
        steps = {} if "method" in options else {"steps": STEPS}
        data = encode(make(), **(steps | options))
        (GOLDEN / f"{case}.nw").write_bytes(data)
        pixels = decode(data)
        sums.append(f"{hashlib.sha256(pixels.tobytes()).hexdigest()}  {case}\n")
        print(f"{len(data):>6,}  {list(pixels.shape)}  {case}")
    PIXELS.write_text("".join(sums))


if __name__ == "__main__":
    main()

"""Other people's image codecs through Pillow, brought to a wanted rate: real files, decoded again.

JPEG has its Huffman tables optimised and chroma at Pillow's default (4:2:0, as most files have it); JPEG 2000 has the
multiple-component transform on (`mct=1`), without which it loses about 2 dB; WebP searches hardest (method 6); AVIF has
speed 4 on one thread.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, features

from ..errors import InputError

Pixels = NDArray[np.uint8]
_QUALITIES: Final = range(101)
_AVIF_SPEED: Final = 4


@dataclass(frozen=True)
class Coded:
    """A rival's file and what it decodes to; `setting` tells the option that was found. Seconds are of this one file."""

    setting: str
    data: bytes
    pixels: Pixels
    encode_seconds: float
    decode_seconds: float


@dataclass(frozen=True)
class Rival:
    """`save` writes a picture at a setting; settings run from fewest bits to most over `settings`."""

    name: str
    feature: str
    settings: tuple[float, ...]
    option: Callable[[float], dict[str, Any]]
    label: str

    @property
    def available(self) -> bool:
        """Whether this build of Pillow has the codec."""
        return self.feature == "jpg" or bool(features.check(self.feature))

    def code(self, pixels: Pixels, setting: float) -> Coded:
        """One file, decoded again (uint8 [H, W] or [H, W, 3])."""
        out, start = io.BytesIO(), time.perf_counter()
        Image.fromarray(pixels).save(out, **self.option(setting))
        middle = time.perf_counter()
        with Image.open(io.BytesIO(out.getvalue())) as image:
            decoded = np.array(image.convert("L" if pixels.ndim == 2 else "RGB"))
        seconds = middle - start, time.perf_counter() - middle
        return Coded(f"{self.label}{setting:g}", out.getvalue(), decoded, *seconds)

    def at_rate(self, pixels: Pixels, bpp: float) -> Coded:
        """The best file of at most `bpp` bits a pixel; the smallest one there is if all have more."""
        return self._search(pixels, lambda coded: 8 * len(coded.data) <= bpp * pixels.shape[0] * pixels.shape[1])

    def at_psnr(self, pixels: Pixels, decibels: float) -> Coded:
        """The smallest file of at least `decibels` of PSNR; the best one there is if all have less. Raises InputError."""
        from .metrics import psnr

        below = self._search(pixels, lambda coded: psnr(pixels, coded.pixels) < decibels)
        later = [s for s in self.settings if f"{self.label}{s:g}" == below.setting]
        at = self.settings.index(later[0])
        if psnr(pixels, below.pixels) >= decibels or at + 1 == len(self.settings):
            return below
        return self.code(pixels, self.settings[at + 1])

    def _search(self, pixels: Pixels, fits: Callable[[Coded], bool]) -> Coded:
        """The last setting that fits, by bisection; the first if none does."""
        low, high = 0, len(self.settings)
        best = self.code(pixels, self.settings[0])
        while high - low > 1:
            middle = (low + high) // 2
            coded = self.code(pixels, self.settings[middle])
            if fits(coded):
                low, best = middle, coded
            else:
                high = middle
        return best


def _jpeg(quality: float) -> dict[str, Any]:
    return {"format": "JPEG", "quality": int(quality), "optimize": True}


def _jpeg2000(ratio: float) -> dict[str, Any]:
    # without `irreversible` Pillow takes the lossless wavelet
    return {"format": "JPEG2000", "quality_mode": "rates", "quality_layers": [ratio], "irreversible": True, "mct": 1}


def _webp(quality: float) -> dict[str, Any]:
    return {"format": "WEBP", "quality": int(quality), "method": 6}


def _avif(quality: float) -> dict[str, Any]:
    return {"format": "AVIF", "quality": int(quality), "speed": _AVIF_SPEED, "max_threads": 1}


_EVERY: Final = tuple(float(q) for q in _QUALITIES)
_RATIOS: Final = tuple(float(np.round(4000 / 1.02**k, 2)) for k in range(400))

RIVALS: Final = {
    rival.name: rival
    for rival in (
        Rival("JPEG", "jpg", _EVERY[1:96], _jpeg, "quality "),
        Rival("JPEG 2000", "jpg_2000", _RATIOS, _jpeg2000, "ratio "),
        Rival("WebP", "webp", _EVERY, _webp, "quality "),
        Rival("AVIF", "avif", _EVERY, _avif, "quality "),
    )
}


def rival(name: str) -> Rival:
    """Raises InputError for an unknown one."""
    if name not in RIVALS:
        raise InputError(f"no rival {name!r}; known are {', '.join(RIVALS)}")
    return RIVALS[name]

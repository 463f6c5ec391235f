"""Pictures as files: read into pixels, profile and orientation; written as PNG.

What comes in is what any viewer shows: 8-bit grey or RGB, palettes and CMYK made RGB, alpha aside. 16-bit, float and
animated pictures are refused: halving their depth behind the user's back is no coding.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, NotFoundError, UnsupportedError
from .container import LONGEST, MOST_PIXELS

if TYPE_CHECKING:
    from PIL import Image

Pixels = NDArray[np.uint8]

SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".webp", ".avif", ".bmp", ".tif", ".tiff", ".jp2", ".ppm", ".pgm", ".gif")
_DIRECT: Final = {"L", "RGB", "LA", "RGBA"}
_EASY: Final = {
    "1": "L",
    "P": "RGB",
    "PA": "RGBA",
    "CMYK": "RGB",
    "YCbCr": "RGB",
    "RGBX": "RGB",
    "La": "LA",
    "RGBa": "RGBA",
}
_ORIENTATION: Final = 0x0112


@dataclass(frozen=True)
class Picture:
    """`pixels` uint8 [h, w] or [h, w, 3], turned upright; `alpha` uint8 [h, w] or None; what else the file carried."""

    pixels: Pixels
    alpha: Pixels | None = None
    icc: bytes | None = None
    exif: bytes | None = None


def is_picture(path: str | os.PathLike[str]) -> bool:
    """Whether it is a file that is named as a picture and that Pillow opens as one."""
    if not str(path).lower().endswith(SUFFIXES) or not os.path.isfile(path):
        return False
    from PIL import Image

    try:
        with _quiet(), Image.open(path):
            return True
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False


@contextmanager
def _quiet() -> Iterator[None]:
    """Pillow warns of large pictures; ours are checked by size."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def read(path: str | os.PathLike[str]) -> Picture:
    """Raises NotFoundError; UnsupportedError for what isn't 8-bit pixels, with the reason; InputError for what isn't a picture."""
    try:
        with open(path, "rb") as file:
            return parse(file.read(), os.fspath(path))
    except FileNotFoundError:
        raise NotFoundError(f"{os.fspath(path)}: no such file") from None
    except OSError as error:
        raise InputError(f"{os.fspath(path)}: can't be read: {error.strerror}") from None


def parse(data: bytes, name: str = "<memory>") -> Picture:
    """A picture of a file's bytes; raises as `read`."""
    from PIL import Image, UnidentifiedImageError

    try:
        with _quiet(), Image.open(io.BytesIO(data)) as image:
            width, height = image.size
            if max(width, height) > LONGEST or width * height > MOST_PIXELS:
                raise UnsupportedError(
                    f"{name}: {width} x {height} pixels are too many: at most {LONGEST} a side, {MOST_PIXELS} in all"
                )
            frames = getattr(image, "n_frames", 1)
            if frames > 1:
                raise UnsupportedError(f"{name}: has {frames} frames; only still pictures are coded")
            image.load()
            return _picture(image, name)
    except UnidentifiedImageError:  # Pillow's message names a buffer in memory
        raise InputError(f"{name}: isn't a picture, or of no kind that Pillow reads") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{name}: isn't a picture that can be read: {error}") from None


def _picture(image: Image.Image, name: str) -> Picture:
    from PIL import ImageOps

    icc, exif = image.info.get("icc_profile"), image.getexif()
    if exif.get(_ORIENTATION, 1) != 1:
        image = ImageOps.exif_transpose(image)  # reads the tag, so it goes first
    exif.pop(_ORIENTATION, None)
    kept = exif.tobytes() if len(exif) else None
    mode = image.mode
    if mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    elif mode in _EASY:
        image = image.convert(_EASY[mode])
        icc = None if mode == "CMYK" else icc  # it spoke of other colours
    elif mode not in _DIRECT:
        kind = "16-bit" if mode.startswith("I") else "floating-point" if mode == "F" else mode
        raise UnsupportedError(
            f"{name}: {kind} pixels: only 8 bits a channel are coded; convert it first, if that will do"
        )
    if image.mode in {"L", "RGB"} and "transparency" in image.info:
        image = image.convert("RGBA" if image.mode == "RGB" else "LA")
    array = np.asarray(image)
    alpha = np.ascontiguousarray(array[..., -1]) if image.mode in {"LA", "RGBA"} else None
    pixels = array if array.ndim == 2 else array[..., 0] if image.mode == "LA" else array[..., :3]
    if alpha is not None and bool((alpha == 255).all()):
        alpha = None
    return Picture(np.ascontiguousarray(pixels), alpha, icc or None, kept)


def to_png(picture: Picture) -> bytes:
    """A PNG file with its profile and EXIF."""
    from PIL import Image

    pixels = picture.pixels
    if picture.alpha is not None:
        pixels = np.dstack([pixels, picture.alpha]) if pixels.ndim == 3 else np.stack([pixels, picture.alpha], -1)
    out = io.BytesIO()
    extra = {key: value for key, value in (("icc_profile", picture.icc), ("exif", picture.exif)) if value}
    Image.fromarray(pixels).save(out, "PNG", **extra)
    return out.getvalue()

"""Pixels to a file's bytes and back, whatever the method: what is common to all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from inspect import Parameter, signature
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..errors import ChecksumError, FormatError, GuaranteeError, InputError
from ..frame import checksum
from ..registry import create
from ..spec import Spec
from ..wire import Reader, Writer
from . import container, flat, methods
from .pictures import Picture

Pixels = NDArray[np.uint8]

EFFORTS: Final = ("fast", "balanced", "max")
_ALPHA_CODECS: Final = ("xz", "brotli", "png")
_ALPHA_PNG: Final = {"depth": 8, "level": 4}


@dataclass(frozen=True)
class Progress:
    """How far an encoder is: `share` of the work in 0..1, its present bits a pixel (a bound) and PSNR in dB."""

    share: float
    bpp: float
    psnr: float


Report = Callable[[Progress], None]


def _checked(pixels: Pixels, alpha: Pixels | None) -> None:
    """Raises InputError for arrays that aren't pictures."""
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] != 3):
        raise InputError(f"pixels must be uint8 [h, w] or [h, w, 3], not {pixels.dtype} {list(pixels.shape)}")
    try:
        container.check_size(*pixels.shape[:2])
    except FormatError as error:
        raise InputError(str(error)) from None
    if alpha is not None and (alpha.dtype != np.uint8 or alpha.shape != pixels.shape[:2]):
        raise InputError("alpha must be uint8, of as many rows and columns as the pixels")


def _write_alpha(alpha: Pixels) -> bytes:
    """The plane under the shortest of several lossless codecs."""
    spec, flat_alpha = Spec("U8", (alpha.shape,)), np.ascontiguousarray(alpha).reshape(-1)
    coded = []
    for name in _ALPHA_CODECS:
        codec = create(name, _ALPHA_PNG if name == "png" else None)
        coded.append(Writer().text(name).raw(codec.encode(flat_alpha, spec)).bytes())
    return min(coded, key=len)


def _read_alpha(data: bytes, height: int, width: int) -> Pixels:
    """Raises FormatError."""
    source = Reader(data, "alpha")
    name = source.text()
    if name not in _ALPHA_CODECS:
        raise FormatError(f"alpha: no codec {name!r}")
    codec = create(name, _ALPHA_PNG if name == "png" else None)
    return codec.decode(source.raw(source.remaining), Spec("U8", ((height, width),))).reshape(height, width)


def _check_of(pixels: Pixels, alpha: Pixels | None) -> bytes:
    parts = [np.ascontiguousarray(p).reshape(-1) for p in (pixels, alpha) if p is not None]
    return checksum(*parts)


def _encoder(method: str, options: dict[str, Any]) -> methods.Encoder:
    """A method's encoder. Raises InputError for options that it hasn't got."""
    found = methods.encoder_of(method)
    known = signature(found).parameters
    if not any(p.kind is Parameter.VAR_KEYWORD for p in known.values()) and (odd := options.keys() - known.keys()):
        raise InputError(f"{method}: knows no {', '.join(sorted(odd))}")
    return found


def encode_picture(picture: Picture, method: str = "grid", *, bpp: float | None = None, **options: Any) -> bytes:
    """A file of a picture. `options` are the method's (`encode`); `bpp` counts all of the file.

    The file has been decoded and compared with what its encoder promised: GuaranteeError if they differ. Raises InputError
    for what can't be coded so, MissingExtraError without the extra `image`.
    """
    pixels, alpha = picture.pixels, picture.alpha
    _checked(pixels, alpha)
    height, width = pixels.shape[:2]
    channels = 1 if pixels.ndim == 2 else 3
    if method != "flat" and flat.is_flat(pixels):
        method = "flat"
    coded_alpha = None if alpha is None else _write_alpha(alpha)
    header = container.Header(method, height, width, channels, picture.icc, picture.exif, coded_alpha)
    if method == "flat":
        if not flat.is_flat(pixels):
            raise InputError("these pixels aren't all of one colour")
        payload = flat.encode(pixels)
    else:
        if bpp is not None:
            if not bpp > 0:
                raise InputError(f"{bpp:g} bits a pixel can't be sought: it must be above 0")
            overhead = len(container.write(header, b"", b"\0" * 4))
            options["bpp"] = bpp - 8 * overhead / (height * width)
            if not options["bpp"] > 0:
                raise InputError(
                    f"{bpp:g} bits a pixel: the header and what isn't pixels already take {overhead} bytes"
                )
        payload = _encoder(method, options)(pixels, **options)
    decoded = methods.decoder_of(method)(memoryview(payload), height, width, channels)
    data = container.write(header, payload, _check_of(decoded, alpha))
    again = decode_picture(data)
    if not np.array_equal(again.pixels, decoded):
        raise GuaranteeError(f"image: {method} decoded the same bytes to other pixels")
    return data


def decode_picture(data: bytes | memoryview) -> Picture:
    """The picture of a file. Raises FormatError and its kin, BaseMismatchError."""
    file = container.parse(data)
    h = file.header
    alpha = None if h.alpha is None else _read_alpha(h.alpha, h.height, h.width)
    pixels = methods.decoder_of(h.method)(file.payload, h.height, h.width, h.channels)
    if _check_of(pixels, alpha) != file.pixels_check:
        raise ChecksumError("image: the decoded pixels aren't those that were encoded")
    return Picture(pixels, alpha, h.icc, h.exif)


def encode(pixels: Pixels, method: str = "grid", *, bpp: float | None = None, **options: Any) -> bytes:
    """A file's bytes of uint8 [h, w] or [h, w, 3], or with alpha (coded losslessly) as the last of 2 or 4 channels.

    One of `bpp` (bits a pixel, the whole file), `psnr` (dB) or `quality` (0..100) is sought; `effort` is one of
    EFFORTS; `progress` is called with a Progress. See `encode_picture`.
    """
    pixels, alpha = np.asarray(pixels), None
    if pixels.ndim == 3 and pixels.shape[2] in (2, 4):
        pixels, alpha = pixels[..., :-1], np.ascontiguousarray(pixels[..., -1])
        pixels = pixels[..., 0] if pixels.shape[2] == 1 else pixels
    return encode_picture(Picture(np.ascontiguousarray(pixels), alpha), method, bpp=bpp, **options)


def decode(data: bytes | memoryview) -> Pixels:
    """The inverse of `encode`: uint8 [h, w] or [h, w, 3], or one channel more with alpha."""
    picture = decode_picture(data)
    if picture.alpha is None:
        return picture.pixels
    pixels = picture.pixels[..., None] if picture.pixels.ndim == 2 else picture.pixels
    return np.concatenate([pixels, picture.alpha[..., None]], 2)

"""The ladder of a picture: what it looks like at one rate, as networks and under other people's codecs.

Every row's file was decoded, and its figures are those of what came back. A rate counts the whole file; rows have at most
the wanted rate unless their codec has nothing so small, and they say what they have.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..errors import GuaranteeError, InputError, MissingExtraError, NetweightError
from . import api
from .metrics import ms_ssim, psnr
from .rivals import RIVALS, Rival

Pixels = NDArray[np.uint8]

NETWORKS: Final = {"netweight grid": "grid", "netweight siren": "siren", "coin": "coin"}
"""Codes that are networks, and their methods."""
CODES: Final = (*NETWORKS, *(name.lower().replace(" ", "") for name in RIVALS))
_LEAST_SIDE: Final = 11
Progress = Callable[[str, int, int], None]
"""progress(what is being done, thousandths done, thousandths in all)."""


@dataclass(frozen=True)
class ImageRow:
    """One code. `bytes` is the length of the file that `pixels` were decoded from; None, and a `problem`, if there is none.

    `psnr` (dB) is infinite for equal pixels; `ms_ssim` is None for pictures too small for it.
    """

    code: str
    setting: str = ""
    bytes: int | None = None
    bpp: float | None = None
    psnr: float | None = None
    ms_ssim: float | None = None
    encode_seconds: float | None = None
    decode_seconds: float | None = None
    problem: str = ""
    pixels: Pixels | None = field(default=None, repr=False, compare=False)

    @property
    def ours(self) -> bool:
        return self.code.startswith("netweight")

    def to_dict(self) -> dict[str, Any]:
        """For JSON: all but the pixels; an infinite PSNR is null."""
        names = ("code", "setting", "bytes", "bpp", "psnr", "ms_ssim", "encode_seconds", "decode_seconds", "problem")
        told = {name: getattr(self, name) for name in names}
        return told | {"psnr": None if self.psnr == float("inf") else self.psnr}


@dataclass(frozen=True)
class ImageWeighing:
    """A picture at `bpp` bits a pixel. `rows` are sorted by PSNR, best first, rows without bytes last."""

    name: str
    height: int
    width: int
    channels: int
    bpp: float
    rows: tuple[ImageRow, ...]
    original: Pixels = field(repr=False, compare=False)
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        told = {name: getattr(self, name) for name in ("name", "height", "width", "channels", "bpp", "note")}
        return told | {"rows": [row.to_dict() for row in self.rows]}


def chosen_codes(names: tuple[str, ...]) -> tuple[str, ...]:
    """The codes of those names, all for none. Raises InputError for an unknown one."""
    if unknown := [name for name in names if name not in CODES]:
        raise InputError(f"no image code {unknown[0]!r}; known are {', '.join(CODES)}")
    return names or CODES


def weigh_picture(
    pixels: Pixels,
    name: str,
    bpp: float,
    *,
    codes: tuple[str, ...] = CODES,
    effort: str = "balanced",
    progress: Progress | None = None,
    note: str = "",
) -> ImageWeighing:
    """Weigh pixels (uint8 [H, W] or [H, W, 3]) at a rate. Raises InputError for a rate that isn't above 0.

    A code that can't do it has a row that says why.
    """
    if not 0 < bpp < float("inf"):
        raise InputError(f"bits a pixel must be above 0, not {bpp:g}")
    rivals = {name.lower().replace(" ", ""): rival for name, rival in RIVALS.items()}
    rows = []
    for code in codes:
        tell = _telling(progress, code)
        if code in NETWORKS:
            rows.append(_network(code, pixels, bpp, effort, tell))
        else:
            tell(0.0)
            rows.append(_rival(rivals[code], pixels, bpp))
    ordered = sorted(rows, key=lambda r: (r.psnr is None, -(r.psnr or 0), r.bytes or 0))
    channels = 1 if pixels.ndim == 2 else 3
    return ImageWeighing(name, pixels.shape[0], pixels.shape[1], channels, bpp, tuple(ordered), pixels, note)


def _telling(progress: Progress | None, code: str) -> Callable[[float], None]:
    def tell(share: float) -> None:
        if progress is not None:
            progress(code, round(1000 * share), 1000)

    return tell


def _network(code: str, pixels: Pixels, bpp: float, effort: str, tell: Callable[[float], None]) -> ImageRow:
    method = NETWORKS[code]
    start = time.perf_counter()
    try:
        data = api.encode(pixels, method, bpp=bpp, effort=effort, progress=lambda p: tell(p.share))
    except GuaranteeError:
        raise
    except (NetweightError, MissingExtraError) as error:
        return ImageRow(_label(code), problem=str(error))
    middle = time.perf_counter()
    decoded = api.decode(data)
    seconds = middle - start, time.perf_counter() - middle
    return _row(_label(code), effort, len(data), pixels, decoded, seconds)


def _label(code: str) -> str:
    return code.upper() if code == "coin" else code


def _rival(rival: Rival, pixels: Pixels, bpp: float) -> ImageRow:
    if not rival.available:
        return ImageRow(rival.name, problem=f"this build of Pillow has no {rival.name}")
    coded = rival.at_rate(pixels, bpp)
    seconds = coded.encode_seconds, coded.decode_seconds
    return _row(rival.name, coded.setting, len(coded.data), pixels, coded.pixels, seconds)


def _row(
    code: str, setting: str, nbytes: int, pixels: Pixels, decoded: Pixels, seconds: tuple[float, float]
) -> ImageRow:
    rate = 8 * nbytes / (pixels.shape[0] * pixels.shape[1])
    similarity = ms_ssim(pixels, decoded) if min(pixels.shape[:2]) >= _LEAST_SIDE else None
    return ImageRow(code, setting, nbytes, rate, psnr(pixels, decoded), similarity, *seconds, pixels=decoded)

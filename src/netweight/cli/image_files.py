"""The verbs that read and write files, for pictures: what they do once a path turned out to be one."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

import click

from ..errors import BaseMismatchError, FormatError, InputError, NotFoundError, OutputError
from . import console, routes
from .options import Command

if TYPE_CHECKING:
    from ..image.api import Progress
    from ..image.container import File
    from ..image.pictures import Picture, Pixels

_SUFFIX: Final = ".nw"
_PICTURE: Final = ".png"
_READABLE_MODE: Final = 0o666
_FAR_RATE, _FAR_PSNR = 0.05, 0.3

_WANTED: Final = (
    click.option(
        "--bpp", type=click.FloatRange(min=0, min_open=True), metavar="B",
        help="Pictures: code at about B bits a pixel (within 5 %), the whole file counted.",
    ),
    click.option("--psnr", type=click.FloatRange(min=0, min_open=True), metavar="DB", help="Pictures: code at a PSNR of DB."),
    click.option("--quality", type=click.FloatRange(0, 100), metavar="Q", help="Pictures: code at quality 0 to 100."),
    click.option("--method", metavar="METHOD", help="Pictures: grid (the default), siren or coin."),
)  # fmt: skip


def wanted(command: Command) -> Command:
    """What may be asked of pictures, as keywords that `goal_of` takes out of the others."""
    for option in reversed(_WANTED):
        command = option(command)
    return command


def goal_of(values: dict[str, Any]) -> dict[str, Any]:
    """Removes the options of `wanted` from `values`; those that were given. Raises UsageError for what doesn't go together."""
    given = {name: values.pop(name) for name in ("bpp", "psnr", "quality", "method")}
    given = {name: value for name, value in given.items() if value is not None}
    goals = [f"--{name}" for name in given if name != "method"]
    if len(goals) > 1:
        raise click.UsageError(f"{', '.join(goals)}: choose one")
    if "method" in given and not goals:
        raise click.UsageError(
            "--method: only with --bpp, --psnr or --quality; without one of them a picture's file is kept as it is"
        )
    return given


def is_compressed_image(path: str) -> bool:
    """Whether a file begins as a compressed image does; False for what can't be read, which others will complain about."""
    from ..image.container import MAGIC, begins_as_image

    place = routes.place_of(path)
    if not os.path.isfile(place):
        return False
    try:
        with open(place, "rb") as file:
            return begins_as_image(file.read(len(MAGIC)))
    except OSError:
        return False


class _Steps:
    """Progress of an encoder: its rate and PSNR as they are, and how long it may still take."""

    def __init__(self, show: console.ProgressShow) -> None:
        self._show, self._start = show, time.monotonic()

    def __call__(self, progress: Progress) -> None:
        from ..report.numbers import seconds

        label = f"training: {progress.bpp:.3f} bits/pixel (bound), {progress.psnr:.2f} dB"
        if progress.share > 0 and not sys.stderr.isatty():
            label += f" (about {seconds((time.monotonic() - self._start) * (1 / progress.share - 1))} left)"
        self._show.step(label, round(1000 * progress.share), 1000)


def compress(path: str, output: str | None, goal: dict[str, Any], effort: str, force: bool) -> dict[str, Any]:
    """Code a picture; what a receipt says: bytes of the whole file, decoded again, and how far its pixels are off.

    Ctrl-C ends the training and writes the best so far; the receipt says so.
    """
    from ..image.api import decode_picture, encode_picture
    from ..image.metrics import psnr
    from ..image.pictures import read

    if routes.STDIO in (path, output):
        raise click.UsageError("pictures are read from and written to files: name them instead of -")
    started = time.perf_counter()
    picture = read(path)
    target = Path(os.path.abspath(output or path + _SUFFIX))
    with ExitStack() as stack:
        write = _sink(stack, path, target, force)
        show = stack.enter_context(console.ProgressShow())
        interrupts = stack.enter_context(_noting_interrupts())
        data = encode_picture(picture, effort=effort, progress=_Steps(show), **goal)
        write(data)
    shape = picture.pixels.shape
    return {
        "source": path, "compressed": output or path + _SUFFIX, "height": shape[0], "width": shape[1],
        "channels": 1 if len(shape) == 2 else 3, "alpha": picture.alpha is not None,
        "original_bytes": os.path.getsize(path), "compressed_bytes": len(data),
        "bits_per_pixel": 8 * len(data) / (shape[0] * shape[1]),
        "psnr_db": _finite(psnr(picture.pixels, decode_picture(data).pixels)),
        "seconds": time.perf_counter() - started, "interrupted": bool(interrupts),
        "receiver": _receiver(goal),
    }  # fmt: skip


def missed(receipt: dict[str, Any], goal: dict[str, Any]) -> str | None:
    """What to say when a goal wasn't reached by far; None if it was."""
    why = "interrupted: the best so far" if receipt["interrupted"] else "as near as this effort and this codec come"
    if "bpp" in goal and abs(receipt["bits_per_pixel"] / goal["bpp"] - 1) > _FAR_RATE:
        return f"{receipt['source']}: {receipt['bits_per_pixel']:.3f} bits/pixel instead of {goal['bpp']:g}, {why}"
    if "psnr" in goal and receipt["psnr_db"] is not None and receipt["psnr_db"] < goal["psnr"] - _FAR_PSNR:
        return f"{receipt['source']}: {receipt['psnr_db']:.2f} dB instead of {goal['psnr']:g}, {why}"
    return None


@contextmanager
def _noting_interrupts() -> Iterator[list[int]]:
    """Ctrl-C raises KeyboardInterrupt as ever, and is put down here: encoders catch it and give the best so far."""
    noted: list[int] = []
    if threading.current_thread() is not threading.main_thread():  # signals reach the main one alone
        yield noted
        return

    def note(number: int, frame: FrameType | None) -> None:
        noted.append(number)
        signal.default_int_handler(number, frame)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, before)


def _finite(value: float) -> float | None:
    """None, for JSON, where the pixels are the same."""
    return value if value != float("inf") else None


def _receiver(goal: dict[str, Any]) -> dict[str, str]:
    from ..image.grid.start import receiver

    return receiver() if goal.get("method", "grid") == "grid" else {}


def decompress(path: str, output: str | None, force: bool) -> dict[str, Any]:
    """Write a coded picture as PNG. Raises FormatError and its kin, BaseMismatchError, OutputError."""
    from ..image.pictures import to_png

    started = time.perf_counter()
    data = _read(path)
    target = Path(os.path.abspath(output or _png_name(path)))
    if target.suffix.lower() != _PICTURE:
        raise OutputError(f"{target}: pictures are written as PNG; end its name in {_PICTURE}")
    with ExitStack() as stack:
        write = _sink(stack, path, target, force)
        picture = _decoded(path, data)
        png = to_png(picture)
        write(png)
    return {
        "source": output or _png_name(path), "compressed": path, "original_bytes": len(png), "compressed_bytes": len(data),
        "seconds": time.perf_counter() - started,
    }  # fmt: skip


def verify(path: str, against: str | None) -> dict[str, Any]:
    """Decode and check all; with `against` the picture whose pixels they stand for, their PSNR too.

    Alpha is kept losslessly, so it must be that of `against`: InputError if it isn't. Raises as `decompress`.
    """
    from ..image.metrics import psnr
    from ..image.pictures import read

    started = time.perf_counter()
    data = _read(path)
    picture = _decoded(path, data)
    found: dict[str, Any] = {"compressed": path, "compressed_bytes": len(data), "sound": True}
    if against is not None:
        other = read(against)
        if other.pixels.shape != picture.pixels.shape:
            raise InputError(f"{against}: {list(other.pixels.shape)} pixels, {path} holds {list(picture.pixels.shape)}")
        _check_alpha(against, other.alpha, path, picture.alpha)
        found |= {
            "against": against, "psnr_db": _finite(psnr(other.pixels, picture.pixels)),
            "alpha_equal": True if picture.alpha is not None else None,
        }  # fmt: skip
    return found | {"seconds": time.perf_counter() - started}


def _check_alpha(against: str, theirs: Pixels | None, path: str, ours: Pixels | None) -> None:
    """Raises InputError unless both planes are equal; none is an opaque one."""
    import numpy as np

    if theirs is None and ours is None:
        return
    present = theirs if theirs is not None else ours
    opaque = np.full_like(present, 255)
    off = int(np.count_nonzero((opaque if theirs is None else theirs) != (opaque if ours is None else ours)))
    if off:
        raise InputError(f"{against}: its alpha differs from that of {path} in {off:,} of {opaque.size:,} pixels")


def inspect(path: str) -> dict[str, Any]:
    """What the file says of itself, without decoding it."""
    from ..image.container import parse

    data = _read(path)
    with _naming(path):
        file: File = parse(data)
    h = file.header
    return {
        "compressed": path, "compressed_bytes": len(data), "method": h.method, "height": h.height, "width": h.width,
        "channels": h.channels, "bits_per_pixel": 8 * len(data) / (h.height * h.width), "payload_bytes": len(file.payload),
        "alpha_bytes": len(h.alpha or b""), "icc_bytes": len(h.icc or b""), "exif_bytes": len(h.exif or b""),
    }  # fmt: skip


@contextmanager
def _naming(path: str) -> Iterator[None]:
    """Errors about a file's bytes name the file."""
    try:
        yield
    except (FormatError, BaseMismatchError) as error:
        raise type(error)(f"{path}: {error}") from error


def _decoded(path: str, data: bytes) -> Picture:
    """The picture of a file's bytes; errors name `path`."""
    from ..image.api import decode_picture

    with _naming(path):
        return decode_picture(data)


def _read(path: str) -> bytes:
    place = routes.place_of(path)
    try:
        return Path(place).read_bytes()
    except FileNotFoundError:
        raise NotFoundError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: can't be read: {error.strerror}") from None


def _png_name(path: str) -> str:
    if not path.endswith(_SUFFIX):
        raise InputError(f"{path}: doesn't end in {_SUFFIX}, so name the output with -o")
    stem = Path(path.removesuffix(_SUFFIX))
    return str(stem if stem.suffix.lower() == _PICTURE else stem.with_suffix(_PICTURE))


def _sink(stack: ExitStack, path: str, target: Path, force: bool) -> Callable[[bytes], None]:
    """Writes what becomes `target` when all went well. Raises InputError, OutputError."""
    from ..weights.archive import outputs

    if target.exists() and os.path.exists(path) and os.path.samefile(target, path):
        raise InputError(f"{target}: is the input; choose another output")
    descriptor = stack.enter_context(outputs.new_file(target, force, _READABLE_MODE))
    return lambda data: outputs.write_all(descriptor, data, 0)

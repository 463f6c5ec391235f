"""The `fast` block coder: byte planes, each stored, constant or Huffman coded, at the speed of memory.

A block is worked in sub-blocks of PLANE words that stay in the second-level cache: split into planes, code each plane,
next. The wire format, with a worked example, is in docs/coder-fast.md:

    payload   := sub-block*                  PLANE words each, the last one shorter
    sub-block := plane*                      the highest byte first
    plane     := 0 bytes                     stored
               | 1 byte                      all bytes are this one
               | 2 lengths streams           Huffman with its own code
               | 3 streams                   Huffman with the code that this plane had last
"""

from __future__ import annotations

import threading
from typing import Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ...entropy import huffman
from ...entropy import huffman_streams as streams
from ...entropy.huffman import BAD
from ...entropy.huffman_streams import STREAM_HEADER, TABLE_SIZE
from ...errors import FormatError
from ...spec import Spec, dtype
from .planes import PLANE, copy, layout, merge, split

Bytes = NDArray[np.uint8]

STORED, CONSTANT, NEW_CODE, OLD_CODE = 0, 1, 2, 3
_PLANES: Final = 8
_PAD: Final = 64  # bytes that unaligned stores may run past the end
_SAMPLED: Final = 1 << 13  # planes from this length on are sampled before they are counted
_SAMPLES: Final = 32
_NEW_CODE_PRICE: Final = 8 * 16  # bits: what building a table costs a decoder, as if it were sent


class _Workspace(NamedTuple):
    """Buffers that a thread keeps, since fresh pages cost more than coding does. Arrays of one type per field."""

    planes: NDArray[np.uint8]  # [_PLANES * PLANE + _PAD]
    lengths: NDArray[np.uint8]  # [(_PLANES + 1) * 256]; the last row is for the code being made
    words: NDArray[np.uint32]  # [_PLANES * 256]
    tables: NDArray[np.uint64]  # [_PLANES * TABLE_SIZE]
    places: NDArray[np.int64]  # [_PLANES]; where the payload has a stored plane, else -1
    coded: NDArray[np.bool_]  # [_PLANES]; whether the plane's table is of this block
    pairs: NDArray[np.uint32]  # [65536]
    counts: NDArray[np.int64]  # [256]
    work32: NDArray[np.uint32]  # [1024]
    work64: NDArray[np.int64]  # [2048]


class _Local(threading.local):
    """One workspace and one output buffer per thread, made on first use."""

    def __init__(self) -> None:
        self.workspace = _Workspace(
            planes=np.zeros(_PLANES * PLANE + _PAD, np.uint8),
            lengths=np.zeros((_PLANES + 1) * 256, np.uint8),
            words=np.zeros(_PLANES * 256, np.uint32),
            tables=np.zeros(_PLANES * TABLE_SIZE, np.uint64),
            places=np.zeros(_PLANES, np.int64),
            coded=np.zeros(_PLANES, np.bool_),
            pairs=np.zeros(1 << 16, np.uint32),
            counts=np.zeros(256, np.int64),
            work32=np.zeros(1024, np.uint32),
            work64=np.zeros(2048, np.int64),
        )
        self.output = np.zeros(0, np.uint8)

    def room(self, nbytes: int) -> Bytes:
        """A buffer of at least `nbytes`, its content undefined."""
        if self.output.size < nbytes:
            self.output = np.empty(nbytes, np.uint8)
        return self.output


_local = _Local()


def encode_block(data: Bytes, spec: Spec) -> bytes | None:
    """`data` (spec.nbytes bytes, any dtype) as a payload, or None when that wouldn't be smaller.

    Order-0 per byte plane and sub-block; never reads beyond or writes to `data`. Safe in several threads at once.
    Raises ValueError if `data` isn't spec.nbytes long.
    """
    if data.size != spec.nbytes:
        raise ValueError(f"{data.size} bytes of data for a spec of {spec.nbytes}")
    if not data.size:
        return None
    width, fold = layout(dtype(spec.dtype))
    out = _local.room(data.size + (data.size // (PLANE * width) + 1) * width * 256 + _PAD)
    size = _encode(_read_only(data), width, fold, out, _local.workspace)
    return out[:size].tobytes() if size < data.size else None


def decode_block(payload: memoryview | bytes, spec: Spec, out: Bytes | None = None) -> Bytes:
    """The inverse of `encode_block`: spec.nbytes bytes, into `out` (uint8, contiguous, writable) if it is given.

    Raises FormatError for any payload that doesn't decode to exactly that many bytes; `out` is then undefined. Raises
    ValueError for an `out` of another length.
    """
    if out is None:
        _check_plausible(len(payload), spec)
        out = np.empty(spec.nbytes, np.uint8)
    elif out.size != spec.nbytes:
        raise ValueError(f"{out.size} bytes of room for a spec of {spec.nbytes}")
    width, fold = layout(dtype(spec.dtype))
    source = np.frombuffer(payload, np.uint8) if len(payload) else np.zeros(0, np.uint8)
    end = _decode(_read_only(source), width, fold, np.asarray(out), _local.workspace)
    if end != len(payload):
        why = "damaged" if end == BAD else f"{len(payload) - end} bytes too long"
        raise FormatError(f"fast payload of {len(payload)} bytes for {spec.nbytes} of {spec.dtype}: {why}")
    return out


def _check_plausible(size: int, spec: Spec) -> None:
    """Refuse lengths that the shortest payload for `spec` doesn't have, before anything is allocated for them."""
    width, _ = layout(dtype(spec.dtype))
    sub_blocks = -(-spec.nbytes // (PLANE * width))
    if size < 2 * width * sub_blocks:
        raise FormatError(f"fast payload of {size} bytes is too short for {spec.nbytes} of {spec.dtype}")


def _read_only(data: Bytes) -> Bytes:
    """A view that can't be written to: numba compiles for one kind of input only."""
    view = np.asarray(data).view()  # a memory map becomes a plain array
    view.flags.writeable = False
    return view


@njit(nogil=True, cache=True)
def _encode(data, width, fold, out, space):  # type: ignore[no-untyped-def]
    """The payload of `data` into `out`; its length. `space` is a _Workspace."""
    at, words = np.int64(0), len(data) // width
    space.lengths[:] = 0
    for first in range(0, words, PLANE):
        n = min(PLANE, words - first)
        split(data, first * width, n, width, fold, space.planes)
        for plane in range(width - 1, -1, -1):
            at = _encode_plane(plane, n, out, at, space)
    return at


@njit(nogil=True, cache=True)
def _looks_random(data, start, n, space):  # type: ignore[no-untyped-def]
    """Whether a sample (_SAMPLES times 64 bytes) shows that coding can't pay.

    Renyi's entropy of order 2, -log2 of the chance that two bytes are equal, is never above Shannon's; so if it is
    above 7.85 bits in the sample, less than 2 % could be saved.
    """
    counts = space.counts
    counts[:] = 0
    seen = 0
    for run in range(start, start + n - 63, n // _SAMPLES):
        for i in range(run, run + 64):
            counts[data[i]] += 1
        seen += 64
    equal = 0
    for s in range(256):
        equal += counts[s] * (counts[s] - 1)
    return equal * 231 < seen * (seen - 1)  # 231 = 2^7.85


@njit(nogil=True, cache=True)
def _encode_plane(plane, n, out, at, space):  # type: ignore[no-untyped-def]
    """Code n bytes of a plane in the cheapest way at out[at:]; returns the end."""
    planes, counts, start = space.planes, space.counts, plane * PLANE
    if n < _SAMPLED or not _looks_random(planes, start, n, space):
        huffman.histogram(planes, start, n, counts, space.work32)
        if counts[planes[start]] == n:
            out[at], out[at + 1] = CONSTANT, planes[start]
            return at + 2
        end = _encode_huffman(plane, n, out, at, space)
        if end != BAD:
            return end
    out[at] = STORED
    copy(planes, start, n, out, at + 1)
    return at + 1 + n


@njit(nogil=True, cache=True)
def _cost(counts, lengths):  # type: ignore[no-untyped-def]
    """Bits of all symbols under a code; BAD if it lacks one of them."""
    bits = 0
    for s in range(256):
        bits += counts[s] * np.int64(lengths[s])
    for s in range(256):
        if counts[s] > 0 and lengths[s] == 0:
            return BAD
    return bits


@njit(nogil=True, cache=True)
def _encode_huffman(plane, n, out, at, space):  # type: ignore[no-untyped-def]
    """Code a plane that was counted with its last code or a new one; BAD if storing it is about as short."""
    counts = space.counts
    old, new = space.lengths[plane * 256 : plane * 256 + 256], space.lengths[_PLANES * 256 :]
    words = space.words[plane * 256 : plane * 256 + 256]
    symbols = huffman.code_lengths(counts, new, space.work64)
    end = huffman.write_lengths(new, out, at + 1)
    old_bits, new_bits = _cost(counts, old), _cost(counts, new)
    is_new = old_bits == BAD or old_bits > new_bits + 8 * (end - at - 1) + _NEW_CODE_PRICE
    bits = new_bits if is_new else old_bits
    if not is_new:
        end = at + 1
    if end - at + STREAM_HEADER + (bits >> 3) + 4 > n - (n >> 6):
        return BAD
    out[at] = NEW_CODE if is_new else OLD_CODE
    if is_new:
        copy(new, 0, 256, old, 0)
        huffman.code_words(new, words)
    use_pairs = symbols <= streams.PAIR_SYMBOLS
    if use_pairs:
        streams.pair_table(old, words, space.pairs)
    return streams.encode_streams(space.planes, plane * PLANE, n, words, space.pairs, use_pairs, bits, out, end)


@njit(nogil=True, cache=True)
def _decode(payload, width, fold, out, space):  # type: ignore[no-untyped-def]
    """Fill `out` from `payload`; returns how many bytes of it were used, or BAD."""
    at, words = np.int64(0), len(out) // width
    space.coded[:] = False
    for first in range(0, words, PLANE):
        n = min(PLANE, words - first)
        for plane in range(width - 1, -1, -1):
            at = _decode_plane(payload, at, plane, n, space)
            if at == BAD:
                return BAD
        merge(payload, space.places, space.planes, n, width, fold, out, first * width)
    return at


@njit(nogil=True, cache=True)
def _decode_plane(payload, at, plane, n, space):  # type: ignore[no-untyped-def]
    """The inverse of `_encode_plane`: n bytes to plane `plane`, or its place; the position after it, or BAD."""
    planes, start = space.planes, plane * PLANE
    if at + 2 > len(payload):
        return BAD
    how = payload[at]
    at += 1
    if how == STORED:
        if at + n > len(payload):
            return BAD
        space.places[plane] = at
        return at + n
    space.places[plane] = -1
    if how == CONSTANT:
        planes[start : start + n] = payload[at]
        return at + 1
    if how > OLD_CODE:
        return BAD
    lengths = space.lengths[plane * 256 : plane * 256 + 256]
    table = space.tables[plane * TABLE_SIZE : (plane + 1) * TABLE_SIZE]
    if how == NEW_CODE:
        at = huffman.read_lengths(payload, at, lengths)
        if at == BAD or not streams.decode_table(lengths, table):
            return BAD
        space.coded[plane] = True
    elif not space.coded[plane]:
        return BAD
    return streams.decode_streams(payload, at, n, table, lengths, planes, start)

"""`max`: adaptive context mixing of the bits of each weight. How and why: docs/coder-max.md.

    payload := flags(1) | clean(1) | together(1) | level varint | centre | coded blob | plain bits (the rest)
    flags   := bit 0 signs vary, 1 all negative, 2 zeros have a decision of their own
    centre  := integers only: word bytes, little endian

Words of floats are sign, exponent and mantissa without its `clean` low bits, which are zero throughout; the
`together` lowest ones left are often zero together and have a decision for that. Integers are signed distances
(modulo 2^word) from `centre`; 64-bit ones go as a plane of low and one of high 32-bit words. Packed types go as
bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ...entropy import mixing
from ...errors import BombError, FormatError
from ...spec import DType, Spec, dtype
from ...wire import Reader, Writer
from .mixed_model import code_matrix
from .mixed_work import RAW, TOP, Counters, Fields, make_state

Bytes = NDArray[np.uint8]
Words = NDArray[np.unsignedinteger]

_SIGNED, _NEGATIVE, _SPARSE = 1, 2, 4
_SPARSE_SHARE: Final = 64  # a decision for zeros pays from 1/64 of them
_LEAST_TOGETHER: Final = 4  # low bits
_LEAST: Final = 32  # elements
_MOST_EXPANSION: Final = 1 << 15  # elements a byte: each has a decision, and the surest costs 1/2840 bit


@dataclass(frozen=True, slots=True)
class _Layout:
    """How a dtype's bytes are numbers: `word` bits, fields of floats (0 for integers), and matrices (columns, kernel,
    elements).
    """

    word: int
    exponent: int
    mantissa: int
    sign: int
    planes: int
    matrices: tuple[tuple[int, int, int], ...]

    @property
    def integer(self) -> bool:
        return self.exponent == 0

    @property
    def code(self) -> str:
        return f"<u{self.word // 8}"


def _layout(spec: Spec) -> _Layout:
    kind = dtype(spec.dtype)
    if kind.kind == "packed":
        return _Layout(8, 0, 0, 1, 1, _nonempty([(1, spec.nbytes, 1)]))
    parts = 2 if kind.kind == "complex" else 1
    shapes = zip(spec.matrices(), spec.shapes, strict=True)
    matrices = [
        (rows, cols * parts, parts * (prod(shape[2:]) if len(shape) > 2 else 1)) for (rows, cols), shape in shapes
    ]
    exponent, mantissa, sign = _float_fields(kind)
    planes = 2 if exponent == 0 and kind.word == 64 else 1
    return _Layout(kind.word // planes, exponent, mantissa, sign, planes, _nonempty(matrices * planes))


def _nonempty(matrices: list[tuple[int, int, int]]) -> tuple[tuple[int, int, int], ...]:
    return tuple((cols, gap, rows * cols) for rows, cols, gap in matrices if rows * cols)


def _float_fields(kind: DType) -> tuple[int, int, int]:
    """Exponent, mantissa and sign bits; (0, 0, 1) for integers."""
    if kind.kind == "complex":
        return (8, 23, 1) if kind.word == 32 else (11, 52, 1)
    return (kind.exponent, kind.mantissa, kind.sign) if kind.kind == "float" else (0, 0, 1)


def encode_block(data: Bytes, spec: Spec) -> bytes | None:
    """`data` (1-D uint8, `spec.nbytes` long) coded; None if this would not be smaller."""
    layout = _layout(spec)
    words = _planes(data, layout)
    if words.size < _LEAST:
        return None
    out = Writer()
    centre = _centre(words) if layout.integer else 0
    sign, magnitude, clean = _split(words, layout, centre)
    fields = _choose_fields(sign, magnitude, layout, clean)
    level = _typical_exponent(magnitude, fields)
    flags = _SIGNED * fields.signed | _NEGATIVE * fields.negative | _SPARSE * fields.sparse
    out.raw(bytes([flags, clean, fields.together])).varint(level)
    if layout.integer:
        out.raw(centre.to_bytes(layout.word // 8, "little"))
    work, counters = make_state(fields, level)
    buffer, raw = np.zeros(data.size + 64, np.uint8), np.zeros(data.size + 64, np.uint8)
    _run(work, counters, buffer, raw, sign, magnitude, layout)
    coded = mixing.finish(work, buffer)
    if coded is None or work[RAW + mixing.OVERFLOW]:
        return None
    out.blob(coded).raw(_finish_raw(work, raw))
    return out.bytes() if len(out) < data.size else None


def decode_block(payload: bytes | memoryview | Bytes, spec: Spec) -> Bytes:
    """The inverse of `encode_block`: `spec.nbytes` bytes. Raises FormatError for bytes that it can't have made."""
    layout, source = _layout(spec), Reader(payload, "max block")
    flags, clean, together = source.raw(3)
    if flags > 7 or flags & 3 == 3 or (flags & 3 and not layout.sign) or clean + together > layout.mantissa:
        raise FormatError(f"max block: impossible flags {flags} or clean bits {clean} + {together} for {spec.dtype}")
    fields = _fields(layout, clean, flags, together)
    level = source.varint(limit=fields.exponents - 1)
    centre = int.from_bytes(source.raw(layout.word // 8), "little") if layout.integer else 0
    count = sum(elements for _, _, elements in layout.matrices)
    if count > _MOST_EXPANSION * len(payload):
        raise BombError(f"max block: {len(payload)} bytes can't hold {count} numbers")
    coded = np.frombuffer(source.blob(), np.uint8).copy()
    rest = np.frombuffer(source.raw(source.remaining), np.uint8).copy()
    sign, magnitude = np.zeros(count, np.uint8), np.zeros(count, np.int64)
    work, counters = make_state(fields, level)
    mixing.start_decoding(work, coded)
    _run(work, counters, coded, rest, sign, magnitude, layout)
    used = int(work[RAW + mixing.POSITION])
    if mixing.consumed(work) != coded.size or used != rest.size or work[RAW] >> work[RAW + 1]:
        raise FormatError(
            f"max block: {coded.size} + {rest.size} bytes, but {mixing.consumed(work)} + {used} were used"
        )
    return _join(sign, magnitude, layout, clean, centre)


def _run(
    work: mixing.Work,
    counters: Counters,
    buffer: Bytes,
    raw: Bytes,
    sign: Bytes,
    magnitude: NDArray[np.int64],
    layout: _Layout,
) -> None:
    start = 0
    for cols, gap, elements in layout.matrices:
        part = slice(start, start + elements)
        code_matrix(work, counters, buffer, raw, sign[part], magnitude[part], cols, gap)
        start += elements


def _finish_raw(work: mixing.Work, raw: Bytes) -> bytes:
    end = int(work[RAW + mixing.POSITION])
    if work[RAW + 1]:
        raw[end] = work[RAW]
        end += 1
    return raw[:end].tobytes()


def _planes(data: Bytes, layout: _Layout) -> Words:
    words: Words = data.view(layout.code)
    return words if layout.planes == 1 else np.ascontiguousarray(words.reshape(-1, layout.planes).T).reshape(-1)


def _centre(words: Words) -> int:
    """The middle of an integer block: 0, or for words that look unsigned their median."""
    signed = words.view(f"<i{words.itemsize}")
    if float(np.abs(signed.astype(np.float64)).mean()) <= float(np.abs(words - np.median(words)).mean()):
        return 0
    return int(np.median(words))


def _split(words: Words, layout: _Layout, centre: int) -> tuple[Bytes, NDArray[np.int64], int]:
    """Signs (1 is negative), magnitudes, and how many low mantissa bits were zero throughout and left out."""
    if layout.integer:
        distance = (words - words.dtype.type(centre)).view(f"<i{words.itemsize}").astype(np.int64)
        return (distance < 0).astype(np.uint8), np.abs(distance), 0
    bits = words.view(f"<i{words.itemsize}").astype(np.int64) & ((1 << layout.word) - 1 if layout.word < 64 else -1)
    every = int(np.bitwise_or.reduce(bits)) & ((1 << layout.mantissa) - 1)
    clean = (every & -every).bit_length() - 1 if every else layout.mantissa
    width = layout.exponent + layout.mantissa
    sign = (bits >> width & 1).astype(np.uint8) if layout.sign else np.zeros(bits.size, np.uint8)
    return sign, (bits & ((1 << width) - 1)) >> clean, clean


def _join(sign: Bytes, magnitude: NDArray[np.int64], layout: _Layout, clean: int, centre: int) -> Bytes:
    if layout.integer:
        signed = np.where(sign, -magnitude, magnitude) + centre
        words = signed.astype(layout.code)
        words = words if layout.planes == 1 else np.ascontiguousarray(words.reshape(layout.planes, -1).T).reshape(-1)
    else:
        words = (magnitude << clean).view("<u8")
        if layout.sign:
            words |= sign.astype("<u8") << np.uint64(layout.exponent + layout.mantissa)
        words = words.astype(layout.code)
    return words.view(np.uint8)


def _fields(layout: _Layout, clean: int, flags: int, together: int) -> Fields:
    exponents = layout.word + 1 if layout.integer else 1 << layout.exponent
    signed, negative, sparse = (int(flags & bit > 0) for bit in (_SIGNED, _NEGATIVE, _SPARSE))
    return Fields(exponents, layout.mantissa - clean, int(layout.integer), signed, negative, sparse, together)


def _choose_fields(sign: Bytes, magnitude: NDArray[np.int64], layout: _Layout, clean: int) -> Fields:
    """What the block's header says of its numbers."""
    negatives = int(np.count_nonzero(sign))
    flags = _NEGATIVE if negatives == sign.size else _SIGNED if negatives else 0
    if (magnitude.size - np.count_nonzero(magnitude)) * _SPARSE_SHARE > magnitude.size:
        flags |= _SPARSE
    together = _bits_together(magnitude, layout.mantissa - clean - TOP)
    return _fields(layout, clean, flags, together)


def _bits_together(magnitude: NDArray[np.int64], rest: int) -> int:
    """How many of the `rest` lowest bits are worth a decision "all zero": the number that saves most, or 0."""
    best, saving = 0, 0.0
    lowest = np.where(magnitude, magnitude & -magnitude, 1 << 62)
    for bits in range(_LEAST_TOGETHER, rest + 1):
        share = float(np.count_nonzero(lowest >= 1 << bits)) / magnitude.size
        entropy = -share * np.log2(share) - (1 - share) * np.log2(1 - share) if 0 < share < 1 else 0.0
        if share * bits - entropy > max(saving, 0.02):
            best, saving = bits, share * bits - entropy
    return best


def _typical_exponent(magnitude: NDArray[np.int64], fields: Fields) -> int:
    """The median exponent."""
    middle = int(np.partition(magnitude, magnitude.size // 2)[magnitude.size // 2])
    return middle.bit_length() if fields.integer else middle >> fields.mantissa

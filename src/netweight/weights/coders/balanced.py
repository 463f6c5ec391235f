"""The default code: exponent and leading mantissa bits in contexts of row scale x column scale, one rANS step a weight.

floats   := clean(1) | flags(1: sign, all negative, top in bits 2-3, leaning signs in bit 4) | alphabet | symbols | special
            | signs, if they lean (signs.py) | low
alphabet := first varint | count varint | kinds (adaptive, blob)
special  := escapes varint | their keys (2 each) | coarse symbols varint | their mantissas (packed)
bytes    := symbols
wider    := one plane a byte (lowbits.py), low byte first
symbols  := scaled.py
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ...entropy import adaptive
from ...errors import FormatError
from ...spec import DType, Spec, dtype
from ...wire import Reader, Writer
from . import lowbits, scales, signs
from .scaled import read_symbols, write_symbols
from .signs import Magnitudes
from .symbols import (
    FINE,
    Alphabet,
    Fields,
    choose_top,
    common_bits,
    count_keys,
    energies,
    float_fields,
    is_float,
    make_alphabet,
    map_keys,
    words_of,
)  # fmt: skip

_MOST_TOP: Final = 3
_SAMPLE: Final = 1 << 17
_LEAST: Final = 64  # fewer elements can't pay for a table
_LEAST_SIGNS: Final = 4096  # nor, under this, for what signs lean to

Words = NDArray[np.unsignedinteger]
Bytes = NDArray[np.uint8]


def encode_block(data: Bytes, spec: Spec) -> bytes | None:
    """`data` (1-D uint8, `spec.nbytes` long) coded; None if this would not be smaller."""
    kind = dtype(spec.dtype)
    if data.size * 8 // kind.word < _LEAST:
        return None
    out = Writer()
    if is_float(kind.name):
        _encode_floats(out, data.view(f"<u{kind.word // 8}"), kind, spec)
    elif kind.word == 8:
        write_symbols(out, data, 256, _byte_energy(data, kind), spec)
    else:
        for plane in np.ascontiguousarray(data.reshape(-1, kind.word // 8).T):
            lowbits.write_plane(out, plane)
    return out.bytes() if len(out) < data.size else None


def decode_block(body: bytes | memoryview, spec: Spec) -> Bytes:
    """The inverse: `spec.nbytes` bytes. Raises FormatError."""
    kind, source = dtype(spec.dtype), Reader(body, "balanced block")
    if is_float(kind.name):
        out = _decode_floats(source, kind, spec)
    elif kind.word == 8:
        out = read_symbols(source, spec.nbytes, 256, spec).symbols
    else:
        width = kind.word // 8
        planes = [lowbits.read_plane(source, spec.nbytes // width) for _ in range(width)]
        out = np.ascontiguousarray(np.stack(planes, axis=1)).reshape(-1)
    source.end()
    return out


def _byte_energy(data: Bytes, kind: DType) -> NDArray[np.float64]:
    """How far a byte value is from the block's mean; for booleans how true it is."""
    values = np.arange(256).astype(np.int8 if kind.name == "I8" else np.uint8).astype(np.float64)
    counts = np.bincount(data, minlength=256)
    centre = 0.0 if kind.kind == "bool" else float((counts * values).sum() / data.size)
    return np.asarray((values - centre) ** 2)


# --- floats ------------------------------------------------------------------------------------------------------------


def _measure(words: Words, kind: DType) -> tuple[Fields, int, NDArray[np.int64]]:
    """The fields that suit these words, the sign bit if all have the same, and counts of (a sample of) their keys."""
    used = common_bits(words)
    any_bits, all_bits = int(used[0]), int(used[1])
    clean = (any_bits & -any_bits).bit_length() - 1 if any_bits else 0
    signs = (any_bits >> (kind.word - 1)) & 1, (all_bits >> (kind.word - 1)) & 1
    full = float_fields(kind, clean, _MOST_TOP, int(signs[0] != signs[1]))
    counts = np.zeros(1 << full.key_bits, np.uint32)
    count_keys(words, full.key_shift, counts.size - 1, max(1, words.size // _SAMPLE), counts)
    by_key = counts.astype(np.int64)
    best = choose_top(by_key, full.exponent, full.top, words.size)
    by_key = by_key.reshape(-1, 1 << (full.top - best)).sum(axis=1)
    return float_fields(kind, clean, best, full.sign), signs[1], by_key


def _encode_floats(out: Writer, words: Words, kind: DType, spec: Spec) -> None:
    fields, all_negative, counts = _measure(words, kind)
    alphabet = make_alphabet(counts, fields.exponent, fields.top)
    symbol_of, _ = alphabet.tables(fields.key_bits)
    shapes = scales.shapes_of(spec)
    lean = signs.choose(words, shapes) if fields.sign and words.size >= _LEAST_SIGNS else None
    flags = fields.sign | all_negative << 1 | fields.top << 2 | (lean is not None) << 4
    out.raw(bytes([fields.clean, flags]))
    _write_alphabet(out, alphabet)
    symbols, specials = np.empty(words.size, np.uint8), np.empty(words.size, np.uint16)
    mask = (1 << fields.key_bits) - 1
    found = map_keys(words, fields.key_shift, mask, symbol_of, alphabet.first_special, symbols, specials)
    grouped = write_symbols(out, symbols, alphabet.size, energies(alphabet, fields.key_bits), spec)
    keys = specials[:found]
    escaped = symbol_of[keys] == alphabet.size - 1
    out.varint(int(escaped.sum())).raw(keys[escaped].view(np.uint8)).varint(int((~escaped).sum()))
    out.raw(lowbits.pack_bits((keys[~escaped] & ((1 << fields.top) - 1)).astype(np.uint8), fields.top))
    if lean is not None:
        signs.write_signs(out, words, lean, shapes, Magnitudes(grouped, alphabet, fields.key_bits))
        fields = replace(fields, sign=0)
    lowbits.write_low(out, words, fields)


def _decode_floats(source: Reader, kind: DType, spec: Spec) -> Bytes:
    clean, flags = source.byte(), source.byte()
    top, leaning = (flags >> 2) & 3, flags >> 4
    fields = float_fields(kind, clean, top, flags & 1)
    if fields.clean != clean or fields.top != top or flags & 3 == 3 or leaning > (flags & 1):
        raise FormatError("balanced block: impossible bit fields")
    alphabet = _read_alphabet(source, fields)
    count = spec.nbytes * 8 // fields.word
    grouped = read_symbols(source, count, alphabet.size, spec)
    keys = source.array(source.varint(limit=count), "<u2").astype(np.uint16)
    mantissas = lowbits.unpack_bits(source, fields.top, source.varint(limit=count))
    if keys.size and int(keys.max()) >> fields.key_bits:
        raise FormatError("balanced block: impossible exponent")
    words = np.empty(count, f"<u{fields.word // 8}")
    word_of = alphabet.tables(fields.key_bits)[1] << np.uint64(fields.key_shift)
    if flags & 2:
        word_of |= np.uint64(1 << (fields.word - 1))
    escape = alphabet.size - 1
    shape = (alphabet.first_special, escape, mantissas, keys, fields.key_shift)
    if words_of(grouped.symbols, word_of, *shape, words) != (mantissas.size, keys.size):
        raise FormatError("balanced block: wrong number of rare exponents")
    if leaning:
        signs.read_signs(source, words, scales.shapes_of(spec), Magnitudes(grouped, alphabet, fields.key_bits))
        fields = replace(fields, sign=0)
    lowbits.read_low(source, fields, words)
    return words.view(np.uint8)


def _write_alphabet(out: Writer, alphabet: Alphabet) -> None:
    kinds = alphabet.kinds.astype(np.int64)
    out.varint(alphabet.first).varint(kinds.size).blob(adaptive.encode(kinds, np.zeros(kinds.size, np.uint8)))


def _read_alphabet(source: Reader, fields: Fields) -> Alphabet:
    size = 1 << fields.exponent
    first, count = source.varint(limit=size), source.varint(limit=size)
    kinds = adaptive.decode(source.blob(), np.zeros(count, np.uint8), FINE).astype(np.uint8)
    alphabet = Alphabet(first, kinds, fields.top)
    if first + count > size or alphabet.size > 256:
        raise FormatError("balanced block: impossible alphabet")
    return alphabet

"""Lengths of payloads of well-known compressors, by compressing each pair as it stands."""

from __future__ import annotations

import bz2
import lzma
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any, Final

import numpy as np

from ...errors import InputError, MissingExtraError
from .lengths import SEPARATOR, Bits, Indices, Lengths, Suffixes, compare, every

Encode = Callable[[bytes], bytes]
Decode = Callable[[bytes, int], bytes]

_XZ_DICTIONARY_LEAST: Final = 1 << 12
_XZ_DICTIONARY: Final = 1 << 23  # that of level 6
_PLAIN: Final = b"\0"
_CODED: Final = b"\1"
_PPMD_MEMORY: Final = 16 << 20
_BROTLI_WINDOW: Final = 16  # log2 of bytes; a larger one costs 25 times the time for nothing on short texts
_BROTLI_WINDOW_MOST: Final = 24


@dataclass(frozen=True, slots=True)
class Compressor:
    """`make(level)`: (encode, decode), made for one thread. decode is told the length of the text.

    `library`: attribute that tells the version of what does the work, "" for what hasn't changed its bytes in years.
    """

    make: Callable[[int], tuple[Encode, Decode]]
    levels: range
    default: int
    library: str = ""


def _bz2(level: int) -> tuple[Encode, Decode]:
    return partial(bz2.compress, compresslevel=level), lambda payload, _: bz2.decompress(payload)


def _xz(level: int) -> tuple[Encode, Decode]:
    """From level 6 on with a dictionary no larger than the text: as many bytes, but megabytes less to clear each time."""

    def encode(text: bytes) -> bytes:
        dictionary = max(_XZ_DICTIONARY_LEAST, 1 << max(0, len(text) - 1).bit_length())
        if level < 6 or dictionary > _XZ_DICTIONARY:
            return lzma.compress(text, preset=level)
        options = {"id": lzma.FILTER_LZMA2, "preset": level, "dict_size": dictionary}
        return lzma.compress(text, filters=[options])

    return encode, lambda payload, _: lzma.decompress(payload)


def _zstd(level: int) -> tuple[Encode, Decode]:
    import zstandard

    decoder = zstandard.ZstdDecompressor()
    return zstandard.ZstdCompressor(level=level).compress, lambda payload, _: decoder.decompress(payload)


def _brotli(level: int) -> tuple[Encode, Decode]:
    import brotli

    def encode(text: bytes) -> bytes:
        window = min(max(_BROTLI_WINDOW, len(text).bit_length()), _BROTLI_WINDOW_MOST)
        payload: bytes = brotli.compress(text, quality=level, lgwin=window)
        return payload

    return encode, lambda payload, _: brotli.decompress(payload)


def _ppmd(order: int) -> tuple[Encode, Decode]:
    try:
        import pyppmd
    except ModuleNotFoundError:
        raise MissingExtraError("pyppmd", "ncd") from None

    def encode(text: bytes) -> bytes:
        encoder: Any = pyppmd.Ppmd8Encoder(order, _PPMD_MEMORY)
        head: bytes = encoder.encode(text)
        tail: bytes = encoder.flush()
        return head + tail

    def decode(payload: bytes, size: int) -> bytes:
        text: bytes = pyppmd.Ppmd8Decoder(order, _PPMD_MEMORY).decode(payload, size)
        return text

    return encode, decode


def _byte_model(_: int) -> tuple[Encode, Decode]:
    """Our context-mixing model of bytes, behind a byte that says whether the text is as it is."""
    from ..codec import byte_model

    def encode(text: bytes) -> bytes:
        payload = byte_model.encode(np.frombuffer(text, np.uint8))
        return _PLAIN + text if payload is None else _CODED + payload

    def decode(payload: bytes, size: int) -> bytes:
        if payload.startswith(_PLAIN):
            return payload[1:]
        return byte_model.decode(memoryview(payload)[1:], size).tobytes()

    return encode, decode


COMPRESSORS: Final[dict[str, Compressor]] = {
    "bz2": Compressor(_bz2, range(1, 10), 9),
    "xz": Compressor(_xz, range(10), 6),
    "zstd": Compressor(_zstd, range(1, 23), 19, "zstandard:ZSTD_VERSION"),
    "brotli": Compressor(_brotli, range(12), 11, "brotli:version"),
    "ppmd": Compressor(_ppmd, range(2, 17), 6, "pyppmd:__version__"),
    "netweight": Compressor(_byte_model, range(1), 0),
}
"""The level of ppmd (variant I, which 7-Zip calls PPMd8) is its order; netweight's model of bytes has none."""


def checked_level(name: str, level: int | None, levels: range, default: int) -> int:
    """The level that is meant. Raises InputError."""
    chosen = default if level is None else level
    if chosen not in levels:
        raise InputError(f"{name}: level must be a whole number from {levels[0]} to {levels[-1]}, not {chosen}")
    return chosen


class Compressed(Lengths):
    """One of COMPRESSORS at a level. Raises InputError, MissingExtraError."""

    def __init__(self, kind: str, level: int | None = None, separator: bytes = SEPARATOR) -> None:
        super().__init__(separator)
        self.kind, known = kind, COMPRESSORS[kind]
        self.level = checked_level(kind, level, known.levels, known.default)
        self.name = f"{kind}:{self.level}" if len(known.levels) > 1 else kind
        self._make = partial(known.make, self.level)
        self._make()  # a missing package is noticed now

    @property
    def identity(self) -> str:
        module, _, attribute = COMPRESSORS[self.kind].library.partition(":")
        return f"{self.name} {getattr(import_module(module), attribute)}" if module else self.name

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.kind, self.level, self.separator)

    def _one(self, text: bytes) -> float:
        encode, decode = self._make()
        payload = encode(text)
        compare(self.name, text, decode(payload, len(text)))
        return 8.0 * len(payload)

    def joined(
        self,
        prefix: bytes,
        suffixes: Suffixes,
        wanted: Indices | None = None,
        limits: Bits | None = None,  # noqa: ARG002
    ) -> Bits:
        encode, decode = self._make()
        chosen = every(suffixes, wanted)
        out = np.empty(len(chosen))
        for n, k in enumerate(chosen):
            text = prefix + suffixes.texts[k]
            payload = encode(text)
            out[n] = 8.0 * len(payload)
            if n == 0:
                compare(self.name, text, decode(payload, len(text)))
        return out


class Zstd(Compressed):
    """Zstandard, for which a prefix can be a dictionary: `given` is then the length of real payloads too."""

    def __init__(self, level: int | None = None, separator: bytes = SEPARATOR) -> None:
        super().__init__("zstd", level, separator)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.level, self.separator)

    def given(self, prefix: bytes, suffixes: Suffixes, wanted: Indices | None = None) -> Bits:
        """Payload of separator + text under a dictionary that is the prefix (raw content), as its receiver decodes it."""
        import zstandard

        dictionary = zstandard.ZstdCompressionDict(prefix, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
        dictionary.precompute_compress(level=self.level)
        encoder = zstandard.ZstdCompressor(level=self.level, dict_data=dictionary)
        chosen = every(suffixes, wanted)
        out = np.empty(len(chosen))
        for n, k in enumerate(chosen):
            payload = encoder.compress(suffixes.texts[k])
            out[n] = 8.0 * len(payload)
            if n == 0:
                decoder = zstandard.ZstdDecompressor(dict_data=dictionary)
                compare(self.name, suffixes.texts[k], decoder.decompress(payload))
        return out

"""Lengths of gzip, zlib and raw deflate payloads: the bytes of `zlib.compress`, without making most of them.

A prefix is compressed once; each text goes on from a copy of that state, which gives the same bytes as compressing both
together. At level 9 and up to 16 kB not even that is needed: deflate_matches.py, deflate_pairs.py and deflate_trees.py
work out the length alone. They are used only if they agree with the zlib that Python was built with (on made texts once, and on one pair
of every prefix).
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Sequence
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...errors import GuaranteeError
from .compressors import checked_level
from .deflate_matches import HASHES, LONGEST_CHAIN, LONGEST_TEXT, PADDING, SUMS, own_matches, prime
from .deflate_pairs import BEYOND, SIEVE_WORDS, after, fill, grams
from .deflate_trees import DISTANCES, LITERALS, workspace
from .lengths import SEPARATOR, Bits, Indices, Lengths, Suffixes, compare, every

_BEST: Final = 9
CONTAINERS: Final = {"gzip": 18, "zlib": 6, "deflate": 0}
"""Bytes around the raw stream: header and checksum."""


class DeflateSuffixes(Suffixes):
    """Texts with their own matches. `chains`: int64 [texts], how many places share a hash at most."""

    def __init__(self, texts: Sequence[bytes]) -> None:
        super().__init__(texts)
        self.sizes = np.array([len(text) for text in self.texts], np.int64)
        self.offsets = np.concatenate([[0], np.cumsum(self.sizes)]).astype(np.int64)
        self.data = np.frombuffer(b"".join(self.texts) + bytes(PADDING), np.uint8)
        self.lengths = np.zeros(self.offsets[-1], np.int16)
        self.distances = np.zeros(self.offsets[-1], np.int16)
        self.grams = np.zeros(self.offsets[-1], np.uint16)
        self.chains = self._own_matches()

    def _own_matches(self) -> NDArray[np.int64]:
        head, previous = np.zeros(HASHES, np.int16), np.zeros(LONGEST_TEXT, np.int16)
        chains = np.zeros(len(self.texts), np.int64)
        for k, size in enumerate(self.sizes):
            if size <= LONGEST_TEXT:
                start, stop = self.offsets[k], self.offsets[k + 1]
                lengths, distances = self.lengths[start:stop], self.distances[start:stop]
                chains[k] = own_matches(self.data[start:], size, head, previous, lengths, distances)
                grams(self.data[start:], size, lengths, self.grams[start:stop])
        return chains


class Deflate(Lengths):
    """gzip, zlib or deflate at a level. `calculated` False has zlib itself write every pair."""

    def __init__(
        self, kind: str = "gzip", level: int | None = None, separator: bytes = SEPARATOR, *, calculated: bool = True
    ) -> None:
        super().__init__(separator)
        self.kind, self.level = kind, checked_level(kind, level, range(1, 10), _BEST)
        self.name = f"{kind}:{self.level}"
        self._around = CONTAINERS[kind]
        self.calculated = calculated and self.level == _BEST and agrees_with_zlib()

    @property
    def limited(self) -> bool:  # type: ignore[override]
        return self.calculated

    def __reduce__(self) -> tuple[Any, ...]:
        return _remade, (self.kind, self.level, self.separator, self.calculated)

    @property
    def identity(self) -> str:
        return f"{self.name} {zlib.ZLIB_RUNTIME_VERSION}"

    def prepare(self, texts: Sequence[bytes]) -> Suffixes:
        joined = [self.separator + text for text in texts]
        return DeflateSuffixes(joined) if self.calculated else Suffixes(joined)

    def _one(self, text: bytes) -> float:
        payload = self._raw(text)
        compare(self.name, text, zlib.decompress(payload, -zlib.MAX_WBITS))
        return 8.0 * (len(payload) + self._around)

    def _raw(self, text: bytes) -> bytes:
        encoder = self._encoder()
        head: bytes = encoder.compress(text)
        tail: bytes = encoder.flush()
        return head + tail

    def _encoder(self) -> Any:
        return zlib.compressobj(self.level, zlib.DEFLATED, -zlib.MAX_WBITS)

    def joined(
        self, prefix: bytes, suffixes: Suffixes, wanted: Indices | None = None, limits: Bits | None = None
    ) -> Bits:
        chosen = every(suffixes, wanted)
        if not len(chosen):
            return np.empty(0)
        text = prefix + suffixes.texts[chosen[0]]
        payload = self._raw(text)
        compare(self.name, text, zlib.decompress(payload, -zlib.MAX_WBITS))
        raw = np.full(len(chosen), -1, np.int64)
        if isinstance(suffixes, DeflateSuffixes) and prefix:
            calculate(prefix, suffixes, chosen, raw, self._raw_limits(limits))
        if raw[0] not in (-1, BEYOND, len(payload)):
            raise GuaranteeError(
                f"{self.name}: a pair takes {len(payload)} bytes, not the {raw[0]} that were worked out"
            )
        self._write(prefix, suffixes, chosen, raw)
        return np.where(raw == BEYOND, np.inf, 8.0 * (raw + self._around))

    def _raw_limits(self, limits: Bits | None) -> NDArray[np.int64] | None:
        """Bits of payloads as bytes of raw streams."""
        if limits is None:
            return None
        raw: NDArray[np.int64] = np.minimum(np.floor(limits / 8) - self._around, BEYOND).astype(np.int64)
        return raw

    def _write(self, prefix: bytes, suffixes: Suffixes, chosen: Indices, raw: NDArray[np.int64]) -> None:
        """Fill in what is -1 by letting zlib go on from the state after the prefix."""
        left = np.flatnonzero(raw < 0)
        if not len(left):
            return
        primed = self._encoder()
        before = len(primed.compress(prefix))
        for n in left:
            encoder = primed.copy()
            raw[n] = before + len(encoder.compress(suffixes.texts[chosen[n]])) + len(encoder.flush())


def _remade(kind: str, level: int, separator: bytes, calculated: bool) -> Deflate:
    return Deflate(kind, level, separator, calculated=calculated)


def calculate(
    prefix: bytes,
    suffixes: DeflateSuffixes,
    chosen: Indices,
    raw: NDArray[np.int64],
    limits: NDArray[np.int64] | None = None,
) -> None:
    """Bytes of raw deflate, level 9, into raw (int64 [chosen]) where that can be worked out: short texts, short chains.

    What is surely more than its limit (int64 [chosen]) becomes BEYOND.
    """
    sizes = suffixes.sizes[chosen]
    short = sizes + len(prefix) <= LONGEST_TEXT
    if not short.any():
        return
    text = np.zeros(len(prefix) + int(sizes[short].max()) + PADDING, np.uint8)
    text[: len(prefix)] = np.frombuffer(prefix, np.uint8)
    primed = (
        np.empty(HASHES, np.int16), np.zeros(len(text), np.int16), np.zeros(4, np.int64), np.zeros(LITERALS, np.int64),
        np.zeros(DISTANCES, np.int64), np.zeros(SUMS, np.int64),
    )  # fmt: skip
    chain = prime(text, len(prefix), *primed)
    sieve = np.empty(SIEVE_WORDS, np.uint64)
    fill(text, len(prefix), sieve)
    possible = np.flatnonzero(short & (suffixes.chains[chosen] + chain + 2 <= LONGEST_CHAIN))
    out = np.zeros(len(possible), np.int64)
    texts = suffixes.data, suffixes.offsets, suffixes.lengths, suffixes.distances, suffixes.grams
    after(text, len(prefix), primed, sieve, texts, chosen[possible], _of(limits, possible), workspace(), out)
    raw[possible] = out


def _of(limits: NDArray[np.int64] | None, possible: Indices) -> NDArray[np.int64]:
    return np.full(len(possible), BEYOND, np.int64) if limits is None else limits[possible]


@cache
def agrees_with_zlib() -> bool:
    """Whether the lengths that are worked out are those of this zlib (zlib-ng and others code in their own way)."""
    made = random.Random(0)  # noqa: S311  texts, not secrets
    words = ["".join(made.choices("abcdefghij", k=made.randint(1, 7))) for _ in range(60)]
    texts = [" ".join(made.choices(words, k=k)).encode() for k in (1, 4, 40, 400, 1500)]
    texts += [b"a" * 300, made.randbytes(60), made.randbytes(900), b""]
    suffixes = DeflateSuffixes([SEPARATOR + text for text in texts])
    raw = np.zeros(len(texts), np.int64)
    for prefix in (b"b", *texts[:-1]):
        calculate(prefix, suffixes, np.arange(len(texts)), raw)
        if [len(zlib.compress(prefix + s, _BEST)) - CONTAINERS["zlib"] for s in suffixes.texts] != raw.tolist():
            return False
    return True

"""Rank coding (AlphaZip, arXiv 2409.15046): each token as its place among all when the likeliest comes first.

rank = tokens with a higher logit + tokens with the same logit and a lower number; 0 is the model's best guess. Ranks are
written in LEB128 (one byte below 128) and any code of bytes goes behind. Logits are integers, so ranks decode everywhere.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ...codec import Codec
from ...entropy import adaptive_huffman, rans, tables
from ...errors import FormatError
from ...registry import create
from ...spec import Spec
from ...wire import Reader, Writer

Bytes = NDArray[np.uint8]
Int32 = NDArray[np.int32]

BACK_ENDS: Final = ("adaptive Huffman", "gzip", "brotli", "zstd", "rANS")
_LEVELS: Final = {"gzip": 9, "brotli": 11, "zstd": 19}

_kernel: Any = njit(nogil=True, cache=True, error_model="numpy")


@_kernel
def ranks_of(logits, tokens, out):  # type: ignore[no-untyped-def]
    """Fill `out` (int32 [n]) with the rank of each of `tokens` (int32 [n]) under its logits (int32 [n, V])."""
    for i in range(tokens.size):
        own, token, rank = logits[i, tokens[i]], tokens[i], 0
        for t in range(logits.shape[1]):
            rank += logits[i, t] > own or (logits[i, t] == own and t < token)
        out[i] = rank


def token_at(logits: Int32, rank: int) -> int:
    """The token that has `rank` under `logits` (int32 [V]). Raises FormatError."""
    if not 0 <= rank < logits.size:
        raise FormatError(f"rank code: a rank of {rank} among {logits.size} tokens")
    if rank == 0:
        return int(logits.argmax())
    keys = -logits.astype(np.int64) * logits.size + np.arange(logits.size)
    return int(np.partition(keys, rank)[rank] % logits.size)


def to_bytes(ranks: Int32) -> Bytes:
    """LEB128."""
    return np.frombuffer(Writer().varints(ranks.tolist()).bytes(), np.uint8)


def from_bytes(data: Bytes, count: int) -> Int32:
    """The inverse, for `count` ranks. Raises FormatError."""
    source = Reader(data, "rank code")
    ranks = source.varints(count, limit=(1 << 31) - 1)
    source.end()
    return np.array(ranks, np.int32)


def encode_bytes(back_end: str, data: Bytes) -> bytes:
    """Code the ranks' bytes, uint8 [n], by one of BACK_ENDS."""
    if back_end == "adaptive Huffman":
        return adaptive_huffman.encode(data)
    if back_end == "rANS":
        return _rans_encode(data)
    return _general(back_end).encode(data, Spec.raw(data.size))


def decode_bytes(back_end: str, payload: bytes | memoryview, size: int) -> Bytes:
    """The inverse. Raises FormatError."""
    if back_end == "adaptive Huffman":
        return adaptive_huffman.decode(payload, size)
    if back_end == "rANS":
        return _rans_decode(payload, size)
    return _general(back_end).decode(payload, Spec.raw(size))


def _general(back_end: str) -> Codec:
    return create(back_end, {"level": _LEVELS[back_end]})


def _rans_encode(data: Bytes) -> bytes:
    out, scale = Writer(), tables.scale_for(data.size)
    levels = tables.levels_of(np.bincount(data, minlength=rans.SYMBOLS)[None])
    tables.write_tables(out, levels)
    contexts = np.zeros(data.size, np.uint8)
    return out.raw(rans.encode(data, contexts, tables.frequencies_of(levels, scale), scale).tobytes()).bytes()


def _rans_decode(payload: bytes | memoryview, size: int) -> Bytes:
    source, scale = Reader(payload, "rank code"), tables.scale_for(size)
    levels = tables.read_tables(source, 1, rans.SYMBOLS)
    contexts = np.zeros(size, np.uint8)
    return rans.decode(source.raw(source.remaining), contexts, tables.frequencies_of(levels, scale), scale)

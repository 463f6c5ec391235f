"""Adaptive Huffman coding of bytes (Faller 1973, Gallager 1978, Knuth 1985): a tree that both sides grow alike.

Nodes are numbered so that weights never fall with the number; a node that grows first changes places with the last one of
its weight. A byte that is new is sent as the code of the empty leaf and eight bits. Numba kernels; what rank coding
(AlphaZip, arXiv 2409.15046) puts behind a language model.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ..errors import FormatError, TruncatedError

Bytes = NDArray[np.uint8]
_NODES: Final = 2 * 257
_ROOT: Final = _NODES - 1
_NEW: Final = 256
"""The symbol of the empty leaf."""

_kernel: Any = njit(nogil=True, cache=True, error_model="numpy")


@_kernel
def _make_tree():  # type: ignore[no-untyped-def]
    """(weight, parent, left child, symbol) by node, the node of each symbol; -1 is none. The left child's right sibling is +1."""
    weight = np.zeros(_NODES, np.int64)
    parent, left, symbol = np.full((3, _NODES), -1, np.int64)
    leaf = np.full(257, -1, np.int64)
    leaf[_NEW], symbol[_ROOT] = _ROOT, _NEW
    return weight, parent, left, symbol, leaf


@_kernel
def _adopt(tree, node):  # type: ignore[no-untyped-def]
    """Tell the children, or the symbol, of a node where they belong."""
    _, parent, left, symbol, leaf = tree
    if left[node] >= 0:
        parent[left[node]] = parent[left[node] + 1] = node
    else:
        leaf[symbol[node]] = node


@_kernel
def _exchange(tree, a, b):  # type: ignore[no-untyped-def]
    """Subtrees a and b change places."""
    weight, _, left, symbol, _ = tree
    weight[a], weight[b] = weight[b], weight[a]
    left[a], left[b] = left[b], left[a]
    symbol[a], symbol[b] = symbol[b], symbol[a]
    _adopt(tree, a)
    _adopt(tree, b)


@_kernel
def _count(tree, value):  # type: ignore[no-untyped-def]
    """One more of `value`."""
    weight, parent, left, symbol, leaf = tree
    if leaf[value] < 0:
        old = leaf[_NEW]  # becomes a node with the empty leaf and the new one
        left[old], symbol[old] = old - 2, -1
        symbol[old - 2], symbol[old - 1] = _NEW, value
        parent[old - 2] = parent[old - 1] = old
        leaf[_NEW], leaf[value] = old - 2, old - 1
    node = leaf[value]
    while node >= 0:
        last = node
        while last < _ROOT and weight[last + 1] == weight[node]:
            last += 1
        if last != node and last != parent[node]:
            _exchange(tree, node, last)
            node = last
        weight[node] += 1
        node = parent[node]


@_kernel
def _put(out, at, bit):  # type: ignore[no-untyped-def]
    if bit:
        out[at >> 3] |= np.uint8(128 >> (at & 7))
    return at + 1


@_kernel
def _encode(data, out):  # type: ignore[no-untyped-def]
    """Bits written."""
    tree, at, path = _make_tree(), 0, np.zeros(_NODES, np.uint8)
    _, parent, left, _, leaf = tree
    for value in data:
        new = leaf[value] < 0
        node, depth = leaf[_NEW if new else value], 0
        while node != _ROOT:
            path[depth] = node != left[parent[node]]
            node, depth = parent[node], depth + 1
        for k in range(depth - 1, -1, -1):
            at = _put(out, at, path[k])
        if new:
            for k in range(7, -1, -1):
                at = _put(out, at, (value >> k) & 1)
        _count(tree, np.int64(value))
    return at


@_kernel
def _decode(coded, out):  # type: ignore[no-untyped-def]
    """Bits read; -1 if they ran out, -2 for a byte that is called new and isn't."""
    tree, at, end = _make_tree(), 0, 8 * coded.size
    _, _, left, symbol, leaf = tree
    for i in range(out.size):
        node = _ROOT
        while left[node] >= 0:
            if at >= end:
                return -1
            node = left[node] + ((coded[at >> 3] >> (7 - (at & 7))) & 1)
            at += 1
        value = symbol[node]
        if value == _NEW:
            if at + 8 > end:
                return -1
            value = 0
            for _ in range(8):
                value = 2 * value + ((coded[at >> 3] >> (7 - (at & 7))) & 1)
                at += 1
            if leaf[value] >= 0:
                return -2
        out[i] = value
        _count(tree, np.int64(value))
    return at


def encode(data: Bytes) -> bytes:
    """Code uint8 [n]; n isn't told."""
    # a code is at most as long as the tree is deep, and on the whole no longer than fixed 9 bits and the new bytes
    out = np.zeros(2 * data.size + 1024, np.uint8)
    return out[: _encode(data, out) + 7 >> 3].tobytes()


def decode(payload: bytes | memoryview, size: int) -> Bytes:
    """The inverse of `encode` for n = `size`. Raises FormatError."""
    coded, out = np.frombuffer(payload, np.uint8), np.empty(size, np.uint8)
    used = int(_decode(coded, out))
    if used == -2:
        raise FormatError("adaptive Huffman code: a byte is called new that isn't")
    if used < 0:
        raise TruncatedError("adaptive Huffman code: ends early")
    if used + 7 >> 3 != coded.size:
        raise FormatError("adaptive Huffman code: doesn't end where it should")
    return out

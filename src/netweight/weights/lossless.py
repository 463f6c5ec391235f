"""netweight's lossless codes as codecs of arrays: `netweight.fast`, `netweight.balanced`, `netweight.max`.

payload := for each block: length varint | payload of methods.py        (blocks as pieces.split cuts them)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..codec import LOSSLESS, ConfigCodec, Guarantee
from ..spec import Spec
from ..wire import Reader, Writer
from .methods import EFFORTS, decode_block, encode_block
from .pieces import split


class _Lossless(ConfigCodec):
    """One effort; no configuration."""

    id: str
    guarantee: Guarantee = LOSSLESS
    _effort: ClassVar[str]

    def config(self) -> dict[str, Any]:
        return {}

    def _blocks(self, spec: Spec) -> Iterator[Spec]:
        """Lazily: a spec may lie."""
        most = EFFORTS[self._effort].block_elements
        if len(spec.shapes) != 1 and spec.count <= most:
            yield spec
            return
        for shape in spec.shapes:
            yield from split(Spec(spec.dtype, (shape,)), most)

    def encode(self, data: NDArray[np.uint8], spec: Spec) -> bytes:
        """`data` (1-D uint8, `spec.nbytes` long) as a payload."""
        out, at = Writer(), 0
        for block in self._blocks(spec):
            out.blob(encode_block(data[at : at + block.nbytes], block, EFFORTS[self._effort]))
            at += block.nbytes
        return out.bytes()

    def decode(self, payload: bytes | memoryview, spec: Spec) -> NDArray[np.uint8]:
        """`spec.nbytes` bytes. Raises FormatError."""
        source = Reader(payload, self.id)
        parts = [decode_block(source.blob(), block) for block in self._blocks(spec)]
        source.end()
        return np.concatenate(parts) if parts else np.empty(0, np.uint8)


class Fast(_Lossless):
    """Throughput first: byte planes, Huffman."""

    id = "netweight.fast"
    _effort = "fast"


class Balanced(_Lossless):
    """The default: exponents in contexts of row scale x column scale, rANS."""

    id = "netweight.balanced"
    _effort = "balanced"


class Max(_Lossless):
    """Size first: adaptive context mixing."""

    id = "netweight.max"
    _effort = "max"

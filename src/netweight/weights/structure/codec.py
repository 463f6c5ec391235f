"""Structure on the lossy ladder: each tensor by the cheapest of the structures that are found in it, or plainly.

payload := for each piece of each tensor (of at most 2^20 weights): length varint | payload of methods.py
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...codec import ConfigCodec, Guarantee
from ...spec import Spec
from ...wire import Reader, Writer
from ..lossy.values import floats_of, squares
from ..methods import EFFORTS, decode_block, encode_block
from ..pieces import split
from .model import Tolerance
from .pricing import best_ways

_PIECE: Final = 1 << 20
_SURELY: Final = 1 - 1e-9  # however whoever checks it sums


class Structure(ConfigCodec):
    """Floats to within `rel_mse` = ||x - y||^2 / ||x||^2 over all that is given; other bytes losslessly."""

    id = "netweight.lossy.structure"

    def __init__(self, rel_mse: float = 0.01) -> None:
        """Raises ValueError unless 0 < rel_mse <= 1."""
        if not 0 < rel_mse <= 1:
            raise ValueError(f"rel_mse is {rel_mse}; it must be above 0 and at most 1")
        self.rel_mse = float(rel_mse)
        self.guarantee = Guarantee("rel_mse", self.rel_mse)

    def config(self) -> dict[str, Any]:
        return {"rel_mse": self.rel_mse}

    def _pieces(self, spec: Spec) -> Iterator[Spec]:
        """Lazily: a spec may lie."""
        for shape in spec.shapes:
            yield from split(Spec(spec.dtype, (shape,)), _PIECE)

    def encode(self, data: NDArray[np.uint8], spec: Spec) -> bytes:
        """`data` (1-D uint8, `spec.nbytes` long) as a payload within the error."""
        values = floats_of(data, spec)
        quantised = values is not None and bool(values.any())
        noise = 0.0 if values is None or not quantised else self.rel_mse * squares(values) / values.size * _SURELY
        out, at = Writer(), 0
        for piece in self._pieces(spec):
            part = data[at : at + piece.nbytes]
            at += piece.nbytes
            own = floats_of(part, piece) if quantised else None
            if own is None or not own.any():
                out.blob(encode_block(part, piece, EFFORTS["balanced"]))
            else:
                out.blob(best_ways(part, own, piece, Tolerance(noise))[1].payload)
        return out.bytes()

    def decode(self, payload: bytes | memoryview, spec: Spec) -> NDArray[np.uint8]:
        """`spec.nbytes` bytes. Raises FormatError."""
        source = Reader(payload, self.id)
        parts = [decode_block(source.blob(), piece) for piece in self._pieces(spec)]
        source.end()
        return np.concatenate(parts) if parts else np.empty(0, np.uint8)

"""The base of lossy codecs: what isn't a finite float, or can't be had within the error, is coded losslessly.

payload := 0 | lossless payload, as of `netweight.balanced`
         | 1 | body of the code
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...codec import ConfigCodec, Guarantee
from ...errors import BombError, FormatError
from ...spec import Spec
from ..coders.scales import Shape, shapes_of
from ..lossless import Balanced
from ..methods import MAX_BLOCK_BYTES
from .values import Bytes, Floats, bytes_of, floats_of, rel_mse, rounded

_LOSSLESS, _LOSSY = b"\0", b"\1"
_TRIES: Final = 6
_TIGHTER: Final = 0.9
_SURELY: Final = 1 - 1e-12  # however whoever checks it sums and rounds


class LossyCode(ConfigCodec):
    """Floats to within `rel_mse` = ||x - y||^2 / ||x||^2 over the whole of what is given, rounding to the dtype included.

    A subclass quantises finite float32 numbers that aren't all zero. Its config holds `rel_mse` and what else it needs.
    """

    id: str
    guarantee: Guarantee

    def __init__(self, rel_mse: float) -> None:
        """Raises ValueError unless 0 < rel_mse <= 1."""
        if not 0 < rel_mse <= 1:
            raise ValueError(f"rel_mse is {rel_mse}; it must be above 0 and at most 1")
        self.rel_mse = float(rel_mse)
        self.guarantee = Guarantee("rel_mse", self.rel_mse)

    def config(self) -> dict[str, Any]:
        return {"rel_mse": self.rel_mse}

    @abstractmethod
    def quantise(self, values: Floats, shapes: list[Shape], rel_mse: float) -> tuple[bytes, Floats] | None:
        """(body, what it decodes to) of float32 [n] with an error of about `rel_mse`; None if this code can't.

        `shapes` are the tensors that lie end to end in `values`, as rows x (inner x kernel).
        """

    @abstractmethod
    def restore(self, body: memoryview, shapes: list[Shape]) -> Floats:
        """The inverse: float32 [n]. Raises FormatError for anything that `quantise` can't have made."""

    def encode(self, data: NDArray[np.uint8], spec: Spec) -> bytes:
        """`data` (1-D uint8, `spec.nbytes` long) as a payload within the error."""
        values = floats_of(data, spec)
        if values is not None and values.any():
            body = self._within(values, spec)
            if body is not None:
                return _LOSSY + body
        return _LOSSLESS + Balanced().encode(data, spec)

    def _within(self, values: Floats, spec: Spec) -> bytes | None:
        """The body at the largest error that stays within the promise after rounding; None if there is none."""
        shapes, aim = shapes_of(spec), self.rel_mse
        for _ in range(_TRIES):
            made = self.quantise(values, shapes, aim)
            if made is None:
                return None
            body, restored = made
            if rel_mse(values, rounded(restored, spec.dtype)) <= self.rel_mse * _SURELY:
                return body
            aim *= _TIGHTER
        return None

    def decode(self, payload: bytes | memoryview, spec: Spec) -> Bytes:
        """`spec.nbytes` bytes. Raises FormatError."""
        view = memoryview(payload)
        if view[:1] == _LOSSLESS:
            return Balanced().decode(view[1:], spec)
        if view[:1] != _LOSSY or floats_of(np.zeros(0, np.uint8), Spec(spec.dtype, ((0,),))) is None:
            raise FormatError(f"{self.id}: not a payload of {spec.dtype}")
        if spec.nbytes > 4 * MAX_BLOCK_BYTES:
            raise BombError(f"{self.id}: {spec.nbytes} bytes; at most {4 * MAX_BLOCK_BYTES} are decoded at once")
        return bytes_of(self.restore(view[1:], shapes_of(spec)), spec.dtype)

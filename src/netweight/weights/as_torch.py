"""Arrays as torch tensors of the same bits, for what lies below `netweight.torch`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from .._lazy import required
from ..errors import UnsupportedError

if TYPE_CHECKING:
    import torch

# numpy has no such types: the bits travel as integers of the same width.
_BY_BITS: Final = {
    "bfloat16": ("uint16", "bfloat16"),
    "float8_e4m3fn": ("uint8", "float8_e4m3fn"),
    "float8_e5m2": ("uint8", "float8_e5m2"),
    "float8_e4m3fnuz": ("uint8", "float8_e4m3fnuz"),
    "float8_e5m2fnuz": ("uint8", "float8_e5m2fnuz"),
    "float8_e8m0fnu": ("uint8", "float8_e8m0fnu"),
}


def library() -> Any:
    """The module torch. Raises MissingExtraError."""
    return required("torch", "torch")


def from_numpy(array: NDArray[Any]) -> torch.Tensor:
    """The array as a tensor of the same dtype and bits. Raises UnsupportedError if this torch lacks the dtype."""
    lib = library()
    bits, name = _BY_BITS.get(array.dtype.name, (array.dtype.name, ""))
    if name and not hasattr(lib, name):
        raise UnsupportedError(f"this torch has no dtype {name}; update it or use netweight.load_file")
    tensor: torch.Tensor = lib.from_numpy(np.require(array.view(bits), requirements=["C", "W"]))
    return tensor.view(getattr(lib, name)) if name else tensor

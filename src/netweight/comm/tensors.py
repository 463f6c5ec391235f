"""Vectors of numpy and tensors of torch, one as the other. Needs the extra `torch`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .._lazy import required
from ..errors import UnsupportedError
from .compressor import DTYPES, Vector

if TYPE_CHECKING:
    import torch


def library() -> Any:
    """The module torch. Raises MissingExtraError."""
    return required("torch", "torch")


def to_torch(x: Vector) -> torch.Tensor:
    """A copy of `x` on the CPU."""
    tensor: torch.Tensor = library().from_numpy(x.copy())
    return tensor


def to_numpy(tensor: torch.Tensor) -> Vector:
    """A copy of a float32 or float64 tensor as a vector. Raises UnsupportedError for another dtype."""
    vector: Any = tensor.detach().cpu().reshape(-1).numpy().copy()
    if vector.dtype.name not in DTYPES:
        raise UnsupportedError(f"a memory is float32 or float64, not {vector.dtype}")
    return vector  # type: ignore[no-any-return]


def as_vector(tensor: torch.Tensor) -> Vector:
    """The values of a float tensor in their logical order as float32 [d] (float64 stays): a view where it can be one.

    Raises UnsupportedError for sparse, complex, integer and float8 tensors.
    """
    torch = library()
    if tensor.layout != torch.strided or tensor.dtype not in {
        torch.float32,
        torch.float64,
        torch.float16,
        torch.bfloat16,
    }:
        raise UnsupportedError(f"{tensor.layout} tensors of {tensor.dtype} aren't compressed: dense floats are")
    wide = tensor.detach() if tensor.dtype in {torch.float32, torch.float64} else tensor.detach().float()
    return np.ascontiguousarray(wide.cpu().reshape(-1).numpy())


def future_of(tensor: torch.Tensor) -> torch.futures.Future[torch.Tensor]:
    """A future that may be given `tensor`: one on a GPU must know its device."""
    devices = None if tensor.device.type == "cpu" else [tensor.device]
    future: torch.futures.Future[torch.Tensor] = library().futures.Future(devices=devices)
    return future


def write(tensor: torch.Tensor, x: Vector) -> None:
    """`x` into `tensor`, rounded to its dtype."""
    tensor.detach().copy_(library().from_numpy(x).view(tensor.shape))

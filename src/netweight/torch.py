"""safetensors.torch's functions for archives: `load_file`, `save_file`. Needs the extra `torch`."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .errors import MissingExtraError, UnsupportedError
from .weights.archive import ArchiveReceipt, compress_file
from .weights.archive import open as open_archive
from .weights.archive.outputs import explained

if TYPE_CHECKING:
    import torch

# numpy has no such types: the bits travel as integers of the same width.
_BY_BITS = {
    "bfloat16": ("uint16", "bfloat16"),
    "float8_e4m3fn": ("uint8", "float8_e4m3fn"),
    "float8_e5m2": ("uint8", "float8_e5m2"),
    "float8_e4m3fnuz": ("uint8", "float8_e4m3fnuz"),
    "float8_e5m2fnuz": ("uint8", "float8_e5m2fnuz"),
    "float8_e8m0fnu": ("uint8", "float8_e8m0fnu"),
}


def _torch() -> Any:
    try:
        import torch
    except ImportError:
        raise MissingExtraError("torch", "torch") from None
    return torch


def from_numpy(array: NDArray[Any]) -> torch.Tensor:
    """The array as a tensor of the same dtype and bits. Raises UnsupportedError if this torch lacks the dtype."""
    library = _torch()
    bits, name = _BY_BITS.get(array.dtype.name, (array.dtype.name, ""))
    if name and not hasattr(library, name):
        raise UnsupportedError(f"this torch has no dtype {name}; update it or use netweight.load_file")
    tensor: torch.Tensor = library.from_numpy(np.require(array.view(bits), requirements=["C", "W"]))
    return tensor.view(getattr(library, name)) if name else tensor


def load_file(
    filename: str | os.PathLike[str], device: str | int = "cpu", *, base: str | os.PathLike[str] | None = None
) -> dict[str, torch.Tensor]:
    """Every tensor of an archive by name, on `device`. Raises FormatError and its kin."""
    with open_archive(filename, base=base) as archive:
        return {name: from_numpy(archive.tensor(name)).to(device) for name in archive.keys()}  # noqa: SIM118  an Archive is no dict


def save_file(
    state: dict[str, torch.Tensor],
    filename: str | os.PathLike[str],
    metadata: dict[str, str] | None = None,
    *,
    effort: str = "balanced",
    force: bool = True,
) -> ArchiveReceipt:
    """Write tensors as a compressed safetensors file; `netweight decompress` gives that file.

    Replaces by default, as safetensors does. Raises OutputError, and what `safetensors.torch.save_file` raises for
    tensors that share memory.
    """
    _torch()
    from safetensors.torch import save_file as save_safetensors

    target = Path(os.path.abspath(filename))
    with explained(target), tempfile.TemporaryDirectory(prefix=".netweight-", dir=target.parent) as folder:
        plain = Path(folder) / (target.name.removesuffix(".nw").removesuffix(".safetensors") + ".safetensors")
        save_safetensors(state, plain, metadata)
        receipt = compress_file(plain, target, effort=effort, force=force)
        return replace(receipt, source=f"{len(state)} tensors")


__all__ = ["from_numpy", "load_file", "save_file"]

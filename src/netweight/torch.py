"""safetensors.torch's functions for archives: `load_file`, `save_file`. Needs the extra `torch`."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from .weights.archive import ArchiveReceipt, compress_file
from .weights.archive import open as open_archive
from .weights.archive.outputs import explained
from .weights.as_torch import from_numpy, library

if TYPE_CHECKING:
    import torch


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
    library()
    from safetensors.torch import save_file as save_safetensors

    target = Path(os.path.abspath(filename))
    with explained(target), tempfile.TemporaryDirectory(prefix=".netweight-", dir=target.parent) as folder:
        plain = Path(folder) / (target.name.removesuffix(".nw").removesuffix(".safetensors") + ".safetensors")
        save_safetensors(state, plain, metadata)
        receipt = compress_file(plain, target, effort=effort, force=force)
        return replace(receipt, source=f"{len(state)} tensors")


__all__ = ["from_numpy", "load_file", "save_file"]

"""A network in a netweight archive: its structure as JSON beside its tensors, coded losslessly. No pickle, no code.

The archive holds one safetensors file: the structure is its metadata under KEY, the tensors have their modules' names.
Integers of a grid are stored as BF16 numbers, which holds them exactly and which the coder of grids knows; so is any float32
tensor whose numbers all are BF16 numbers. Any netweight reads, verifies and inspects such a file.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import FormatError, GuaranteeError
from ..weights.archive import ArchiveReceipt, compress_file
from ..weights.archive import open as open_archive
from ..weights.archive.outputs import explained, refuse_existing
from ..weights.archive.whole import decode_files
from .network import Network
from .structure import described, rebuilt

KEY: Final = "netweight.shrink"
VERSION: Final = 1
_MEMBER: Final = "network.safetensors"
PathLike = str | os.PathLike[str]


def save(
    network: Network, path: PathLike, *, force: bool = True, effort: str = "max", exact: bool = True
) -> ArchiveReceipt:
    """Write `network` as a netweight archive; its length is the receipt's `archive_bytes`.

    What `load` gives has the same tensors bit for bit: the file is read again and compared. `exact=False` skips that (for
    searches that only want a size). Raises OutputError, GuaranteeError.
    """
    target = Path(os.path.abspath(path))
    refuse_existing(target, force)
    with explained(target), tempfile.TemporaryDirectory(prefix=".netweight-", dir=target.parent) as folder:
        plain = Path(folder) / _MEMBER
        write_plain(network, plain)
        plain.chmod(0o666)  # whoever may read the archive is for the process's mask to say
        receipt = compress_file(plain, target, effort=effort, threads=1, force=force)
    if exact and not same(load(target), network):
        raise GuaranteeError(f"{target}: what was written isn't what was to be saved")
    return receipt


def write_plain(network: Network, path: Path) -> None:
    """The network as a safetensors file."""
    from safetensors.torch import save_file

    structure, tensors = described(network)
    dtypes = {k: _dtype_name(t) for k, t in tensors.items()}
    note = {"version": VERSION, "dtypes": {k: d for k, d in dtypes.items() if d}, "network": structure}
    stored = {k: _stored(t) for k, t in tensors.items()}
    save_file(stored, path, {KEY: json.dumps(note, separators=(",", ":"), sort_keys=True)})


def _dtype_name(tensor: torch.Tensor) -> str:
    """The dtype that a tensor has when it is stored as another one; "" for others."""
    return str(tensor.dtype).removeprefix("torch.") if _stored(tensor).dtype != tensor.dtype else ""


def _stored(tensor: torch.Tensor) -> torch.Tensor:
    tensor = tensor.detach().cpu().contiguous()
    if tensor.dtype in (torch.int8, torch.float32, torch.bool):
        small = tensor.to(torch.bfloat16)
        back = small.to(tensor.dtype)
        zeros = tensor.dtype != torch.float32 or torch.equal(torch.signbit(back), torch.signbit(tensor))
        if zeros and torch.equal(back, tensor):
            return small
    return tensor.clone()


def load(path: PathLike) -> Network:
    """The network that `save` wrote, in eval mode, ready to run.

    Raises FormatError for any other bytes, for modules and functions that aren't on the lists of allowed ones, and for
    tensors that don't fit; nothing of the file is ever run.
    """
    data = _file_of(path)
    structure, dtypes = _note(data, path)
    try:
        from safetensors.torch import load as load_tensors

        stored = load_tensors(data)
    except Exception as error:  # noqa: BLE001  safetensors has exceptions of its own
        raise FormatError(f"{os.fspath(path)}: its tensors can't be read: {error}") from None
    return rebuilt(structure, {name: _restored(name, t, dtypes.get(name)) for name, t in stored.items()})


def _file_of(path: PathLike) -> bytes:
    """The one file that an archive holds, all checksums checked."""
    with open_archive(path) as archive:
        if len(archive.files) != 1:
            raise FormatError(f"{os.fspath(path)}: is no network saved by netweight.shrink")
        data = np.empty(archive.refuse_bomb(archive.files[0].size), np.uint8)

        def put(_: int, offset: int, part: NDArray[np.uint8]) -> None:
            data[offset : offset + part.size] = part

        decode_files(archive, put, 1)
    return data.tobytes()


def _restored(name: str, tensor: torch.Tensor, dtype: Any) -> torch.Tensor:
    if dtype is None:
        return tensor
    if dtype not in ("int8", "float32", "bool") or tensor.dtype != torch.bfloat16:
        raise FormatError(f"tensor {name!r}: can't be {dtype!r} from {tensor.dtype}")
    real = tensor.to(torch.float32)
    if dtype == "int8" and not bool(((real.abs() <= 127) & (real == real.round())).all()):
        raise FormatError(f"tensor {name!r}: holds other numbers than integers of a grid")
    return real if dtype == "float32" else real.to(getattr(torch, dtype))


def _note(data: bytes, path: PathLike) -> tuple[Any, dict[str, str]]:
    try:
        head = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        note = json.loads(head["__metadata__"][KEY])
        version, structure, dtypes = note["version"], note["network"], dict(note["dtypes"])
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        raise FormatError(f"{os.fspath(path)}: is no network saved by netweight.shrink") from None
    if version != VERSION:
        raise FormatError(
            f"{os.fspath(path)}: a network of version {version}; this build reads {VERSION}; update netweight"
        )
    return structure, dtypes


def same(a: Network, b: Network) -> bool:
    """Whether two networks have the same structure and, bit for bit, the same tensors."""
    (left, x), (right, y) = described(a), described(b)
    if json.dumps(left, sort_keys=True) != json.dumps(right, sort_keys=True) or x.keys() != y.keys():
        return False
    return all(t.dtype == y[k].dtype and t.shape == y[k].shape and _bits(t) == _bits(y[k]) for k, t in x.items())


def _bits(tensor: torch.Tensor) -> bytes:
    return (
        tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes()
        if tensor.dim()
        else tensor.numpy().tobytes()
    )


def packed_bytes(network: Network, effort: str = "max") -> int:
    """Length of the archive that `save` would write, from a file that is written and dropped."""
    with tempfile.TemporaryDirectory(prefix="netweight-") as folder:
        return save(network, Path(folder) / "network.nw", effort=effort).archive_bytes

"""netweight: how much does your network really weigh?

    import netweight as nw

    nw.compress_file("model.safetensors", "model.nw")                              # lossless
    nw.compress_lossy("model.safetensors", "small.nw", nw.Target("rel_mse", 1e-3))  # at a stated error
    with nw.open("model.nw") as f:
        w = f.tensor("layer.0.weight")
    state = nw.load_file("model.nw")

Importing this loads numpy alone; the rest is loaded when it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ._lazy import exporter

if TYPE_CHECKING:
    from .codec import LOSSLESS, Codec, Guarantee, Receipt, weigh
    from .errors import NetweightError
    from .frame import unpack
    from .registry import create, names
    from .spec import Spec
    from .weights.archive import (
        Archive,
        ArchiveReceipt,
        TensorInfo,
        compress_file,
        decompress_file,
        load_file,
        open,  # noqa: A004  as safetensors has safe_open
        verify_file,
    )
    from .weights.lossy.compress import LossyReceipt, compress_lossy
    from .weights.lossy.target import Target, Touched
    from .weights.lossy.tasked import compress_to_task

__version__ = "0.1.0"

_HOMES: Final = {
    "codec": ("LOSSLESS", "Codec", "Guarantee", "Receipt", "weigh"),
    "errors": ("NetweightError",),
    "frame": ("unpack",),
    "registry": ("create", "names"),
    "spec": ("Spec",),
    "weights.archive": (
        "Archive",
        "ArchiveReceipt",
        "TensorInfo",
        "compress_file",
        "decompress_file",
        "load_file",
        "open",
        "verify_file",
    ),
    "weights.lossy.compress": ("LossyReceipt", "compress_lossy"),
    "weights.lossy.target": ("Target", "Touched"),
    "weights.lossy.tasked": ("compress_to_task",),
}
_HOME_OF: Final = {name: module for module, names in _HOMES.items() for name in names}
_SUBMODULES: Final = ("hf", "torch")

__all__ = [
    "LOSSLESS",
    "Archive",
    "ArchiveReceipt",
    "Codec",
    "Guarantee",
    "LossyReceipt",
    "NetweightError",
    "Receipt",
    "Spec",
    "Target",
    "TensorInfo",
    "Touched",
    "compress_file",
    "compress_lossy",
    "compress_to_task",
    "create",
    "decompress_file",
    "load_file",
    "names",
    "open",
    "unpack",
    "verify_file",
    "weigh",
]

__getattr__ = exporter(__name__, _HOME_OF | dict.fromkeys(_SUBMODULES, ""))


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_SUBMODULES})

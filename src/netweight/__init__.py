"""netweight: how much does your network really weigh?

    import netweight as nw

    nw.compress_file("model.safetensors", "model.nw")
    with nw.open("model.nw") as f:
        w = f.tensor("layer.0.weight")
    state = nw.load_file("model.nw")

Importing this loads numpy alone; the rest is loaded when it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

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
}
_HOME_OF: Final = {name: module for module, names in _HOMES.items() for name in names}
_SUBMODULES: Final = ("torch",)

__all__ = [
    "LOSSLESS",
    "Archive",
    "ArchiveReceipt",
    "Codec",
    "Guarantee",
    "NetweightError",
    "Receipt",
    "Spec",
    "TensorInfo",
    "compress_file",
    "create",
    "decompress_file",
    "load_file",
    "names",
    "open",
    "unpack",
    "verify_file",
    "weigh",
]


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return import_module(f".{name}", __name__)
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME_OF[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_SUBMODULES})

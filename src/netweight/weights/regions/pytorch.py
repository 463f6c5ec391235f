"""PyTorch files: the zip of torch.save and TorchScript, and the older run of pickles and storages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ...errors import BombError, FormatError
from ...source import Source
from ...spec import DTYPES
from .cursor import Cursor
from .guard import finder, head
from .model import Layout
from .pickle_machine import Persistent
from .pickles import Loaded, load
from .torch_layout import Place, Placed, arrange
from .torch_objects import UNTYPED, Storage, storage_of, storages, tensors
from .zips import STORED, Member

MAX_PICKLE: Final = 1 << 28
_FIRST_WINDOW: Final = 1 << 16
_LEGACY_MAGIC: Final = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL: Final = 1001


def archive_prefix(names: Mapping[str, Member]) -> str | None:
    """The folder, with its slash, in which a PyTorch zip keeps all; None for another zip."""
    found = [name.removesuffix("data.pkl") for name in names if name.endswith("/data.pkl") or name == "data.pkl"]
    return min(found, key=lambda prefix: (len(prefix), prefix), default=None)


def find_members(source: Source, members: Mapping[str, Member], prefix: str) -> Layout:
    """The layout of a PyTorch zip. Storages that are deflated, or of unknown dtype, stay gaps. Raises FormatError."""
    order = members.get(prefix + "byteorder")
    if order and order.method == STORED and source.read(order.offset, min(order.nbytes, 8)).tobytes() == b"big":
        raise FormatError("big-endian PyTorch files aren't read")
    places: list[Place] = []
    named: list[Placed] = []
    for pickle, folder in (("data.pkl", "data/"), ("constants.pkl", "constants/")):
        member = members.get(prefix + pickle)
        if member is None or member.method != STORED:
            continue
        if member.nbytes > MAX_PICKLE:
            raise BombError(f"a pickle of {member.nbytes} bytes, at most {MAX_PICKLE} are read")
        loaded = load(source.read(member.offset, member.nbytes).tobytes())
        label = "" if folder == "data/" else folder
        named += [(label, tensor) for tensor in tensors(loaded)]
        for key, storage in storages(loaded.persistent).items():
            record = members.get(f"{prefix}{folder}{key}")
            if record and record.method == STORED:
                places.append(Place(label, storage, record.offset, record.nbytes))
    return arrange(places, _distinct(named))


def _distinct(named: list[Placed]) -> list[Placed]:
    """TorchScript constants get their folder before a name that the module uses too."""
    modules = {tensor.name for label, tensor in named if not label}
    return [
        (label, tensor._replace(name=f"{label}{tensor.name}") if label and tensor.name in modules else tensor)
        for label, tensor in named
    ]


def _unpickle(source: Source, at: int) -> tuple[Loaded, int]:
    """The pickle at `at`, of a length that nothing tells, and the offset behind it."""
    limit = min(source.size - at, MAX_PICKLE)

    def longer(length: int) -> bytes:
        return source.read(at, min(4 * length, limit)).tobytes()

    loaded = load(source.read(at, min(_FIRST_WINDOW, limit)).tobytes(), longer)
    return loaded, at + loaded.nbytes


def _legacy_places(source: Source, at: int, keys: list[object], known: dict[str, Storage]) -> list[Place]:
    """Behind the pickles: for each key a count of 8 bytes and the storage."""
    cursor = Cursor(source, at)
    places: list[Place] = []
    for key in keys:
        storage = known.get(key) if isinstance(key, str) else None
        if storage is None or storage.dtype == UNTYPED:
            raise FormatError(f"storage number {len(places)} has no known type")
        count = cursor.u64()
        if count != storage.elements:
            raise FormatError(f"storage {key!r}: {count} elements stored, {storage.elements} announced")
        nbytes = count * DTYPES[storage.dtype].bits // 8
        places.append(Place("", storage, cursor.at, nbytes))
        cursor.skip(nbytes)
    return places


@finder("pytorch")
def find_legacy(source: Source) -> Layout | None:
    """A Finder for files of torch.save before 1.6 (or `_use_new_zipfile_serialization=False`)."""
    start = head(source, 32)
    if start[:1] != b"\x80" or _LEGACY_MAGIC.to_bytes(10, "little") not in start:
        return None
    magic, at = _unpickle(source, 0)
    protocol, at = _unpickle(source, at)
    if magic.root != _LEGACY_MAGIC or protocol.root != _LEGACY_PROTOCOL:
        raise FormatError("an unknown protocol of torch.save")
    _, at = _unpickle(source, at)  # the system's byte order and widths of C types
    content, at = _unpickle(source, at)
    keys, at = _unpickle(source, at)
    if not isinstance(keys.root, list) or any(_is_view(value) for value in content.persistent):
        raise FormatError("storages that view other storages aren't read")
    places = _legacy_places(source, at, keys.root, storages(content.persistent))
    return arrange(places, [("", tensor) for tensor in tensors(content)])


def _is_view(value: Persistent) -> bool:
    """Whether it is a storage of a kind that `storage_of` doesn't know."""
    is_storage = isinstance(value.pid, tuple) and value.pid[:1] == ("storage",)
    return is_storage and storage_of(value) is None

"""A model's folder as Hugging Face lays it out, kept in archives: its weights by name, and its small files.

Either one archive holds the folder (config.json, the tokenizer, the weights), or a folder holds archives of its weight
files (model.safetensors.nw) beside config.json.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from numpy.typing import NDArray

from ..errors import FormatError, InputError, NotFoundError
from .archive.api import open as open_archive
from .archive.files import file_bytes
from .archive.members import safe_member
from .archive.outputs import explained
from .archive.reader import Archive

CONFIG: Final = "config.json"

_SUFFIX: Final = ".nw"
_INDEX: Final = ".safetensors.index.json"
_MOST_JSON: Final = 100_000_000


@dataclass(frozen=True, slots=True)
class _Member:
    """One file in an archive: its number there and, if it holds tensors, their names mapped to the archive's keys."""

    archive: Archive
    number: int
    keys: dict[str, str]


class Checkpoint:
    """Open archives that make one model. `tensor` may be called from several threads.

    `folder` has config.json and the other small files if they lie beside the archives, else they are in the archives.
    """

    def __init__(self, name: str, archives: list[Archive], folder: Path | None) -> None:
        self.name, self.folder, self._members = name, folder, _members(name, archives)
        self._places = {
            tensor: (self._members[path].archive, key)
            for path in self._weight_files()
            for tensor, key in self._members[path].keys.items()
        }

    def keys(self) -> list[str]:
        """Names of the model's tensors, in file order."""
        return list(self._places)

    def tensor(self, name: str) -> NDArray[Any]:
        """Raises NotFoundError; FormatError and its kin for a damaged archive."""
        if name not in self._places:
            raise NotFoundError(f"{self.name}: no tensor {name!r}")
        archive, key = self._places[name]
        array: NDArray[Any] = archive.tensor(key)
        return array

    def read_json(self, path: str) -> Any:
        """What a JSON file says, None if there is none. Raises FormatError if it isn't JSON."""
        try:
            if self.folder is None:
                member = self._members.get(path)
                if member is None:
                    return None
                data = file_bytes(member.archive, member.number, _MOST_JSON).tobytes()
            else:
                if not (self.folder / path).is_file():
                    return None
                data = (self.folder / path).read_bytes()
            return json.loads(data)
        except (ValueError, RecursionError):
            raise FormatError(f"{self.name}: {path} isn't JSON") from None

    def write_small_files(self, folder: Path) -> None:
        """Write every archived file without tensors into `folder`, which is empty. Raises FormatError, OutputError."""
        small = {path: m for path, m in self._members.items() if not m.keys}
        for archive in dict.fromkeys(m.archive for m in small.values()):
            archive.refuse_bomb(sum(archive.files[m.number].size for m in small.values() if m.archive is archive))
        for path, member in small.items():
            target = folder / safe_member(path)
            with explained(target):
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(file_bytes(member.archive, member.number))

    def _weight_files(self) -> list[str]:
        """The files that transformers would load. Raises NotFoundError if there are none or one is missing."""
        held = [path for path, member in self._members.items() if member.keys]
        top = [path for path in held if "/" not in path]
        safe = [path for path in top if path.endswith(".safetensors")]
        named = self._named_by_index()
        if named:
            for path in named:
                if path not in held:
                    raise NotFoundError(f"{self.name}: no {path!r}, which the index of the shards names")
            return named
        if "model.safetensors" in safe:
            return ["model.safetensors"]
        pickled = [path for path in top if path.startswith("pytorch_model") and path.endswith(".bin")]
        found = safe or pickled or (held if len(held) == 1 else [])
        if not found:
            raise NotFoundError(f"{self.name}: no weights in it (*.safetensors or pytorch_model*.bin)")
        return found

    def _named_by_index(self) -> list[str]:
        """The shards that model.safetensors.index.json names."""
        index = self.read_json("model" + _INDEX)
        if index is None:
            return []
        shards = index.get("weight_map") if isinstance(index, dict) else None
        if not isinstance(shards, dict) or not all(isinstance(path, str) for path in shards.values()):
            raise FormatError(f"{self.name}: model{_INDEX} has no weight_map from tensors to files")
        return sorted(set(shards.values()))


def _members(name: str, archives: list[Archive]) -> dict[str, _Member]:
    """Every file by its path. Raises InputError if two archives hold a file of the same path."""
    members: dict[str, _Member] = {}
    for archive in archives:
        keys: dict[str, dict[str, str]] = {}
        for info in archive.tensors():
            keys.setdefault(info.file, {})[info.name.removeprefix(f"{info.file}:")] = info.name
        for number, file in enumerate(archive.files):
            if file.path in members:
                other = members[file.path].archive.source.name
                raise InputError(f"{name}: {other} and {archive.source.name} both hold {file.path!r}: name one of them")
            members[file.path] = _Member(archive, number, keys.get(file.path, {}))
    return members


def _archives_at(path: Path) -> list[Path]:
    """Raises NotFoundError if there is no archive."""
    if not path.is_dir():
        return [path]
    found = sorted(p for p in path.iterdir() if p.suffix == _SUFFIX and p.is_file())
    if not found:
        raise NotFoundError(f"{path}: holds no archive (*{_SUFFIX})")
    return found


@contextmanager
def open_checkpoint(path: str | os.PathLike[str], base: str | os.PathLike[str] | None = None) -> Iterator[Checkpoint]:
    """The model at `path`: an archive or a folder of archives; `base` as for `netweight.open`.

    config.json may be in an archive, or else beside it. Raises NotFoundError, InputError, FormatError and its kin.
    """
    place = Path(path)
    with ExitStack() as stack:
        archives = [stack.enter_context(open_archive(p, base=base)) for p in _archives_at(place)]
        folder = place if place.is_dir() else place.parent
        inside = any(PurePosixPath(f.path) == PurePosixPath(CONFIG) for a in archives for f in a.files)
        if not inside and not (folder / CONFIG).is_file():
            raise NotFoundError(f"{place}: no {CONFIG} in it or beside it")
        yield Checkpoint(str(place), archives, None if inside else folder)

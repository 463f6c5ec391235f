"""Sharded checkpoints: the files that an index names."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import Final

from ...errors import FormatError, InputError, NotFoundError

SUFFIX: Final = ".index.json"
MAX_INDEX: Final = 100_000_000


def _weight_map(index: Path) -> dict[str, str]:
    try:
        if index.stat().st_size > MAX_INDEX:
            raise FormatError(f"{index}: an index of more than {MAX_INDEX} bytes")
        content = json.loads(index.read_bytes())
    except FileNotFoundError:
        raise NotFoundError(f"{index}: no such file") from None
    except OSError as error:
        raise InputError(f"{index}: can't be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise FormatError(f"{index}: not JSON") from None
    shards = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(shards, dict) or not all(isinstance(name, str) for name in shards.values()):
        raise FormatError(f"{index}: no weight_map from tensors to file names")
    return shards


def _allowed(folder: Path) -> list[Path]:
    """Where shards may really lie: the folder, and the blobs that a hub's cache links to from its snapshots."""
    real = folder.resolve()
    blobs = [real.parent.parent / "blobs"] if real.parent.name == "snapshots" else []
    return [real, *blobs]


def _shard(index: Path, tensor: str, name: str) -> Path:
    entry = f"{index}: entry {tensor[:200]!r} names {name[:200]!r}"
    parts = PurePosixPath(name)
    if not name or not parts.parts or "\0" in name or "\\" in name or ":" in name or not name.isprintable():
        raise FormatError(f"{entry}, which isn't a file name")
    if parts.is_absolute() or ".." in parts.parts:
        raise FormatError(f"{entry}, which leaves the index's folder")
    path = index.parent / parts
    try:
        real = path.resolve(strict=True)
    except FileNotFoundError:
        raise NotFoundError(f"{entry}: no such file; fetch all shards of the checkpoint first") from None
    except (OSError, RuntimeError):  # a loop of links, a name too long
        raise FormatError(f"{entry}, which can't be followed") from None
    if not any(real.is_relative_to(place) for place in _allowed(index.parent)):
        raise FormatError(f"{entry}, a link that leaves the index's folder")
    if not real.is_file():
        raise FormatError(f"{entry}, which isn't a file")
    return path


def shards(path: str | Path) -> list[Path] | None:
    """The files that the index `path` (`*.safetensors.index.json`, `pytorch_model.bin.index.json`) names, sorted.

    None if `path` isn't called like an index. Raises FormatError for an index that isn't one or names a file outside
    its own folder, NotFoundError for a missing index or shard.
    """
    index = Path(path)
    if not index.name.endswith(SUFFIX):
        return None
    named = {name: tensor for tensor, name in reversed(_weight_map(index).items())}
    return [_shard(index, named[name], name) for name in sorted(named)]

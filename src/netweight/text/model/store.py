"""Converted models, kept in the user's cache: made once, memory-mapped afterwards, named by the hash of the source files.

A converted file is a safetensors file whose metadata has our configuration; the tokenizer is a tensor of bytes. It is
written beside its place and renamed, so that it is there whole or not at all; a damaged one is made again.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...errors import FormatError, NotFoundError
from .config import Config
from .network import rotation_tables
from .quantise import quantise_rows
from .sources import Source
from .tables import tables_hash

VERSION: Final = 1
"""Of the arithmetic: a change of any logit is a new version."""
_HASHED: Final = 1 << 24
_DTYPES: Final = {"I8": "i1", "U8": "u1", "F32": "<f4", "F64": "<f8"}

Arrays = dict[str, NDArray[Any]]


def cache_folder() -> Path:
    """$NETWEIGHT_CACHE, or netweight/ in the user's cache."""
    if chosen := os.environ.get("NETWEIGHT_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "netweight"


def place(files: Iterable[Path]) -> Path:
    """Where the conversion of these files is or will be. Raises NotFoundError."""
    import xxhash

    digest = xxhash.xxh3_128()
    for path in files:
        try:
            with path.open("rb") as file:
                digest.update(f"{path.name} {os.fstat(file.fileno()).st_size}\n".encode())
                while chunk := file.read(_HASHED):
                    digest.update(chunk)
        except OSError as error:
            raise NotFoundError(f"{path}: can't be read: {error.strerror}") from None
    return cache_folder() / "models" / f"{digest.hexdigest()}-v{VERSION}.safetensors"


def convert(source: Source) -> tuple[dict[str, str], Arrays]:
    """Metadata and arrays of a converted file: matrices as int8 with scales, everything else as it is."""
    arrays: Arrays = {"tokenizer": np.frombuffer(source.description.encode("utf-8", "surrogatepass"), np.uint8)}
    for name in source.names:
        array = _read(source, name)
        if array.ndim == 2 and name != "positions":
            arrays[name], arrays[f"{name}.scales"] = quantise_rows(array, f"{source.name}: {name}")
        elif np.isfinite(array).all():
            arrays[name] = array
        else:
            raise FormatError(f"{source.name}: {name}: holds numbers that are not finite")
    arrays |= rotation_tables(source.config)
    _check_shapes(source.name, source.config, arrays)
    begin = -1 if source.begin is None else source.begin
    return {"config": source.config.json(), "name": source.name, "begin": str(begin)}, arrays


def _read(source: Source, name: str) -> NDArray[np.float32]:
    try:
        return source.tensor(name)
    except ValueError as error:  # parts that don't fit together
        raise FormatError(f"{source.name}: {name} has an impossible shape: {error}") from None


def _check_shapes(name: str, config: Config, arrays: Arrays) -> None:
    """Raises FormatError unless every array has the shape that the configuration asks for."""
    d, inner = config.width, config.heads * config.head_size
    wide = config.hidden * (2 if config.gated else 1)
    expected: dict[str, tuple[int, ...]] = {
        "embedding": (config.vocabulary, d), "head": (config.vocabulary, d), "positions": (config.context, d),
        "qkv": (config.qkv, d), "out": (d, inner), "up": (wide, d), "down": (d, config.hidden),
        "qkv.bias": (config.qkv,), "up.bias": (wide,),
    }  # fmt: skip
    for key, array in arrays.items():
        short = key.split(".", 2)[-1] if key.startswith("layer.") else key
        if short in ("tokenizer", "cosines", "sines") or short.endswith(".scales"):
            continue
        if array.shape != (wanted := expected.get(short, (d,))):
            raise FormatError(f"{name}: {key} has the shape {array.shape}, not {wanted}")


def save(path: Path, metadata: dict[str, str], arrays: Arrays) -> None:
    """Writes a converted file, whole or not at all. Raises OSError."""
    from safetensors.numpy import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=".", suffix=".part", dir=path.parent)
    os.close(descriptor)
    try:
        save_file({key: np.ascontiguousarray(array) for key, array in arrays.items()}, name, metadata)
        os.replace(name, path)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(name)


def load(path: Path) -> tuple[dict[str, str], Arrays]:
    """A converted file, its arrays mapped (writable copies on demand, as torch wants them). Raises FormatError, OSError."""
    data = np.memmap(path, np.uint8, "c")
    try:
        size = int.from_bytes(data[:8].tobytes(), "little")
        header = json.loads(data[8 : 8 + size].tobytes())
        metadata: dict[str, str] = header.pop("__metadata__")
        arrays: Arrays = {}
        for key, entry in header.items():
            start, end = entry["data_offsets"]
            view = np.asarray(data[8 + size + start : 8 + size + end])
            arrays[key] = view.view(_DTYPES[entry["dtype"]]).reshape(entry["shape"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FormatError(f"{path}: not a converted model: {error}") from None
    return metadata, arrays


def digest(metadata: dict[str, str], arrays: Arrays, pieces: list[bytes | None], begin: int) -> bytes:
    """SHA-256 of all that determines logits and what tokens stand for."""
    out = hashlib.sha256(f"netweight model {VERSION} {metadata['config']} {begin}\n".encode())
    out.update(tables_hash())
    for key in sorted(arrays.keys() - {"tokenizer"}):
        array = arrays[key]
        out.update(f"{key} {array.dtype.str} {array.shape}\n".encode())
        out.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    for piece in pieces:
        out.update(b"-" if piece is None else len(piece).to_bytes(4, "little") + piece)
    return out.digest()

"""The base checkpoint that a delta archive is coded against: found by tensor name, identified by SHA-256."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from ...errors import BaseMismatchError
from ...source import FileSource
from .index import BaseFile, Segment
from .inputs import Inputs

_READ = 8 << 20


@dataclass(frozen=True, slots=True)
class BasePlace:
    """Byte `offset` of base file number `file`."""

    file: int
    offset: int


def sha256_of(source: FileSource) -> bytes:
    """SHA-256 of a whole file, read in chunks."""
    state = hashlib.sha256()
    for at in range(0, source.size, _READ):
        state.update(source.read(at, min(_READ, source.size - at)))
    return state.digest()


class Base:
    """Open files of a base and the tensors in them."""

    def __init__(self, inputs: Inputs) -> None:
        self._inputs = inputs
        self._hashes: list[bytes] | None = None
        self._places = {
            region.name: (BasePlace(number, region.offset), region.dtype, region.shape, region.nbytes)
            for number, file in enumerate(inputs.files)
            for region in file.layout.regions
        }

    def find(self, segment: Segment) -> BasePlace | None:
        """Where the base holds a tensor of the same name, dtype and shape."""
        place = self._places.get(segment.name)
        if place is None or place[1:] != (segment.dtype, segment.shape, segment.nbytes):
            return None
        return place[0]

    def source(self, number: int) -> FileSource:
        return self._inputs.files[number].source

    def sources(self) -> list[FileSource]:
        return [f.source for f in self._inputs.files]

    def files(self) -> list[BaseFile]:
        """What the receiver must hold."""
        if self._hashes is None:
            self._hashes = [sha256_of(f.source) for f in self._inputs.files]
        return [
            BaseFile(f.path, f.source.size, digest) for f, digest in zip(self._inputs.files, self._hashes, strict=True)
        ]

    def check(self, wanted: list[BaseFile], archive: str) -> None:
        """Raises BaseMismatchError unless these are the files that `archive` was coded against."""
        have = self.files()
        if len(have) != len(wanted):
            raise BaseMismatchError(f"{archive}: was coded against {len(wanted)} base files, {len(have)} are given")
        for w, h in zip(wanted, have, strict=True):
            if (w.size, w.sha256) != (h.size, h.sha256):
                raise BaseMismatchError(
                    f"{archive}: was coded against {w.path} (SHA-256 {w.sha256.hex()[:16]}..., {w.size} bytes), "
                    f"but {self._inputs.name} holds {h.path} (SHA-256 {h.sha256.hex()[:16]}..., {h.size} bytes)"
                )

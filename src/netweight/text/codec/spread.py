"""Groups of blocks coded by the workers of a cluster, which load the same model by its name: the same file, sooner."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Final

from ...errors import BaseMismatchError
from ..cluster import Workers
from .encoder import Encoder, Piece
from .settings import effort_named

_TOGETHER: Final = 64
"""Groups of a MiB that are out at a time."""

_Setting = tuple[str, str | None, bytes]
"""Effort, the model's name, and its digest."""


@dataclass(frozen=True)
class Spread:
    """`workers` and the name by which they load the model (a path must be theirs too); None for the byte model alone."""

    workers: Workers
    model: str | None

    def coded(self, effort: str, digest: bytes, groups: Iterable[bytes]) -> Iterator[list[Piece]]:
        """The blocks of each group, in order; not the first group's, which may pay for naming the model.

        Raises BaseMismatchError if a worker's model has another digest, ClusterError.
        """
        setting = effort, self.model, digest
        left = iter(groups)
        while some := list(islice(left, _TOGETHER)):
            done: dict[int, list[Piece]] = {}
            given = 0
            for place, pieces in self.workers.run(_group, setting, some):
                done[place] = pieces
                while given in done:
                    yield done.pop(given)
                    given += 1


def _group(setting: _Setting, data: bytes) -> list[Piece]:
    return _encoder(*setting).group(data, 0)


@lru_cache(maxsize=1)
def _encoder(effort: str, name: str | None, digest: bytes) -> Encoder:
    from ..model import load  # workers need it, others don't

    model = None if name is None else load(name, threads=1)
    if model is not None and model.digest != digest:
        raise BaseMismatchError(
            f"a worker's model {name!r} is another one ({model.digest.hex()[:16]}, not {digest.hex()[:16]})"
        )
    return Encoder(effort_named(effort), model)

"""Blocks coded by the workers of a cluster, which load the same model by its name: the same file, sooner."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from ...errors import BaseMismatchError
from ..cluster import Workers, in_order
from .settings import Effort

if TYPE_CHECKING:
    from .encoder import Encoder
    from .model_block import Model

_Setting = tuple[Effort, str, bytes]
"""Effort, the model's name, and its digest."""


@dataclass(frozen=True)
class Spread:
    """`workers`, and the `model` that they load: a name, or a path that must be theirs too."""

    workers: Workers
    model: str

    def coded(self, effort: Effort, digest: bytes, blocks: Sequence[bytes]) -> Iterator[bytes]:
        """The record of each block, in order.

        Raises BaseMismatchError if a worker's model hasn't the digest, ClusterError.
        """
        return in_order(self.workers.run(_code, (effort, self.model, digest), blocks))


def _code(setting: _Setting, data: bytes) -> bytes:
    return _encoder(*setting).block(data)


@lru_cache(maxsize=1)
def _encoder(effort: Effort, name: str, digest: bytes) -> Encoder:
    from .encoder import Encoder

    return Encoder(effort, workers_model(name, digest))


@lru_cache(maxsize=1)
def _named(name: str) -> Model:
    from ..model import load  # workers need it, others don't

    return load(name, threads=1)


def workers_model(name: str, digest: bytes) -> Model:
    """The model of that name on this machine, loaded once. Raises BaseMismatchError if it isn't the caller's."""
    model = _named(name)
    if model.digest != digest:
        mine, wanted = model.digest.hex()[:16], digest.hex()[:16]
        raise BaseMismatchError(f"a worker's model {name!r} is another one ({mine}, not {wanted})")
    return model

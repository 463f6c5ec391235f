"""What a state needs of torch: names of parameters, the ranks, and the handshake at the start."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from ...errors import InputError, PeerError
from ..tensors import library
from .exchange import Exchange
from .lane import Lane
from .wire import Wire

if TYPE_CHECKING:
    import torch
    from torch.distributed import ProcessGroup

PROTOCOL: Final = 1
_DIGEST_BYTES: Final = 16
_SETTINGS_LIMIT: Final = 1 << 26


class Session:
    """One per state. The exchange is made when it is first used: a state may be built before the process group."""

    def __init__(self, group: ProcessGroup | None, timeout: float | None = None, *, overlap: bool = False) -> None:
        self._group, self._timeout = group, timeout
        self.lane = Lane() if overlap else None
        self._exchange: Exchange | None = None
        self._names: dict[int, str] = {}
        self._kept: list[torch.Tensor] = []
        self.bound = False
        self.greeted = False
        self.wire = Wire()

    @property
    def exchange(self) -> Exchange:
        """Raises InputError without a process group."""
        if self._exchange is None:
            group = self._group if self.lane is None else self._own_group()
            self._exchange = Exchange(group, self.wire, self._timeout)
        return self._exchange

    def enter(self, group: ProcessGroup | None) -> None:
        """Work with `group` from now on. Raises InputError if the state has worked with another one."""
        if self._exchange is None:
            self._group = group
        elif self._exchange.group is not group:
            raise InputError("this state works with another process group: make one for each")

    def place(self) -> dict[str, int]:
        """This rank and how many there are; rank 0 of 1 without a process group."""
        dist = library().distributed
        if not (dist.is_available() and dist.is_initialized()):
            return {"rank": 0, "world": 1}
        return {"rank": dist.get_rank(self._group), "world": dist.get_world_size(self._group)}

    def _own_group(self) -> Any:
        """The same ranks with connections of their own. Collective among them."""
        dist = library().distributed
        if not (dist.is_available() and dist.is_initialized()):
            return self._group  # Exchange says what is missing
        limit = None if self._timeout is None else timedelta(seconds=self._timeout)
        ranks = dist.get_process_group_ranks(self._group or dist.group.WORLD)
        return dist.new_group(ranks, timeout=limit, use_local_synchronization=True)

    # names

    def bind(self, model: Any) -> None:
        """Names are those of `model.named_parameters()`, without the prefix of a DDP wrapper."""
        if self._kept:
            raise InputError("the parameters have names already: bind the model before the first step")
        inner = getattr(model, "module", model)
        for name, parameter in inner.named_parameters():
            self._names[id(parameter)] = name
            self._kept.append(parameter)
        self.bound = True

    def names(self, parameters: Sequence[torch.Tensor], start_of_step: bool) -> list[str]:
        """The name of each parameter of a bucket.

        Without `bind` they are numbered from the last one that the model registers, in the order of the first step's
        buckets: DDP fills those from the end of the model, so the numbers don't depend on how large buckets are, nor on
        the order that DDP finds out later. (A model of several dtypes has buckets of its own for each: there bind.)
        """
        if self.bound:
            return [self._bound_name(p) for p in parameters]
        if start_of_step and not all(id(p) in self._names for p in parameters) and self._kept:
            raise InputError("the parameters changed after the first step: make a new state for a new model")
        for p in reversed(parameters):
            if id(p) not in self._names:
                self._names[id(p)] = f"{len(self._kept)} from the end, {'x'.join(map(str, p.shape)) or 'scalar'}"
                self._kept.append(p)
        return [self._names[id(p)] for p in parameters]

    def _bound_name(self, parameter: torch.Tensor) -> str:
        name = self._names.get(id(parameter))
        if name is None:
            raise InputError(
                f"a parameter of shape {tuple(parameter.shape)} isn't the bound model's: bind the model in DDP"
            )
        return name

    # handshake

    def greet(self, settings: dict[str, Any]) -> None:
        """Compare settings with all ranks, once. Raises PeerError on every rank where two differ."""
        if self.greeted:
            return
        text = json.dumps({"protocol": PROTOCOL, **settings}, sort_keys=True).encode()
        digest = hashlib.sha256(text).digest()[:_DIGEST_BYTES]
        digests = [bytes(d) for d in self.exchange.gather_fixed(digest, _DIGEST_BYTES)]
        self.wire.handshake += _DIGEST_BYTES
        if len(set(digests)) > 1:
            texts = [json.loads(bytes(m)) for m in self.exchange.gather(text, _SETTINGS_LIMIT)]
            raise PeerError(f"ranks work with different settings: {_difference(texts)}")
        self.greeted = True


def _difference(settings: Sequence[dict[str, Any]]) -> str:
    """The first rank that differs from rank 0, and in what."""
    first = settings[0]
    for rank, other in enumerate(settings):
        for key in sorted({*first, *other}):
            if first.get(key) != other.get(key):
                return f"{key} is {_short(other.get(key))} on rank {rank} and {_short(first.get(key))} on rank 0"
    return "their texts differ"


def _short(value: Any, most: int = 200) -> str:
    text = json.dumps(value)
    return text if len(text) <= most else f"{text[:most]}..."

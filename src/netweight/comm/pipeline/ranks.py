"""A boundary between two ranks: messages over torch.distributed's point-to-point, as steps of autograd."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ...errors import MissingExtraError, NetweightError
from ..distributed.exchange import Exchange
from ..distributed.wire import Wire
from ..tensors import as_vector
from .direction import Direction

try:
    import torch
except ImportError:
    raise MissingExtraError("torch", "torch") from None

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

    from .link import PipelineLink

_IN_FLIGHT: Final = 64
"""Messages that may be under way before a sender waits for the oldest."""


class Peer:
    """Sends without waiting, so that neighbours may send to each other at once; receives in order."""

    def __init__(self, wire: Wire, group: ProcessGroup | None, timeout: float | None) -> None:
        self._exchange = Exchange(group, wire, timeout)
        self._under_way: deque[Any] = deque()

    def send(self, message: bytes, to: int) -> None:
        """Raises PeerError if an earlier message got lost."""
        self._under_way.append(self._exchange.post(message, to))
        while len(self._under_way) > _IN_FLIGHT:
            self._under_way.popleft()()

    def receive(self, source: int, limit: int) -> memoryview:
        """The next message of rank `source`. Raises PeerError; FormatError above `limit` bytes."""
        return self._exchange.fetch(source, limit)

    def flush(self) -> None:
        """Wait for all that is under way."""
        while self._under_way:
            self._under_way.popleft()()


class Sending(torch.autograd.Function):
    """Forward sends activations and gives a scalar zero; backward waits for their gradient."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, link: PipelineLink, to: int) -> torch.Tensor:
        with _told(link, link.onward, to):
            message, ctx.seen, ctx.array = link.onward_message(x)
        link.onward.state.complete()
        link.peer.send(message, to)
        ctx.link, ctx.to, ctx.place = link, to, (x.dtype, x.device)
        return x.new_zeros(())

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:  # noqa: ARG004  the scalar's own means nothing
        link = ctx.link
        message = link.peer.receive(ctx.to, _limit(ctx.array.nbytes))
        found = link.back_received(message, ctx.array, ctx.seen)
        link.back.state.complete()
        dtype, device = ctx.place
        return torch.from_numpy(found).to(device, dtype), None, None


class Receiving(torch.autograd.Function):
    """Forward receives activations; backward sends their gradient."""

    @staticmethod
    def forward(
        ctx: Any,
        anchor: torch.Tensor,
        link: PipelineLink,
        source: int,
        shape: tuple[int, ...],
        dtype: torch.dtype,
        device: Any,
    ) -> torch.Tensor:
        like = as_vector(torch.empty(shape, dtype=dtype)).reshape(shape)
        message = link.peer.receive(source, _limit(like.nbytes))
        found, ctx.seen = link.onward_received(message, like)
        link.onward.state.complete()
        ctx.link, ctx.source, ctx.anchor = link, source, anchor.shape
        return torch.from_numpy(found).to(device, dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        link, (gradient,) = ctx.link, gradients
        with _told(link, link.back, ctx.source):
            message, _ = link.back_message(gradient, ctx.seen)
        link.back.state.complete()
        link.peer.send(message, ctx.source)
        return gradient.new_zeros(ctx.anchor), *[None] * 5


class _told:  # noqa: N801  reads as a phrase
    """An error while a message is made is told to the rank that waits for it, then raised."""

    def __init__(self, link: PipelineLink, direction: Direction, to: int) -> None:
        self._link, self._direction, self._to = link, direction, to

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, NetweightError):
            self._link.peer.send(self._direction.fault(error), self._to)
            self._link.peer.flush()


def _limit(nbytes: int) -> int:
    """Bytes that no honest message of `nbytes` of values exceeds."""
    return 65536 + 3 * nbytes + 64 * int(np.sqrt(nbytes + 1))

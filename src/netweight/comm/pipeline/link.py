"""PipelineLink: what crosses the boundary of two stages, both ways, as bytes that were decoded.

Inside one process it is a module between two others: it compresses, decodes, and hands on what the next stage would have
received. Between ranks `send` and `receive` carry the same bytes. The algorithms are those of arXiv 2401.07788: a sample's
activations are one flat vector, the backward pass may reuse the positions of the forward pass, and states put error
feedback, EF21 or AQ-SGD around either way.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError, MissingExtraError
from ..compressor import Compressor, Vector
from ..compressors.cast import Identity
from ..compressors.sparse import TopK
from ..distributed.wire import Wire
from ..policy import Policy
from ..state.base import State
from ..state.difference import AQSGD
from ..state.memoryless import Memoryless
from ..tensors import as_vector
from .direction import Direction, Rows, rows_of

try:
    import torch
    from torch import nn
except ImportError:
    raise MissingExtraError("torch", "torch") from None

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

    from .ranks import Peer

Method = State | Policy | Compressor


class PipelineLink(nn.Module):
    """The boundary between two stages.

    forward, backward  a compressor, a policy or a state (ErrorFeedback, EF21, AQSGD, ...) for activations and for their
                       gradients; the default sends them as they are
    reuse_indices      gradients are sent at the positions that the forward message had, and `backward` compresses those
                       values: no positions are sent
    per_sample         each sample is a vector of its own; else the batch is one vector
    at_inference       compress in `eval()` too, without memory: a model that was trained with TopK needs it
    name               tells boundaries apart, in seeds, checksums and checkpoints
    group              the process group of `send` and `receive`

    `wire` counts the bytes, as "activation" and "activation_gradient".
    """

    def __init__(
        self,
        forward: Method | None = None,
        backward: Method | None = None,
        reuse_indices: bool = False,
        *,
        per_sample: bool = True,
        at_inference: bool = True,
        name: str = "link",
        group: ProcessGroup | None = None,
        timeout: float | None = None,
    ) -> None:
        super().__init__()
        self.onward = Direction(_state(forward), name, "activation")
        self.back = Direction(_state(backward), name, "activation_gradient")
        if reuse_indices:
            _check_reuse(self.back.state)
        if isinstance(self.onward.state, AQSGD) and not per_sample:
            raise InputError("AQ-SGD remembers examples: it needs per_sample=True")
        self.reuse_indices, self.per_sample, self.at_inference = reuse_indices, per_sample, at_inference
        self.name = name
        self.wire = Wire()
        self.examples: Sequence[Hashable] | None = None
        self._peer: Peer | None = None
        self._group, self._timeout = group, timeout

    # inside one process

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """What the next stage receives of `x` [batch, ...]; in backward, what this one receives of its gradient."""
        crossed: torch.Tensor = _Crossing.apply(x, self)  # type: ignore[no-untyped-call]
        return crossed

    # between ranks

    def send(self, x: torch.Tensor, to: int) -> torch.Tensor:
        """Send `x` [batch, ...] to rank `to`. Call `.backward()` on the scalar that comes back: it waits for the gradient of
        `x`, which the other side's backward pass sends, and goes on from there. Both sides go through their messages in one
        order. Raises PeerError, InputError.
        """
        from .ranks import Sending

        token: torch.Tensor = Sending.apply(x, self, to)  # type: ignore[no-untyped-call]
        return token

    def receive(
        self, source: int, shape: Sequence[int], dtype: torch.dtype = torch.float32, *, device: Any = "cpu"
    ) -> torch.Tensor:
        """The [*shape] that rank `source` sent, as it is decoded. Its gradient goes back when it is known.

        Raises PeerError, and FormatError for a message that is damaged or belongs elsewhere.
        """
        from .ranks import Receiving

        anchor = torch.empty(0, requires_grad=torch.is_grad_enabled())
        received: torch.Tensor = Receiving.apply(anchor, self, source, tuple(shape), dtype, device)  # type: ignore[no-untyped-call]
        return received

    def flush(self) -> None:
        """Wait until all that was sent has arrived: at the end of a step."""
        if self._peer is not None:
            self._peer.flush()

    @property
    def peer(self) -> Peer:
        """The connection to other ranks. Raises InputError without a process group."""
        from .ranks import Peer

        if self._peer is None:
            self._peer = Peer(self.wire, self._group, self._timeout)
        return self._peer

    # one message, whoever carries it

    def onward_message(self, x: torch.Tensor) -> tuple[bytes, Rows, NDArray[Any]]:
        """The message of the activations `x`, its rows as they are decoded, and `x` as an array."""
        array = as_vector(x).reshape(tuple(x.shape))
        rows = rows_of(array, self.per_sample)
        raw = not self.training and not self.at_inference
        message, seen = self.onward.send(rows, self.keys(len(rows)), remember=self.training, raw=raw)
        self._charge(self.onward, array.nbytes, message)
        return message, seen, array

    def onward_received(self, message: bytes | memoryview, like: NDArray[Any]) -> tuple[NDArray[Any], Rows]:
        """The activations of a message, in the shape and dtype of `like`, and the rows as they were decoded."""
        rows = rows_of(like, self.per_sample)
        estimates, seen = self.onward.receive(message, rows, self.keys(len(rows)), remember=self.training)
        return _joined(estimates, like), seen

    def back_message(self, gradient: torch.Tensor, seen: Rows) -> tuple[bytes, NDArray[Any]]:
        """The message of the gradient of activations that were decoded as `seen`, and the gradient as an array."""
        array = as_vector(gradient).reshape(tuple(gradient.shape))
        rows = self._masked(rows_of(array, self.per_sample), seen)
        message, _ = self.back.send(rows, self.keys(len(rows)), remember=self.training)
        self._charge(self.back, array.nbytes, message)
        return message, array

    def back_received(self, message: bytes | memoryview, like: NDArray[Any], seen: Rows) -> NDArray[Any]:
        """The gradient of a message, in the shape and dtype of `like`."""
        whole = rows_of(like, self.per_sample)
        rows = self._masked(whole, seen)
        found, _ = self.back.receive(message, rows, self.keys(len(rows)), remember=self.training)
        if not self.reuse_indices:
            return _joined(found, like)
        out = [np.zeros_like(row) for row in whole]
        for row, mask, values in zip(out, seen, found, strict=True):
            row[mask != 0] = values
        return _joined(out, like)

    def keys(self, count: int) -> Sequence[Hashable]:
        """The keys of the rows' memories. Raises InputError where examples are wanted and not told."""
        if not isinstance(self.onward.state, AQSGD) or not self.training:
            return range(count)
        if self.examples is None or len(self.examples) != count:
            told = "none" if self.examples is None else len(self.examples)
            raise InputError(
                f"AQ-SGD remembers examples: tell which {count} these are (told: {told}) with `examples(model, ids)`"
            )
        return self.examples

    def _masked(self, rows: Rows, seen: Rows) -> Rows:
        if not self.reuse_indices:
            return rows
        return [np.ascontiguousarray(row[mask != 0]) for row, mask in zip(rows, seen, strict=True)]

    def _charge(self, direction: Direction, raw: int, message: bytes) -> None:
        self.wire.charge(direction.role, raw, len(message))
        self.wire.payload += len(message)

    # checkpoints

    def memory_dict(self) -> dict[str, Any]:
        """The memories of both ways, for `load_memory_dict`: apart from the weights, which stay those of the bare model."""
        return {"forward": self.onward.state.state_dict(), "backward": self.back.state.state_dict()}

    def load_memory_dict(self, saved: dict[str, Any]) -> None:
        """Raises InputError for the memories of another kind of link."""
        self.onward.state.load_state_dict(saved["forward"])
        self.back.state.load_state_dict(saved["backward"])

    def extra_repr(self) -> str:
        """Both ways' kinds of state and compressors."""
        ways = (f"{d.state.kind} {d.state.policy.default!r}" for d in (self.onward, self.back))
        return f"{self.name!r}, {', '.join(ways)}, reuse_indices={self.reuse_indices}"


class _Crossing(torch.autograd.Function):
    """Both ways in one process: each message is made, decoded, and what it says is handed on."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, link: PipelineLink) -> torch.Tensor:
        message, _, array = link.onward_message(x)
        found, ctx.seen = link.onward_received(message, array)
        link.onward.state.complete()
        ctx.link = link
        return torch.from_numpy(found).to(x)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        link, (gradient,) = ctx.link, gradients
        message, array = link.back_message(gradient, ctx.seen)
        found = link.back_received(message, array, ctx.seen)
        link.back.state.complete()
        return torch.from_numpy(found).to(gradient), None


@contextmanager
def examples(model: nn.Module, ids: Sequence[Hashable] | torch.Tensor) -> Iterator[None]:
    """Within, the rows of each batch that crosses a link of `model` are the training examples `ids`, for AQ-SGD."""
    links = [module for module in model.modules() if isinstance(module, PipelineLink)]
    told = ids.tolist() if isinstance(ids, torch.Tensor) else list(ids)
    for link in links:
        link.examples = told
    try:
        yield
    finally:
        for link in links:
            link.examples = None


def _state(method: Method | None) -> State:
    """A state of the link's own: several links may be given one and the same."""
    if isinstance(method, State):
        return deepcopy(method)
    return Memoryless(Identity() if method is None else method)


def _check_reuse(state: State) -> None:
    if not isinstance(state, Memoryless):
        raise InputError(f"with reuse_indices the positions change from step to step: {state.kind} can't follow them")
    if isinstance(state.policy.default, TopK):
        raise InputError(
            "with reuse_indices `backward` codes the values at the forward message's positions: say Identity(), Float16() "
            "or MinMax(8), not TopK"
        )


def _joined(rows: Sequence[Vector], like: NDArray[Any]) -> NDArray[Any]:
    if not rows:
        return np.zeros_like(like)
    return np.concatenate(rows).reshape(like.shape)

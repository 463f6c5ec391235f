"""FSDP2 with compressed collectives: gradients in the reduce-scatter, weights in the all-gather.

    fully_shard(model)
    state = ErrorFeedback(TopK(0.01))
    compress_gradients(model, state)

FSDP2 (torch.distributed.fsdp.fully_shard) lets each of its modules have collectives of its own: objects with `allocate` and
`__call__`. A reduce-scatter sends rank r the part of the gradient that r keeps, so each part is a payload of its own, and an
uneven all-to-all carries them. In each group of parameters FSDP has already joined the gradients into one flat tensor: a name
is that of the module, and a policy's rules see that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import InputError, UnsupportedError
from ..compressor import Vector
from ..message import Address
from ..policy import Role
from ..state.base import State
from ..state.memoryless import Memoryless
from ..tensors import as_vector, library, write
from .averaging import exchanged, read_from
from .bundle import Item
from .exchange import Exchange
from .parts import reduce_parts

if TYPE_CHECKING:
    import torch
    from torch.distributed import ProcessGroup


def compress_gradients(model: torch.nn.Module, state: State) -> None:
    """From now on `state` compresses what the FSDP modules in `model` reduce-scatter.

    Raises InputError without such a module, and UnsupportedError for a torch whose FSDP2 has no custom collectives.
    """
    for name, module in _sharded(model):
        module.set_custom_reduce_scatter(CompressedReduceScatter(state, name))


def compress_weights(model: torch.nn.Module, state: Memoryless) -> None:
    """From now on `state` compresses the weights that the FSDP modules in `model` gather to compute with.

    The shards stay exact: what is lost is not remembered, and all ranks compute with the same decoded weights. Raises as
    `compress_gradients` does, and InputError for a state with memory.
    """
    if not isinstance(state, Memoryless):
        raise InputError(
            f"weights are gathered as they are decoded: give a Memoryless state, not {type(state).__name__}"
        )
    for name, module in _sharded(model):
        module.set_custom_all_gather(CompressedAllGather(state, name))


class _Collective:
    """What both have in common. A call is a step: its number is in the messages and in the seeds."""

    def __init__(self, state: State, name: str) -> None:
        self._state, self._name = state, name

    def allocate(self, size: Sequence[int], *, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
        """FSDP's buffers are torch's usual ones."""
        buffer: torch.Tensor = library().empty(*size, dtype=dtype, device=device)
        return buffer

    def _start(self, group: ProcessGroup) -> Exchange:
        state = self._state
        state.discard()
        state.session.enter(group)
        state.session.greet(state.settings())
        return state.session.exchange

    def _item(self, part: int, x: Vector, role: Role) -> Item:
        return Item(f"{self._name}/{part}", x, self._state.compressor(self._name, x.size, role))


class CompressedReduceScatter(_Collective):
    """FSDP2's ReduceScatter: averages or sums the parts of rank r on rank r."""

    def __call__(
        self,
        output_tensor: torch.Tensor,
        input_tensor: torch.Tensor,
        group: ProcessGroup,
        op: Any,
        async_op: bool = False,  # noqa: ARG002  it is done when it returns
    ) -> None:
        """Reduce `input_tensor` (w parts, flat) into `output_tensor` (one part)."""
        kinds = library().distributed.ReduceOp
        if op not in {kinds.AVG, kinds.SUM}:
            raise UnsupportedError(f"a compressed reduce-scatter averages or sums; it doesn't do {op}")
        exchange = self._start(group)
        parts: Any = as_vector(input_tensor).reshape(exchange.world, -1)
        if not parts.size:
            return
        items = [[self._item(r, part, "gradient")] for r, part in enumerate(parts)]
        (mean,) = reduce_parts(self._state, items)
        write(output_tensor, mean if op == kinds.AVG else mean * mean.dtype.type(exchange.world))
        self._state.complete()


class CompressedAllGather(_Collective):
    """FSDP2's AllGather: every rank's shard on every rank, as it is decoded."""

    def __call__(
        self,
        output_tensor: torch.Tensor,
        input_tensor: torch.Tensor,
        group: ProcessGroup,
        async_op: bool = False,  # noqa: ARG002  it is done when it returns
    ) -> None:
        """Gather `input_tensor` of all ranks into `output_tensor`, in the order of ranks."""
        exchange, state = self._start(group), self._state
        item = self._item(exchange.rank, as_vector(input_tensor), "weight")
        if not item.x.size:
            return
        _, heard = exchanged(state, [item], Address(exchange.rank, "", state.step, ""))
        out = np.zeros((exchange.world, item.x.size), item.x.dtype)
        for r, message in enumerate(heard):
            (said,) = read_from(state, [self._item(r, item.x, "weight")], message, r)
            if said.vector is not None:
                out[r] = said.vector
        write(output_tensor, out.reshape(-1))
        state.complete()


def _sharded(model: torch.nn.Module) -> Iterator[tuple[str, Any]]:
    found = [(name, m) for name, m in model.named_modules() if hasattr(m, "set_requires_gradient_sync")]
    found = [(name, m) for name, m in found if hasattr(m, "set_reshard_after_backward")]
    if not found:
        raise InputError("no module here is sharded: call torch.distributed.fsdp.fully_shard(model) first")
    if not hasattr(found[0][1], "set_custom_reduce_scatter"):
        raise UnsupportedError(f"the FSDP2 of torch {library().__version__} has no custom collectives: update torch")
    return iter([(name or "model", m) for name, m in found])

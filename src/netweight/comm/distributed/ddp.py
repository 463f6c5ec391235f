"""The communication hook of DistributedDataParallel.

    state = ErrorFeedback(Policy(default=TopK(0.01), min_numel=4096))
    model.register_comm_hook(state, ddp_hook)

DDP calls the hook bucket by bucket, in the same order on every rank. An error that the hook raises comes out of
`loss.backward()`.
"""

# no `from __future__ import annotations`: DDP compares the annotations of a hook with the classes themselves
from collections.abc import Callable

from ...errors import InputError, MissingExtraError
from ..compressor import Vector
from ..state.base import State
from ..tensors import as_vector, future_of, write

try:
    import torch
    import torch.distributed as dist
except ImportError:
    raise MissingExtraError("torch", "torch") from None


def ddp_hook(state: State, bucket: dist.GradBucket) -> torch.futures.Future[torch.Tensor]:  # type: ignore[name-defined]  # it is hidden from type checkers
    """The mean over ranks of the bucket's gradients, from compressed messages; bit-identical on all ranks.

    Nothing of a step is kept if it fails in any bucket: neither gradients nor memories. Raises PeerError, FormatError and
    InputError through `backward()`.
    """
    if not isinstance(state, State):
        raise InputError(f"ddp_hook's state is ErrorFeedback, EF21, PowerSGD or their kin, not {type(state).__name__}")
    work = _work(state, bucket)
    if state.session.lane is not None:
        return state.session.lane.submit(work, bucket.buffer())
    work()
    future = future_of(bucket.buffer())
    future.set_result(bucket.buffer())
    return future


def _work(state: State, bucket: dist.GradBucket) -> Callable[[], None]:  # type: ignore[name-defined]
    """What is to be done for `bucket`. Only the rest of its step may come between."""
    session, first, last = state.session, bucket.index() == 0, bucket.is_last()
    if first:
        if session.lane is not None:
            session.lane.start_step()
        state.discard()
        _check_names(state)
        session.greet(state.settings())
    names = session.names(bucket.parameters(), first)
    gradients = bucket.gradients()

    def average() -> None:
        vectors: list[Vector] = [as_vector(gradient) for gradient in gradients]
        means = state.average(names, vectors, [tuple(gradient.shape) for gradient in gradients])
        for gradient, mean in zip(gradients, means, strict=True):
            write(gradient, mean)
        if last:
            state.complete()

    return average


def _check_names(state: State) -> None:
    if state.policy.names_matter and not state.session.bound:
        raise InputError("the policy has rules on names: tell the state its model with state.bind(model)")

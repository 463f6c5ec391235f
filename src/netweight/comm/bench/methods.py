"""What the benchmark compares: torch's own hooks, and ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from ...errors import NotFoundError
from ..compressor import Compressor
from ..compressors.dithering import SparseDithering
from ..compressors.sign import SignMean
from ..compressors.sparse import TopK
from ..policy import Policy
from ..state.base import State
from ..state.difference import EF21
from ..state.feedback import ErrorFeedback

if TYPE_CHECKING:
    from torch.nn.parallel import DistributedDataParallel

_LEAST = 64
"""Parameters of fewer values go as they are."""


@dataclass(frozen=True)
class Method:
    """One way to average gradients; `register` attaches it to a DDP model and gives our state, or None for torch's hooks."""

    what: str
    register: Callable[[DistributedDataParallel], State | None]


def method(name: str) -> Method:
    """Raises NotFoundError."""
    if name not in METHODS:
        raise NotFoundError(f"no method {name!r}; known are {', '.join(METHODS)}")
    return METHODS[name]


def _ours(make: Callable[[], State]) -> Callable[[DistributedDataParallel], State]:
    def register(ddp: DistributedDataParallel) -> State:
        from ..distributed.ddp import ddp_hook

        state = make()
        state.bind(ddp)
        ddp.register_comm_hook(state, ddp_hook)
        return state

    return register


def _feedback(compressor: Compressor, **options: Any) -> Callable[[DistributedDataParallel], State]:
    return _ours(lambda: ErrorFeedback(Policy(compressor, min_numel=_LEAST), **options))


def _theirs(name: str) -> Callable[[DistributedDataParallel], None]:
    def register(ddp: DistributedDataParallel) -> None:
        from torch.distributed.algorithms.ddp_comm_hooks import default_hooks

        ddp.register_comm_hook(None, getattr(default_hooks, name))

    return register


def _their_powersgd(ddp: DistributedDataParallel) -> None:
    from torch.distributed.algorithms.ddp_comm_hooks import powerSGD_hook

    state: Any = powerSGD_hook.PowerSGDState(
        process_group=None, matrix_approximation_rank=1, start_powerSGD_iter=2, orthogonalization_epsilon=1e-8
    )
    ddp.register_comm_hook(state, powerSGD_hook.powerSGD_hook)


def _our_powersgd() -> State:
    from ..distributed.powersgd import PowerSGD

    return PowerSGD(1)


METHODS: Final[Mapping[str, Method]] = MappingProxyType(
    {
        "none": Method("all-reduce of FP32 (torch)", _theirs("allreduce_hook")),
        "fp16": Method("all-reduce of FP16 (torch)", _theirs("fp16_compress_hook")),
        "powersgd-torch": Method("PowerSGD rank 1 (torch)", _their_powersgd),
        "powersgd": Method("PowerSGD rank 1", _ours(_our_powersgd)),
        "sign": Method("sign x mean, error feedback", _feedback(SignMean())),
        "topk": Method("top 1 %, FP32 values, error feedback", _feedback(TopK(0.01))),
        "topk-bit": Method("top 1 %, one bit a value, error feedback", _feedback(TopK(0.01, values="bit"))),
        "parts": Method("top 1 %, one bit a value, in parts", _feedback(TopK(0.01, values="bit"), in_parts=True)),
        "dithering": Method("sparse dithering nu = 0.5, error feedback", _feedback(SparseDithering(nu=0.5))),
        "ef21": Method("top 2 %, one bit a value, EF21", _ours(lambda: EF21(Policy(TopK(0.02, values="bit"), min_numel=_LEAST)))),
    }
)  # fmt: skip

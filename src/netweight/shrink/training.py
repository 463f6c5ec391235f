"""Training that can be trusted: seeded segment by segment, resumable, and stopped at the first number that isn't finite."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import nn

from .exits import teach
from .grids import ActivationGrid
from .layers import Recurrent, Shaped
from .network import Network
from .protocol import Context, StepError, limited

Optimiser = Callable[[list[dict[str, Any]]], torch.optim.Optimizer]
Term = Callable[[Network, "Call"], torch.Tensor]
"""A loss of its own, added to each batch's: of the network and of how it was called."""
Progress = Callable[[str, int, int], None]

SEGMENT: Final = 200
_WARM: Final = 0.05


@dataclass
class Call:
    """The last call of a network: its arguments and what came out."""

    args: tuple[Any, ...] = ()
    named: dict[str, Any] = field(default_factory=dict)
    output: Any = None


class TrainingError(StepError):
    """A loss or gradient that isn't finite."""


def adam(parameters: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """AdamW without decay: fine-tuning starts from weights that are good already."""
    return torch.optim.AdamW(parameters, weight_decay=0.0)


@dataclass
class Training:
    """How networks are trained: `learning_rate` rises, then falls as half a cosine, over each step's own budget.

    `optimiser` makes one from parameter groups that have their learning rates. `store` keeps what a segment left (None:
    nothing is kept).
    """

    learning_rate: float = 1e-3
    optimiser: Optimiser = adam
    clip: float = 5.0
    terms: list[Term] = field(default_factory=list)
    progress: Progress = lambda *_: None
    store: Any = None
    taken: int = 0

    def run(
        self, network: Network, context: Context, steps: int, *, terms: tuple[Term, ...] = (), only: Any = None,
        rate: float = 1.0, still: bool = False, label: str = "training",
    ) -> None:  # fmt: skip
        """Train `network` in place for so many steps, by the user's losses and `terms`; afterwards it is in eval mode.

        `only`: a predicate of parameters' names; others stay. `rate` scales the learning rate.
        `still`: in eval mode, so that no statistics move. Heads of exits learn with the network. Raises TrainingError.
        """
        trained = _parameters(network, only)
        if not trained:
            raise StepError("training would touch no parameter")
        base = self.learning_rate * rate
        optimiser = self.optimiser([{"params": p, "lr": base, "factor": f} for p, f in trained])
        number = self.taken
        self.taken += 1
        network.train(not still)
        if network.exits is not None:
            terms = (*terms, lambda net, call: teach(net, call.args, call.named))
        start = self.store.resume(number, network, optimiser) if self.store else 0
        for first in range(start, steps, SEGMENT):
            last = min(first + SEGMENT, steps)
            self._segment(network, context, optimiser, (first, last, steps), (*self.terms, *terms), base, label)
            if self.store:
                self.store.keep(number, last, network, optimiser)
        network.eval()

    def _segment(
        self, network: Network, context: Context, optimiser: torch.optim.Optimizer, span: tuple[int, int, int],
        terms: tuple[Term, ...], base: float, label: str,
    ) -> None:  # fmt: skip
        """Each segment has a seed of its own, so that it comes out the same whether or not the run was interrupted."""
        first, last, steps = span
        seed = context.seed * 1_000_003 + self.taken * 7919 + first
        torch.manual_seed(seed)
        wanted = [p for group in optimiser.param_groups for p in group["params"]]
        with watched(network) as call:
            done = first
            while done < last:
                for loss in limited(context.need_losses()(network, seed + done), last - done):
                    for group in optimiser.param_groups:
                        group["lr"] = base * group["factor"] * _schedule(done, steps)
                    total = loss + sum(term(network, call) for term in terms) if terms else loss
                    optimiser.zero_grad(set_to_none=True)
                    total.backward()  # type: ignore[no-untyped-call]
                    norm = float(nn.utils.clip_grad_norm_(wanted, self.clip))
                    if not (math.isfinite(norm) and math.isfinite(float(total.detach()))):
                        raise TrainingError(
                            f"{label}: the loss or its gradient isn't finite at training step {done + 1} of {steps}"
                        )
                    optimiser.step()
                    done += 1
                    self.progress(label, done, steps)


def _schedule(done: int, steps: int) -> float:
    warm = max(1, round(_WARM * steps))
    if done < warm:
        return (done + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (done - warm) / max(steps - warm, 1)))


def _parameters(network: Network, only: Any) -> list[tuple[list[nn.Parameter], float]]:
    """(parameters, factor of the learning rate): steps of grids, as logarithms, move faster than weights."""
    steps: list[nn.Parameter] = []
    weights: list[nn.Parameter] = []
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad or not parameter.is_floating_point() or (only is not None and not only(name)):
            continue
        (steps if name.endswith("log_step") else weights).append(parameter)
    return [(p, f) for p, f in ((weights, 1.0), (steps, 3.0)) if p]


@contextlib.contextmanager
def watched(network: Network) -> Iterator[Call]:
    """Remember how the network was called last."""
    call = Call()

    def remember(_: nn.Module, args: Any, named: Any, output: Any) -> None:
        call.args, call.named, call.output = args, named, output

    handle = network.register_forward_hook(remember, with_kwargs=True)
    try:
        yield call
    finally:
        handle.remove()


def quantised(network: nn.Module) -> list[Any]:
    """The layers that have a grid of weights which is still trained."""
    found: list[Any] = [m for m in network.modules() if isinstance(m, Shaped) and m.grid is not None]
    return found + [m for m in network.modules() if isinstance(m, Recurrent) and len(m.grids)]


def rate(network: nn.Module) -> tuple[torch.Tensor, int]:
    """(bits of all weights on grids with a gradient, how many weights they are)."""
    bits, count = torch.zeros(()), 0
    for layer in quantised(network):
        pairs: list[tuple[Any, Any, Any]] = (
            [(layer.grid, layer.weight, layer.mask)]
            if isinstance(layer, Shaped)
            else [(layer.grids[n], getattr(layer, n), None) for n in layer.grids]
        )
        for grid, weight, mask in pairs:
            bits = bits + grid.rate(weight, mask)
            count += weight.numel() if mask is None else int(mask.sum())
    return bits, count


def activation_grids(network: nn.Module) -> list[ActivationGrid]:
    """Every grid of activations."""
    return [m for m in network.modules() if isinstance(m, ActivationGrid)]


def calibrate(network: Network, context: Context) -> None:
    """Let the grids of activations that aren't ready see data, one after another in the order of the network."""
    waiting = [g for g in activation_grids(network) if not g.ready]
    if not waiting:
        return
    network.eval()
    for grid in waiting:
        grid.observing = True
    with torch.no_grad():
        for _ in context.batches(network, 1, seed=17):
            pass
    for grid in waiting:
        grid.observing = False


def settle(network: Network, context: Context, batches: int = 8) -> None:
    """Means and variances of batch norms as they are after a change, from some batches, without training."""
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]  # noqa: SLF001
    if not norms or context.losses is None:
        return
    kept = [m.momentum for m in norms]
    network.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the batches
        norm.train()
    with torch.no_grad():
        for _ in context.batches(network, batches, seed=23):
            pass
    for norm, momentum in zip(norms, kept, strict=True):
        norm.momentum = momentum
        norm.eval()

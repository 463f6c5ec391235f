"""What a step is: a network in, another out, in a context that holds the data and pays for the training.

A step keeps what earlier ones established, because it is part of the network itself: a mask is multiplied in, a grid
quantises, a layer that was factored is two layers. A step that removes channels removes the matching rows of masks, steps
and grids; one that replaces a layer gives the new ones grids of the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol, Self, runtime_checkable

import torch
from torch import nn

from ..errors import InputError
from .costs import Costs, cost
from .network import Network

Losses = Callable[[nn.Module, int], Iterable[torch.Tensor]]
"""train(model, seed) yields the losses of one batch after another, without end or for at least one pass over the data; it calls
the model as the user's own would be called. Whoever takes a loss does the rest: gradients and the optimiser's step."""
Evaluate = Callable[[nn.Module], float]
"""evaluate(model): the score, higher is better."""
Say = Callable[[str], None]


class StepError(InputError):
    """A step that can't do what it was asked for; the network is as it was before."""


@dataclass
class Context:
    """What a step may use.

    `args`, `named`: an example batch. `teacher`: the network at the start. `steps`: how many training steps this step of
    the pipeline may take in all. `dry`: only costs are wanted. `record` collects what is worth telling about the step, JSON-able.
    """

    args: tuple[Any, ...]
    named: dict[str, Any]
    losses: Losses | None
    evaluate: Evaluate | None
    seed: int = 0
    steps: int = 0
    teacher: Network | None = None
    training: Any = None
    dry: bool = False
    record: dict[str, Any] = field(default_factory=dict)
    say: Say = lambda _: None

    def cost(self, network: Network) -> Costs:
        """Counted costs on the example."""
        return cost(network, self.args, self.named)

    def batches(self, network: nn.Module, count: int, seed: int = 0) -> Iterator[torch.Tensor]:
        """Losses of `count` batches. Raises StepError without a training function, or if it ends early."""
        yield from limited(self.need_losses()(network, self.seed + seed), count)

    def need_losses(self) -> Losses:
        """The training function. Raises StepError if there is none."""
        if self.losses is None:
            raise StepError(
                "this step looks at gradients or trains: give train=, a function of (model, seed) that yields losses"
            )
        return self.losses

    def train(self, network: Network, steps: int, **options: Any) -> None:
        """Train in place (training.py). No steps: nothing."""
        if steps > 0 and not self.dry:
            self.training.run(network, self, steps, **options)


def limited(losses: Iterable[torch.Tensor], count: int) -> Iterator[torch.Tensor]:
    """The first `count` losses. Raises StepError if there are none, or other things than scalars."""
    if not isinstance(losses, Iterable):
        raise StepError(f"train(model, seed) gave {losses!r:.80}; it must yield one loss after another")
    source = iter(losses)
    for k in range(count):
        loss = next(source, None)
        if loss is None:
            if k == 0:
                raise StepError("train(model, seed) yielded no loss")
            return
        if not isinstance(loss, torch.Tensor) or loss.numel() != 1:
            raise StepError(f"train(model, seed) must yield scalar losses; it yielded a {type(loss).__name__}")
        yield loss


@runtime_checkable
class Step(Protocol):
    """One step. Steps are frozen dataclasses: equal settings are equal steps.

    `letter` names its kind in an order (D, P, L, C, M, Q, E). `share`: of the training budget, relative to the others'.
    `apply` may alter the network that it is given and returns it or another; it raises StepError if it would touch nothing.
    `at(strength)` is the same step with what its settings left open set for a strength in 0..1: at 0 it changes next to nothing.
    """

    letter: str
    share: float

    def apply(self, network: Network, context: Context) -> Network: ...

    def at(self, strength: float) -> Self: ...

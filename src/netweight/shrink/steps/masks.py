"""Unstructured and N:M masks: single weights that stay 0, multiply nothing away but cost next to nothing in the file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import torch

from ...errors import InputError
from .. import layers
from ..importance import input_squares
from ..network import Network
from ..protocol import Context, StepError

_LEAST: Final = 64
CRITERIA: Final = ("magnitude", "fisher", "activation")


@dataclass(frozen=True)
class Mask:
    """Set a share of `sparsity` of all weights to 0 for good, or (`pattern="2:4"`) keep 2 of every 4 along the inputs.

    Unstructured masks rank all weights of the network together, each layer's relative to its root mean square; no layer loses
    more than `most`. `sparsity` None: what the pipeline's target asks for. In each of `rounds` the share that is left shrinks by
    the same factor, with training between.
    """

    sparsity: float | None = None
    pattern: str | None = None
    criterion: str = "magnitude"
    rounds: int = 3
    most: float = 0.98
    batches: int = 8
    share: float = 1.0
    letter: str = "M"

    def __post_init__(self) -> None:
        if self.criterion not in CRITERIA:
            raise InputError(f"Mask: criterion= is one of {', '.join(CRITERIA)}")
        if self.sparsity is not None and not 0 <= self.sparsity < 1:
            raise InputError(f"Mask: sparsity={self.sparsity}; it is the share of weights that become 0, below 1")
        if self.pattern is not None:
            self._pattern()

    def _pattern(self) -> tuple[int, int]:
        """(weights kept, of how many)."""
        kept, _, group = (self.pattern or "").partition(":")
        if not (kept.isdigit() and group.isdigit() and 0 < int(kept) < int(group) <= 64):
            raise InputError(f"Mask: pattern={self.pattern!r}; write it as 2:4, N weights kept of every M")
        return int(kept), int(group)

    def at(self, strength: float) -> Mask:
        """The step with its open `sparsity` set to the strength."""
        return self if self.sparsity is not None or self.pattern else replace(self, sparsity=min(strength, 0.999))

    def apply(self, network: Network, context: Context) -> Network:
        """Raises StepError if there is no weight to mask."""
        found: list[Any] = [m for _, m in network.calls(*layers.WEIGHTED) if not isinstance(m, layers.Embedding)]
        chosen = [m for m in dict.fromkeys(found) if not m.frozen and m.weight.numel() >= _LEAST]
        if not chosen:
            raise StepError("Mask touches no layer: none has 64 weights or more that aren't integers already")
        rounds = 1 if self.pattern or not context.steps else max(1, min(self.rounds, context.steps))
        for number in range(1, rounds + 1):
            scores = self._scores(network, context, chosen)
            if self.pattern:
                for module in chosen:
                    module.mask = _n_of_m(scores[module], *self._pattern())
            else:
                sparsity = 0.5 if self.sparsity is None else self.sparsity
                self._unstructured(scores, 1 - (1 - sparsity) ** (number / rounds))
            steps = context.steps * number // rounds - context.steps * (number - 1) // rounds
            context.train(network, steps, label=f"after masking {number}/{rounds}")
        zeros = sum(int((~m.mask).sum()) for m in chosen)
        context.record["masked"] = zeros / sum(m.mask.numel() for m in chosen)
        return network

    def _scores(self, network: Network, context: Context, chosen: list[Any]) -> dict[Any, torch.Tensor]:
        """How much each weight matters, of the weights' shapes; what a mask removed already matters least."""
        found: dict[Any, torch.Tensor]
        if self.criterion == "fisher":
            found = {m: torch.zeros_like(m.weight) for m in chosen}
            network.eval()
            for loss in context.batches(network, self.batches, seed=5):
                network.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                for m in chosen:
                    if m.weight.grad is not None:
                        found[m] += (m.weight.grad * m.weight.detach()).square()
            network.zero_grad(set_to_none=True)
        elif self.criterion == "activation":
            squares = input_squares(network, context, self.batches)
            found = {m: m.weight.detach().square() * _by_column(m, squares[m]) for m in chosen}
        else:
            found = {m: m.weight.detach().square() / m.weight.detach().square().mean().clamp_min(1e-30) for m in chosen}
        return {m: s if m.mask is None else s.masked_fill(~m.mask, -1.0) for m, s in found.items()}

    def _unstructured(self, scores: dict[Any, torch.Tensor], sparsity: float) -> None:
        together = torch.cat([s.flatten() for s in scores.values()])
        count = int(sparsity * together.numel())
        threshold = together.kthvalue(count).values if count else together.new_tensor(-2.0)
        for module, score in scores.items():
            mask = score > threshold
            least = max(1, round(score.numel() * (1 - self.most)))
            if int(mask.sum()) < least:
                mask = torch.zeros_like(mask)
                mask.view(-1)[score.flatten().topk(least).indices] = True
            module.mask = mask


def _by_column(module: Any, squares: torch.Tensor) -> torch.Tensor:
    """E[x^2] shaped to multiply a weight."""
    axis = 0 if isinstance(module, (layers.ConvTranspose1d, layers.ConvTranspose2d)) else 1
    size = module.weight.shape[axis]
    values = squares.reshape(-1, size).mean(0).to(module.weight.dtype)
    shape = [1] * module.weight.dim()
    shape[axis] = size
    return values.view(shape)


def _n_of_m(score: torch.Tensor, kept: int, group: int) -> torch.Tensor:
    """The best `kept` of every `group` weights along the inputs (all of a filter's); a rest shorter than a group is kept."""
    rows = score.flatten(1)
    whole = rows.shape[1] // group * group
    mask = torch.ones_like(rows, dtype=torch.bool)
    parts = rows[:, :whole].reshape(rows.shape[0], -1, group)
    chosen = torch.zeros_like(parts, dtype=torch.bool).scatter_(2, parts.topk(kept, dim=2).indices, True)
    mask[:, :whole] = chosen.reshape(rows.shape[0], whole)
    return mask.view(score.shape)

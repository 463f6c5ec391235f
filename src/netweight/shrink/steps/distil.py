"""Distillation: the network at the start teaches a smaller one, by its outputs and by what its features have in common."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from ...errors import InputError
from ..graph.narrow import Coupling
from ..importance import group_scores
from ..network import Network
from ..protocol import Context, StepError
from ..tracing import trace
from ..training import Call, settle
from .prune import allowed


@dataclass(frozen=True)
class Distil:
    """Train towards the teacher's softened outputs (Hinton et al., arXiv 1503.02531), `weight` of the loss at `temperature`.

    `student`: a module to take the network's place; or `width` below 1: the network with that share of every group of channels
    (the most important ones, or `reset`: newly drawn weights); by default the network itself. `features` is the weight of a loss
    between the similarities within a batch of what goes into the last layers (Tung and Mori, arXiv 1907.09682), which needs no
    equal widths. Outputs that aren't [batch, classes] are matched by squared error.
    """

    student: nn.Module | None = None
    width: float = 1.0
    reset: bool = False
    temperature: float = 4.0
    weight: float = 0.7
    features: float = 0.0
    share: float = 2.0
    letter: str = "D"

    def __post_init__(self) -> None:
        if not 0 < self.width <= 1 or not 0 < self.weight <= 1 or self.temperature <= 0 or self.features < 0:
            raise InputError("Distil: width= and weight= in 0..1, temperature= above 0, features= at least 0")
        if self.student is not None and self.width != 1:
            raise InputError("Distil: give student= or width=, not both")

    def at(self, strength: float) -> Distil:  # noqa: ARG002  it has no open setting
        """The step itself."""
        return self

    def apply(self, network: Network, context: Context) -> Network:
        """Raises StepError without a training budget."""
        if context.steps <= 0 and not context.dry:
            raise StepError("Distil touches no weight: it has no training steps; give budget= and train=")
        teacher = (
            copy.deepcopy(context.teacher if context.teacher is not None else network).eval().requires_grad_(False)
        )
        student = self._student(network, context)
        context.train(student, context.steps, terms=(self._term(teacher),), label="distillation")
        context.record |= {"parameters": sum(p.numel() for p in student.parameters())}
        return student

    def _student(self, network: Network, context: Context) -> Network:
        if self.student is not None:
            return trace(self.student, context.args or context.named)
        if self.width < 1:
            scale_width(network, context, self.width)
            settle(network, context)
        if self.reset:
            torch.manual_seed(context.seed)
            for module in network.modules():
                reset: Any = getattr(module, "reset_parameters", None)
                if reset is not None:
                    reset()
        return network

    def _term(self, teacher: Network) -> Any:
        """The loss to add so that the sum is (1 - weight) x the user's loss + weight x distillation, up to a factor."""
        factor = self.weight / max(1 - self.weight, 0.05)

        def term(student: Network, call: Call) -> torch.Tensor:
            with torch.no_grad():
                taught, theirs = _with_features(teacher, call)
            loss = factor * _matched(_tensor(call.output), _tensor(taught), self.temperature)
            if self.features:
                _, ours = _with_features(student, call)
                loss = loss + self.features * _similarity(ours, theirs)
            return loss

        return term


def scale_width(network: Network, context: Context, width: float) -> None:
    """Keep a share `width` of the channels of each kind of group, the most important ones by magnitude. Raises StepError."""
    coupling = Coupling(network, context.args, context.named)
    if not coupling.groups:
        raise StepError("Distil: width= touches no layer: every channel of this network is held by a fixed size")
    scores = group_scores(coupling, context, "magnitude", 0)
    kinds: dict[Any, list[int]] = {}
    for k, group in enumerate(coupling.groups):
        kinds.setdefault(frozenset((id(m), role) for m, role in group.places), []).append(k)
    dead: list[int] = []
    for members in kinds.values():
        order = sorted(members, key=lambda k: scores[k])
        dead += [coupling.groups[k].number for k in order[: len(members) - max(1, round(width * len(members)))]]
    coupling.cut(allowed(coupling, dead, 0.999))


def _tensor(output: Any) -> torch.Tensor:
    """The first floating tensor of an output."""
    if isinstance(output, torch.Tensor):
        return output
    values = list(output.values()) if isinstance(output, dict) else list(output)
    return next(v for v in values if isinstance(v, torch.Tensor) and v.is_floating_point())


def _matched(ours: torch.Tensor, theirs: torch.Tensor, temperature: float) -> torch.Tensor:
    if ours.dim() < 2 or ours.shape[-1] < 2:
        return functional.mse_loss(ours, theirs)
    a, b = (t.flatten(0, -2) / temperature for t in (ours, theirs))
    return (
        functional.kl_div(functional.log_softmax(a, -1), functional.softmax(b, -1), reduction="batchmean")
        * temperature**2
    )


def _with_features(network: Network, call: Call) -> tuple[Any, list[torch.Tensor]]:
    """(output, inputs of the last two weighted layers)."""
    seen: list[torch.Tensor] = []

    def watch(node: Any, _value: Any, given: tuple[Any, ...]) -> None:
        if node.op == "call_module" and given and isinstance(given[0], torch.Tensor) and given[0].is_floating_point():
            module = network.get_submodule(str(node.target))
            if getattr(module, "weight", None) is not None and given[0].shape[0] == batch:
                seen.append(given[0])

    batch = next(iter([*call.args, *call.named.values()])).shape[0]
    output = network.run(network.bind(call.args, call.named), watch)
    return output, seen[-2:]


def _similarity(ours: list[torch.Tensor], theirs: list[torch.Tensor]) -> torch.Tensor:
    """Mean squared difference of row-normalised Gram matrices of the batch, summed over places."""
    total = torch.zeros(())
    for a, b in zip(ours, theirs, strict=False):
        ga, gb = (functional.normalize(t.flatten(1) @ t.flatten(1).T, dim=1) for t in (a, b))
        total = total + (ga - gb).square().mean() * a.shape[0]
    return total

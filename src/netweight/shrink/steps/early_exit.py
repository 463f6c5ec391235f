"""Early exits, trained by the network's own outputs, calibrated, and set to what the score bears."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from ...errors import InputError
from ..costs import multiplications
from ..exits import Exit, Exits, confidence, fitted_temperature, make_head, narrow_places, pooled
from ..network import Network
from ..protocol import Context, StepError
from ..training import watched

_STEPS_OF_SEARCH = 12


@dataclass(frozen=True)
class EarlyExit:
    """`count` exits, spread over the network's MACs, for networks whose output is one tensor [batch, classes].

    Heads learn the network's own answers (no weight of the network changes), then get a temperature, and one confidence for all
    of them is the lowest that keeps the score within `drop` of the network's (in the score's units); without an evaluate
    function: the lowest at which at most `disagree` of the examples get another answer.
    """

    count: int = 2
    drop: float = 0.002
    disagree: float = 0.01
    batches: int = 16
    share: float = 0.5
    letter: str = "E"

    def __post_init__(self) -> None:
        if self.count < 1 or self.drop < 0 or not 0 <= self.disagree < 1:
            raise InputError("EarlyExit: count= at least 1, drop= at least 0, disagree= in 0..1")

    def at(self, strength: float) -> EarlyExit:  # noqa: ARG002  it has no open setting
        """The step itself."""
        return self

    def apply(self, network: Network, context: Context) -> Network:
        """Raises StepError if the network has exits already, another kind of output, or no place to leave at."""
        if network.exits is not None:
            raise StepError("EarlyExit: the network has exits already")
        network.exits = Exits(self._placed(network, context))
        try:
            context.need_losses()
            heads = network.exits.paths()
            context.train(
                network, context.steps, only=lambda name: name.rpartition(".")[0] in heads, still=True, rate=10.0,
                label="training exits",
            )  # fmt: skip
            self.calibrate(network, context)
        except BaseException:
            network.exits = None
            network.changed()
            raise
        context.record |= {
            "exits": [{"after": e.node, "share": e.share, "confidence": e.threshold} for e in network.exits.exits]
        }
        return network

    def _placed(self, network: Network, context: Context) -> list[Exit]:
        """Where narrow places are nearest to equal parts of the MACs."""
        values = self._values(network, context)
        output = values.pop("output")
        if not isinstance(output, torch.Tensor) or output.dim() != 2:
            raise StepError(
                "EarlyExit touches no layer: it needs a network whose output is one tensor [batch, classes]"
            )
        spent, done = {}, 0.0
        macs = {node: count for node, count, _ in multiplications(network, context.args, context.named)}
        for node in network.graph.nodes:
            done += macs.get(node, 0.0)
            spent[node] = done
        batch = output.shape[0]
        places = [
            n for n in narrow_places(network)
            if 0.02 * done < spent[n] < 0.98 * done and isinstance(v := values[n.name], torch.Tensor)
            and v.is_floating_point() and v.dim() in (2, 3, 4) and v.shape[0] == batch
        ]  # fmt: skip
        if not places:
            raise StepError(
                "EarlyExit touches no layer: there is no place inside where one tensor says all that comes after"
            )
        chosen: list[fx.Node] = []
        for k in range(1, self.count + 1):
            goal = done * k / (self.count + 1)
            best = min(places, key=lambda n: (abs(spent[n] - goal), -places.index(n)))
            if best not in chosen:
                chosen.append(best)
        exits = []
        for number, node in enumerate(sorted(chosen, key=list(network.graph.nodes).index), 1):
            path, _ = make_head(network, pooled(values[node.name]).shape[1], output.shape[1], number)
            exits.append(Exit(node.name, path))
        return exits

    def _values(self, network: Network, context: Context) -> dict[str, Any]:
        found: dict[str, Any] = {}
        network.eval()
        with torch.no_grad():
            found["output"] = network.run(
                network.bind(context.args, context.named), lambda node, value, _: found.__setitem__(node.name, value)
            )
        return found

    def calibrate(self, network: Network, context: Context) -> None:
        """Temperatures, confidence and shares, anew."""
        assert network.exits is not None
        exits = network.exits.exits
        heads: list[list[torch.Tensor]] = [[] for _ in exits]
        finals: list[torch.Tensor] = []
        network.eval()
        with torch.no_grad(), watched(network) as call:
            for _ in context.batches(network, self.batches, seed=101):
                found, output = network.exits.logits(network, network.bind(call.args, call.named))
                finals.append(output.argmax(-1))
                for k, logits in enumerate(found):
                    heads[k].append(logits)
        answers = torch.cat(finals)
        logits = [torch.cat(h) for h in heads]
        for e, found_logits in zip(exits, logits, strict=True):
            e.temperature = fitted_temperature(found_logits, answers)
        self._choose(network, context, logits, answers)

    def _choose(self, network: Network, context: Context, logits: list[torch.Tensor], answers: torch.Tensor) -> None:
        """Lower the confidence, the same for all heads, as far as the score (or the agreement) bears."""
        assert network.exits is not None
        exits = network.exits.exits
        floor = None if context.evaluate is None else self._whole_score(network, context) - self.drop

        def fits(level: float) -> bool:
            wrong = _set(exits, logits, answers, level)
            if floor is None:
                return wrong <= self.disagree
            assert context.evaluate is not None
            return float(context.evaluate(network)) >= floor

        low, high = 0.0, 1.0
        if not fits(low):
            for _ in range(_STEPS_OF_SEARCH):
                middle = (low + high) / 2
                # confidences crowd towards 1, so the middle is taken of what lacks to it
                level = 1 - 10 ** (-4 * middle)
                low, high = (low, middle) if fits(level) else (middle, high)
            _set(exits, logits, answers, 1 - 10 ** (-4 * high) if high < 1 else 2.0)

    def _whole_score(self, network: Network, context: Context) -> float:
        assert network.exits is not None
        assert context.evaluate is not None
        kept, network.exits = network.exits, None
        try:
            return float(context.evaluate(network))
        finally:
            network.exits = kept


def _set(exits: list[Exit], logits: list[torch.Tensor], answers: torch.Tensor, level: float) -> float:
    """Set all thresholds and the shares that leave; the share of examples that get another answer."""
    here = torch.ones(answers.shape[0], dtype=torch.bool)
    wrong = 0
    for e, found in zip(exits, logits, strict=True):
        goes = here & (confidence(found, e.temperature) >= level)
        e.threshold, e.share = level, float(goes.float().mean())
        wrong += int((found.argmax(-1) != answers)[goes].sum())
        here = here & ~goes
    return wrong / max(answers.shape[0], 1)

"""Hinton and van Camp's story (1993) in messages: what weights cost that are known only so well, and the labels under them.

One posterior, four ways to send a network drawn from it: bits-back (the receiver knows the posterior), relative entropy coding
and dither (it knows a seed), and the mean in steps of one size (it knows the prior alone, as all do). Every message is
decoded, and the labels are coded under the decoded weights and decoded too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...entropy.stack import Stack
from ...errors import GuaranteeError
from ..bits_back import fixed_step, relative
from ..bits_back.gaussians import Posterior, pop_sample, push_sample, weights_of
from ..bits_back.mlp import Recipe, fit, probabilities
from .seal import checked, label_code, uniform_bits

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_SEED: Final = 2024
_CARRIED_WORDS: Final = 400


@dataclass(frozen=True)
class StoryRow:
    """One way. `weight_bits` and `label_bits` are 8 len(bytes), bits-back's as what the message it was pushed on grew by;
    `bound_bits` is the divergence that the weights should cost. The rest is of bits-back alone.
    """

    code: str
    knowledge: str
    weight_bits: int
    label_bits: int
    bound_bits: float | None
    prior_bits: float | None = None
    refund_bits: float | None = None
    initial_bits: float | None = None

    @property
    def total_bits(self) -> int:
        return self.weight_bits + self.label_bits


@dataclass(frozen=True)
class Story:
    """All rows, of one network of `weights` weights and `count` labels that take `uniform_bits` unseen (a bound)."""

    weights: int
    count: int
    uniform_bits: float
    recipe: Recipe
    rows: tuple[StoryRow, ...]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"rows": [asdict(r) | {"total_bits": r.total_bits} for r in self.rows]}


def tell(inputs: Floats, labels: Ints, classes: int, recipe: Recipe) -> Story:
    """Fit and send in all four ways. Raises InputError; GuaranteeError if a message doesn't come back."""
    labels = checked(inputs, labels, classes)
    posterior = fit(inputs, labels, classes, recipe)
    ways = (_bits_back(posterior), _relative(posterior), _stepped(posterior, _SEED), _stepped(posterior, None))
    rows = tuple(_row(way, inputs, labels, classes, recipe) for way in ways)
    return Story(posterior.means.size, len(labels), uniform_bits(len(labels), classes), recipe, rows)


@dataclass(frozen=True)
class _Way:
    """Weights as they were decoded, and a row without its labels."""

    weights: Floats
    row: StoryRow


def _bits_back(posterior: Posterior) -> _Way:
    carried = Stack.of_random(_CARRIED_WORDS, _SEED)
    stack = carried.copy()
    drawn = push_sample(stack, posterior)
    data = stack.to_bytes()
    received = Stack.from_bytes(data)
    if not np.array_equal(pop_sample(received, posterior), drawn.cells) or received != carried:
        raise GuaranteeError("bits-back: the message came back otherwise")
    row = StoryRow(
        "bits-back",
        "the posterior",
        8 * (len(data) - len(carried.to_bytes())),
        0,
        float(posterior.divergences().sum()),
        drawn.prior_bits,
        drawn.refund_bits,
        drawn.initial_bits,
    )
    return _Way(weights_of(drawn.cells, posterior.sigma), row)


def _relative(posterior: Posterior) -> _Way:
    data = relative.encode(*relative.choose(posterior, _SEED))
    bound = float(posterior.divergences().sum())
    weights = relative.decode(data, _SEED, posterior.sigma)
    return _Way(weights, StoryRow("relative entropy code", "a seed", 8 * len(data), 0, bound))


def _stepped(posterior: Posterior, seed: int | None) -> _Way:
    stepped = fixed_step.quantised(posterior.means, fixed_step.matched_step(posterior), posterior.sigma, seed)
    data = fixed_step.encode(stepped)
    weights = fixed_step.decode(data, posterior.sigma, seed).weights()
    if not np.array_equal(weights, stepped.weights()):
        raise GuaranteeError("steps: other weights came back")
    if seed is None:
        return _Way(weights, StoryRow("one step size", "nothing more", 8 * len(data), 0, None))
    bound = fixed_step.dither_divergence(posterior.means, stepped)
    return _Way(weights, StoryRow("one step size, dithered", "a seed", 8 * len(data), 0, bound))


def _row(way: _Way, inputs: Floats, labels: Ints, classes: int, recipe: Recipe) -> StoryRow:
    """The row with its labels coded under the decoded weights."""
    code, stack = label_code(probabilities(inputs, way.weights, classes, recipe)), Stack()
    code.push(stack, labels)
    data = stack.to_bytes()
    if not np.array_equal(code.pop(Stack.from_bytes(data)), labels):
        raise GuaranteeError(f"{way.row.code}: other labels came back")
    return StoryRow(**asdict(way.row) | {"label_bits": 8 * len(data)})


def widths_case(count: int, widths: tuple[float, float], seed: int = 0) -> Posterior:
    """A synthetic posterior under N(0, 1): widths log-uniform in `widths`, means such that the prior is right on average."""
    random = np.random.Generator(np.random.PCG64(seed))
    low, high = np.log(widths)
    s = np.exp(random.uniform(low, high, count))
    return Posterior(random.normal(size=count) * np.sqrt(1 - s * s), s, 1.0)


def ways(posterior: Posterior) -> Iterator[tuple[StoryRow, Floats]]:
    """(row without labels, the weights as they were decoded) of each way but the search, on `posterior`."""
    for send in (_bits_back, lambda p: _stepped(p, _SEED), lambda p: _stepped(p, None)):
        way = send(posterior)
        yield way.row, way.weights


def spread(posterior: Posterior, weights: Floats) -> float:
    """The standard deviation of (weight - mean) / width."""
    return float(((weights - posterior.means) / posterior.widths).std())

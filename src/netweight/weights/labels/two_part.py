"""The two-part code: a network in steps of one size, then the labels under it.

    body := weights blob (fixed_step.py) | stack of labels

The network is the posterior's mean; the step is the one at which both parts together are shortest. The receiver needs the
inputs, the prior and the network's sizes, and trains nothing.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from ...entropy.stack import Stack
from ...errors import FormatError
from ...wire import Writer
from ..bits_back import fixed_step
from ..bits_back.gaussians import Posterior
from ..bits_back.mlp import Recipe, Shape, probabilities
from .seal import checked, digest, label_code, seal, unseal, verify

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

KIND: Final = b"T"
_TRIED: Final = tuple(2.0 ** (k / 2) for k in range(-4, 7))  # steps, as multiples of the matched one


def _known(inputs: Floats, classes: int, recipe: Recipe) -> bytes:
    sizes = {"hidden": recipe.hidden, "sigma": recipe.sigma, "classes": classes}
    return digest(inputs, {"code": "two-part", **sizes})


def encode(inputs: Floats, labels: Ints, classes: int, recipe: Recipe, posterior: Posterior) -> bytes:
    """The shortest file of those steps that are tried. Raises InputError."""
    labels = checked(inputs, labels, classes)
    matched = fixed_step.matched_step(posterior)
    bodies = (_body(inputs, labels, classes, recipe, posterior.means, matched * factor) for factor in _TRIED)
    return seal(KIND, _known(inputs, classes, recipe), min(bodies, key=len), labels)


def _body(inputs: Floats, labels: Ints, classes: int, recipe: Recipe, means: Floats, step: float) -> bytes:
    stepped = fixed_step.quantised(means, step, recipe.sigma)
    stack = Stack()
    label_code(probabilities(inputs, stepped.weights(), classes, recipe)).push(stack, labels)
    return Writer().blob(fixed_step.encode(stepped)).raw(stack.to_bytes()).bytes()


def decode(data: bytes, inputs: Floats, classes: int, recipe: Recipe) -> Ints:
    """The labels. Raises FormatError, BaseMismatchError."""
    source = unseal(data, KIND, _known(inputs, classes, recipe))
    weights = Shape(inputs.shape[1], recipe.hidden, classes).weights
    stepped = fixed_step.decode(bytes(source.blob()), recipe.sigma, most=weights)
    if stepped.numbers.size != weights:
        raise FormatError(f"coded labels: {stepped.numbers.size} weights, not {weights}")
    stack = Stack.from_bytes(source.raw(source.remaining))
    labels = label_code(probabilities(inputs, stepped.weights(), classes, recipe)).pop(stack)
    if stack != Stack():
        raise FormatError("coded labels: more in the message than labels")
    return verify(data, labels)


def weight_bytes(data: bytes) -> int:
    """How many of the file's bytes are the network."""
    return len(unseal(data, KIND, data[1:9]).blob())

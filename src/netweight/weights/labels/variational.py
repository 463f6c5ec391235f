"""The joint file: weights as vague as the data leaves them, and the labels under a sample of them; the receiver trains too.

    body := carried length varint | lent words varint | stack

The stack starts with bytes that are carried along, whitened by a known stream. Encoder: fit the posterior to inputs and
labels, pop weights under it, push the labels under those weights, push the weights under the prior. Decoder: pop weights,
pop labels, fit the same posterior (mlp.py, fixed order: bit for bit), push the weights back, and what was carried
appears. So the file is longer than what it carries by KL(posterior || prior) plus the labels' bits (Hinton and van
Camp 1993). What samples are drawn from must be there: if little is carried, words of that stream are lent, and counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ...entropy.stack import Stack
from ...errors import BombError, FormatError, TruncatedError
from ...wire import Writer
from ..bits_back.gaussians import Posterior, prior_code, weights_of
from ..bits_back.mlp import Recipe, Shape, fit, probabilities
from .seal import checked, digest, label_code, seal, unseal, verify

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

KIND: Final = b"V"
_MOST_CARRIED: Final = 1 << 32
_MOST_LENT: Final = 1 << 26
_TOP: Final = (1 << 48).to_bytes(7, "little")


@dataclass(frozen=True)
class Joint:
    """A file and where its bits went, as the message grew.

    `data` carries `carried_bytes` and takes `prior_bits - refund_bits + label_bits` more, beside a frame of some 25
    bytes. `initial_bits` were taken before anything was given back; `lent_bytes` were added because too little was
    carried. `divergence_bits` is KL(posterior || prior), a bound.
    """

    data: bytes
    carried_bytes: int
    lent_bytes: int
    prior_bits: float
    refund_bits: float
    label_bits: float
    initial_bits: float
    divergence_bits: float

    @property
    def added_bytes(self) -> int:
        """The file less what it carries."""
        return len(self.data) - self.carried_bytes


def _known(inputs: Floats, classes: int, recipe: Recipe) -> bytes:
    return digest(inputs, {"code": "variational", "classes": classes, **recipe.to_dict()})


def _carrier(carried: bytes, lent: int, seed: int) -> Stack:
    """A message of what is carried (to a whole word) and `lent` words more, all of it as random as samples need it."""
    words = np.frombuffer(carried + bytes(len(carried) % 2), "<u2")
    stream = (
        np.random.PCG64(seed).random_raw((words.size + lent) // 4 + 1).astype("<u8").view("<u2")[: words.size + lent]
    )
    stream[: words.size] ^= words
    return Stack.from_bytes(stream.tobytes() + _TOP)


def _unload(stack: Stack, length: int, lent: int, seed: int) -> bytes:
    """The inverse. Raises FormatError."""
    blank = _carrier(bytes(length), lent, seed).to_bytes()
    found = stack.to_bytes()
    if len(found) != len(blank):
        raise FormatError("coded labels: what was carried has another length")
    plain = np.frombuffer(found, np.uint8) ^ np.frombuffer(blank, np.uint8)
    if plain[length:].any():
        raise FormatError("coded labels: what was lent came back otherwise")
    return plain[:length].tobytes()


def encode(
    inputs: Floats, labels: Ints, classes: int, recipe: Recipe, carried: bytes = b"", posterior: Posterior | None = None
) -> Joint:
    """Labels, weights and what is `carried` in one file. Raises InputError.

    `posterior` is what `fit` gives for these inputs and labels, if it is there already.
    """
    labels = checked(inputs, labels, classes)
    posterior = posterior or fit(inputs, labels, classes, recipe)
    lent = 0
    while True:
        try:
            return _encode(inputs, labels, classes, recipe, carried, lent, posterior)
        except TruncatedError:
            lent = lent * 9 // 8 + 16


def _encode(
    inputs: Floats, labels: Ints, classes: int, recipe: Recipe, carried: bytes, lent: int, posterior: Posterior
) -> Joint:
    stack = _carrier(carried, lent, recipe.seed)
    start = stack.bits
    cells = posterior.code().pop(stack)
    drawn = stack.bits
    likely = probabilities(inputs, weights_of(cells, recipe.sigma), classes, recipe)
    label_code(likely).push(stack, labels)
    told = stack.bits
    prior_code(cells.size).push(stack, cells)
    body = Writer().varint(len(carried)).varint(lent).raw(stack.to_bytes()).bytes()
    return Joint(
        seal(KIND, _known(inputs, classes, recipe), body, labels),
        len(carried),
        2 * lent,
        prior_bits=stack.bits - told,
        refund_bits=start - drawn,
        label_bits=told - drawn,
        initial_bits=start - drawn,
        divergence_bits=float(posterior.divergences().sum()),
    )


def decode(data: bytes, inputs: Floats, classes: int, recipe: Recipe) -> tuple[Ints, bytes]:
    """(labels, what was carried). Raises FormatError, BaseMismatchError."""
    source = unseal(data, KIND, _known(inputs, classes, recipe))
    length, lent = source.varint(_MOST_CARRIED), source.varint(_MOST_LENT)
    if length + 2 * lent > 1 << 20 and length + 2 * lent > 2 * len(data):
        raise BombError(f"coded labels: {len(data)} bytes claim to carry {length}")
    stack = Stack.from_bytes(source.raw(source.remaining))
    cells = prior_code(Shape(inputs.shape[1], recipe.hidden, classes).weights).pop(stack)
    likely = probabilities(inputs, weights_of(cells, recipe.sigma), classes, recipe)
    labels = verify(data, label_code(likely).pop(stack))
    try:
        fit(inputs, labels, classes, recipe).code().push(stack, cells)
    except ValueError as error:
        raise FormatError(f"coded labels: weights that the posterior never draws: {error}") from None
    return labels, _unload(stack, length, lent, recipe.seed)

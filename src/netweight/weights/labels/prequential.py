"""The prequential code: predict each label from the pictures and labels before it, code it, learn it (Dawid 1984).

    body := stack

No weights are sent: the receiver trains the same network (network.py) on what it has decoded, and predicts the same, bit for
bit. Labels come in blocks that grow with what is known; after a block the network trains on random ones of all
that it has seen. A prediction is a mixture of the network's at several temperatures and of the uniform one, whose shares
follow what each has earned (fixed share: Herbster and Warmuth 1998). Blier and Ollivier (2018) measured such lengths; this
is the code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ...entropy.stack import Stack
from ...errors import FormatError, InputError
from ..bits_back.fixed_order import frequencies, softmax
from .network import Network, Pictures, Plan
from .seal import checked, digest, seal, unseal, verify

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Progress = Callable[[int, int], None]

KIND: Final = b"P"
_PRECISION: Final = 28
_TEMPERATURES: Final = np.array([0.0, 0.35, 0.6, 1.0, 1.5])  # what logits are multiplied by
_SHARED: Final = 0.002  # of the shares, evenly again after each label
_FLOOR: Final = 1e-4  # of the probability, evenly
_VIEWS: Final = np.array([[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]])


@dataclass(frozen=True)
class Schedule:
    """How much is learned when: blocks of n / `blocks` labels (at least 4), each label learned `most` times at first, then
    `most` (200 / n)^(1/2) times; `views` moved copies of a picture are asked for a prediction. The receiver's knowledge too.
    """

    blocks: int = 24
    most: int = 150
    views: int = 5
    plan: Plan = field(default_factory=Plan)

    def to_dict(self) -> dict[str, Any]:
        """For JSON, and to be hashed."""
        return asdict(self)

    def block(self, seen: int) -> int:
        """Labels in the next block."""
        return max(4, seen // self.blocks)

    def examples(self, seen: int, block: int) -> int:
        """Pictures to train on after a block."""
        return int(block * self.most * min(1.0, float(np.sqrt(200.0 / seen))))


@njit(nogil=True, cache=True)
def _opinions(logits, temperatures, out):  # type: ignore[no-untyped-def]
    """`out` float64 [temperatures, classes] = softmax of logits times each."""
    for t in range(temperatures.size):
        softmax(logits * temperatures[t], out[t])


@njit(nogil=True, cache=True)
def _mixed(shares, opinions, out):  # type: ignore[no-untyped-def]
    out[:] = _FLOOR / out.size
    for t in range(shares.size):
        for c in range(out.size):
            out[c] += (1.0 - _FLOOR) * shares[t] * opinions[t, c]


@njit(nogil=True, cache=True)
def _earn(shares, opinions, label):  # type: ignore[no-untyped-def]
    total = 0.0
    for t in range(shares.size):
        shares[t] *= opinions[t, label]
        total += shares[t]
    for t in range(shares.size):
        shares[t] = (1.0 - _SHARED) * (shares[t] / total) + _SHARED / shares.size


class _Predictor:
    """Frequencies of one label after another."""

    def __init__(self, pictures: Pictures, classes: int, schedule: Schedule) -> None:
        self._pictures, self._schedule = pictures, schedule
        self._network = Network(pictures.shape[1], pictures.shape[2], classes, schedule.plan)
        self._shares = np.full(_TEMPERATURES.size, 1.0 / _TEMPERATURES.size)
        self._opinions = np.empty((_TEMPERATURES.size, classes))
        self._likely = np.empty((1, classes))

    def block(self, seen: int) -> Floats:
        """Logits of the next block."""
        end = min(len(self._pictures), seen + self._schedule.block(seen))
        return self._network.logits(self._pictures[seen:end], _VIEWS[: self._schedule.views])

    def starts(self, logits: Floats) -> Ints:
        """int64 [classes + 1]: where each label's frequencies begin, and where they end."""
        _opinions(logits, _TEMPERATURES, self._opinions)
        _mixed(self._shares, self._opinions, self._likely[0])
        return np.concatenate([[0], np.cumsum(frequencies(self._likely, _PRECISION)[0])])

    def tell(self, label: int) -> None:
        """What the label was."""
        _earn(self._shares, self._opinions, label)

    def learn(self, labels: Ints, seen: int, block: int) -> None:
        """Train after a block, on the first `seen` pictures and labels."""
        self._network.learn(self._pictures, labels, seen, self._schedule.examples(seen, block))


def _run(
    pictures: Pictures, labels: Ints, classes: int, schedule: Schedule, progress: Progress | None,
    step: Callable[[Ints, int], int],
) -> None:  # fmt: skip
    """Walk over all labels: `step(starts, k)` gives label k, which is written to `labels` and learned."""
    predictor, seen = _Predictor(pictures, classes, schedule), 0
    while seen < len(labels):
        logits = predictor.block(seen)
        for row in logits:
            labels[seen] = step(predictor.starts(row), seen)
            predictor.tell(int(labels[seen]))
            seen += 1
        if progress:
            progress(seen, len(labels))
        if seen < len(labels):
            predictor.learn(labels, seen, len(logits))


def _known(pictures: Pictures, classes: int, schedule: Schedule) -> bytes:
    if pictures.dtype != np.uint8 or pictures.ndim != 3 or min(pictures.shape[1:], default=0) < 4:
        raise InputError(
            f"pictures must be uint8 [n, height, width] of at least 4 x 4, not {pictures.dtype} {list(pictures.shape)}"
        )
    return digest(pictures, {"code": "prequential", "classes": classes, **schedule.to_dict()})


def encode(
    pictures: Pictures, labels: Ints, classes: int, schedule: Schedule = Schedule(), progress: Progress | None = None
) -> bytes:
    """Labels of pictures (uint8 [n, height, width]). Raises InputError."""
    known, labels = _known(pictures, classes, schedule), checked(pictures, labels, classes)
    spans: list[tuple[int, int]] = []

    def told(starts: Ints, k: int) -> int:
        label = int(labels[k])
        spans.append((int(starts[label]), int(starts[label + 1] - starts[label])))
        return label

    _run(pictures, labels.copy(), classes, schedule, progress, told)
    stack = Stack()
    for start, frequency in reversed(spans):
        stack.push(start, frequency, _PRECISION)
    return seal(KIND, known, stack.to_bytes(), labels)


def decode(
    data: bytes, pictures: Pictures, classes: int, schedule: Schedule = Schedule(), progress: Progress | None = None
) -> Ints:
    """The labels. Takes as long as encoding. Raises FormatError, BaseMismatchError."""
    source = unseal(data, KIND, _known(pictures, classes, schedule))
    stack = Stack.from_bytes(source.raw(source.remaining))

    def popped(starts: Ints, _: int) -> int:
        label = int(np.searchsorted(starts, stack.peek(_PRECISION), side="right")) - 1
        stack.pop(int(starts[label]), int(starts[label + 1] - starts[label]), _PRECISION)
        return label

    labels = np.zeros(len(pictures), np.int64)
    _run(pictures, labels, classes, schedule, progress, popped)
    if stack != Stack():
        raise FormatError("coded labels: more in the message than labels")
    return verify(data, labels)

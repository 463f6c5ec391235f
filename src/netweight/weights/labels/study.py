"""The same labels under every code, each a file that a fresh process decodes from the inputs alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...entropy.codes import Symbols
from ...entropy.stack import Stack
from ...errors import GuaranteeError, InputError, NotFoundError
from ..bits_back.gaussians import Posterior
from ..bits_back.mlp import Recipe, fit
from . import prequential, two_part, variational
from .receiver import CODES, PREQUENTIAL, TWO_PART, VARIATIONAL, in_a_fresh_process, scaled
from .seal import checked, uniform_bits

Pictures = NDArray[np.uint8]
Ints = NDArray[np.int64]
Progress = Callable[[str, int, int], None]

UNIFORM: Final = "uniform"
_KNOWLEDGE: Final = {
    UNIFORM: "how many labels and classes there are",
    PREQUENTIAL: "the pictures, the network's plan and schedule (by hash); trains as it decodes",
    VARIATIONAL: "the pictures, the prior, the recipe (by hash); fits the posterior after decoding",
    TWO_PART: "the pictures, the prior, the network's sizes (by hash); trains nothing",
}


@dataclass(frozen=True)
class LabelRow:
    """One code. `bytes` are those of the file less what it carries (`carried_bytes`); `weight_bits` of them say the network,
    net of refunds. Times are processor seconds of the sender, wall seconds of the receiver.
    """

    code: str
    bytes: int
    knowledge: str
    weight_bits: float = 0.0
    carried_bytes: int = 0
    initial_bits: float = 0.0
    divergence_bits: float | None = None
    encode_seconds: float = 0.0
    decode_seconds: float = 0.0


@dataclass(frozen=True)
class LabelStudy:
    """All rows, of `count` labels in `classes` classes; `uniform_bits` is the bound that knows nothing."""

    name: str
    count: int
    classes: int
    uniform_bits: float
    rows: tuple[LabelRow, ...]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def chosen(codes: Iterable[str]) -> list[str]:
    """Those codes, or all. Raises NotFoundError."""
    wanted = list(dict.fromkeys(codes)) or list(CODES)
    for code in wanted:
        if code not in CODES:
            raise NotFoundError(f"no code of labels {code!r}; known are {', '.join(CODES)}")
    return wanted


def weigh_labels(
    pictures: Pictures,
    labels: Ints,
    *,
    name: str = "labels",
    codes: Iterable[str] = (),
    recipe: Recipe | None = None,
    schedule: prequential.Schedule | None = None,
    carried: bytes = b"",
    progress: Progress | None = None,
) -> LabelStudy:
    """Code labels of pictures (uint8 [n, height, width]) in every way, decode each elsewhere and compare.

    The variational file carries `carried`, whose bytes aren't its own. Raises InputError, NotFoundError, GuaranteeError.
    """
    wanted, recipe, schedule = chosen(codes), recipe or Recipe(), schedule or prequential.Schedule()
    if not labels.size:
        raise InputError("no labels to code")
    classes = max(2, int(labels.max()) + 1)
    labels = checked(pictures, labels, classes)
    rows = [_uniform_row(labels, classes)]
    if PREQUENTIAL in wanted:
        rows.append(_prequential_row(pictures, labels, classes, schedule, progress))
    if VARIATIONAL in wanted or TWO_PART in wanted:
        start = time.process_time()
        posterior = fit(scaled(pictures), labels, classes, recipe)
        fitting = time.process_time() - start
        for code, row in ((VARIATIONAL, _variational_row), (TWO_PART, _two_part_row)):
            if code in wanted:
                if progress:
                    progress(code, 1, 2)
                rows.append(row(pictures, labels, classes, recipe, posterior, fitting, carried))
    return LabelStudy(name, len(labels), classes, uniform_bits(len(labels), classes), tuple(rows))


def _uniform_row(labels: Ints, classes: int) -> LabelRow:
    frequencies = np.full((1, classes), (1 << 24) // classes, np.int64)
    frequencies[0, 0] += (1 << 24) - int(frequencies.sum())
    code, stack = Symbols(frequencies, np.zeros(len(labels), np.int64)), Stack()
    code.push(stack, labels)
    data = stack.to_bytes()
    _compare(UNIFORM, code.pop(Stack.from_bytes(data)), labels)
    return LabelRow(UNIFORM, len(data), _KNOWLEDGE[UNIFORM])


def _prequential_row(
    pictures: Pictures, labels: Ints, classes: int, schedule: prequential.Schedule, progress: Progress | None
) -> LabelRow:
    def step(done: int, total: int) -> None:
        if progress:
            progress(PREQUENTIAL, done, total)

    start = time.process_time()
    data = prequential.encode(pictures, labels, classes, schedule, step)
    seconds = time.process_time() - start
    wall = time.monotonic()
    found, _ = in_a_fresh_process(PREQUENTIAL, data, pictures, classes, schedule.to_dict())
    _compare(PREQUENTIAL, found, labels)
    return LabelRow(
        PREQUENTIAL, len(data), _KNOWLEDGE[PREQUENTIAL], encode_seconds=seconds, decode_seconds=time.monotonic() - wall
    )


def _variational_row(
    pictures: Pictures, labels: Ints, classes: int, recipe: Recipe, posterior: Posterior, fitting: float, carried: bytes
) -> LabelRow:
    start = time.process_time()
    joint = variational.encode(scaled(pictures), labels, classes, recipe, carried, posterior)
    seconds = fitting + time.process_time() - start
    wall = time.monotonic()
    found, back = in_a_fresh_process(VARIATIONAL, joint.data, pictures, classes, recipe.to_dict())
    _compare(VARIATIONAL, found, labels)
    if back != carried:
        raise GuaranteeError("variational: what was carried came back otherwise")
    return LabelRow(
        VARIATIONAL,
        joint.added_bytes,
        _KNOWLEDGE[VARIATIONAL],
        weight_bits=joint.prior_bits - joint.refund_bits,
        carried_bytes=len(carried),
        initial_bits=joint.initial_bits,
        divergence_bits=joint.divergence_bits,
        encode_seconds=seconds,
        decode_seconds=time.monotonic() - wall,
    )


def _two_part_row(
    pictures: Pictures, labels: Ints, classes: int, recipe: Recipe, posterior: Posterior, fitting: float, _: bytes
) -> LabelRow:
    start = time.process_time()
    data = two_part.encode(scaled(pictures), labels, classes, recipe, posterior)
    seconds = fitting + time.process_time() - start
    wall = time.monotonic()
    found, _nothing = in_a_fresh_process(TWO_PART, data, pictures, classes, recipe.to_dict())
    _compare(TWO_PART, found, labels)
    return LabelRow(
        TWO_PART,
        len(data),
        _KNOWLEDGE[TWO_PART],
        weight_bits=8.0 * two_part.weight_bytes(data),
        encode_seconds=seconds,
        decode_seconds=time.monotonic() - wall,
    )


def _compare(code: str, found: Ints, labels: Ints) -> None:
    """Raises GuaranteeError unless every label came back."""
    if not np.array_equal(found, labels):
        raise GuaranteeError(f"{code}: other labels came back")

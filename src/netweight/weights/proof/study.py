"""`netweight prove`: programs of one file priced against a network's weights and against a plain table of its answers."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...errors import GuaranteeError, InputError
from ..archive.api import compress_file, verify_file
from . import corrections, message
from .program import NAME, ProgramError, read_programs
from .sandbox import Described, Sandbox

Ints = NDArray[np.int64]
PathLike = str | os.PathLike[str]
Progress = Callable[[str, int, int], None]

SECONDS: Final = 60.0
_ARCHIVE: Final = "model.nw"
_PARTS: Final = 8  # a program's claims correct none, an eighth, two eighths ... of the inputs


@dataclass(frozen=True)
class Proved:
    """A claim of `bytes` bytes that corrects the program on the first `told` inputs (message.py).

    `agreement`: share of inputs on which program and corrections answer what the network does. `bound`: what the claim
    proves of the network's accuracy (None without a task).
    """

    told: int
    bytes: int
    agreement: float
    bound: float | None


@dataclass(frozen=True)
class Level:
    """One program. Bytes are of messages that were decoded again, the program run by another process.

    `file_bytes` say every answer: `program_bytes` the program and their length, `correction_bytes` what it leaves.
    `claims` prove the more of the accuracy the longer they are; the first corrects nothing. `program_accuracy` is None
    without a task.
    """

    name: str
    text: str
    program_bytes: int
    correction_bytes: int
    program_accuracy: float | None
    claims: tuple[Proved, ...]

    @property
    def file_bytes(self) -> int:
        return self.program_bytes + self.correction_bytes

    @property
    def claim_bytes(self) -> int:
        """Of the shortest claim: the program, and in how many answers the network differs."""
        return self.claims[0].bytes

    @property
    def agreement(self) -> float:
        """The share of inputs on which program and network answer the same."""
        return self.claims[0].agreement

    @property
    def bound(self) -> float | None:
        """What the shortest claim proves."""
        return self.claims[0].bound


@dataclass(frozen=True)
class Proof:
    """What was found on all `count` inputs, the levels by the length of their claims.

    `weight_bytes`: the model as a lossless archive. `table_bytes`: the network's answers with nothing known. `accuracy` (None
    without a task) and `margin` (None without scores) are the network's, counted on every input.
    """

    program: str
    model: str
    count: int
    classes: int
    model_bytes: int
    weight_bytes: int
    table_bytes: int
    accuracy: float | None
    margin: float | None
    levels: tuple[Level, ...]

    @property
    def best(self) -> Level:
        """The level whose file is the shortest."""
        return min(self.levels, key=lambda level: level.file_bytes)

    def score(self, level: Level) -> float:
        """The share of the table's bits that the program saves, itself included: 1 explains all, 0 or less nothing."""
        return 1 - level.file_bytes / self.table_bytes

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        rows = [asdict(level) | {"file_bytes": level.file_bytes, "score": self.score(level)} for level in self.levels]
        return asdict(self) | {"levels": rows, "best": self.best.name}


def prove(
    program: PathLike, model: PathLike, *, seconds: float = SECONDS, progress: Progress | None = None
) -> Proof:  # fmt: skip
    """Price each program of a file (program.py says what is in it) as an interpretation of the weights in `model`.

    The user's code runs in processes of its own, each for at most `seconds`. Raises ProgramError for code that raises,
    doesn't end or gives what it mustn't; NotFoundError, InputError, FormatError for the files.
    """
    path = Path(program)
    texts = read_programs(path)
    if not seconds > 0:
        raise InputError(f"{seconds} seconds: the time limit must be above 0")
    told = progress or (lambda _label, _done, _total: None)
    with tempfile.TemporaryDirectory(prefix="netweight-") as name:
        box = Sandbox(Path(name), seconds)
        receipt = compress_file(model, box.folder / _ARCHIVE)
        verify_file(box.folder / _ARCHIVE, against=model)
        network = box.describe(path, box.folder / _ARCHIVE)
        levels = []
        for done, (title, text) in enumerate(texts.items()):
            told("pricing programs", done, len(texts))
            levels.append(_level(box, title, text, network))
    return Proof(
        program=str(path),
        model=os.fspath(model),
        count=len(network.inputs),
        classes=network.classes,
        model_bytes=receipt.original_bytes,
        weight_bytes=receipt.archive_bytes,
        table_bytes=_table_bytes(network),
        accuracy=None if network.right is None else float((network.answers == network.right).mean()),
        margin=network.margin,
        levels=tuple(sorted(levels, key=lambda level: level.claim_bytes)),
    )


def _table_bytes(network: Described) -> int:
    nothing = np.zeros_like(network.answers)
    data = corrections.encode(network.answers, nothing, network.classes)
    if not np.array_equal(corrections.decode(data, nothing, network.classes), network.answers):
        raise GuaranteeError("the table of answers isn't decoded as it was")
    return len(data)


def _level(box: Sandbox, name: str, text: str, network: Described) -> Level:
    """Price one program; what is sent is decoded, which runs the program anew."""
    run = partial(box.run, name, count=len(network.inputs), classes=network.classes)
    guesses = run(text)
    data = message.encode(text, guesses, network.answers, network.classes)

    def receive(sent: str) -> Ints:
        again = run(sent)
        if not np.array_equal(again, guesses):
            raise ProgramError(f"{name}: answers differently when it is run again; a receiver couldn't use it")
        return again

    found = message.decode(data, receive, network.classes)
    if not np.array_equal(found, network.answers):
        raise GuaranteeError(f"{name}: the answers aren't decoded as they were")
    count = guesses.size
    return Level(
        name=_title(name),
        text=text,
        program_bytes=message.program_bytes(data),
        correction_bytes=message.correction_bytes(data),
        program_accuracy=None if network.right is None else float((guesses == network.right).mean()),
        claims=tuple(_proved(text, guesses, network, count * part // _PARTS) for part in range(_PARTS + 1)),
    )


def _proved(text: str, guesses: Ints, network: Described, told: int) -> Proved:
    """One claim, decoded, and what follows from it."""
    sent = message.make_claim(text, guesses, network.answers, network.classes, told)
    data, count = sent.to_bytes(), guesses.size
    claim = message.Claim.from_bytes(data, count)
    if claim != sent:
        raise GuaranteeError("the claim isn't decoded as it was")
    right = None if network.right is None else claim.right(guesses, network.right, network.classes)
    return Proved(told, len(data), 1 - claim.differing / count, None if right is None else right / count)


def _title(name: str) -> str:
    """`program_max_of_two` as "max of two"; a lone `program` keeps its name."""
    return name.removeprefix(f"{NAME}_").replace("_", " ")

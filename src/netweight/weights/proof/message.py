"""What is sent of an interpretation: a file that says every answer, and a claim that bounds the accuracy.

    file  := program blob | corrections                 (corrections.py)
    claim := program blob | told varint | corrections blob (unless told is 0) | differing varint

Both need the domain, the number of classes and numpy. A claim corrects the program on the first `told` inputs and says how many
of the other answers differ. Who has it runs the program on the whole domain and counts its right answers: the network has
at least as many on those others, less the differing ones. Longer claims prove more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...wire import Reader, Writer
from . import corrections
from .program import packed, unpacked

Ints = NDArray[np.int64]
Run = Callable[[str], Ints]


def encode(text: str, guesses: Ints, answers: Ints, classes: int) -> bytes:
    """The file of `answers` by the program `text`, which gives `guesses`."""
    return Writer().blob(packed(text)).raw(corrections.encode(answers, guesses, classes)).bytes()


def decode(data: bytes, run: Run, classes: int) -> Ints:
    """The answers; `run` gives what a program's text answers on the domain. Raises FormatError, and what `run` raises."""
    source = Reader(data, "an interpretation")
    guesses = run(unpacked(source.blob()))
    return corrections.decode(source.raw(source.remaining), guesses, classes)


@dataclass(frozen=True)
class Claim:
    """A program's text, the corrections of its answers on the first `told` inputs, and how many others differ."""

    text: str
    told: int
    corrected: bytes
    differing: int

    def to_bytes(self) -> bytes:
        """The claim as it is sent."""
        out = Writer().blob(packed(self.text)).varint(self.told)
        return (out.blob(self.corrected) if self.told else out).varint(self.differing).bytes()

    @classmethod
    def from_bytes(cls, data: bytes, count: int) -> Claim:
        """The claim about `count` inputs. Raises FormatError."""
        source = Reader(data, "a claim")
        text, told = unpacked(source.blob()), source.varint(count)
        corrected = bytes(source.blob()) if told else b""
        claim = cls(text, told, corrected, source.varint(count - told))
        source.end()
        return claim

    def right(self, guesses: Ints, right: Ints, classes: int) -> int:
        """How many answers of the network are right at least. Raises FormatError.

        `guesses` is what the program answers and `right` what is right, int64 [n] both.
        """
        told, rest = slice(self.told), slice(self.told, None)
        known = corrections.decode(self.corrected, guesses[told], classes) if self.told else guesses[told]
        proved = int((guesses[rest] == right[rest]).sum()) - self.differing
        return int((known == right[told]).sum()) + max(0, proved)


def make_claim(text: str, guesses: Ints, answers: Ints, classes: int, told: int) -> Claim:
    """The claim of the network's `answers` (int64 [n]) that corrects the first `told` of them."""
    corrected = corrections.encode(answers[:told], guesses[:told], classes) if told else b""
    return Claim(text, told, corrected, int((answers[told:] != guesses[told:]).sum()))


def program_bytes(data: bytes) -> int:
    """How many of the file's bytes say the program."""
    return len(data) - correction_bytes(data)


def correction_bytes(data: bytes) -> int:
    source = Reader(data, "an interpretation")
    source.blob()
    return source.remaining

"""What is sent of an interpretation: a file that says every answer, and a claim that bounds the accuracy.

    file  := version(1: 2) | program blob | corrections | checksum(2)                                (corrections.py)
    claim := version(1: 2) | program blob | told varint | corrections blob (unless told is 0) | differing varint | checksum(2)

The checksum is the low two bytes of XXH3-64 of all that precedes it and, in a file, of the answers (int64, end to end): a file that
was altered, or whose program answers otherwise on another machine, is refused. Version 1 had neither byte nor checksum and was
never kept in files.

Both need the domain, the number of classes and numpy. A claim corrects the program on the first `told` inputs and says how many
of the other answers differ. Who has it runs the program on the whole domain and counts its right answers: the network has
at least as many on those others, less the differing ones. Longer claims prove more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ...errors import ChecksumError, TruncatedError, VersionError
from ...frame import checksum
from ...wire import Reader, Writer
from . import corrections
from .program import packed, unpacked

_VERSION: Final = b"\x02"
_CHECKSUM_BYTES: Final = 2

Ints = NDArray[np.int64]
Run = Callable[[str], Ints]


def encode(text: str, guesses: Ints, answers: Ints, classes: int) -> bytes:
    """The file of `answers` by the program `text`, which gives `guesses`."""
    out = Writer().raw(_VERSION).blob(packed(text)).raw(corrections.encode(answers, guesses, classes))
    return out.raw(_checksum(out.bytes(), answers)).bytes()


def decode(data: bytes, run: Run, classes: int) -> Ints:
    """The answers; `run` gives what a program's text answers on the domain. Raises FormatError, and what `run` raises."""
    source = _opened(data, "an interpretation")
    guesses = run(unpacked(source.blob()))
    if source.remaining < _CHECKSUM_BYTES:
        raise TruncatedError("an interpretation: it ends before its checksum")
    answers = corrections.decode(source.raw(source.remaining - _CHECKSUM_BYTES), guesses, classes)
    if source.raw(_CHECKSUM_BYTES) != _checksum(data[:-_CHECKSUM_BYTES], answers):
        raise ChecksumError(
            "an interpretation: it was altered, or its program answers otherwise here (checksum differs)"
        )
    return answers


def _opened(data: bytes, what: str) -> Reader:
    source = Reader(data, what)
    if (version := source.byte()) != _VERSION[0]:
        raise VersionError(f"{what}: version {version}; this build reads {_VERSION[0]}")
    return source


def _checksum(data: bytes, answers: Ints | None = None) -> bytes:
    told = b"" if answers is None else np.ascontiguousarray(answers, "<i8").tobytes()
    return checksum(data, told)[:_CHECKSUM_BYTES]


@dataclass(frozen=True)
class Claim:
    """A program's text, the corrections of its answers on the first `told` inputs, and how many others differ."""

    text: str
    told: int
    corrected: bytes
    differing: int

    def to_bytes(self) -> bytes:
        """The claim as it is sent."""
        out = Writer().raw(_VERSION).blob(packed(self.text)).varint(self.told)
        body = (out.blob(self.corrected) if self.told else out).varint(self.differing).bytes()
        return body + _checksum(body)

    @classmethod
    def from_bytes(cls, data: bytes, count: int) -> Claim:
        """The claim about `count` inputs. Raises FormatError."""
        source = _opened(data, "a claim")
        if _checksum(data[:-_CHECKSUM_BYTES]) != data[-_CHECKSUM_BYTES:]:
            raise ChecksumError("a claim: it was altered or cut (checksum differs)")
        text, told = unpacked(source.blob()), source.varint(count)
        corrected = bytes(source.blob()) if told else b""
        claim = cls(text, told, corrected, source.varint(count - told))
        source.raw(_CHECKSUM_BYTES)
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
    source = _opened(data, "an interpretation")
    source.blob()
    return source.remaining - _CHECKSUM_BYTES

"""What a text takes under a code, alone and after another text: the one interface that all distances are made of.

C(x) is in bits. For a compressor it is eight times the length of a payload, and the payload is real: that of every single
text, and of one pair for every prefix, is decoded again and compared. For a language model it is the ideal length
under the model, a bound without bytes. `Lengths.unit` says which.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ...errors import GuaranteeError

PAYLOAD: Final = "payload bytes"
MODEL: Final = "model bits (a bound)"
SEPARATOR: Final = b" "
"""Between two texts that are joined, as npc_gzip has it."""

Bits = NDArray[np.float64]
Indices = NDArray[np.int64]


class Suffixes:
    """Texts that will follow many prefixes, with what a code prepared for that. `texts` begin with the separator."""

    def __init__(self, texts: Sequence[bytes]) -> None:
        self.texts = list(texts)


class Lengths(ABC):
    """C(x), C(x after y) and C(xy) under one code.

    `name`: what `lengths_of` makes it from. `unit`: PAYLOAD or MODEL. `separator`: stands between joined texts and is
    counted. Objects can be pickled and be used from several threads at once.
    """

    name: str
    unit: str = PAYLOAD
    limited: bool = False
    """Whether `joined` is quicker where limits are given."""
    threaded: bool = False
    """Whether one call keeps all cores busy."""

    def __init__(self, separator: bytes = SEPARATOR) -> None:
        self.separator = separator
        self._alone: dict[bytes, float] = {}

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_alone": {}}

    @property
    def identity(self) -> str:
        """All that lengths depend on: the name, and what tells one model or library from another."""
        return self.name

    def alone(self, text: bytes) -> float:
        """C(text), remembered."""
        if text not in self._alone:
            self._alone[text] = self._one(text)
        return self._alone[text]

    def each(self, texts: Sequence[bytes]) -> Bits:
        """C of each text: float64 [texts]."""
        return np.array([self.alone(text) for text in texts], np.float64)

    def prepare(self, texts: Sequence[bytes]) -> Suffixes:
        """`texts` as suffixes."""
        return Suffixes([self.separator + text for text in texts])

    @abstractmethod
    def _one(self, text: bytes) -> float:
        """C(text)."""

    @abstractmethod
    def joined(
        self, prefix: bytes, suffixes: Suffixes, wanted: Indices | None = None, limits: Bits | None = None
    ) -> Bits:
        """C(prefix + separator + text) for each of the suffixes, or those whose indices are wanted: float64 [wanted].

        What is more than its limit (float64 [wanted], bits) needn't be known: it may be given as infinite.
        """

    def given(self, prefix: bytes, suffixes: Suffixes, wanted: Indices | None = None) -> Bits:
        """What each text takes for one who has the prefix: C(prefix + separator + text) - C(prefix)."""
        return self.joined(prefix, suffixes, wanted) - self.alone(prefix)


def every(suffixes: Suffixes, wanted: Indices | None) -> Indices:
    """The indices that are wanted; all of them for None."""
    return np.arange(len(suffixes.texts)) if wanted is None else wanted


def compare(name: str, text: bytes, decoded: bytes) -> None:
    """Raises GuaranteeError if `decoded` isn't `text`: then a length means nothing."""
    if decoded != text:
        raise GuaranteeError(f"{name}: {len(text)} bytes came back as {len(decoded)} other ones")

"""The ways to code pixels, by number and by name; each is a module that is imported when it is used.

A method's module has `decode(payload, height, width, channels)`: uint8 [height, width] for one channel, else [height,
width, 3]; FormatError for what its encoder can't have made.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError, InputError

METHODS: Final = {0: "flat", 1: "grid", 2: "siren", 3: "coin"}
"""Numbers are part of the format."""
_CHOICES: Final = tuple(name for name in METHODS.values() if name != "flat")
"""What a user may choose; pictures of one colour become flat by themselves."""
_HOMES: Final = {"flat": ".flat", "grid": ".grid", "siren": ".siren", "coin": ".siren.coin"}


class Decoder(Protocol):
    """What `decoder_of` gives."""

    def __call__(self, payload: memoryview, height: int, width: int, channels: int) -> NDArray[np.uint8]: ...


class Encoder(Protocol):
    """What `encoder_of` gives; the options are the method's own."""

    def __call__(self, pixels: NDArray[np.uint8], **options: Any) -> bytes: ...


def number_of(name: str) -> int:
    """Raises InputError for an unknown method."""
    for number, known in METHODS.items():
        if known == name:
            return number
    raise InputError(f"no method {name!r} for images; known are {', '.join(_CHOICES)}")


def name_of(number: int) -> str:
    """Raises FormatError."""
    if number not in METHODS:
        raise FormatError(f"image: method {number} is unknown to this build; update netweight")
    return METHODS[number]


def home_of(name: str) -> object:
    """The module of a method."""
    number_of(name)
    return import_module(_HOMES[name], __package__)


def decoder_of(name: str) -> Decoder:
    """The `decode` of a method."""
    return cast("Decoder", getattr(home_of(name), "decode"))  # noqa: B009  modules differ


def encoder_of(name: str) -> Encoder:
    """The `encode` of a method."""
    return cast("Encoder", getattr(home_of(name), "encode"))  # noqa: B009  modules differ

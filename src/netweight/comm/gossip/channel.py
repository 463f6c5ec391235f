"""A node's vector as one message: each parameter by its own compressor, with its length and checksum."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import xxhash

from ...errors import FormatError, InputError
from ..compressor import DTYPES, Claim, Compressor, Vector
from ..message import Address, pack, unpack
from ..policy import Policy, policy_of

Choice = Compressor | Policy
"""One compressor for every parameter, or the rules that pick it; parameters have the role "weight"."""

MESSAGE_SLACK: Final = 64
"""Bytes that a record may cost beyond twice its raw values; a longer message is refused unread."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A parameter's place in a node's vector: values [start, start + size), of `shape`."""

    name: str
    shape: tuple[int, ...]
    start: int

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def part(self) -> slice:
        return slice(self.start, self.start + self.size)


def slots_of(shapes: Mapping[str, tuple[int, ...]]) -> tuple[Slot, ...]:
    """Parameters laid end to end in the mapping's order. Raises InputError if there are none."""
    if not shapes:
        raise InputError("there are no parameters to exchange")
    slots, start = [], 0
    for name, shape in shapes.items():
        slots.append(Slot(name, tuple(shape), start))
        start += slots[-1].size
    return tuple(slots)


def message_seed(seed: int, sender: int, step: int, slot: int) -> int:
    """What a parameter's compressor draws from, in [0, 2^63): known to the receiver as well."""
    return xxhash.xxh3_64_intdigest(f"{seed}:{sender}:{step}:{slot}".encode()) >> 1


class Channel:
    """Vectors to messages and back, for every sender. `remember` keeps each sender's last decoded vector, so that a
    process which holds many receivers decodes a broadcast once; the vectors it gives are then read-only.
    """

    def __init__(self, slots: Sequence[Slot], choice: Choice, dtype: Any, seed: int, *, remember: bool = False) -> None:
        self.slots = tuple(slots)
        self.dtype = np.dtype(dtype)
        if self.dtype.name not in DTYPES:
            raise InputError(f"gossip is over float32 or float64, not {self.dtype.name}")
        policy = policy_of(choice)
        self.compressors = tuple(policy.compressor(slot.name, slot.size, "weight") for slot in slots)
        self.seed = seed
        self.size = slots[-1].part.stop
        self._marks = tuple(c.fingerprint() for c in self.compressors)
        self._last: dict[int, tuple[bytes, Vector]] | None = {} if remember else None

    def claims(self) -> list[tuple[Slot, Compressor, Claim]]:
        """What each parameter's compressor promises; parameters without values are left out."""
        pairs = zip(self.slots, self.compressors, strict=True)
        return [(slot, c, c.bound(slot.size)) for slot, c in pairs if slot.size]

    def limit(self) -> int:
        """Bytes that no honest message passes."""
        return limit(self.slots, self.dtype)

    def _addresses(self, sender: int, step: int) -> list[Address]:
        return [Address(sender, slot.name, step, mark) for slot, mark in zip(self.slots, self._marks, strict=True)]

    def encode(self, x: Vector, sender: int, step: int) -> tuple[bytes, Vector]:
        """The message of `x` [size] and the vector that its receivers see. Raises InputError for values that aren't finite."""
        payloads = []
        for k, (slot, compressor) in enumerate(zip(self.slots, self.compressors, strict=True)):
            try:
                payloads.append(compressor.compress(x[slot.part], message_seed(self.seed, sender, step, k)))
            except InputError as error:
                raise InputError(f"parameter {slot.name!r} of node {sender} at step {step}: {error}") from None
        message = pack(payloads, self._addresses(sender, step))
        decoded = self._decode(message, sender, step)
        if self._last is not None:
            decoded.setflags(write=False)
            self._last[sender] = (message, decoded)
        return message, decoded

    def decode(self, message: bytes | memoryview, sender: int, step: int) -> Vector:
        """The sender's vector, float [size]. Raises FormatError that names the parameter, the rank and the step."""
        if self._last is not None:
            known = self._last.get(sender)
            if known is not None and known[0] is message:
                return known[1]
        return self._decode(message, sender, step)

    def _decode(self, message: bytes | memoryview, sender: int, step: int) -> Vector:
        out = np.empty(self.size, self.dtype)
        addresses = self._addresses(sender, step)
        for k, payload in enumerate(unpack(message, addresses)):
            slot, compressor = self.slots[k], self.compressors[k]
            try:
                values = compressor.decompress(payload, slot.size, self.dtype, message_seed(self.seed, sender, step, k))
            except FormatError as error:
                raise type(error)(f"{addresses[k]}: {error}") from None
            if not np.isfinite(values).all():
                raise FormatError(f"{addresses[k]}: it holds values that aren't finite")
            out[slot.part] = values
        return out


def limit(slots: Sequence[Slot], dtype: np.dtype[Any]) -> int:
    """Bytes that no honest message about these parameters passes."""
    return sum(2 * slot.size * dtype.itemsize + MESSAGE_SLACK for slot in slots)

"""What a user asks of lossy weights, and which tensors may be touched."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ...errors import InputError
from ...spec import element_count
from ..archive.index import REGION, Segment
from .values import is_float

BITS, REL_MSE, MAX_ERROR, SIZE = "bits", "rel_mse", "max_error", "size"
KINDS: Final = (BITS, REL_MSE, MAX_ERROR, SIZE)
LEAST_WEIGHTS: Final = 1024
_UNITS: Final = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}
_SIZE: Final = re.compile(r"\s*([0-9.]+)\s*([a-zA-Z]*)\s*")


@dataclass(frozen=True, slots=True)
class Target:
    """`kind` and its limit, which the result keeps:

    bits: the payloads of the quantised tensors over their weights; rel_mse: ||w - q||^2 / ||w||^2 over all of them;
    max_error: of every single weight; size: bytes of the whole archive.
    """

    kind: str
    limit: float

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"no target {self.kind!r}; there are {', '.join(KINDS)}")
        if not (math.isfinite(self.limit) and self.limit > 0):
            raise InputError(f"{self.kind} of {self.limit}: it must be a number above 0")
        if self.kind == REL_MSE and self.limit >= 1:
            raise InputError(f"rel_mse of {self.limit}: at 1 nothing is left of the weights; it must be below 1")


def parse_size(text: str) -> int:
    """Bytes of "40MB", "3.5 kB", "12MiB" or a plain number. Raises InputError."""
    match = _SIZE.fullmatch(text)
    unit = _UNITS.get(match[2].lower()) if match else None
    try:
        return int(float(match[1]) * unit) if match and unit else _no_size(text)
    except ValueError:
        return _no_size(text)


def _no_size(text: str) -> int:
    raise InputError(f"{text!r} is no size: write bytes, or a number with kB, MB, GB, KiB, MiB or GiB")


@dataclass(frozen=True)
class Touched:
    """Which tensors are quantised: floats of at least `least` weights whose name `keep` doesn't match.

    Vectors (biases, norms) stay lossless unless `least` is 0. `keep` is a regular expression, searched for in the name;
    "" keeps nothing.
    """

    keep: str = ""
    least: int = LEAST_WEIGHTS

    def __post_init__(self) -> None:
        try:
            re.compile(self.keep)
        except re.error as error:
            raise InputError(f"keep: {self.keep!r} is no regular expression: {error}") from None

    def __call__(self, segment: Segment) -> bool:
        if segment.kind != REGION or not is_float(segment.dtype):
            return False
        if element_count(segment.shape) < max(self.least, 1) or (len(segment.shape) < 2 and self.least):
            return False
        return not (self.keep and re.search(self.keep, segment.name))


def one_target(values: Sequence[tuple[str, float | None]]) -> Target | None:
    """The only one of (kind, limit) that is given; None for none. Raises InputError for several."""
    given = [(kind, limit) for kind, limit in values if limit is not None]
    if len(given) > 1:
        raise InputError(f"one target at a time: {' and '.join(k for k, _ in given)} were given")
    return Target(*given[0]) if given else None

"""How hard to try: block lengths trade speed of decoding (blocks go side by side) for what a block can learn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ...errors import InputError


@dataclass(frozen=True, slots=True)
class Window:
    """What a model sees of a block: at most `length` positions; when they are full, the last `keep` stay."""

    length: int
    keep: int

    def within(self, context: int) -> Window:
        """The same, for a model of `context` positions. Raises InputError for a model of fewer than two."""
        if context < 2:
            raise InputError(f"a model of {context} positions can't code text")
        length = min(self.length, context)
        return Window(length, min(self.keep, length // 2))


@dataclass(frozen=True, slots=True)
class Effort:
    """`block_bytes`: text of a block, at most."""

    block_bytes: int
    window: Window


EFFORTS: Final = {
    "fast": Effort(1 << 14, Window(2048, 512)),
    "balanced": Effort(1 << 16, Window(2048, 1024)),
    "max": Effort(1 << 20, Window(8192, 4096)),
}


def effort_named(name: str) -> Effort:
    """Raises InputError for an unknown effort."""
    if name not in EFFORTS:
        raise InputError(f"no effort {name!r}; there are {', '.join(EFFORTS)}")
    return EFFORTS[name]

"""The structure codes and their numbers on the wire, which never change. Simple ones first: of equal bytes the first is told."""

from __future__ import annotations

from types import MappingProxyType, ModuleType
from typing import Final

from ...errors import FormatError
from ...wire import Reader
from . import (
    block_diagonal,
    butterfly,
    constants,
    dead,
    diagonals,
    dictionary,
    duplicates,
    gabor,
    kronecker,
    low_rank,
    orthogonal,
    spectrum,
)
from .model import Floats, Layout

KINDS: Final = MappingProxyType(
    dict[int, ModuleType](
        enumerate(
            (
                constants,
                dead,
                duplicates,
                orthogonal,
                block_diagonal,
                diagonals,
                kronecker,
                butterfly,
                spectrum,
                gabor,
                dictionary,
                low_rank,
            )
        )
    )
)


def restore(kind: int, source: Reader, layout: Layout) -> Floats:
    """What the parameters say: float32 [rows, columns]. Raises FormatError."""
    if kind not in KINDS:
        raise FormatError(f"structure: unknown kind {kind}; update netweight")
    if layout.count == 0:
        raise FormatError("structure: of no weights")
    out: Floats = KINDS[kind].restore(source, layout)
    return out


def name_of(kind: int) -> str:
    """For people."""
    return str(KINDS[kind].NAME)

"""Two small trained networks with programs that explain them; scripts/train_proof_examples.py made the weights."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ....errors import NotFoundError

EXAMPLES: Final = ("max-of-k", "modular-addition")


def example(name: str) -> tuple[Path, Path]:
    """The program and the weights of an example. Raises NotFoundError."""
    if name not in EXAMPLES:
        raise NotFoundError(f"no example {name!r}; there are {', '.join(EXAMPLES)}")
    stem = Path(__file__).parent / name.replace("-", "_")
    return stem.with_suffix(".py"), stem.with_suffix(".safetensors")

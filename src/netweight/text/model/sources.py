"""What a reader of model files hands over: a configuration, weights by our names, a tokenizer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .config import Config


@dataclass(frozen=True, slots=True)
class Source:
    """A model as it was found. `tensor(name)` reads float32 weights, rows x columns as y = W x has them.

    Names: embedding [V, d], positions [T, d], head [V, d]; norm.gain, norm.bias [d]; layer.I. with norm1, norm2, and
    qkv, out, up (gate first), down: matrices, each perhaps with a .bias. `description` is a tokenizer.json.
    """

    name: str
    config: Config
    names: tuple[str, ...]
    tensor: Callable[[str], NDArray[np.float32]]
    description: str
    begin: int | None

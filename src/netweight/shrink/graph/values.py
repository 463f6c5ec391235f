"""Values of a graph's nodes and what is said of each tensor in them: small helpers of the walk."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import torch
from torch import fx

from .atoms import NONE, Labels

GIVEN: Final = object()
"""A place whose value is taken from the call's real arguments."""


def with_values(stand_in: Any, args: Any) -> Any:
    if stand_in is GIVEN:
        return args
    if isinstance(stand_in, (tuple, list)):
        return [with_values(s, a) for s, a in zip(stand_in, args, strict=True)]
    return stand_in


def each(value: Any, function: Any) -> Any:
    """`function` of a label array or tensor, or of each in a tuple or list; others as they are."""
    if isinstance(value, (tuple, list)):
        return tuple(each(v, function) for v in value)
    return function(value) if isinstance(value, (np.ndarray, torch.Tensor)) else value


def args_of(node: fx.Node) -> Any:
    return node.args


def nothing(value: Any) -> Any:
    return each(value, lambda t: np.full([1] * t.ndim, NONE))


def shape_of(value: Any) -> Any:
    if isinstance(value, (tuple, list)):
        return [shape_of(v) for v in value]
    return tuple(value.shape) if isinstance(value, torch.Tensor) else value


def along(atoms: Labels, rank: int, axis: int) -> Labels:
    shape = [1] * rank
    shape[axis] = -1
    return atoms.reshape(shape)

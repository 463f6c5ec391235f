"""Units that say nothing: what they carry may as well be zero.

A unit that nothing makes (all of its weights and its bias are 0) gives f(0), which is 0 for the activations of groups that may change
sign (odd ones) or scale (ReLU); what reads it is multiplied by that 0. A unit that nothing reads may be made of
anything. So both sides of a dead unit are set to 0: the same function, bit for bit, on finite numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .architecture import ALONG, IN, OUT, Fitted
from .canonical import Tensors


def silence(tensors: Tensors, groups: Sequence[Fitted]) -> int:
    """Set all that dead units carry to 0, in place, until no more die of it. How many are dead, of groups whose f(0) is 0."""
    able = [fitted for fitted in groups if _is_silent_at_zero(fitted)]
    while True:
        dead = sum(_silence_group(tensors, fitted) for fitted in able)
        if not any(_changed(tensors, fitted) for fitted in able):
            return dead


def _is_silent_at_zero(fitted: Fitted) -> bool:
    roles = {axis.role for axis in fitted.group.axes}
    return (fitted.group.sign or fitted.group.scale) and {IN, OUT} <= roles and ALONG not in roles


def _weightless(tensors: Tensors, fitted: Fitted, role: str) -> NDArray[np.bool_]:
    """Bool [count]: units all of whose numbers on axes of this role are 0."""
    out = np.ones(fitted.group.count, np.bool_)
    for axis, places in zip(fitted.group.axes, fitted.places, strict=True):
        if axis.role == role:
            rows = np.moveaxis(tensors[axis.tensor], axis.axis, 0)[places]
            out &= (rows.reshape(len(places), -1) == 0).all(axis=1)
    return out


def _silence_group(tensors: Tensors, fitted: Fitted) -> int:
    dead = _weightless(tensors, fitted, IN) | _weightless(tensors, fitted, OUT)
    for axis, places in zip(fitted.group.axes, fitted.places, strict=True):
        rows = np.moveaxis(tensors[axis.tensor], axis.axis, 0)  # a view
        rows[places[dead]] = 0
    return int(dead.sum())


def _changed(tensors: Tensors, fitted: Fitted) -> bool:
    """Whether a unit has died on one side since."""
    return bool((_weightless(tensors, fitted, IN) != _weightless(tensors, fitted, OUT)).any())

"""The small trained network that ships with netweight, and the digits that it was never shown.

LeNet-300-100 on scikit-learn's 8 x 8 handwritten digits; scripts/train_demo.py made both files.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError

_FOLDER: Final = Path(__file__).parent
_LAYERS: Final = ("fc1", "fc2", "fc3")


def demo_network() -> Path:
    """The checkpoint: safetensors, FP32, `fcK.weight` (out, in) and `fcK.bias` (out,) of 64-300-100-10."""
    return _FOLDER / "digits-lenet-300-100.safetensors"


def demo_test_set() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The held-out digits: inputs (n, 64), grey levels in 0..16, and labels (n,) in 0..9."""
    with np.load(_FOLDER / "digits-test.npz", allow_pickle=False) as archive:
        return archive["inputs"], archive["labels"]


def demo_accuracy(state: Mapping[str, NDArray[Any]]) -> float:
    """Share of the held-out digits that the network `state` names rightly, in 0..1.

    Any float dtype will do: the forward pass is in float32. Raises InputError if a tensor is missing or misshapen.
    """
    inputs, labels = demo_test_set()
    x = inputs.astype(np.float32) / np.float32(16)
    for layer in _LAYERS:
        try:
            weight, bias = (state[f"{layer}.{part}"].astype(np.float32) for part in ("weight", "bias"))
            x = x @ weight.T + bias
        except KeyError as error:
            raise InputError(f"the demo network has no tensor {error}") from None
        except ValueError as error:
            raise InputError(f"the demo network's layer {layer} doesn't fit: {error}") from None
        if layer != _LAYERS[-1]:
            x = np.maximum(x, 0)
    return float(np.mean(x.argmax(1) == labels))

"""The network that ships: small, really trained, and judged by digits that it never saw."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from netweight.data import demo_accuracy, demo_network, demo_test_set
from netweight.errors import InputError

SHAPES = {
    "fc1.weight": (300, 64),
    "fc1.bias": (300,),
    "fc2.weight": (100, 300),
    "fc2.bias": (100,),
    "fc3.weight": (10, 100),
    "fc3.bias": (10,),
}


def test_network_is_the_one_described() -> None:
    state = load_file(demo_network())
    assert {name: w.shape for name, w in state.items()} == SHAPES
    assert {w.dtype for w in state.values()} == {np.dtype(np.float32)}
    assert all(np.isfinite(w).all() for w in state.values())


def test_data_folder_stays_under_a_megabyte() -> None:
    files = [p for p in Path(demo_network()).parent.iterdir() if p.is_file()]
    assert sum(p.stat().st_size for p in files) < 1_000_000


def test_test_set_is_balanced_and_in_range() -> None:
    inputs, labels = demo_test_set()
    assert inputs.shape == (450, 64)
    assert inputs.max() <= 16
    assert np.bincount(labels, minlength=10).min() >= 30


def test_accuracy_is_that_of_a_trained_network_and_falls_without_its_weights() -> None:
    state = load_file(demo_network())
    assert demo_accuracy(state) > 0.97
    shuffled = state | {"fc2.weight": np.ascontiguousarray(state["fc2.weight"][:, ::-1])}
    assert demo_accuracy(shuffled) < 0.5


def test_accuracy_survives_half_precision() -> None:
    state = {name: w.astype(np.float16) for name, w in load_file(demo_network()).items()}
    assert demo_accuracy(state) > 0.97


def test_accuracy_names_what_is_missing_or_misshapen() -> None:
    state = load_file(demo_network())
    with pytest.raises(InputError, match=r"fc2\.bias"):
        demo_accuracy({k: v for k, v in state.items() if k != "fc2.bias"})
    with pytest.raises(InputError, match="fc3"):
        demo_accuracy(state | {"fc3.weight": state["fc3.weight"][:, 1:]})

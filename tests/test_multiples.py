"""Sparse weights on a grid: bit for bit, nearly nothing for what is empty, and a decoder that trusts nothing."""

from __future__ import annotations

import numpy as np
import pytest

from contract import mutations
from netweight import tensors
from netweight.errors import FormatError
from netweight.spec import Spec
from netweight.weights.coders import multiples


def sparse(rows: int, columns: int, share: float, step: float, seed: int = 0) -> np.ndarray:
    r = np.random.default_rng(seed)
    k = np.where(r.random((rows, columns)) < share, r.integers(-4, 5, (rows, columns)), 0)
    return k.astype(np.float32) * np.float32(step)


def block(*arrays: np.ndarray) -> tuple[np.ndarray, Spec]:
    data = np.concatenate([tensors.to_bytes(a)[0] for a in arrays])
    return data, Spec("F32", tuple(a.shape for a in arrays))


@pytest.mark.parametrize("step", [0.05, 0.123456, 2.0**-20, 3e20])
def test_round_trip(step):
    data, spec = block(sparse(40, 70, 0.1, step), sparse(1, 9, 0.3, 1.7 * step), np.zeros((5, 5), np.float32))
    body = multiples.encode_block(data, spec)
    assert body is not None
    assert len(body) < data.size / 12
    assert np.array_equal(multiples.decode_block(body, spec), data)


def test_bits_are_near_the_entropy_of_independent_decisions():
    """A tenth of the weights, eight values: H(0.1) and 3 bits for each that isn't zero, with a tenth for learning."""
    share = 0.1 * 8 / 9
    data, spec = block(sparse(200, 300, 0.1, 0.5))
    body = multiples.encode_block(data, spec)
    entropy = -share * np.log2(share) - (1 - share) * np.log2(1 - share) + 3 * share
    assert body is not None
    assert entropy < 8 * len(body) / 60_000 < 1.1 * entropy


def test_empty_rows_and_columns_cost_next_to_nothing():
    values = np.zeros((300, 784), np.float32)
    values[10:30, 100:160] = sparse(20, 60, 0.5, 0.1)
    whole, alone = (multiples.encode_block(*block(v)) for v in (values, np.ascontiguousarray(values[10:30, 100:160])))
    assert whole is not None
    assert alone is not None
    assert len(whole) < len(alone) + 260


def test_what_is_no_grid_is_left_to_others():
    r = np.random.default_rng(1)
    irregular = np.where(r.random((50, 50)) < 0.1, r.normal(size=(50, 50)), 0).astype(np.float32)
    dense = sparse(50, 50, 1.0, 0.1)
    signed = sparse(50, 50, 0.05, 0.1)
    signed[0, 0] = -0.0
    for values in (irregular, dense, signed):
        assert multiples.encode_block(*block(values)) is None


def test_hostile_bodies():
    data, spec = block(sparse(30, 40, 0.1, 0.3), sparse(1, 12, 0.5, 0.1))
    body = multiples.encode_block(data, spec)
    assert body is not None
    for damaged in mutations(body, 300):
        try:
            decoded = multiples.decode_block(damaged, spec)
        except FormatError:
            continue
        assert decoded.shape == data.shape

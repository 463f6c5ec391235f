"""PowerGossip: exact where differences are of low rank, bits on both ends of an edge, and where it loses."""

from __future__ import annotations

import numpy as np
import pytest

from netweight.comm.gossip.averaging import DPSGD
from netweight.comm.gossip.low_rank import add_outer, orthonormal, sketch
from netweight.comm.gossip.network import LENGTH_BYTES
from netweight.comm.gossip.power import PowerGossip
from netweight.comm.gossip.run import Gossip, GossipRun
from netweight.comm.gossip.topology import Topology

RING = Topology.ring(8)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_kernels(dtype: type) -> None:
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((13, 21)).astype(dtype)
    p, q = rng.standard_normal((3, 13)).astype(dtype), rng.standard_normal((3, 21)).astype(dtype)
    close = 1e-6 if dtype is np.float32 else 1e-13
    np.testing.assert_allclose(sketch(matrix, p, transposed=False), p @ matrix, rtol=close, atol=close)
    np.testing.assert_allclose(sketch(matrix, q, transposed=True), q @ matrix.T, rtol=close, atol=close)
    moved = matrix.copy()
    add_outer(moved, p, q, -0.5)
    np.testing.assert_allclose(moved, matrix - 0.5 * p.T @ q, rtol=close, atol=10 * close)
    o = orthonormal(p, lambda: rng.random((3, 13)))
    np.testing.assert_allclose(o @ o.T, np.eye(3), atol=10 * close)
    np.testing.assert_allclose(p - p @ o.T @ o, 0, atol=10 * close)  # the same span


def test_directions_that_died_come_back() -> None:
    spare = np.random.default_rng(1).random((3, 6))
    for dead in (np.zeros((3, 6)), np.ones((3, 6)), np.full((3, 6), 5e-324)):
        o = orthonormal(dead, lambda: spare)
        np.testing.assert_allclose(o @ o.T, np.eye(3), atol=1e-12)


def consensus(algorithm: DPSGD | PowerGossip, x: np.ndarray, tolerance: float, most: int) -> GossipRun:
    run = Gossip(RING, algorithm).simulate(x.reshape(8, -1), {"w": x.shape[1:]})
    mean = x.reshape(8, -1).mean(0)
    for _ in range(most):
        run.average()
        if np.linalg.norm(run.x - mean) < tolerance * np.linalg.norm(x.reshape(8, -1) - mean):
            return run
    raise AssertionError(f"no consensus in {most} rounds")


def test_a_difference_of_rank_one_is_gone_in_two_rounds() -> None:
    rng = np.random.default_rng(2)
    base, u, v = rng.standard_normal((7, 9)), rng.standard_normal(7), rng.standard_normal(9)
    x = np.stack([base + np.outer(u, v), base - np.outer(u, v)])
    run = Gossip(Topology.ring(2), PowerGossip()).simulate(x.reshape(2, -1), {"w": (7, 9)})
    run.average()
    assert np.abs(run.x - base.reshape(-1)).max() > 1e-3
    run.average()
    np.testing.assert_allclose(run.x, np.stack([base, base]).reshape(2, -1), atol=1e-13)


def test_low_rank_differences_take_fewer_bits_and_random_ones_do_not() -> None:
    rng = np.random.default_rng(3)
    u, v = rng.standard_normal((40, 2)), rng.standard_normal((2, 40))
    low = np.stack([u @ np.diag(rng.standard_normal(2)) @ v for _ in range(8)]) + rng.standard_normal((40, 40))
    full = consensus(DPSGD(gamma=RING.best_diffusion), low, 1e-3, 50)
    power = consensus(PowerGossip(), low, 1e-3, 300)
    assert 3 * power.traffic.bits < full.traffic.bits
    random = rng.standard_normal((8, 24, 24))
    full = consensus(DPSGD(gamma=RING.best_diffusion), random, 1e-2, 50)
    power = consensus(PowerGossip(rank=4), random, 1e-2, 300)
    assert power.traffic.bits > 0.5 * full.traffic.bits


def test_bytes_are_those_of_the_sketches() -> None:
    x = np.random.default_rng(4).standard_normal((8, 6 * 10 + 7 + 4)).astype(np.float32)
    run = Gossip(RING, PowerGossip(rank=2)).simulate(x, {"w": (6, 2, 5), "b": (7,), "tiny": (2, 2)})
    record = 1 + 4
    whole = (
        3 * record + 4 * (7 + 4) + LENGTH_BYTES
    )  # a sketch of 2 x 2 by 2 vectors isn't smaller, so that is sent whole
    run.average()
    assert run.traffic.nbytes == 16 * (whole + 4 * 2 * 10)
    run.average()
    assert run.traffic.nbytes == 16 * (2 * whole + 4 * 2 * (10 + 6))


def test_vectors_are_averaged_whole() -> None:
    x = np.random.default_rng(5).standard_normal((8, 12 + 20))
    run = Gossip(RING, PowerGossip()).simulate(x, {"b": (12,), "w": (4, 5)})
    for _ in range(3):
        run.average()
    np.testing.assert_allclose(run.x[:, :12], np.linalg.matrix_power(RING.matrix(), 3) @ x[:, :12], atol=1e-14)


def test_nodes_that_agree_can_differ_again() -> None:
    """Equal at the start, every sketch is zero; differences that come later are still found."""
    base = np.random.default_rng(6).standard_normal(20)
    run = Gossip(RING, PowerGossip()).simulate(np.tile(base, (8, 1)), {"w": (4, 5)})
    for _ in range(5):
        run.average()
    np.testing.assert_array_equal(run.x, np.tile(base, (8, 1)))
    run.x[:] += np.random.default_rng(7).standard_normal((8, 1)) * np.outer(np.arange(4), np.arange(5)).reshape(-1)
    mean, before = run.x.mean(0), np.linalg.norm(run.x - run.x.mean(0))
    for _ in range(120):
        run.average()
    assert np.linalg.norm(run.x - mean) < 1e-5 * before

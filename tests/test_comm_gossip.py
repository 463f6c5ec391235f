"""Gossip in one process: each algorithm against its paper's matrix form, and against what it must not do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from netweight.comm import Identity, InfinityNorm, SignMean, TopK
from netweight.comm.gossip.averaging import CHOCO, DPSGD, DeepSqueeze
from netweight.comm.gossip.network import LENGTH_BYTES
from netweight.comm.gossip.node import Algorithm
from netweight.comm.gossip.power import PowerGossip
from netweight.comm.gossip.primal_dual import LEAD, NIDS
from netweight.comm.gossip.run import Gossip
from netweight.comm.gossip.topology import Topology
from netweight.comm.policy import Policy, Rule
from netweight.errors import ChecksumError, FormatError, InputError

Matrix = NDArray[np.float64]
RING = Topology.ring(8)


class Regression:
    """f_i = |A_i x - b_i|^2 / 2m + |x|^2 / 20, each node with data of its own: nodes' optima lie far apart."""

    def __init__(self, n: int, d: int, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.a = rng.standard_normal((n, d, d))
        self.b = rng.standard_normal((n, d)) + 3 * rng.standard_normal((n, 1))
        self.hessians = np.einsum("nij,nik->njk", self.a, self.a) / d + np.eye(d) / 10
        self.linear = np.einsum("nij,ni->nj", self.a, self.b) / d
        self.optimum = np.linalg.solve(self.hessians.mean(0), self.linear.mean(0))
        self.eta = 1 / max(np.linalg.eigvalsh(h)[-1] for h in self.hessians)

    def gradients(self, x: Matrix) -> Matrix:
        return np.einsum("njk,nk->nj", self.hessians, x) - self.linear

    def error(self, x: Matrix) -> float:
        return float(np.linalg.norm(x - self.optimum) / np.linalg.norm(np.broadcast_to(self.optimum, x.shape)))

    def run(self, algorithm: Algorithm, steps: int, topology: Topology = RING) -> Any:
        run = Gossip(topology, algorithm).simulate(np.zeros((len(self.a), len(self.optimum))))
        for _ in range(steps):
            run.step(self.gradients(run.x), self.eta)
        return run


@pytest.fixture(scope="module")
def problem() -> Regression:
    return Regression(8, 40)


def test_averaging_is_a_power_of_the_matrix() -> None:
    topology = Topology.torus(3, 4)
    x = np.random.default_rng(0).standard_normal((12, 5))
    run = Gossip(topology).simulate(x)
    for _ in range(7):
        run.average()
    np.testing.assert_allclose(run.x, np.linalg.matrix_power(topology.matrix(), 7) @ x, atol=1e-14)
    assert run.traffic.messages == 7 * 2 * topology.edges
    assert run.traffic.nbytes == run.traffic.messages * (
        LENGTH_BYTES + 1 + 4 + 5 * 8
    )  # length, record length, checksum, values


def test_dpsgd_is_its_matrix_form(problem: Regression) -> None:
    w, x = RING.matrix(), np.zeros((8, 40))
    for _ in range(20):
        x = w @ x - problem.eta * problem.gradients(x)
    np.testing.assert_allclose(problem.run(DPSGD(), 20).x, x, atol=1e-12)


def test_nids_is_its_matrix_form(problem: Regression) -> None:
    """x(k+2) = (I + W)/2 (2 x(k+1) - x(k) - eta (g(k+1) - g(k))): arXiv 1704.07807 without the proximal term."""
    half, before = (np.eye(8) + RING.matrix()) / 2, np.zeros((8, 40))
    x = before - problem.eta * problem.gradients(before)
    for _ in range(19):
        step = problem.eta * (problem.gradients(x) - problem.gradients(before))
        before, x = x, half @ (2 * x - before - step)
    np.testing.assert_allclose(problem.run(NIDS(), 20).x, x, atol=1e-12)


def test_without_loss_the_algorithms_meet(problem: Regression) -> None:
    np.testing.assert_allclose(problem.run(LEAD(Identity(), alpha=1.0), 20).x, problem.run(NIDS(), 20).x, atol=1e-12)
    plain = problem.run(DPSGD(adapt_first=True), 20).x
    np.testing.assert_allclose(problem.run(CHOCO(Identity(), gamma=1.0), 20).x, plain, atol=1e-12)
    np.testing.assert_allclose(problem.run(DeepSqueeze(Identity(), gamma=1.0), 20).x, plain, atol=1e-12)


def test_lead_is_the_papers_algorithm(problem: Regression) -> None:
    """Algorithm 1 of arXiv 2007.00232 as matrices, with the messages that the nodes sent."""
    algorithm = LEAD(InfinityNorm(bits=2), alpha=0.4, gamma=0.9)
    run = problem.run(algorithm, 1)
    coder = run.setting.channel
    w, eta, x = RING.matrix(), problem.eta, run.x.copy()
    h, hw, d = np.zeros_like(x), np.zeros_like(x), np.zeros_like(x)
    for k in range(1, 12):
        g = problem.gradients(x)
        y = x - eta * g - eta * d
        q = np.stack([coder.decode(coder.encode(v, i, k)[0], i, k) for i, v in enumerate(y - h)])
        y_hat, y_hat_w = h + q, hw + w @ q
        h, hw = 0.6 * h + 0.4 * y_hat, 0.6 * hw + 0.4 * y_hat_w
        d = d + 0.9 / (2 * eta) * (y_hat - y_hat_w)
        x = x - eta * g - eta * d
        run.step(problem.gradients(run.x), eta)
        np.testing.assert_allclose(run.x, x, atol=1e-9)


def test_lead_converges_to_the_optimum_and_averaging_stalls(problem: Regression) -> None:
    lead, nids = problem.run(LEAD(InfinityNorm(bits=2)), 700), problem.run(NIDS(), 700)
    assert problem.error(nids.x) < 1e-12
    assert problem.error(lead.x) < 1e-12
    assert 9 * lead.traffic.bits < nids.traffic.bits
    for stalls in (DPSGD(), CHOCO(InfinityNorm(bits=2), gamma=0.5), DeepSqueeze(InfinityNorm(bits=2), gamma=0.2)):
        assert 1e-3 < problem.error(problem.run(stalls, 700).x) < 2


def test_lead_refuses_what_is_biased() -> None:
    with pytest.raises(InputError, match="LEAD needs an unbiased compressor"):
        Gossip(RING, LEAD(TopK(0.1))).simulate(np.zeros((8, 100)))
    mixed = LEAD(Policy(InfinityNorm(), rules=[Rule(SignMean(), pattern="head")]))
    with pytest.raises(InputError, match="'head'"):
        Gossip(RING, mixed).simulate(np.zeros((8, 100)), {"body": (9, 10), "head": (10,)})


def test_the_refusal_is_right(problem: Regression) -> None:
    """LEAD with the biased top 10 %, forced past the check, doesn't converge where the unbiased one does."""

    class Forced(LEAD):
        def check(self, setting: object) -> None:
            pass

    with np.errstate(over="ignore", invalid="ignore"):
        try:
            error = problem.error(problem.run(Forced(TopK(0.1)), 400).x)
        except InputError:  # values that aren't finite any more
            error = np.inf
    assert error > 1
    assert problem.error(problem.run(LEAD(InfinityNorm()), 400).x) < 1e-6


def test_dpsgd_refuses_lossy_messages() -> None:
    with pytest.raises(InputError, match="use CHOCO, DeepSqueeze or LEAD"):
        Gossip(RING, DPSGD(TopK(0.5))).simulate(np.zeros((8, 100)))


def test_choco_gossip_reaches_consensus_with_a_biased_compressor() -> None:
    x = np.random.default_rng(1).standard_normal((8, 100))
    run = Gossip(RING, CHOCO(TopK(0.2), gamma=0.15)).simulate(x)
    for _ in range(400):
        run.average()
    assert np.linalg.norm(run.x - x.mean(0)) < 1e-5 * np.linalg.norm(x - x.mean(0))
    proven = CHOCO.proven_gamma(RING, TopK(0.2).bound(100))
    assert 0 < proven < 0.01


@pytest.mark.parametrize(
    "algorithm",
    [DPSGD(), CHOCO(TopK(0.1), gamma=0.1), DeepSqueeze(TopK(0.5), gamma=0.1), PowerGossip(rank=2, rounds=3)],
    ids=lambda a: a.name,
)
def test_the_mean_is_kept(algorithm: Algorithm) -> None:
    x = np.random.default_rng(2).standard_normal((9, 60))
    run = Gossip(Topology.torus(3, 3), algorithm).simulate(x, {"w": (10, 5), "b": (10,)})
    for _ in range(50):
        run.average()
    np.testing.assert_allclose(run.x.mean(0), x.mean(0), atol=1e-14)


def test_the_dual_sums_to_zero(problem: Regression) -> None:
    run = problem.run(LEAD(InfinityNorm()), 300)
    duals = np.stack([arrays["dual"] for arrays in run.state_dict()["nodes"].values()])
    assert np.abs(duals.sum(0)).max() < 1e-12 * np.abs(duals).max()


def test_receivers_that_decode_for_themselves_get_the_same(problem: Regression) -> None:
    runs = [
        Gossip(RING, LEAD(InfinityNorm())).simulate(np.zeros((8, 40)), decode_each=each) for each in (False, True)
    ]  # fmt: skip
    for _ in range(10):
        for run in runs:
            run.step(problem.gradients(run.x), problem.eta)
    np.testing.assert_array_equal(runs[0].x, runs[1].x)
    assert runs[0].traffic == runs[1].traffic


@pytest.mark.parametrize(
    "algorithm",
    [DPSGD(), NIDS(), LEAD(InfinityNorm()), CHOCO(TopK(0.1)), DeepSqueeze(TopK(0.5)), PowerGossip(rounds=3)],
    ids=lambda a: a.name,
)
def test_a_resumed_run_ends_in_the_same_bits(algorithm: Algorithm) -> None:
    problem, shapes = Regression(8, 30), {"w": (5, 5), "b": (5,)}
    gossip = Gossip(RING, algorithm, seed=4)
    whole, first, second = (gossip.simulate(np.zeros((8, 30)), shapes) for _ in range(3))
    for k in range(9):
        whole.step(problem.gradients(whole.x), problem.eta / 10)
        if k == 5:
            second.load_state_dict(first.state_dict())
        run = first if k < 5 else second
        run.step(problem.gradients(run.x), problem.eta / 10)
        if k == 4:
            second.load_state_dict(first.state_dict())
    np.testing.assert_array_equal(second.x, whole.x)
    assert second.time == 9


def test_states_of_other_settings_are_refused() -> None:
    run = Gossip(RING, CHOCO(TopK(0.1))).simulate(np.zeros((8, 30)))
    other = Gossip(RING, CHOCO(TopK(0.2))).simulate(np.zeros((8, 30)))
    with pytest.raises(InputError, match="another algorithm or compressor"):
        other.load_state_dict(run.state_dict())
    longer = Gossip(RING, CHOCO(TopK(0.1))).simulate(np.zeros((8, 31)))
    with pytest.raises(InputError, match=r"float64 \(30,\) in the state"):
        longer.load_state_dict(run.state_dict())


@pytest.mark.parametrize("algorithm", [CHOCO(TopK(0.1)), PowerGossip()], ids=lambda a: a.name)
def test_damaged_messages_change_nothing(algorithm: Algorithm) -> None:
    """One node by hand: whatever single byte of a neighbour's message is altered or cut, an error names it and x stays."""
    shapes = {"w": (6, 5), "b": (6,)}
    x = np.random.default_rng(3).standard_normal((3, 36))
    run = Gossip(Topology.ring(3), algorithm).simulate(x, shapes, decode_each=True)
    nodes = run._nodes
    steps = [node.step(np.zeros(36), 1.0) for node in nodes]
    sent = [next(step) for step in steps]
    good = {j: m if isinstance(m, bytes) else m.get(0, b"") for j, m in enumerate(sent)}
    before = {name: a.copy() for name, a in nodes[0].arrays().items()}
    for at in range(len(good[1])):
        for bad in (good[1][:at], good[1][:at] + bytes([good[1][at] ^ 0x41]) + good[1][at + 1 :]):
            step = nodes[0].step(np.zeros(36), 1.0)
            next(step)
            with pytest.raises(FormatError, match=r"parameter '[wb]' from rank 1 at step 0"):
                step.send({1: bad, 2: good[2]})
    with pytest.raises(ChecksumError, match="from rank 1"):  # a message of another rank isn't taken for this one's
        steps[0].send({1: good[2], 2: good[1]})
    for name, array in nodes[0].arrays().items():
        np.testing.assert_array_equal(array, before[name])
    assert nodes[0].time == 0


@pytest.mark.parametrize("algorithm", [DPSGD(), LEAD(InfinityNorm()), PowerGossip()], ids=lambda a: a.name)
def test_values_that_are_not_finite_are_named(algorithm: Algorithm) -> None:
    run = Gossip(RING, algorithm).simulate(np.zeros((8, 30)), {"w": (5, 5), "b": (5,)})
    gradients = np.zeros((8, 30))
    run.step(gradients, 0.1)
    gradients[3, 27] = np.nan
    with pytest.raises(InputError, match=r"parameter 'b' of node 3 at step 1: 1 of 5 values aren't finite"):
        run.step(gradients, 0.1)


def test_wrong_input_is_refused() -> None:
    with pytest.raises(InputError, match="a row for each of 8 nodes"):
        Gossip(RING).simulate(np.zeros((7, 3)))
    with pytest.raises(InputError, match="float32 or float64"):
        Gossip(RING).simulate(np.zeros((8, 3), np.int64))
    with pytest.raises(InputError, match="the parameters hold 4 values, the vectors 3"):
        Gossip(RING).simulate(np.zeros((8, 3)), {"w": (2, 2)})
    run = Gossip(RING).simulate(np.zeros((8, 3)))
    with pytest.raises(InputError, match="gradients are float64"):
        run.step(np.zeros((8, 3), np.float32), 0.1)
    with pytest.raises(InputError, match="step size"):
        run.step(np.zeros((8, 3)), -0.1)
    with pytest.raises(InputError, match="positive step size"):
        Gossip(RING, NIDS()).simulate(np.zeros((8, 3))).step(np.zeros((8, 3)), 0.0)
    for bad in (lambda: CHOCO(TopK(0.1), gamma=0.0), lambda: LEAD(Identity(), alpha=1.5), lambda: PowerGossip(rank=0)):
        with pytest.raises(InputError):
            bad()


def test_empty_parameters_and_lone_nodes_are_fine() -> None:
    run = Gossip(RING, LEAD(InfinityNorm())).simulate(np.ones((8, 4)), {"none": (0, 3), "w": (2, 2)})
    for _ in range(3):
        run.average()
    assert np.isfinite(run.x).all()
    alone = Gossip(Topology.ring(1)).simulate(np.ones((1, 3)))
    alone.step(np.ones((1, 3)), 0.5)
    np.testing.assert_array_equal(alone.x, np.full((1, 3), 0.5))
    assert alone.traffic.messages == 0


def test_float32_is_exchanged_as_float32() -> None:
    x = np.random.default_rng(5).standard_normal((8, 30)).astype(np.float32)
    run = Gossip(RING, CHOCO(TopK(0.2), gamma=0.1)).simulate(x)
    for _ in range(5):
        run.average()
    assert run.x.dtype == np.float32
    assert all(a.dtype == np.float32 for a in run.state_dict()["nodes"][0].values())

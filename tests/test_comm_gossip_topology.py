"""Mixing matrices: what the constructors promise, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from netweight.comm.gossip.topology import Topology
from netweight.errors import InputError

GRAPHS = [
    Topology.ring(1),
    Topology.ring(2),
    Topology.ring(8),
    Topology.torus(2, 3),
    Topology.torus(4, 5),
    Topology.exponential(13),
    Topology.star(6),
    Topology.complete(7),
    Topology.of_edges(5, [(0, 1), (1, 2), (2, 3), (3, 4), (1, 4)]),
]


@pytest.mark.parametrize("topology", GRAPHS, ids=lambda t: t.name)
def test_matrix_is_symmetric_and_doubly_stochastic_and_contracts(topology: Topology) -> None:
    w = topology.matrix()
    np.testing.assert_array_equal(w, w.T)
    np.testing.assert_allclose(w.sum(axis=0), 1, atol=1e-15)
    assert w.min() >= 0
    away = w - 1 / topology.size
    assert np.linalg.norm(away, 2) == pytest.approx(1 - topology.spectral_gap, abs=1e-12)
    assert topology.spectral_gap > 0


def test_known_spectra() -> None:
    eight = Topology.ring(8)
    assert eight.spectral_gap == pytest.approx(1 - (1 + 2 * np.cos(np.pi / 4)) / 3)
    assert eight.best_diffusion == pytest.approx(1.308, abs=1e-3)  # the figure of the PowerGossip paper's code
    assert Topology.complete(9).spectral_gap == pytest.approx(1)
    assert Topology.exponential(64).spectral_gap > 10 * Topology.ring(64).spectral_gap
    assert max(map(len, Topology.exponential(64).neighbours)) == 11


def test_best_diffusion_contracts_fastest() -> None:
    topology = Topology.ring(8)

    def factor(gamma: float) -> float:
        m = np.eye(8) - gamma * (np.eye(8) - topology.matrix()) - 1 / 8
        return float(np.linalg.norm(m, 2))

    best = factor(topology.best_diffusion)
    assert best < factor(topology.best_diffusion * 0.99)
    assert best < factor(topology.best_diffusion * 1.01)


def test_given_matrix_is_kept() -> None:
    w = Topology.torus(3, 3).matrix()
    again = Topology.of_matrix(w)
    np.testing.assert_allclose(again.matrix(), w, atol=1e-15)
    assert again.neighbours == Topology.torus(3, 3).neighbours


def test_fingerprints_tell_topologies_apart() -> None:
    marks = {t.fingerprint() for t in GRAPHS}
    assert len(marks) == len(GRAPHS)
    assert Topology.ring(8).fingerprint() == Topology.ring(8).fingerprint()


@pytest.mark.parametrize(
    ("matrix", "words"),
    [
        ([[0.5, 0.5], [0.4, 0.6]], "isn't symmetric"),
        ([[0.5, 0.4], [0.4, 0.5]], "sums to 0.9"),
        ([[1.5, -0.5], [-0.5, 1.5]], "negative"),
        (np.eye(3), "isn't connected: node 1"),
        ([[0, 1.0], [1.0, 0]], "bipartite"),
        ([[0.5, np.nan], [np.nan, 0.5]], "aren't finite"),
        (np.ones((2, 3)) / 3, "square"),
    ],
)
def test_bad_matrices_are_refused(matrix: object, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Topology.of_matrix(matrix)


def test_odd_cycles_need_no_weight_of_their_own() -> None:
    w = np.array([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    assert Topology.of_matrix(w).spectral_gap == pytest.approx(0.5)


def test_bad_graphs_are_refused() -> None:
    with pytest.raises(InputError, match="isn't connected: node 2"):
        Topology.of_edges(4, [(0, 1), (2, 3)])
    with pytest.raises(InputError, match="leaves the nodes"):
        Topology.of_edges(3, [(0, 3)])
    with pytest.raises(InputError, match="nodes"):
        Topology.ring(0)
    with pytest.raises(InputError, match="at least one row"):
        Topology.torus(0, 3)

"""Gossip between real processes over gloo: the simulation's bits, and errors that name who is at fault."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import gossip_ranks as ranks
from netweight.comm.gossip.run import Gossip
from netweight.comm.gossip.topology import Topology

WORLD = 4
SCRIPT = Path(ranks.__file__)
ALONE = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}


Said = dict[str, list[str]]


def launch(folder: Path, *cases: str) -> Said:
    """What each rank had to say about each case; all of them ended."""
    command = [sys.executable, str(SCRIPT), str(WORLD), str(folder), *cases]
    done = subprocess.run(command, timeout=240, env=os.environ | ALONE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = {case: [folder / f"{case}-{rank}.txt" for rank in range(WORLD)] for case in cases}
    return {case: [p.read_text() if p.exists() else "gone" for p in paths] for case, paths in said.items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ranks")


@pytest.fixture(scope="module")
def together(folder: Path) -> Said:
    """One group of ranks goes through all that leaves it whole; the last case doesn't."""
    return launch(folder, "same", "trains", "differ", "other_graph", "damages", "announces")


def test_ranks_end_in_the_simulations_bits(together: Said, folder: Path) -> None:
    said = together["same"]
    assert said == [""] * WORLD
    files = [np.load(folder / f"same-{rank}.npz") for rank in range(WORLD)]
    for k, algorithm in enumerate(ranks.ALGORITHMS):
        starts = np.stack([ranks.start(rank) for rank in range(WORLD)])
        run = Gossip(Topology.ring(WORLD), algorithm, seed=3).simulate(starts, ranks.SHAPES)
        for _ in range(ranks.STEPS):
            run.step(np.stack([ranks.gradient(run.x[rank], rank) for rank in range(WORLD)]), ranks.ETA)
        np.testing.assert_array_equal(np.stack([f["x"][k] for f in files]), run.x, err_msg=algorithm.name)
        assert sum(f["sent"][k] for f in files) == run.traffic.nbytes


def test_a_dead_rank_ends_the_others_by_name(tmp_path: Path) -> None:
    said = launch(tmp_path, "dies")["dies"]
    for rank in (1, 3):
        assert f"PeerError: rank {rank} lost its neighbour rank 2" in said[rank]
    assert "PeerError: rank 0 lost its neighbour rank" in said[0]


def test_a_hung_rank_ends_the_others_within_the_timeout(tmp_path: Path) -> None:
    said = launch(tmp_path, "hangs")["hangs"]
    assert all("PeerError" in said[rank] for rank in (0, 1, 3))
    assert said[2] == ""


def test_other_compressors_are_refused_at_the_start(together: Said) -> None:
    for text in together["differ"]:
        assert "PeerError" in text
        assert "gossip compressors" in text
        assert "on rank 1" in text


def test_another_topology_is_refused_at_the_start(together: Said) -> None:
    for text in together["other_graph"]:
        assert "gossip topology" in text
        assert "on rank 3" in text


def test_damage_is_named_and_not_applied(together: Said, folder: Path) -> None:
    said = together["damages"]
    for rank in (0, 2):
        assert "ChecksumError: parameter 'b' from rank 1 at step 0" in said[rank]
        assert np.load(folder / f"damages-{rank}.npz")["same"]


def test_an_absurd_length_is_refused_unread(together: Said) -> None:
    said = together["announces"]
    for rank in (0, 2):
        assert "FormatError: rank 1 announces a message of 1048576 bytes" in said[rank]


def test_training_goes_on_after_a_restart_to_the_same_bits(together: Said, folder: Path) -> None:
    said = together["trains"]
    assert said == [""] * WORLD
    for kind in range(3):
        files = [np.load(folder / f"trains-{rank}-{kind}.npz") for rank in range(WORLD)]
        for f in files:
            np.testing.assert_array_equal(f["whole"], f["resumed"])
        assert not np.array_equal(files[0]["whole"], files[1]["whole"])  # nodes have data of their own
        assert np.abs(files[0]["whole"] - files[1]["whole"]).max() < 0.5

"""Maps over threads and over a Dask cluster: the same results, a lost worker costs its task, nothing is left running."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiny_models
from netweight.errors import BaseMismatchError, InputError, MissingExtraError
from netweight.source import BytesSource
from netweight.text.cluster import Cluster, ClusterError, Threads, workers
from netweight.text.codec import Spread, TextFile, compress_stream
from netweight.text.codec.encoder import Encoder, cut
from netweight.text.codec.many import Coding, compress_texts, decompress_texts
from netweight.text.codec.settings import Effort, Window
from netweight.text.model import load
from netweight.text.ncd.codes import lengths_of
from netweight.text.ncd.pairs import distances
from text_stand_in import story

TEXTS = [f"text {n} of {n % 7} and {n * n % 11} words ".encode() * (1 + n % 5) for n in range(90)]


def slow_square(shared: int, task: int) -> int:
    time.sleep(0.03)
    return shared + task * task


def failing(shared: int, task: int) -> int:
    raise InputError(f"task {task} can't be done")


@pytest.mark.parametrize("count", [1, 3])
def test_threads_give_every_result_once(count: int) -> None:
    found = dict(Threads(count).run(slow_square, 5, range(20)))
    assert found == {n: 5 + n * n for n in range(20)}
    assert list(Threads(count).run(slow_square, 5, [])) == []


@pytest.mark.parametrize("count", [1, 2])
def test_an_error_in_a_task_is_the_callers(count: int) -> None:
    with pytest.raises(InputError, match="can't be done"):
        list(Threads(count).run(failing, 0, range(4)))


def test_threads_stop_when_nobody_listens() -> None:
    before = threading.active_count()
    results = Threads(3).run(slow_square, 0, range(1000))
    next(results)
    results.close()
    assert threading.active_count() == before


@pytest.mark.parametrize("where", ["local:0", "local:two", "local:"])
def test_local_clusters_that_there_are_not(where: str) -> None:
    with pytest.raises(InputError, match="local:N"), workers(where):
        pass


def test_no_scheduler_no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netweight.text.cluster._CONNECT_SECONDS", 1)
    with pytest.raises(ClusterError, match="no Dask scheduler"), workers("tcp://127.0.0.1:9"):
        pass
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with pytest.raises(MissingExtraError, match=r"netweight\[cluster\]"), workers("local:2"):
        pass


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with workers("local:2") as mapped:
        assert isinstance(mapped, Cluster)
        yield mapped


def pids(cluster: Cluster) -> list[int]:
    found: dict[str, int] = cluster._client.run(os.getpid)
    return list(found.values())


def test_a_cluster_gives_the_same_matrix_though_a_worker_is_killed(cluster: Cluster) -> None:
    lengths = lengths_of("zstd:3")
    local = distances(lengths, TEXTS, TEXTS)
    assert np.array_equal(distances(lengths, TEXTS, TEXTS, workers=cluster), local)
    victim, seen = pids(cluster)[0], 0

    def kill(done: int, total: int) -> None:
        nonlocal seen
        seen += 1
        if seen == 5:
            os.kill(victim, signal.SIGKILL)

    assert np.array_equal(distances(lengths, TEXTS, TEXTS, workers=cluster, progress=kill), local)
    assert seen >= 5


def test_a_task_that_is_running_when_its_worker_dies_is_run_again(cluster: Cluster) -> None:
    results: dict[int, int] = {}
    victim: Any = None
    for index, result in cluster.run(slow_square, 7, range(40)):
        results[index] = result
        if victim is None:
            victim = pids(cluster)[0]
            os.kill(victim, signal.SIGKILL)
    assert results == {n: 7 + n * n for n in range(40)}


def test_a_clusters_error_is_the_callers(cluster: Cluster) -> None:
    with pytest.raises(InputError, match="can't be done"):
        list(cluster.run(failing, 0, range(3)))


def test_a_text_is_the_same_file_from_a_cluster(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Also where the model isn't worth its bytes: the choice is the same."""
    name = str(tiny_models.llama(tmp_path / "model"))
    model, text = load(name, threads=1), story(20_000)
    for trials in (2, 100):  # a random model is given up after two blocks, unless nobody looks
        monkeypatch.setattr("netweight.text.codec.encoder._TRIAL_BLOCKS", trials)
        files = []
        for spread in (None, Spread(cluster, name)):
            parts: list[bytes] = []
            progress: list[int] = []
            compress_stream([text], parts.append, model=model, progress=progress.append, spread=spread)
            assert sum(progress) == len(text)
            files.append(b"".join(parts))
        assert files[0] == files[1]
        assert b"".join(TextFile(BytesSource(files[1]), lambda: model).pieces()) == text


def test_blocks_are_the_same_from_a_cluster(cluster: Cluster, tmp_path: Path) -> None:
    name = str(tiny_models.llama(tmp_path / "model"))
    model, effort = load(name, threads=1), Effort(2000, Window(256, 128))
    blocks = list(cut(story(15_000), 2000))
    told: list[int] = []
    here = [Encoder(effort, model).block(b) for b in blocks]
    there = list(Encoder(effort, model, told.append, Spread(cluster, name))._coded(blocks))
    assert there == here
    assert sum(told) == 15_000


def test_a_folder_is_the_same_from_a_cluster_though_a_worker_is_killed(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("netweight.text.codec.encoder._TRIAL_BLOCKS", 100)
    name = str(tiny_models.llama(tmp_path / "model"))
    model = load(name, threads=1)
    texts = [(f"{n}.txt", story(2000 + n, n)) for n in range(6)] + [("empty", b""), ("noise", bytes(range(256)))]
    here = [made for made, _ in compress_texts(texts, Threads(1), Coding(model))]
    victim = pids(cluster)[0]
    there = []
    for n, (made, _) in enumerate(compress_texts(texts, cluster, Coding(name, model.digest))):
        there.append(made)
        if n == 1:
            os.kill(victim, signal.SIGKILL)
    assert there == here
    files = [(label, made) for (label, _), made in zip(texts, there, strict=True)]
    assert list(decompress_texts(files, cluster, Coding(name, model.digest))) == [text for _, text in texts]
    with pytest.raises(BaseMismatchError, match="another one"):
        list(compress_texts(texts, cluster, Coding(name, bytes(32))))


def test_a_workers_other_model_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    name = str(tiny_models.llama(tmp_path / "model"))
    with pytest.raises(BaseMismatchError, match="another one"):
        list(Spread(cluster, name).coded(Effort(2000, Window(256, 128)), bytes(32), [b"text"]))

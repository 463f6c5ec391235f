"""A function mapped over tasks: on threads of this process, or on a Dask cluster of many machines.

    with workers("local:2") as mapped:
        for index, result in mapped.run(function, shared, tasks): ...

`shared` is what every task needs; it is sent to a cluster once. Dask schedules: a task whose worker is lost is run again
elsewhere, and nothing else is. Results are the same wherever they are computed, so is their order once placed by index.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Final, Protocol, TypeVar

from ..errors import InputError, MissingExtraError, NetweightError

S = TypeVar("S")
T = TypeVar("T")
R = TypeVar("R")

LOCAL: Final = "local"
_AHEAD: Final = 2  # tasks that wait for a thread, per thread
_CONNECT_SECONDS: Final = 10


class ClusterError(NetweightError):
    """A Dask cluster can't be reached, or lost a task again and again."""


class Workers(Protocol):
    """Runs `function(shared, task)` for each task; yields (index, result) as they are done."""

    def run(self, function: Callable[[S, T], R], shared: S, tasks: Sequence[T]) -> Iterator[tuple[int, R]]: ...


def in_order(results: Iterator[tuple[int, R]]) -> Iterator[R]:
    """What `Workers.run` yields, by index."""
    done: dict[int, R] = {}
    given = 0
    for index, result in results:
        done[index] = result
        while given in done:
            yield done.pop(given)
            given += 1


@contextmanager
def workers(cluster: str | None = None, threads: int | None = None) -> Iterator[Workers]:
    """Threads of this process (None: as many as cores); with `cluster` a Dask cluster until the end of the block.

    `cluster` is the address of a scheduler (tcp://host:port), or "local" or "local:N" for N processes on this machine.
    Raises InputError, ClusterError, MissingExtraError.
    """
    if cluster is None:
        yield Threads(threads)
        return
    with _client(cluster) as client:
        yield Cluster(client)


class Threads:
    """Threads of this process; with one thread no thread at all."""

    def __init__(self, count: int | None = None) -> None:
        self.count = count or os.cpu_count() or 1

    def run(self, function: Callable[[S, T], R], shared: S, tasks: Sequence[T]) -> Iterator[tuple[int, R]]:
        if self.count == 1 or len(tasks) < 2:
            for index, task in enumerate(tasks):
                yield index, function(shared, task)
            return
        with ThreadPoolExecutor(self.count) as pool:
            waiting: dict[Future[R], int] = {}
            try:
                for index, task in enumerate(tasks):
                    if len(waiting) >= self.count * _AHEAD:
                        yield from _done(waiting)
                    waiting[pool.submit(function, shared, task)] = index
                while waiting:
                    yield from _done(waiting)
            finally:
                for future in waiting:
                    future.cancel()


def _done(waiting: dict[Future[R], int]) -> Iterator[tuple[int, R]]:
    """Wait for one result or more and hand them over."""
    finished, _ = wait(waiting, return_when=FIRST_COMPLETED)
    for future in finished:
        yield waiting.pop(future), future.result()


class Cluster:
    """The workers of a Dask client. A task that is lost with a worker runs again, as often as the scheduler allows."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def run(self, function: Callable[[S, T], R], shared: S, tasks: Sequence[T]) -> Iterator[tuple[int, R]]:
        dask = _distributed()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Sending large graph", UserWarning)
            held = self._client.submit(_held, shared, pure=False)  # a task: lost with its worker, it is made again
            futures = self._client.map(_call, tasks, function=function, shared=held, pure=False)
        places = {future.key: index for index, future in enumerate(futures)}
        try:
            for future in dask.as_completed(futures):
                yield places[future.key], self._result(future)
                future.release()
        finally:
            self._client.cancel([*futures, held], force=True)

    @staticmethod
    def _result(future: Any) -> Any:
        try:
            return future.result()
        except _distributed().KilledWorker as error:
            raise ClusterError(f"a task was lost with its worker again and again: {error}") from None


def _held(shared: S) -> S:
    return shared


def _call(task: T, function: Callable[[S, T], R], shared: S) -> R:
    return function(shared, task)


def _distributed() -> Any:
    try:
        return import_module("distributed")
    except ModuleNotFoundError:
        raise MissingExtraError("distributed", "cluster") from None


@contextmanager
def _client(cluster: str) -> Iterator[Any]:
    dask = _distributed()
    if cluster == LOCAL or cluster.startswith(f"{LOCAL}:"):
        with _local(dask, _processes(cluster)) as local, dask.Client(local) as client:
            yield client
        return
    try:
        client = dask.Client(cluster, timeout=_CONNECT_SECONDS)
    except (OSError, TimeoutError, ValueError) as error:
        raise ClusterError(f"{cluster}: no Dask scheduler answers there: {error}") from None
    with client:
        yield client


def _local(dask: Any, processes: int) -> Any:
    """A LocalCluster whose worker processes stop with it, also those that are busy: nobody needs a warning of that."""
    try:
        return dask.LocalCluster(
            n_workers=processes, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0",
            silence_logs=logging.ERROR,
        )  # fmt: skip
    except RuntimeError as error:
        raise ClusterError(
            f"{processes} worker processes can't be started: {error} (a script that starts some must do its work under "
            "if __name__ == '__main__')"
        ) from error


def _processes(cluster: str) -> int:
    """N of "local:N"; for "local" one a core. Raises InputError."""
    _, _, count = cluster.partition(":")
    if not count and cluster == LOCAL:
        return os.cpu_count() or 1
    if not count.isdecimal() or int(count) < 1:
        raise InputError(f"{cluster!r}: a local cluster is local, or local:N for N processes")
    return int(count)

"""Start the ranks of a benchmark as processes of this machine, or be one that torchrun started."""

from __future__ import annotations

import gc
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from queue import Empty
from typing import Any, Final

from ...errors import InputError, NetweightError, PeerError
from ..tensors import library
from .data import load
from .methods import method
from .worker import Plan, Progress, Row, run_rank

_TIMEOUT: Final = timedelta(minutes=5)
_POLL_SECONDS: Final = 0.2


def started_by_torchrun() -> bool:
    """Whether this process is a rank already."""
    return {"RANK", "WORLD_SIZE", "MASTER_ADDR"} <= os.environ.keys()


def ranks(wanted: int) -> int:
    """How many ranks there will be: torchrun's number, or as many as wanted."""
    return int(os.environ["WORLD_SIZE"]) if started_by_torchrun() else wanted


def run(plan: Plan, world: int, progress: Progress) -> list[Row] | None:
    """The rows of `plan` on `world` ranks over gloo; None on ranks of torchrun other than the first.

    Raises InputError, NotFoundError; PeerError where a rank failed.
    """
    for name in plan.methods:
        method(name)
    load(plan.data, plan.test)  # a file that can't be read is told here, not by every rank
    if plan.steps < 4:
        raise InputError(f"{plan.steps} steps are too few to time: at least 4")
    if started_by_torchrun():
        return _as_rank(plan, progress)
    if world < 2:
        raise InputError("an average needs at least two ranks")
    return _spawned(plan, world, progress)


def _as_rank(plan: Plan, progress: Progress) -> list[Row] | None:
    dist = library().distributed
    dist.init_process_group("gloo", timeout=_TIMEOUT)
    try:
        rank: int = dist.get_rank()
        rows = run_rank(rank, dist.get_world_size(), plan, progress if rank == 0 else _silent)
        _settle()
    finally:
        dist.destroy_process_group()
    return rows if rank == 0 else None


def _settle() -> None:
    """Free what still holds the process group (DDP's reducers lie in cycles) and wait for all ranks: gloo's threads mustn't be
    in use when a rank takes the group down, or the process aborts.
    """
    gc.collect()
    library().distributed.barrier()


def _spawned(plan: Plan, world: int, progress: Progress) -> list[Row]:
    processes: Any = library().multiprocessing
    said = processes.get_context("spawn").Queue()
    with tempfile.TemporaryDirectory(prefix="netweight-bench-") as folder:
        store = f"file://{Path(folder) / 'store'}"
        with _interrupts_wait():
            started: Any = processes.start_processes(
                _rank, (world, plan, store, said), nprocs=world, join=False, start_method="spawn"
            )
        try:
            rows, failure = _watched(started, said, progress)
        finally:  # after Ctrl-C and SIGTERM, too
            _kill(started.processes)
    if rows is None:
        raise PeerError(failure or "the ranks ended without a result")
    return rows


def _watched(started: Any, said: Any, progress: Progress) -> tuple[list[Row] | None, str | None]:
    """The rows and the failure that ranks told until all had ended. Raises PeerError where one failed."""
    processes: Any = library().multiprocessing
    rows: list[Row] | None = None
    failure: str | None = None
    ended = False
    while not ended:
        try:
            ended = started.join(timeout=_POLL_SECONDS)
        except processes.ProcessExitedException as error:
            raise PeerError(f"a rank ended early: {error}") from None
        except processes.ProcessRaisedException as error:
            raise PeerError(failure or str(error).strip()) from None
        for kind, value in _drained(said):
            if kind == "progress":
                progress(*value)
            elif kind == "rows":
                rows = [Row(**row) for row in value]
            else:
                failure = failure or value
    return rows, failure


@contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Hold back Ctrl-C, here and in processes that are started meanwhile: those would tell of it with a traceback each."""
    if sys.platform == "win32":
        yield
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _end_on_interrupt() -> None:
    """In a rank: end without a word, since the process that started it tells."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _kill(processes: list[Any]) -> None:
    """End ranks at once: what they hold is of no use without the others."""
    for process in processes:
        process.kill()
    for process in processes:
        process.join()


def _drained(said: Any) -> list[tuple[str, Any]]:
    out = []
    while True:
        try:
            out.append(said.get_nowait())
        except Empty:
            return out


def _rank(rank: int, world: int, plan: Plan, store: str, said: Any) -> None:
    _end_on_interrupt()
    dist = library().distributed
    dist.init_process_group("gloo", store, timeout=_TIMEOUT, rank=rank, world_size=world)

    def progress(label: str, done: int, total: int) -> None:
        if done % max(1, total // 20) == 0:
            said.put(("progress", (label, done, total)))

    try:
        rows = run_rank(rank, world, plan, progress if rank == 0 else _silent)
        if rank == 0:
            said.put(("rows", [asdict(row) for row in rows]))
        _settle()
    except NetweightError as error:
        said.put(("failure", str(error)))
        raise
    finally:
        dist.destroy_process_group()


def _silent(label: str, done: int, total: int) -> None:
    """Only the first rank tells how far it is."""

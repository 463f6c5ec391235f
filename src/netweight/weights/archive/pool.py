"""Ordered work on several threads with a bounded number of results in flight."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from ...errors import InputError

T = TypeVar("T")
R = TypeVar("R")


def thread_count(threads: int | None) -> int:
    """`threads`, or as many as this process may use; at most 64. Raises InputError for fewer than one."""
    if threads is None:
        threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    if threads < 1:
        raise InputError(f"threads must be at least 1, not {threads}")
    return min(threads, 64)


def ordered_map(work: Callable[[T], R], items: Iterable[T], threads: int) -> Generator[R, None, None]:
    """`map(work, items)` in order; at most `threads + 2` results wait, so memory is bounded.

    Close it (contextlib.closing): only then no thread works any more.
    """
    if threads == 1:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(threads, thread_name_prefix="netweight") as pool:
        waiting: deque[Future[R]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > threads + 1:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

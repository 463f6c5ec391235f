"""Threads: how many, and a map over them."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from typing import Any, Final

from ...errors import InputError

_FEWEST: Final = 8  # fewer rows aren't worth a thread


class Threads:
    """At most `count` threads at work (0: as many as there are cores for us), in our map and in the libraries that we call.

    `torch` is that module if a kernel uses it.
    """

    def __init__(self, count: int, torch: Any = None) -> None:
        if count < 0:
            raise InputError(f"threads: {count} is less than 0")
        self.count = count or len(os.sched_getaffinity(0))
        self._torch = torch
        self._pool = ThreadPoolExecutor(self.count) if self.count > 1 else None
        self._blas: Any = None

    def map(self, function: Callable[[Any], None], items: Iterable[Any]) -> None:
        work = list(items)
        if self._pool is None or len(work) < 2:
            for item in work:
                function(item)
        else:
            deque(self._pool.map(function, work), maxlen=0)

    def over(self, function: Callable[[slice], None], count: int) -> None:
        """Calls `function` for slices that make up 0..count, one a thread if there are enough items."""
        parts = min(self.count, count // _FEWEST) or 1
        ends = [count * i // parts for i in range(parts + 1)]
        self.map(function, [slice(a, b) for a, b in pairwise(ends)])

    @contextmanager
    def limited(self) -> Iterator[None]:
        """Inside, torch uses as many threads as we do, and BLAS one a call: our own map has its calls side by side.

        numpy can't say that to BLAS: the package threadpoolctl does, where it is installed.
        """
        with ExitStack() as stack:
            if self._torch is not None and (before := self._torch.get_num_threads()) != self.count:
                stack.callback(self._torch.set_num_threads, before)
                self._torch.set_num_threads(self.count)
            if (blas := self._controller()) is not None:
                stack.enter_context(blas.limit(limits=1, user_api="blas"))
            yield

    def _controller(self) -> Any:
        if self._blas is None:
            try:
                import threadpoolctl  # type: ignore[import-untyped]
            except ImportError:
                return None
            self._blas = threadpoolctl.ThreadpoolController().select(internal_api="openblas")
        return self._blas

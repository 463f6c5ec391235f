"""One thread that averages bucket after bucket while backward goes on: communication beside computation.

Its collectives have a process group of their own, so that those which DDP starts meanwhile can't come between. A future of
torch would lose the kind of an error, so the errors of a step are raised by a callback at the end of backward, which runs
before DDP's own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from ..tensors import future_of, library

if TYPE_CHECKING:
    import torch


class Lane:
    """Work in order, on a daemon thread: a rank that ends doesn't wait for a lost peer."""

    def __init__(self) -> None:
        self._work: SimpleQueue[tuple[Callable[[], None], Any]] = SimpleQueue()
        self._idle = threading.Event()
        self._left = 0
        self._lock = threading.Lock()
        self._error: Exception | None = None
        threading.Thread(target=self._run, name="netweight-comm", daemon=True).start()

    def start_step(self) -> None:
        """Forget an earlier step's error, and have this step's raised at the end of the backward pass that runs now."""
        self.join()
        self._error = None
        library().autograd.Variable._execution_engine.queue_callback(self.finish)  # noqa: SLF001  as torch's FSDP does

    def submit(self, work: Callable[[], None], buffer: torch.Tensor) -> torch.futures.Future[torch.Tensor]:
        """A future of `buffer` for when `work` is done. After an error nothing more of the step is done."""
        future = future_of(buffer)
        with self._lock:
            self._left += 1
            self._idle.clear()

        def done() -> None:
            future.set_result(buffer)

        self._work.put((work, done))
        return future

    def join(self) -> None:
        """Wait until nothing is left to do."""
        if self._left:
            self._idle.wait()

    def finish(self) -> None:
        """Wait, and raise what went wrong."""
        self.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        while True:
            work, done = self._work.get()
            if self._error is None:
                try:
                    work()
                except Exception as error:  # noqa: BLE001  it is raised by `finish`
                    self._error = error
            done()
            with self._lock:
                self._left -= 1
                if not self._left:
                    self._idle.set()

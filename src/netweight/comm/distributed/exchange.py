"""Collectives of messages over torch.distributed: all to all ranks, each to one rank, sums.

Gloo has neither a gather nor an all-to-all of lists of different lengths, and a collective that is started in a future's
callback gets out of order when there are several buckets. So everything here is called in one order on all ranks and waits
in place: lengths first, then one broadcast a rank, or one uneven all-to-all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import FormatError, InputError, PeerError
from ..compressor import Vector
from ..tensors import library
from .wire import Wire

if TYPE_CHECKING:
    import torch
    from torch.distributed import ProcessGroup

LENGTH_BYTES = 8


class Exchange:
    """The ranks of one process group. Every method is collective: all ranks call it in the same order.

    All raise PeerError when another rank died or doesn't answer in time.
    """

    def __init__(self, group: ProcessGroup | None, wire: Wire, timeout: float | None = None) -> None:
        self._torch = library()
        self._dist = dist = self._torch.distributed
        if not (dist.is_available() and dist.is_initialized()):
            raise InputError("torch.distributed isn't initialised: start with torchrun and call init_process_group")
        self.group, self._wire = group, wire
        self._timeout = None if timeout is None else timedelta(seconds=timeout)
        self.rank, self.world = dist.get_rank(group), dist.get_world_size(group)
        self._on_device = dist.get_backend(group) == "nccl"

    def gather(self, message: bytes, limit: int) -> list[memoryview]:
        """Every rank's message, in the order of ranks. Raises FormatError, naming the rank, for one above `limit` bytes."""
        lengths = self._lengths(np.full(self.world, len(message), np.int64), limit)
        buffers = [self._bytes(message) if r == self.rank else self._empty(n) for r, n in enumerate(lengths)]
        works = [self._broadcast(buffer, r) for r, buffer in enumerate(buffers) if buffer.numel()]
        for work in works:
            self._wait(work)
        self._wire.received += sum(lengths) - len(message)
        return [_view(buffer) for buffer in buffers]

    def gather_fixed(self, message: bytes, capacity: int) -> list[memoryview]:
        """Every rank's message of at most `capacity` bytes, each padded to that length, in one collective."""
        padded = len(message).to_bytes(LENGTH_BYTES, "little") + message
        padded += bytes(capacity - len(message))
        buffers = [self._empty(len(padded)) for _ in range(self.world)]
        self._wait(self._call(self._dist.all_gather, buffers, self._bytes(padded)))
        self._wire.lengths += LENGTH_BYTES
        self._wire.padding += capacity - len(message)
        self._wire.received += (self.world - 1) * len(padded)
        return [self._unpadded(_view(buffer), r) for r, buffer in enumerate(buffers)]

    def scatter(self, messages: Sequence[bytes], limit: int) -> list[memoryview]:
        """Send `messages[r]` to rank r; what each rank sent here, in the order of ranks."""
        mine = [len(message) for message in messages]
        lengths = self._lengths(np.array(mine, np.int64), limit)
        out = self._empty(sum(lengths))
        self._wait(self._call(self._dist.all_to_all_single, out, self._bytes(b"".join(messages)), lengths, mine))
        self._wire.received += sum(lengths) - mine[self.rank]
        whole, ends = _view(out), np.cumsum(lengths).tolist()
        return [whole[end - n : end] for end, n in zip(ends, lengths, strict=True)]

    def add(self, x: Vector) -> Vector:
        """The sum over ranks of vectors of one length: the same bits on all ranks, in an order that the backend chooses."""
        tensor = self._placed(self._torch.from_numpy(x.copy()))
        self._wait(self._call(self._dist.all_reduce, tensor))
        self._wire.ring(x.nbytes, self.world)
        return tensor.cpu().numpy()

    def post(self, message: bytes, to: int) -> Callable[[], None]:
        """Begin to send `message` to rank `to` alone; call the result to wait until it is there. Not collective."""
        length = self._placed(self._torch.tensor([len(message)], dtype=self._torch.int64))
        parts = [length, self._bytes(message)] if message else [length]
        works = [self._call_alone(self._dist.isend, part, self._global(to)) for part in parts]
        self._wire.lengths += LENGTH_BYTES

        def wait() -> None:
            for work, _ in zip(works, parts, strict=True):  # `parts` must live until they have left
                self._wait(work)

        return wait

    def fetch(self, source: int, limit: int) -> memoryview:
        """The next message that rank `source` posts. Raises FormatError for one above `limit` bytes."""
        length = self._placed(self._torch.zeros(1, dtype=self._torch.int64))
        self._wait(self._call_alone(self._dist.irecv, length, self._global(source)))
        announced = int(length)
        if not 0 <= announced <= limit:
            raise FormatError(f"rank {source} announces a message of {announced} bytes; at most {limit} make sense")
        buffer = self._empty(announced)
        if announced:
            self._wait(self._call_alone(self._dist.irecv, buffer, self._global(source)))
        self._wire.received += LENGTH_BYTES + announced
        return _view(buffer)

    # parts

    def _lengths(self, mine: np.ndarray[Any, Any], limit: int) -> list[int]:
        """Each rank's length for this one. `mine[r]` is what goes to rank r."""
        out = self._placed(self._torch.zeros(self.world, dtype=self._torch.int64))
        self._wait(self._call(self._dist.all_to_all_single, out, self._placed(self._torch.from_numpy(mine))))
        self._wire.lengths += LENGTH_BYTES * self.world
        self._wire.received += LENGTH_BYTES * (self.world - 1)
        lengths: list[int] = out.cpu().tolist()
        for rank, length in enumerate(lengths):
            if not 0 <= length <= limit:
                raise FormatError(f"rank {rank} announces a message of {length} bytes; at most {limit} make sense")
        return lengths

    def _unpadded(self, padded: memoryview, rank: int) -> memoryview:
        length = int.from_bytes(padded[:LENGTH_BYTES], "little")
        if length > len(padded) - LENGTH_BYTES:
            raise FormatError(f"rank {rank} announces {length} bytes in a message of {len(padded) - LENGTH_BYTES}")
        return padded[LENGTH_BYTES : LENGTH_BYTES + length]

    def _broadcast(self, buffer: torch.Tensor, rank: int) -> Any:
        return self._call(self._dist.broadcast, buffer, self._global(rank))

    def _global(self, rank: int) -> int:
        return rank if self.group is None else self._dist.get_global_rank(self.group, rank)

    def _call_alone(self, transfer: Any, buffer: torch.Tensor, rank: int) -> Any:
        try:
            return transfer(buffer, rank, group=self.group)
        except (RuntimeError, ValueError) as error:
            raise self._lost(error) from error

    def _call(self, collective: Any, *arguments: Any) -> Any:
        try:
            return collective(*arguments, group=self.group, async_op=True)
        except (RuntimeError, ValueError) as error:
            raise self._lost(error) from error

    def _wait(self, work: Any) -> None:
        try:
            work.wait() if self._timeout is None else work.wait(self._timeout)
        except RuntimeError as error:
            raise self._lost(error) from error

    def _lost(self, error: Exception) -> PeerError:
        reason = " ".join(str(error).split())
        return PeerError(
            f"rank {self.rank} of {self.world} lost the others: a rank died or didn't answer in time; look for the first "
            f"error among the ranks. The backend says: {reason[:300]}"
        )

    def _placed(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.cuda() if self._on_device else tensor

    def _bytes(self, data: bytes) -> torch.Tensor:
        if not data:
            return self._empty(0)
        return self._placed(self._torch.frombuffer(bytearray(data), dtype=self._torch.uint8))

    def _empty(self, length: int) -> torch.Tensor:
        return self._placed(self._torch.empty(length, dtype=self._torch.uint8))


def _view(buffer: torch.Tensor) -> memoryview:
    return memoryview(buffer.cpu().numpy())

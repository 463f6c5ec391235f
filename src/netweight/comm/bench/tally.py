"""Bytes on the wire, counted where they are handed to torch.distributed's collectives, whoever calls them."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Final, Self

from ..tensors import library

_INPUT: Final = {"broadcast": 0, "all_gather": 1, "all_to_all_single": 1, "all_reduce": 0}


class Tally:
    """A context manager. `handed`: bytes of what this rank gave to collectives. `received`: bytes that came from others; for
    a sum of n bytes over w ranks 2 n (w - 1) / w, as in the ring algorithm.
    """

    def __init__(self) -> None:
        self.handed, self.received = 0, 0.0
        self._dist: Any = library().distributed
        self._kept: dict[str, Any] = {}

    def __enter__(self) -> Self:
        for name, place in _INPUT.items():
            self._kept[name] = getattr(self._dist, name)
            setattr(self._dist, name, self._counting(name, self._kept[name], place))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name, function in self._kept.items():
            setattr(self._dist, name, function)

    def reset(self) -> None:
        """Count from zero again."""
        self.handed, self.received = 0, 0.0

    def _counting(self, name: str, function: Any, place: int) -> Any:
        rank, world = self._dist.get_rank(), self._dist.get_world_size()

        def counted(*arguments: Any, **options: Any) -> Any:
            given = arguments[place]
            nbytes = given.numel() * given.element_size()
            if name == "broadcast" and arguments[1] != rank:
                self.received += nbytes
            else:
                self.handed += nbytes
                self.received += self._incoming(name, arguments, nbytes, rank, world)
            return function(*arguments, **options)

        return counted

    @staticmethod
    def _incoming(name: str, arguments: tuple[Any, ...], nbytes: int, rank: int, world: int) -> float:
        if name == "all_reduce":
            return 2 * nbytes * (world - 1) / world
        if name == "all_gather":
            return float(nbytes * (world - 1))
        if name == "all_to_all_single":
            out = arguments[0]
            own = arguments[2][rank] if len(arguments) > 2 else out.shape[0] // world
            others = out.numel() - own * out.numel() // max(1, out.shape[0])
            return float(others * out.element_size())
        return 0.0

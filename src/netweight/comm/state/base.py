"""What all states share: a policy, memories by name, steps that happen as a whole, checkpoints.

Names are those of parameters (or of rows at a stage boundary), never positions, so a new order of buckets or a restart
changes nothing. What a step changes is kept aside until `complete`: a step that fails leaves no trace, and a checkpoint
that is written after the failure is the state before it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

import numpy as np
import xxhash

from ...errors import InputError
from ..compressor import Compressor, Vector
from ..policy import Policy, Role, policy_of

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup
    from torch.nn import Module

    from ..distributed.session import Session
    from ..distributed.wire import Wire

NonFinite = Literal["raise", "pass"]
_VERSION: Final = 1


class State(ABC):
    """A compressor or a policy with memory around it: the state of `ddp_hook`, of `fsdp_hook` and of `PipelineLink`.

    seed          all randomness follows from it, the step, the sender and the name
    on_nonfinite  "raise": a gradient with NaN or infinities stops every rank with an error that names rank and parameter;
                  "pass": that parameter is sent as it is at that step, so every rank sees the NaN (for a GradScaler)
    capacity      bytes of a message of fixed length; None (usual): lengths first, then messages of their own length
    group         the ranks that average; None for all
    model         whose parameter names are used, as `bind` does
    timeout       seconds to wait for other ranks; None for the process group's own limit
    in_parts      for many ranks: each averages its part of every vector, and the means are compressed once more; only for
                  states that `may_average_in_parts`, and for messages of their own length
    overlap       `ddp_hook` communicates on a thread of its own while backward goes on
    """

    kind: ClassVar[str]
    slots: ClassVar[tuple[str, ...]] = ()
    """The names of the memories."""
    may_average_in_parts: ClassVar[bool] = False
    """Whether one memory a name serves senders of vectors and senders of means alike."""

    def __init__(
        self,
        policy: Policy | Compressor,
        *,
        seed: int = 0,
        on_nonfinite: NonFinite = "raise",
        capacity: int | None = None,
        group: ProcessGroup | None = None,
        model: Module | None = None,
        timeout: float | None = None,
        in_parts: bool = False,
        overlap: bool = False,
    ) -> None:
        if on_nonfinite not in {"raise", "pass"}:
            raise InputError(f"on_nonfinite is 'raise' or 'pass', not {on_nonfinite!r}")
        if capacity is not None and capacity < 1:
            raise InputError(f"a capacity of {capacity} bytes holds no message")
        if in_parts and not self.may_average_in_parts:
            raise InputError(f"{self.kind} can't average in parts: the means have no memory of their own there")
        if in_parts and capacity is not None:
            raise InputError("in_parts sends messages of their own length: leave out the capacity")
        self.policy, self.in_parts = policy_of(policy), in_parts
        self.seed, self.on_nonfinite, self.capacity = seed, on_nonfinite, capacity
        self.group, self.timeout, self.overlap = group, timeout, overlap
        self.step = 0
        self._memory: dict[str, dict[str, Vector]] = {slot: {} for slot in self.slots}
        self._pending: list[tuple[str, str, Vector]] = []
        self._session: Session | None = None
        if model is not None:
            self.bind(model)

    # what a kind of state decides

    @abstractmethod
    def outgoing(self, name: str, x: Vector) -> Vector | None:
        """What the sender compresses in place of `x`; None when there is nothing to send. Changes nothing."""

    @abstractmethod
    def sent(self, name: str, vector: Vector, decoded: Vector) -> None:
        """The sender's memory after `vector` was seen by the receivers as `decoded`."""

    @abstractmethod
    def received(self, name: str, mean: Vector) -> Vector:
        """The receiver's estimate of the mean of all x, from the mean of what was decoded; its memory with it."""

    def compressor(self, name: str, numel: int, role: Role) -> Compressor:
        """What `name` is compressed with at this step."""
        return self.policy.compressor(name, numel, role)

    # memory

    def remembered(self, slot: str, name: str, like: Vector) -> Vector | None:
        """The committed memory, None before the first. Raises InputError if `name` had another length or dtype."""
        value = self._memory[slot].get(name)
        if value is not None and (value.shape != like.shape or value.dtype != like.dtype):
            raise InputError(
                f"{name!r} was {value.dtype} [{value.size}] and is {like.dtype} [{like.size}] now: is this checkpoint "
                "of another model?"
            )
        return value

    def remember(self, slot: str, name: str, value: Vector) -> None:
        """Keep `value` for when the step is complete; it must not be written to afterwards."""
        self._pending.append((slot, name, value))

    def complete(self, *, step: bool = True) -> None:
        """What was remembered counts from now on. Without `step` the number of the step stays."""
        for slot, name, value in self._pending:
            self._memory[slot][name] = value
        self._pending.clear()
        self.step += step

    def discard(self) -> None:
        """Forget what an unfinished step remembered."""
        self._pending.clear()

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Within, an error makes the state forget what the step has remembered so far."""
        try:
            yield
        except BaseException:
            self.discard()
            raise

    def memory_bytes(self) -> int:
        """Bytes that the memories take."""
        return sum(value.nbytes for names in self._memory.values() for value in names.values())

    def seed_of(self, sender: int, name: str) -> int:
        """The seed of one payload, in [0, 2^63): both sides can tell it."""
        return xxhash.xxh64_intdigest(f"{self.seed}\0{sender}\0{name}\0{self.step}".encode()) >> 1

    # ranks

    def average(
        self,
        names: Sequence[str],
        vectors: Sequence[Vector],
        shapes: Sequence[tuple[int, ...]],  # noqa: ARG002
    ) -> list[Vector]:
        """The estimates of the means over ranks, same lengths and dtypes (distributed.averaging). `shapes` are the tensors'."""
        from ..distributed.averaging import average

        return average(self, names, vectors)

    def bind(self, model: Module) -> None:
        """Take the parameters' names from `model` (wrapped in DDP or not)."""
        self.session.bind(model)

    @property
    def session(self) -> Session:
        """The torch side (distributed.session.Session): names, wire, handshake; made when first used."""
        if self._session is None:
            from ..distributed.session import Session

            self._session = Session(self.group, self.timeout, overlap=self.overlap)
        return self._session

    @property
    def wire(self) -> Wire:
        """What this rank has put on the wire (distributed.wire.Wire)."""
        return self.session.wire

    def settings(self) -> dict[str, Any]:
        """All that ranks must agree on, JSON-able."""
        fixed = {"state": self.kind, "seed": self.seed, "capacity": self.capacity, "on_nonfinite": self.on_nonfinite}
        fixed["in_parts"] = self.in_parts
        return fixed | {"step": self.step, "policy": self.policy.to_dict()}

    # checkpoints

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs: numbers, strings and torch tensors, as torch.save with weights_only wants them.

        Each rank's memory is its own, so each rank saves its own.
        """
        from ..tensors import to_torch

        memory = {slot: {k: to_torch(v) for k, v in names.items()} for slot, names in self._memory.items()}
        return {"version": _VERSION, "kind": self.kind, "step": self.step, "memory": memory} | self.session.place()

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Go on from `saved`. Raises InputError, before anything changes, for another kind, rank or number of ranks."""
        from ..tensors import to_numpy

        place = self.session.place()
        if saved.get("version") != _VERSION or saved.get("kind") != self.kind:
            raise InputError(
                f"a checkpoint of {saved.get('kind')!r} (version {saved.get('version')}) isn't {self.kind}'s"
            )
        if any(saved.get(key) != value for key, value in place.items()):
            raise InputError(
                f"a checkpoint of rank {saved.get('rank')} of {saved.get('world')} holds another memory than that of rank "
                f"{place['rank']} of {place['world']}: each rank loads its own; with other ranks start with a fresh state"
            )
        if set(saved["memory"]) != set(self.slots):
            raise InputError(f"this checkpoint holds {sorted(saved['memory'])}, not {sorted(self.slots)}")
        memory = {slot: {k: to_numpy(v) for k, v in names.items()} for slot, names in saved["memory"].items()}
        self._memory, self.step = memory, int(saved["step"])
        self._pending.clear()
        self.session.greeted = False


def plus(x: Vector, y: Vector | None) -> Vector:
    """The sum, or `x` itself."""
    return x if y is None else np.add(x, y)


def minus(x: Vector, y: Vector | None) -> Vector:
    """The difference, or `x` itself."""
    return x if y is None else np.subtract(x, y)

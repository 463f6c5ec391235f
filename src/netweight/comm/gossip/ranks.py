"""One node a rank over torch.distributed: messages go to the neighbours and to nobody else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from ...errors import FormatError, InputError, PeerError
from ..distributed.exchange import Exchange
from ..distributed.session import Session
from ..distributed.wire import Wire
from .channel import limit
from .network import LENGTH_BYTES, Network
from .node import Algorithm, Incoming, Outgoing, Setting

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

_LENGTH_TAG: Final = 7301
_MESSAGE_TAG: Final = 7302
"""Apart from each other and from what else the program sends between the same ranks."""


class RankNetwork(Network):
    """This rank's place in the topology. Made by all ranks at once; they compare their settings first.

    Raises InputError if the group isn't as large as the topology, PeerError if ranks differ or one is lost.
    """

    def __init__(
        self, algorithm: Algorithm, setting: Setting, group: ProcessGroup | None = None, timeout: float | None = None
    ) -> None:
        session = Session(group, timeout)
        settings = _settings(algorithm, setting)
        session.greet(settings)
        self._line = _Line(group, Wire(), timeout)
        if self._line.world != setting.topology.size:
            raise InputError(
                f"{setting.topology.name} has {setting.topology.size} nodes, and there are {self._line.world} ranks"
            )
        super().__init__(setting.topology, [self._line.rank])
        self.traffic.handshake = session.wire.handed
        self._limit = limit(setting.slots, setting.dtype)

    def exchange(self, outgoing: Sequence[Outgoing]) -> Sequence[Incoming]:
        """Raises PeerError, naming the neighbour that is lost, and FormatError, naming the one that sends nonsense."""
        (message,) = outgoing
        neighbours = self.topology.neighbours[self._line.rank]
        sent = {j: message if isinstance(message, bytes) else message[j] for j in neighbours}
        return [self._line.swap(sent, self._limit)]


def _settings(algorithm: Algorithm, setting: Setting) -> dict[str, Any]:
    """What ranks must share, as the handshake names it."""
    compressors = zip(setting.slots, setting.channel.compressors, strict=True)
    return {
        "gossip topology": [setting.topology.name, setting.topology.fingerprint()],
        "gossip algorithm": [algorithm.name, *algorithm.constants()],
        "gossip compressors": {slot.name: [c.name, c.fingerprint()] for slot, c in compressors},
        "gossip parameters": {slot.name: list(slot.shape) for slot in setting.slots},
        "gossip dtype": setting.dtype.name,
        "gossip seed": setting.seed,
    }


class _Line(Exchange):
    """Messages between neighbours, one each way."""

    def swap(self, messages: Mapping[int, bytes], limit: int) -> dict[int, memoryview]:
        """Send `messages[j]` to rank j and receive one from each of the same ranks: lengths first, then the bytes."""
        too_long = next((j for j, m in messages.items() if len(m) >= 1 << 8 * LENGTH_BYTES), None)
        if too_long is not None:
            raise InputError(f"a message of {len(messages[too_long])} bytes is too long")
        lengths = {j: len(m).to_bytes(LENGTH_BYTES, "little") for j, m in messages.items()}
        announced = self._pass(lengths, dict.fromkeys(messages, LENGTH_BYTES), _LENGTH_TAG)
        expected = {j: int.from_bytes(n, "little") for j, n in announced.items()}
        for j, length in expected.items():
            if length > limit:
                raise FormatError(f"rank {j} announces a message of {length} bytes; at most {limit} make sense")
        return self._pass(messages, expected, _MESSAGE_TAG)

    def _pass(self, messages: Mapping[int, bytes], expected: Mapping[int, int], tag: int) -> dict[int, memoryview]:
        buffers = {j: self._empty(length) for j, length in expected.items()}
        p2p, dist = self._dist.P2POp, self._dist
        operations = []
        for j, message in messages.items():
            peer = j if self.group is None else dist.get_global_rank(self.group, j)
            operations.append(p2p(dist.irecv, buffers[j], peer, self.group, tag))
            operations.append(p2p(dist.isend, self._bytes(message), peer, self.group, tag))
        if not operations:
            return {}
        try:
            works = dist.batch_isend_irecv(operations)
        except (RuntimeError, ValueError) as error:
            raise self._missing(list(messages), error) from error
        ranks: list[int | None] = [j for j in messages for _ in range(2)]
        if len(works) != len(operations):  # NCCL has one for the whole batch
            ranks = [None] * len(works)
        for who, work in zip(ranks, works, strict=True):
            try:
                work.wait() if self._timeout is None else work.wait(self._timeout)
            except RuntimeError as error:
                raise self._missing(list(messages) if who is None else [who], error) from error
        return {j: memoryview(buffer.cpu().numpy()) for j, buffer in buffers.items()}

    def _missing(self, ranks: Sequence[int], error: Exception) -> PeerError:
        who = f"rank {ranks[0]}" if len(ranks) == 1 else f"one of ranks {', '.join(map(str, ranks))}"
        reason = " ".join(str(error).split())
        return PeerError(
            f"rank {self.rank} lost its neighbour {who}: it died, ended with an error of its own or didn't answer in time. "
            f"The backend says: {reason[:300]}"
        )

"""What a pickle would build, without building it: an interpreter of pickle opcodes that can't call anything.

Classes and functions become `Global`, every call of one becomes an inert `Made`, persistent ids become `Persistent`.
No import, no attribute access, no hashing of foreign values; the number of opcodes and the memory are bounded.
After the opcode descriptions of `pickletools`, protocols 0 to 5.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Final, NamedTuple

from ...errors import BombError, FormatError, TruncatedError
from .pickle_machine import Dict, Machine, Persistent

MAX_OPCODES: Final = 30_000_000
MAX_MEMORY: Final = 1 << 29

_I32: Final = Struct("<i")
_F64: Final = Struct(">d")
_STOP: Final = ord(".")
Action = Callable[[Machine], None]


def _constant(value: object) -> Action:
    return lambda m: m.push(value)


def _integer_line(m: Machine) -> None:
    text = m.line()
    m.push({"00": False, "01": True}[text] if text in ("00", "01") else int(text.removesuffix("L")))


def _text(width: int) -> Action:
    return lambda m: m.push(m.take(m.number(width)).decode("utf-8", "surrogatepass"))


def _latin(width: int) -> Action:
    return lambda m: m.push(m.take(m.number(width)).decode("latin-1"))


def _bytes(width: int) -> Action:
    """Byte strings are passed over: no tensor hides in one that we could name."""

    def act(m: Machine) -> None:
        m.skip(m.number(width))
        m.push(None)

    return act


def _long(width: int) -> Action:
    return lambda m: m.push(int.from_bytes(m.take(m.number(width)), "little", signed=True))


def _extension(width: int) -> Action:
    return lambda m: m.global_of("copyreg", f"extension {m.number(width)}")


_NAMED: Final[dict[str, Action]] = {
    "(": Machine.mark,
    "0": Machine.pop_or_unmark,
    "1": lambda m: m.pop_mark().clear(),
    "2": Machine.dup,
    "N": _constant(None),
    "I": _integer_line,
    "L": _integer_line,
    "F": lambda m: m.push(float(m.line())),
    "S": lambda m: m.push(m.line().strip("'\"")),
    "V": lambda m: m.push(m.line("raw-unicode-escape")),
    "J": lambda m: m.push(_I32.unpack(m.take(4))[0]),
    "K": lambda m: m.push(m.number(1)),
    "M": lambda m: m.push(m.number(2)),
    "G": lambda m: m.push(_F64.unpack(m.take(8))[0]),
    "T": _latin(4),
    "U": _latin(1),
    "X": _text(4),
    "B": _bytes(4),
    "C": _bytes(1),
    "]": lambda m: m.push_container([]),
    "l": lambda m: m.push_container(m.pop_mark()),
    "a": Machine.append_one,
    "e": Machine.append_many,
    ")": _constant(()),
    "t": lambda m: m.push_container(tuple(m.pop_mark())),
    "}": lambda m: m.push_container(Dict([])),
    "d": lambda m: m.push_container(Dict(m.pop_mark())),
    "s": Machine.set_one,
    "u": Machine.set_many,
    "g": lambda m: m.get(int(m.line())),
    "h": lambda m: m.get(m.number(1)),
    "j": lambda m: m.get(m.number(4)),
    "p": lambda m: m.put(int(m.line())),
    "q": lambda m: m.put(m.number(1)),
    "r": lambda m: m.put(m.number(4)),
    "c": lambda m: m.global_of(m.line(), m.line()),
    "R": Machine.make,
    "b": Machine.build,
    "i": Machine.make_instance,
    "o": Machine.make_object,
    "P": lambda m: m.persistent_of(m.line()),
    "Q": lambda m: m.persistent_of(m.pop()),
}
_TABLE: Final[dict[int, Action]] = {ord(k): action for k, action in _NAMED.items()} | {
    0x80: lambda m: m.skip(1),  # PROTO
    0x81: Machine.make,  # NEWOBJ
    0x82: _extension(1),
    0x83: _extension(2),
    0x84: _extension(4),
    0x85: lambda m: m.tuple_of(1),
    0x86: lambda m: m.tuple_of(2),
    0x87: lambda m: m.tuple_of(3),
    0x88: _constant(True),
    0x89: _constant(False),
    0x8A: _long(1),
    0x8B: _long(4),
    0x8C: _text(1),
    0x8D: _text(8),
    0x8E: _bytes(8),
    0x8F: lambda m: m.push_container([]),  # EMPTY_SET
    0x90: Machine.append_many,  # ADDITEMS
    0x91: lambda m: m.push_container(m.pop_mark()),  # FROZENSET
    0x92: Machine.make_with_keywords,
    0x93: Machine.stack_global,
    0x94: Machine.memoize,
    0x95: lambda m: m.skip(8),  # FRAME
    0x96: _bytes(8),  # BYTEARRAY8
}


class Loaded(NamedTuple):
    """The root object, all persistent ids in the order of the file, and the pickle's length in bytes."""

    root: object
    persistent: list[Persistent]
    nbytes: int


def load(data: bytes, more: Callable[[int], bytes] | None = None) -> Loaded:
    """Interpret the pickle that `data` starts with.

    Where `data` ends too early, `more(len(data))` is asked for a longer piece from the same start; one that isn't
    longer is the end. Raises FormatError: TruncatedError if the pickle has no end, BombError past `MAX_OPCODES` or
    `MAX_MEMORY`.
    """
    machine, table = Machine(data), _TABLE
    try:
        for _ in range(MAX_OPCODES):
            start = machine.at
            try:
                opcode = machine.opcode()
                if opcode == _STOP:
                    return Loaded(machine.pop(), machine.persistent, machine.at)
                table[opcode](machine)
            except TruncatedError:  # steps take what they need from the data before they change anything
                if more is None or not machine.restart(start, more(len(machine.data))):
                    raise
            if machine.spent > MAX_MEMORY:
                raise BombError(f"a pickle of more than {MAX_MEMORY} bytes once it is read")
    except (IndexError, KeyError, ValueError) as error:
        raise FormatError(f"malformed pickle before byte {machine.at}: {type(error).__name__}") from None
    raise BombError(f"a pickle of more than {MAX_OPCODES} opcodes")

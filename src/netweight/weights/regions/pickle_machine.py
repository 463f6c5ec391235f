"""The stack machine of pickle, with inert values for all that a pickle could call, and the steps it can take."""

from __future__ import annotations

from typing import Final, NamedTuple

from ...errors import FormatError, TruncatedError

_CONTAINER_BYTES: Final = 100
_VALUE_BYTES: Final = 40
_MAX_MEMO_INDEX: Final = 1 << 32


class Global(NamedTuple):
    """A class or function by name; never looked up."""

    module: str
    name: str


class Persistent:
    """A persistent id: what PyTorch writes for a storage."""

    __slots__ = ("pid",)

    def __init__(self, pid: object) -> None:
        self.pid = pid


class Dict:
    """A dict as a flat list: key, value, key, value."""

    __slots__ = ("items",)

    def __init__(self, items: list[object]) -> None:
        self.items = items


class Made:
    """`callee(*args)` that was not called, and what was then to be put into it."""

    __slots__ = ("args", "callee", "elements", "items", "state")

    def __init__(self, callee: object, args: object) -> None:
        self.callee = callee
        self.args = args
        self.state: object = None
        self.items: list[object] = []
        self.elements: list[object] = []


class Machine:
    """Stack, memo and position `at` in `data`.

    `persistent` holds all persistent ids in the order of the file; `spent` estimates the bytes of all values made. The
    steps raise TruncatedError where `data` ends too early, and FormatError, IndexError, KeyError or ValueError for
    what no pickler writes.
    """

    def __init__(self, data: bytes) -> None:
        self.at = 0
        self.spent = 0
        self.persistent: list[Persistent] = []
        self.data = data
        self._stack: list[object] = []
        self._marks: list[list[object]] = []
        self._memo: dict[int, object] = {}

    def opcode(self) -> int:
        if self.at >= len(self.data):
            raise TruncatedError("the pickle ends before its STOP")
        self.at += 1
        return self.data[self.at - 1]

    def restart(self, at: int, data: bytes) -> bool:
        """Go on at `at` with longer `data`; False if it isn't longer."""
        longer = len(data) > len(self.data)
        self.at, self.data = at, data
        return longer

    def take(self, length: int) -> bytes:
        start, end = self.at, self.at + length
        if end > len(self.data):
            raise TruncatedError(f"the pickle announces {length} bytes at byte {start}")
        self.at = end
        self.spent += length
        return self.data[start:end]

    def number(self, width: int) -> int:
        return int.from_bytes(self.take(width), "little")

    def line(self, encoding: str = "utf-8") -> str:
        end = self.data.find(b"\n", self.at)
        if end < 0:
            raise TruncatedError("the pickle ends within a line")
        text = self.data[self.at : end].decode(encoding, "surrogateescape")
        self.spent += len(text)
        self.at = end + 1
        return text

    def skip(self, length: int) -> None:
        if length > len(self.data) - self.at:
            raise TruncatedError(f"the pickle announces {length} bytes at byte {self.at}")
        self.at += length

    def push(self, value: object) -> None:
        self.spent += _VALUE_BYTES
        self._stack.append(value)

    def push_container(self, value: object) -> None:
        self.spent += _CONTAINER_BYTES
        self._stack.append(value)

    def pop(self) -> object:
        return self._stack.pop()

    def pop_mark(self) -> list[object]:
        items, self._stack = self._stack, self._marks.pop()
        return items

    def mark(self) -> None:
        self.spent += _CONTAINER_BYTES
        self._marks.append(self._stack)
        self._stack = []

    def pop_or_unmark(self) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self.pop_mark()

    def dup(self) -> None:
        self._stack.append(self._stack[-1])

    def get(self, index: int) -> None:
        self._stack.append(self._memo[index])

    def put(self, index: int) -> None:
        if not 0 <= index < _MAX_MEMO_INDEX:
            raise FormatError(f"memo index {index} in a pickle")
        self._memo[index] = self._stack[-1]

    def memoize(self) -> None:
        self.put(len(self._memo))

    def tuple_of(self, count: int) -> None:
        items = tuple(self._stack[-count:])
        if len(items) < count:
            raise IndexError
        del self._stack[-count:]
        self.push_container(items)

    def append(self, items: list[object]) -> None:
        target = self._stack[-1]
        if isinstance(target, list):
            target.extend(items)
        elif isinstance(target, Made):
            target.elements.extend(items)

    def append_one(self) -> None:
        self.append([self._stack.pop()])

    def append_many(self) -> None:
        self.append(self.pop_mark())

    def set_items(self, items: list[object]) -> None:
        target = self._stack[-1]
        if len(items) % 2:
            raise FormatError("a key without a value in a pickle")
        if isinstance(target, (Dict, Made)):
            target.items.extend(items)

    def set_one(self) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self.set_items([key, value])

    def set_many(self) -> None:
        self.set_items(self.pop_mark())

    def global_of(self, module: object, name: object) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise FormatError("a class without a name in a pickle")
        self.push_container(Global(module, name))

    def stack_global(self) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        self.global_of(module, name)

    def make(self) -> None:
        args, callee = self._stack.pop(), self._stack.pop()
        self.push_container(Made(callee, args))

    def make_with_keywords(self) -> None:
        self._stack.pop()
        self.make()

    def make_instance(self) -> None:
        module, name = self.line(), self.line()
        self.push_container(Made(Global(module, name), tuple(self.pop_mark())))

    def make_object(self) -> None:
        callee, *args = self.pop_mark()
        self.push_container(Made(callee, tuple(args)))

    def build(self) -> None:
        state, target = self._stack.pop(), self._stack[-1]
        if isinstance(target, Made):
            target.state = state

    def persistent_of(self, pid: object) -> None:
        found = Persistent(pid)
        self.persistent.append(found)
        self.push_container(found)

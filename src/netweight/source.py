"""Random access to the bytes of an input, in bounded memory, noticing when a file changes underneath.

Files are read with pread instead of being mapped: a mapped file that someone truncates kills the process (SIGBUS), and
its pages count as our memory.
"""

from __future__ import annotations

import os
import stat
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from .errors import InputChangedError, InputError, NotFoundError


class Source(Protocol):
    """`size` bytes; `read(offset, length)` gives exactly `length` of them as a uint8 array that may be read-only."""

    name: str

    @property
    def size(self) -> int: ...

    def read(self, offset: int, length: int) -> NDArray[np.uint8]: ...


class BytesSource:
    """Bytes in memory as a Source."""

    def __init__(self, data: bytes | bytearray | memoryview | NDArray[np.uint8], name: str = "<memory>") -> None:
        self.name = name
        self._data = np.frombuffer(data, np.uint8)

    @property
    def size(self) -> int:
        return self._data.size

    def read(self, offset: int, length: int) -> NDArray[np.uint8]:
        if offset < 0 or length < 0 or offset + length > self.size:
            raise InputError(f"{self.name}: no {length} bytes at {offset} in {self.size}")
        return self._data[offset : offset + length]


class FileSource:
    """A regular file as a Source. Raises NotFoundError, InputError; InputChangedError if it changes meanwhile."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.name = os.fspath(path)
        try:
            # a pipe without a writer would block for ever if it were opened otherwise
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            raise NotFoundError(f"{self.name}: no such file") from None
        except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
            raise InputError(f"{self.name}: can't be read: {getattr(error, 'strerror', error)}") from None
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise InputError(f"{self.name}: not a regular file")
        self._file = open(descriptor, "rb", buffering=0)  # noqa: SIM115  closed by close()
        self._state = self._stat()

    def _stat(self) -> tuple[int, int]:
        state = os.fstat(self._file.fileno())
        return state.st_size, state.st_mtime_ns

    @property
    def size(self) -> int:
        return self._state[0]

    @property
    def mode(self) -> int:
        """Who may read and write the file: its permission bits but those to execute."""
        return os.fstat(self._file.fileno()).st_mode & 0o666

    def read(self, offset: int, length: int) -> NDArray[np.uint8]:
        if offset < 0 or length < 0 or offset + length > self.size:
            raise InputError(f"{self.name}: no {length} bytes at {offset} in {self.size}")
        out = np.empty(length, np.uint8)
        view, done = memoryview(out), 0
        while done < length:
            try:
                got = os.preadv(self._file.fileno(), [view[done:]], offset + done)
            except OSError as error:
                raise InputError(f"{self.name}: can't be read: {error.strerror}") from None
            if got == 0:
                raise InputChangedError(f"{self.name}: became shorter while it was being read")
            done += got
        return out

    def check_unchanged(self) -> None:
        """Raises InputChangedError if size or modification time differ from those at opening."""
        if self._stat() != self._state:
            raise InputChangedError(f"{self.name}: changed while it was being read; nothing was written")

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

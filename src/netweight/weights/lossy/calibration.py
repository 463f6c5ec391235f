"""What a network's layers see, from a file or the caller: second moments of inputs by the name of the weight.

A calibration file is .npz or .safetensors. For a weight NAME [out, ...], whose other dimensions multiply to `in` (a
convolution's patches in the order of the weight's own flattening), it has either NAME, float [in, in], X^T X of the
inputs X (their mean or their sum), or NAME.inputs, X itself, float [samples, in].
"""

from __future__ import annotations

import os
import threading
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ...spec import DTYPES
from ...tensors import dtype_name, numpy_dtype
from ..archive.inputs import open_inputs
from .feedback import Feedback, feedback_of

INPUTS: Final = ".inputs"
_KEPT_BYTES: Final = 1 << 28

Lookup = Callable[[str], "NDArray[Any] | None"]
Source = str | os.PathLike[str] | Mapping[str, NDArray[Any]] | Lookup


@dataclass(frozen=True)
class Layer:
    """H (float32 [in, in]) of one weight, and the feedback that follows from it."""

    moments: NDArray[np.float32]
    feedback: Feedback

    @property
    def columns(self) -> int:
        return len(self.moments)

    @property
    def nbytes(self) -> int:
        return self.moments.nbytes + self.feedback.nbytes


@dataclass
class Calibration:
    """Layers by the weight's name. Those used last are kept, up to 256 MiB. May be asked from several threads.

    `label` names it in messages, `names` is what it offers (None: it can't tell).
    """

    label: str
    lookup: Lookup
    names: tuple[str, ...] | None = None
    _kept: OrderedDict[str, Layer] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def layer(self, name: str, shape: tuple[int, ...]) -> Layer | None:
        """Of the weight `name`; None if nothing is known of it.

        Raises InputError for numbers of another shape or kind, infinities, NaN, and for what can't be second moments.
        """
        with self._lock:
            if name in self._kept:
                self._kept.move_to_end(name)
                return self._kept[name]
            moments = self._moments(name, shape)
            if moments is None:
                return None
            feedback = feedback_of(moments)
            if feedback is None:
                raise InputError(
                    f"{self.label}: {name}: these are no second moments of inputs (all zero or not positive)"
                )
            layer = self._kept[name] = Layer(moments.astype(np.float32), feedback)
            while sum(one.nbytes for one in self._kept.values()) > _KEPT_BYTES and len(self._kept) > 1:
                self._kept.popitem(last=False)
            return layer

    def ignored(self, used: set[str]) -> list[str]:
        """Names that it offers of weights that weren't calibrated."""
        return sorted(n for n in self.names or () if n.removesuffix(INPUTS) not in used and n not in used)

    def _moments(self, name: str, shape: tuple[int, ...]) -> NDArray[np.floating[Any]] | None:
        columns = int(np.prod(shape[1:], dtype=np.int64))
        given = self.lookup(name)
        if given is not None:
            return self._checked(name, given, (columns, columns))
        given = self.lookup(name + INPUTS)
        if given is None:
            return None
        seen = self._checked(name + INPUTS, given, (None, columns))
        return np.asarray(seen.T @ seen / len(seen))

    def _checked(self, name: str, given: Any, shape: tuple[int | None, int]) -> NDArray[np.floating[Any]]:
        array = np.asarray(given)
        if DTYPES[dtype_name(array.dtype)].kind not in ("float", "int", "uint"):
            raise InputError(f"{self.label}: {name} has dtype {array.dtype}, expected floats")
        expected = f"[{'samples' if shape[0] is None else shape[0]}, {shape[1]}]"
        if array.ndim != 2 or array.shape[1] != shape[1] or len(array) != (shape[0] or max(len(array), 1)):
            raise InputError(f"{self.label}: {name} has shape {list(array.shape)}, expected {expected}")
        wide: NDArray[np.floating[Any]] = array.astype(np.float64 if array.dtype == np.float64 else np.float32)
        if not bool(np.isfinite(wide).all()):
            raise InputError(f"{self.label}: {name} holds NaN or infinities")
        return wide


@contextmanager
def open_calibration(source: Source | None) -> Iterator[Calibration | None]:
    """A file, a mapping or a function from names to arrays (None: unknown) as a Calibration. Raises InputError."""
    if source is None:
        yield None
    elif isinstance(source, (str, os.PathLike)):
        with ExitStack() as stack:
            lookup, names = _of_file(Path(source), stack)
            yield Calibration(os.fspath(source), lookup, names)
    elif isinstance(source, Mapping):
        yield Calibration("calibration", source.get, tuple(source))
    else:
        yield Calibration("calibration", source)


def _of_file(path: Path, stack: ExitStack) -> tuple[Lookup, tuple[str, ...]]:
    """Arrays of a file by name, read when they are asked for."""
    if path.suffix == ".npz":
        return _of_npz(path, stack)
    inputs = stack.enter_context(open_inputs(path))
    if len(inputs.files) != 1 or inputs.files[0].layout.format != "safetensors":
        raise InputError(f"{path}: a calibration file is one .npz or .safetensors file of arrays by weight name")
    (file,) = inputs.files
    if file.layout.problem:
        raise InputError(f"{path}: {file.layout.problem}")
    regions = {r.name: r for r in file.layout.regions}

    def lookup(name: str) -> NDArray[Any] | None:
        if name not in regions:
            return None
        r = regions[name]
        return file.source.read(r.offset, r.nbytes).view(numpy_dtype(r.dtype)).reshape(r.shape)

    return lookup, tuple(regions)


def _of_npz(path: Path, stack: ExitStack) -> tuple[Lookup, tuple[str, ...]]:
    try:
        archive = np.load(stack.enter_context(path.open("rb")), allow_pickle=False)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: can't be read as .npz: {error}") from None
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise InputError(f"{path}: is no .npz file")

    def lookup(name: str) -> NDArray[Any] | None:
        try:
            return archive[name] if name in archive.files else None
        except (OSError, ValueError, zipfile.BadZipFile, zlib.error) as error:
            raise InputError(f"{path}: {name} can't be read: {error}") from None

    return lookup, tuple(archive.files)

"""npy: magic, version, a Python dict as text (matched, never evaluated), then the array. npz: a zip of them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from ...errors import FormatError, TruncatedError
from ...source import Source
from ...spec import element_count
from .guard import finder, head
from .model import Layout, Region, View, plain
from .zips import STORED, Member

MAGIC: Final = b"\x93NUMPY"
_MAX_HEADER: Final = 1 << 16
_ITEM: Final = (
    r"(?:'descr':'(?P<descr{0}>[^']{{1,16}})'|'fortran_order':(?P<f{0}>True|False)|'shape':\((?P<shape{0}>[\d,]*)\))"
)
_HEADER: Final = re.compile(r"\{" + ",".join(_ITEM.format(k) for k in range(3)) + r",?\}")
_DTYPES: Final = {
    "u1": "U8", "i1": "I8", "u2": "U16", "i2": "I16", "u4": "U32", "i4": "I32", "u8": "U64", "i8": "I64", "b1": "BOOL",
    "f8": "F64", "f4": "F32", "f2": "F16", "c8": "C64", "c16": "C128", "V2": "BF16",
}  # fmt: skip


class Array(NamedTuple):
    """What an npy header says: numpy's type text, order, shape, and the offset of the data."""

    descr: str
    fortran: bool
    shape: tuple[int, ...]
    start: int

    @property
    def dtype(self) -> str | None:
        """Ours, or None for big-endian, object and structured arrays. "V2" is what numpy writes for bfloat16."""
        return _DTYPES.get(self.descr[1:]) if self.descr[:1] in ("<", "|") else None


def _read_header(source: Source, at: int, end: int) -> Array | None:
    """The array at `at`; None if its type is one that numpy describes by more than a text. Raises FormatError."""
    start = source.read(at, min(12, end - at)).tobytes()
    if len(start) < 12 or start[:6] != MAGIC or start[6] not in (1, 2, 3):
        raise FormatError(f"no npy header of version 1 to 3 at byte {at}")
    width = 2 if start[6] == 1 else 4
    length, begin = int.from_bytes(start[8 : 8 + width], "little"), at + 8 + width
    if begin + length > end or length > _MAX_HEADER:
        raise TruncatedError(f"npy header of {length} bytes announced at byte {begin}, {end - begin} are there")
    text = re.sub(r"\s+", "", source.read(begin, length).tobytes().decode("latin-1"))
    if "'descr':[" in text:
        return None
    match = _HEADER.fullmatch(text)
    fields = {key[:-1]: value for key, value in match.groupdict().items() if value is not None} if match else {}
    if len(fields) != 3:
        raise FormatError(f"the npy header at byte {begin} isn't the three entries that numpy writes")
    sizes = [n for n in fields["shape"].split(",") if n]
    if any(len(n) > 19 for n in sizes):
        raise FormatError(f"impossible shape in the npy header at byte {begin}")
    return Array(fields["descr"], fields["f"] == "True", tuple(map(int, sizes)), begin + length)


class _Arrays:
    """Collects arrays as regions, with views when one lies in Fortran order."""

    def __init__(self) -> None:
        self.regions: list[Region] = []
        self.views: list[View] = []
        self.empty: list[tuple[str, str, tuple[int, ...]]] = []

    def add(self, name: str, array: Array | None, end: int) -> None:
        if array is None or array.dtype is None:
            return
        if element_count(array.shape) == 0:
            self.empty.append((name, array.dtype, array.shape))
            return
        memory = array.shape[::-1] if array.fortran else array.shape
        region = plain(name, array.dtype, memory, array.start)
        if region.offset + region.nbytes > end:
            raise TruncatedError(f"array {name!r}: {region.nbytes} bytes at {region.offset}, the data ends at {end}")
        strides = contiguous_strides(memory)
        self.views.append(View(name, len(self.regions), array.shape, 0, strides[::-1] if array.fortran else strides))
        self.regions.append(region)

    def layout(self, format_name: str) -> Layout:
        same = all(v.shape == r.shape for v, r in zip(self.views, self.regions, strict=True))
        square = any(v.strides != contiguous_strides(v.shape) for v in self.views)
        views = () if same and not square else tuple(self.views)
        return Layout(format_name, tuple(self.regions), views, tuple(self.empty))


def contiguous_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Elements between neighbours along each axis of a C-contiguous array."""
    strides = [1] * len(shape)
    for axis in range(len(shape) - 2, -1, -1):
        strides[axis] = strides[axis + 1] * shape[axis + 1]
    return tuple(strides)


@finder("npy")
def find(source: Source) -> Layout | None:
    """A Finder: the one array is called "array"."""
    if head(source, 6) != MAGIC:
        return None
    arrays = _Arrays()
    arrays.add("array", _read_header(source, 0, source.size), source.size)
    return arrays.layout("npy")


def find_members(source: Source, members: Iterable[Member]) -> Layout:
    """An npz's layout: stored members by their name; deflated ones stay gaps. Raises FormatError."""
    arrays = _Arrays()
    for member in sorted(members, key=lambda m: m.offset):
        if member.method == STORED and member.name.endswith(".npy"):
            end = member.offset + member.nbytes
            arrays.add(member.name.removesuffix(".npy"), _read_header(source, member.offset, end), end)
    return arrays.layout("npz")

"""ONNX: the tensors of a ModelProto, found on the protobuf wire. Field numbers are those of onnx.proto."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import PurePosixPath
from typing import Final

from ...errors import FormatError
from ...source import Source
from ...spec import DTYPES, element_count
from .guard import finder, head
from .model import Layout, Region
from .protobuf import BYTES, Messages, Span

_DTYPES: Final = {
    1: "F32", 2: "U8", 3: "I8", 4: "U16", 5: "I16", 6: "I32", 7: "I64", 9: "BOOL", 10: "F16", 11: "F64", 12: "U32",
    13: "U64", 14: "C64", 15: "C128", 16: "BF16", 17: "F8_E4M3", 18: "F8_E4M3FNUZ", 19: "F8_E5M2",
    20: "F8_E5M2FNUZ", 23: "F4", 24: "F8_E8M0",
}  # fmt: skip
_FLOAT_DATA, _RAW_DATA, _DOUBLE_DATA = 4, 9, 10
_TYPED_DATA: Final = {_FLOAT_DATA: ("F32", "C64"), _DOUBLE_DATA: ("F64", "C128")}
_DATA: Final = (_FLOAT_DATA, 5, 6, 7, _RAW_DATA, _DOUBLE_DATA, 11)
_LAST_MODEL_FIELD: Final = 40  # 26 is the highest so far
_MAX_DEPTH: Final = 16
_MAX_RANK: Final = 64


@dataclass(slots=True)
class _Tensor:
    """A TensorProto: `data` is where its elements lie in this file, `external` what it says of another."""

    name: str = ""
    kind: int = 0
    shape: list[int] = field(default_factory=list)
    data: dict[int, list[Span]] = field(default_factory=dict)
    external: dict[str, str] = field(default_factory=dict)
    is_external: bool = False

    @property
    def dtype(self) -> str | None:
        return _DTYPES.get(self.kind)

    def nbytes(self) -> int:
        """Raises FormatError for an impossible shape."""
        return (element_count(tuple(self.shape)) * DTYPES[_DTYPES[self.kind]].bits + 7) // 8


class _Model:
    """Walks over a ModelProto and collects its tensors: `top` the main graph's initializers, `inner` all others."""

    def __init__(self, source: Source) -> None:
        self._messages = Messages(source)
        self._size = source.size
        self.top: list[_Tensor] = []
        self.inner: list[_Tensor] = []

    def looks_right(self) -> bool:
        """Whether the outermost fields are a ModelProto's; the last may be cut off. Raises FormatError for the cut."""
        seen = set()
        try:
            for value in self._messages.fields(Span(0, self._size)):
                if value.number > _LAST_MODEL_FIELD or (value.wire == BYTES) == (value.number in (1, 5)):
                    return False
                seen.add(value.number)
        except FormatError:
            if seen & {7, 8} and 1 in seen:
                raise
            return False
        return {1, 7} <= seen

    def walk(self) -> None:
        for value in self._messages.fields(Span(0, self._size)):
            if value.number == 7:
                self._graph(value.span, "", 0, self.top)
            elif value.number == 25:
                self._function(value.span)

    def _graph(self, span: Span, prefix: str, depth: int, found: list[_Tensor]) -> None:
        for value in self._messages.fields(span):
            if value.wire != BYTES:
                continue
            if value.number == 1:
                self._node(value.span, prefix, depth)
            elif value.number == 5:
                found.append(self._tensor(value.span, prefix))
            elif value.number == 15:
                self._sparse(value.span, prefix)

    def _function(self, span: Span) -> None:
        name = ""
        nodes = []
        for value in self._messages.fields(span):
            if value.number == 1 and value.wire == BYTES:
                name = self._messages.text(value.span)
            elif value.number == 7 and value.wire == BYTES:
                nodes.append(value.span)
        for node in nodes:
            self._node(node, f"{name}.", 0)

    def _node(self, span: Span, prefix: str, depth: int) -> None:
        output, name = "", ""
        attributes = []
        for value in self._messages.fields(span):
            if value.number == 5 and value.wire == BYTES:
                attributes.append(value.span)
            elif value.number == 2 and value.wire == BYTES and attributes == [] and not output:
                output = self._messages.text(value.span)
            elif value.number == 3 and value.wire == BYTES:
                name = self._messages.text(value.span)
        for attribute in attributes:
            self._attribute(attribute, prefix + (output or name), depth)

    def _attribute(self, span: Span, owner: str, depth: int) -> None:
        """A node's tensor is called like the node's first output; those of a sub-graph get that before their name."""
        for value in self._messages.fields(span):
            if value.wire != BYTES:
                continue
            if value.number in (5, 10):
                tensor = self._tensor(value.span, "")
                tensor.name = f"{owner}.{tensor.name}" if value.number == 10 else owner
                self.inner.append(tensor)
            elif value.number in (22, 23):
                self._sparse(value.span, f"{owner}.")
            elif value.number in (6, 11) and depth < _MAX_DEPTH:
                self._graph(value.span, f"{owner}.", depth + 1, self.inner)

    def _sparse(self, span: Span, prefix: str) -> None:
        """SparseTensorProto: values (which carry the name) and indices."""
        parts = {v.number: v.span for v in self._messages.fields(span) if v.number in (1, 2) and v.wire == BYTES}
        if 1 in parts:
            values = self._tensor(parts[1], prefix)
            self.inner.append(values)
            if 2 in parts:
                indices = self._tensor(parts[2], prefix)
                indices.name = f"{values.name}.indices"
                self.inner.append(indices)

    def _tensor(self, span: Span, prefix: str) -> _Tensor:
        tensor = _Tensor()
        for value in self._messages.fields(span):
            if value.wire != BYTES:
                self._scalar(tensor, value.number, value.integer)
            elif value.number == 1:
                self._extend(tensor, list(self._messages.varints(value.span)) if value.span.nbytes < 1000 else [-1])
            elif value.number in _DATA:
                tensor.data.setdefault(value.number, []).append(value.span)
            elif value.number == 8:
                tensor.name = self._messages.text(value.span)
            elif value.number == 13:
                self._external(tensor, value.span)
        tensor.name = prefix + tensor.name
        return tensor

    def _scalar(self, tensor: _Tensor, number: int, value: int) -> None:
        if number == 1:
            self._extend(tensor, [value])
        elif number == 2:
            tensor.kind = value
        elif number == 14:
            tensor.is_external = value == 1
        elif number in _DATA:  # elements outside of a packed run
            tensor.data.setdefault(number, []).append(Span(0, 0))

    def _extend(self, tensor: _Tensor, sizes: list[int]) -> None:
        tensor.shape += sizes
        if len(tensor.shape) > _MAX_RANK or any(not 0 <= n < 1 << 62 for n in sizes):
            raise FormatError(f"tensor {tensor.name!r}: impossible shape")

    def _external(self, tensor: _Tensor, span: Span) -> None:
        texts = {v.number: self._messages.text(v.span) for v in self._messages.fields(span) if v.wire == BYTES}
        if len(tensor.external) < 16:
            tensor.external[texts.get(1, "")] = texts.get(2, "")


def _inside(tensor: _Tensor) -> Span | None:
    """Where the elements lie in the file: raw, or one packed run of floats. None for what isn't plain numbers."""
    if tensor.is_external or tensor.dtype is None or len(tensor.data) != 1:
        return None
    number, spans = next(iter(tensor.data.items()))
    usable = number == _RAW_DATA or tensor.dtype in _TYPED_DATA.get(number, ())
    return spans[0] if usable and len(spans) == 1 else None


def _named(tensors: list[_Tensor], taken: set[str]) -> Iterator[_Tensor]:
    """Inner tensors with "#2", "#3" behind names that are taken: sub-graphs may use a name again."""
    counts: dict[str, int] = {}
    for tensor in tensors:
        name = tensor.name
        while tensor.name in taken:
            counts[name] = counts.get(name, 1) + 1
            tensor.name = f"{name}#{counts[name]}"
        taken.add(tensor.name)
        yield tensor


def _read(source: Source) -> list[_Tensor] | None:
    """All tensors; None if this isn't ONNX. Raises FormatError."""
    if head(source, 1) != b"\x08":
        return None
    model = _Model(source)
    if not model.looks_right():
        return None
    model.walk()
    return [*model.top, *_named(model.inner, {t.name for t in model.top})]


@finder("onnx")
def find(source: Source) -> Layout | None:
    """A Finder. Elements outside raw_data, float_data and double_data stay gaps, as do 4-bit integers and strings."""
    tensors = _read(source)
    if tensors is None:
        return None
    regions, empty = [], []
    for tensor in tensors:
        if tensor.dtype and not element_count(tuple(tensor.shape)):
            empty.append((tensor.name, tensor.dtype, tuple(tensor.shape)))
        elif (span := _inside(tensor)) is not None and tensor.dtype:
            if span.nbytes != tensor.nbytes():
                raise FormatError(f"tensor {tensor.name!r}: {tensor.nbytes()} bytes expected, {span.nbytes} are there")
            regions.append(Region(tensor.name, tensor.dtype, tuple(tensor.shape), *span))
    return Layout("onnx", tuple(sorted(regions, key=lambda r: r.offset)), empty=tuple(empty))


def _location(tensor: _Tensor) -> str:
    location = tensor.external.get("location", "")
    path = PurePosixPath(location)
    foreign = any(mark in location for mark in ("\\", ":", "\0"))
    if not path.parts or path.is_absolute() or ".." in path.parts or foreign:
        raise FormatError(f"tensor {tensor.name!r}: external data in {location[:200]!r}, not below the model's folder")
    return str(path)


def _number(tensor: _Tensor, key: str, default: int) -> int:
    text = tensor.external.get(key, "")
    if not text:
        return default
    if not text.isascii() or not text.isdecimal() or len(text) > 18:
        raise FormatError(f"tensor {tensor.name!r}: external {key} {text[:40]!r} isn't a number")
    return int(text)


def external_regions(source: Source) -> dict[str, tuple[Region, ...]]:
    """The regions of the files that hold the external data of the model in `source`, by relative path.

    Two tensors at the same place count once, under the first's name. The files' sizes aren't known here: pass each
    through `checked` with its own. Raises FormatError for a model that can't be read, a path that leaves the folder, a
    length that doesn't match the shape, and overlaps. {} if it isn't ONNX.
    """
    found: dict[str, dict[tuple[int, int], Region]] = {}
    for tensor in _read(source) or []:
        if not tensor.is_external or tensor.dtype is None or not element_count(tuple(tensor.shape)):
            continue
        nbytes = tensor.nbytes()
        if _number(tensor, "length", nbytes) != nbytes:
            raise FormatError(f"tensor {tensor.name!r}: external length isn't the {nbytes} bytes of its shape")
        region = Region(tensor.name, tensor.dtype, tuple(tensor.shape), _number(tensor, "offset", 0), nbytes)
        found.setdefault(_location(tensor), {}).setdefault((region.offset, nbytes), region)
    return {location: _in_order(location, list(regions.values())) for location, regions in found.items()}


def _in_order(location: str, regions: list[Region]) -> tuple[Region, ...]:
    regions.sort(key=lambda r: r.offset)
    for one, two in pairwise(regions):
        if one.offset + one.nbytes > two.offset:
            raise FormatError(f"{location}: tensors {one.name!r} and {two.name!r} overlap")
    return tuple(regions)

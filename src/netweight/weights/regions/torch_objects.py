"""Storages and tensors in an unpickled PyTorch object graph of inert values.

After torch/_utils.py: a tensor is a call of `_rebuild_tensor*` on a persistent id
("storage", storage type, key, location, number of elements), maybe wrapped in a call that makes it a parameter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final, NamedTuple

from .pickle_machine import Dict, Global, Made, Persistent
from .pickles import Loaded

UNTYPED: Final = ""
_STORAGES: Final = {
    "DoubleStorage": "F64", "FloatStorage": "F32", "HalfStorage": "F16", "BFloat16Storage": "BF16",
    "LongStorage": "I64", "IntStorage": "I32", "ShortStorage": "I16", "CharStorage": "I8", "ByteStorage": "U8",
    "BoolStorage": "BOOL", "ComplexFloatStorage": "C64", "ComplexDoubleStorage": "C128",
    "QInt8Storage": "I8", "QUInt8Storage": "U8", "QInt32Storage": "I32", "QUInt4x2Storage": "U8",
    "QUInt2x4Storage": "U8", "UntypedStorage": UNTYPED,
}  # fmt: skip
_DTYPES: Final = {
    "float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "int64": "I64", "int32": "I32",
    "int16": "I16", "int8": "I8", "uint8": "U8", "uint16": "U16", "uint32": "U32", "uint64": "U64", "bool": "BOOL",
    "complex64": "C64", "complex128": "C128", "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2",
    "float8_e8m0fnu": "F8_E8M0", "float8_e4m3fnuz": "F8_E4M3FNUZ", "float8_e5m2fnuz": "F8_E5M2FNUZ",
}  # fmt: skip
_PLAIN: Final = ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3")
_WRAPPED: Final = ("_rebuild_parameter", "_rebuild_parameter_with_state")
_MODULE_DICTS: Final = ("_parameters", "_buffers", "_modules")
_MAX_DEPTH: Final = 100
_MAX_TENSORS: Final = 2_000_000
_MAX_NAME: Final = 1000
_MAX_RANK: Final = 64
_LIMIT: Final = 1 << 62


class Storage(NamedTuple):
    """So many `elements` of `dtype`, or bytes if that is UNTYPED, kept under `key`."""

    key: str
    dtype: str
    elements: int


class Tensor(NamedTuple):
    """A named strided view of a storage; `start` and `strides` count elements of `dtype`."""

    name: str
    storage: Storage
    dtype: str
    start: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _is_size(value: object) -> bool:
    return type(value) is int and 0 <= value < _LIMIT


def storage_of(value: object) -> Storage | None:
    """The storage that a persistent id means; None for another, or for a legacy view of a storage."""
    pid = value.pid if isinstance(value, Persistent) else None
    if not isinstance(pid, tuple) or len(pid) not in (5, 6) or pid[0] != "storage" or pid[5:] not in ((), (None,)):
        return None
    _, kind, key, _, count = pid[:5]
    if not isinstance(kind, Global) or kind.name not in _STORAGES or not kind.module.startswith("torch"):
        return None
    if not isinstance(key, str) or type(count) is not int or not 0 <= count < _LIMIT:
        return None
    return Storage(key, _STORAGES[kind.name], count)


def storages(persistent: Iterable[Persistent]) -> dict[str, Storage]:
    """The storages among a pickle's persistent ids by key; the first wins."""
    found: dict[str, Storage] = {}
    for value in persistent:
        storage = storage_of(value)
        if storage:
            found.setdefault(storage.key, storage)
    return found


def _sizes(value: object) -> tuple[int, ...] | None:
    if isinstance(value, Made):  # torch.Size((2, 3))
        value = value.args[0] if isinstance(value.args, tuple) and len(value.args) == 1 else None
    if not isinstance(value, (tuple, list)) or len(value) > _MAX_RANK or not all(map(_is_size, value)):
        return None
    return tuple(value)


def _unwrapped(made: Made) -> tuple[str, tuple[object, ...]] | None:
    """Name and arguments of the innermost `_rebuild_*` call; None if it isn't a tensor's."""
    callee, args = made.callee, made.args
    for _ in range(8):
        if not isinstance(callee, Global) or not isinstance(args, tuple):
            return None
        if callee.module == "torch._utils" and callee.name in _PLAIN:
            return callee.name, args
        if callee.module == "torch._utils" and callee.name in _WRAPPED and args and isinstance(args[0], Made):
            callee, args = args[0].callee, args[0].args
        elif callee == Global("torch._tensor", "_rebuild_from_type_v2") and len(args) >= 3:
            callee, args = args[0], args[2]
        else:
            return None
    return None


def tensor_of(made: Made, name: str) -> Tensor | None:
    """The tensor that `made` would be; None if it would be something else, or sparse, or quantised."""
    call = _unwrapped(made)
    if call is None or len(call[1]) < 4:
        return None
    function, (source, start, size, stride, *more) = call
    storage, shape, strides = storage_of(source), _sizes(size), _sizes(stride)
    if storage is None or shape is None or strides is None or len(shape) != len(strides) or not _is_size(start):
        return None
    dtype = storage.dtype
    if function == "_rebuild_tensor_v3":
        kind = more[2] if len(more) > 2 else None
        dtype = _DTYPES.get(kind.name, UNTYPED) if isinstance(kind, Global) and kind.module == "torch" else UNTYPED
    assert isinstance(start, int)
    return Tensor(name, storage, dtype, start, shape, strides)


def _pairs(items: list[object]) -> Iterator[tuple[str, object]]:
    """(key as text, value) of a flat dict; of a repeated key the last. Keys that can't be a name are left out."""
    named = {}
    for key, value in zip(items[::2], items[1::2], strict=True):
        if isinstance(key, str) or _is_size(key):
            named[str(key)] = value
    return iter(named.items())


def _children(value: object) -> Iterable[tuple[str, object]]:
    """Named parts of a container. The dicts of a torch.nn.Module count as part of the module itself."""
    if isinstance(value, Dict):
        return _pairs(value.items)
    if isinstance(value, (list, tuple)):
        return ((str(k), item) for k, item in enumerate(value))
    if not isinstance(value, Made):
        return ()
    rebuilt = isinstance(value.callee, Global) and value.callee.name.startswith("_rebuild_")
    args = () if rebuilt or not isinstance(value.args, tuple) else _arguments(value.callee, value.args)
    return (*args, *_pairs(value.items), *_children(value.elements), *_state(value.state))


def _arguments(callee: object, args: tuple[object, ...]) -> Iterable[tuple[str, object]]:
    """The arguments by number; but of an old pickle's OrderedDict([[key, value], ...]) its items."""
    if callee == Global("collections", "OrderedDict") and len(args) == 1 and isinstance(args[0], list):
        pairs = (pair for pair in args[0] if isinstance(pair, (list, tuple)) and len(pair) == 2)
        return _pairs([part for pair in pairs for part in pair])
    return _children(args)


def _state(state: object) -> Iterator[tuple[str, object]]:
    """What `__setstate__` would get: attributes, (attributes, slots), or something of its own."""
    parts = state if isinstance(state, tuple) and len(state) == 2 else (state,)
    for part in parts:
        if not isinstance(part, Dict):
            yield "state", part
            continue
        for name, value in _pairs(part.items):
            if name in _MODULE_DICTS and isinstance(value, (Dict, Made)):
                yield from _pairs(value.items)
            else:
                yield name, value


def tensors(loaded: Loaded) -> Iterator[Tensor]:
    """Every tensor of a pickle with its dotted path, in the order of the pickle, with names made unique.

    A tensor that is the root is called "tensor". Cycles are cut. A few bytes can say that one list is in a thousand
    places, so visits and tensors are bounded by the pickle's length: what is past these bounds, or those on depth and
    length of a name, stays without a name.
    """
    limit = min(1000 + loaded.nbytes // 16, _MAX_TENSORS)
    return islice(_walk(loaded.root, 1000 + loaded.nbytes), limit)


def _walk(root: object, visits: int) -> Iterator[Tensor]:
    taken: dict[str, int] = {}
    path: set[int] = set()
    stack: list[tuple[object, str, Iterator[tuple[str, object]]]] = [((), "", iter((("", root),)))]
    while stack:
        value, prefix, children = stack[-1]
        item = next(children, None)
        if item is None:
            path.discard(id(value))
            stack.pop()
            continue
        key, child = item
        visits -= 1
        if visits < 0:
            return
        name = f"{prefix}.{key}" if prefix else key
        if len(name) > _MAX_NAME or not isinstance(child, (Dict, Made, list, tuple)):
            continue
        tensor = tensor_of(child, name or "tensor") if isinstance(child, Made) else None
        if tensor:
            yield tensor._replace(name=_unique(tensor.name, taken))
        elif id(child) not in path and len(stack) < _MAX_DEPTH:
            path.add(id(child))
            stack.append((child, name, iter(_children(child))))


def _unique(name: str, taken: dict[str, int]) -> str:
    """`name`, or with "#2", "#3" behind it if several paths read the same. `taken` counts each."""
    count = taken.get(name, 0) + 1
    unique = name
    while unique in taken:
        unique, count = f"{name}#{max(count, 2)}", max(count, 2) + 1
    taken[name] = max(count - 1, 1)
    taken.setdefault(unique, 1)
    return unique

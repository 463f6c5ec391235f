"""Unaligned little- and big-endian loads and stores on uint8 arrays, for use inside numba kernels.

Numba indexes a uint8 array one byte at a time; bit readers, bit writers and byte shuffles want whole words. Each of
these compiles to one or two machine instructions and checks nothing: the caller guarantees
0 <= at <= len(array) - width in bytes.

    loadN(array, at) -> uintN         storeN(array, at, value)         ..._big: the first byte is the highest
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic


def _pointer(context: Any, builder: Any, signature: Any, args: Any, bits: int) -> Any:
    """The address of byte `at` of the array as a pointer to `bits`-wide words."""
    array = context.make_array(signature.args[0])(context, builder, args[0])
    at = context.cast(builder, args[1], signature.args[1], types.intp)
    return builder.bitcast(builder.gep(array.data, [at]), ir.IntType(bits).as_pointer())


def _is_bytes(array: Any) -> bool:
    return isinstance(array, types.Array) and array.dtype == types.uint8 and array.ndim == 1 and array.layout == "C"


def _loader(bits: int, swap: bool) -> Callable[..., Any]:
    def load(_typing_context: Any, array: Any, at: Any) -> Any:
        if not _is_bytes(array) or not isinstance(at, types.Integer):
            return None
        kind = getattr(types, f"uint{bits}")

        def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            word = builder.load(_pointer(context, builder, signature, args, bits), align=1)
            return builder.bswap(word) if swap else word

        return kind(array, at), code

    return load


def _storer(bits: int, swap: bool) -> Callable[..., Any]:
    def store(_typing_context: Any, array: Any, at: Any, value: Any) -> Any:
        if not _is_bytes(array) or not array.mutable or not isinstance(value, types.Integer):
            return None
        kind = getattr(types, f"uint{bits}")

        def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            word = context.cast(builder, args[2], signature.args[2], kind)
            pointer = _pointer(context, builder, signature, args, bits)
            builder.store(builder.bswap(word) if swap else word, pointer, align=1)
            return context.get_dummy_value()

        return types.void(array, at, value), code

    return store


load16: Any = intrinsic(_loader(16, swap=False))
load32: Any = intrinsic(_loader(32, swap=False))
load64: Any = intrinsic(_loader(64, swap=False))
load64_big: Any = intrinsic(_loader(64, swap=True))
store16: Any = intrinsic(_storer(16, swap=False))
store32: Any = intrinsic(_storer(32, swap=False))
store64: Any = intrinsic(_storer(64, swap=False))
store64_big: Any = intrinsic(_storer(64, swap=True))

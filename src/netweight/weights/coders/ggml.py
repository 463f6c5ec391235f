"""GGML's quantised blocks with their fields apart: scales, minima, quants.

    body := minima first, then the other fields of the block type in order
    minimum (m, dmin), as an F16 tensor: blob (methods.py)
    scale (d)  := 0 | as an F16 tensor: blob, or 1 | as extremes: blob (grids.py), or 2 | against the minima: blob (ratios.py)
    quants     := steps.py
    other      := its bytes: blob (methods.py)

The quants of a block come two nibbles a byte; low nibbles are the first half of its weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from ...errors import FormatError
from ...ggml import BLOCK_TYPES, BlockType, Field
from ...spec import Spec
from ...wire import Reader, Writer
from . import grids, ratios
from .steps import Steps, read_steps, write_steps

if TYPE_CHECKING:
    from ..methods import Effort

Bytes = NDArray[np.uint8]

_PRIORS: Final = 6
_PLAIN, _GRID, _RATIO = 0, 1, 2
_NIBBLES: Final = {
    "Q4_0": Steps(16, 0, 16, 8, 1, 1),
    "Q4_1": Steps(16, 0, 15, 8, 1, _PRIORS),
    "IQ4_NL": Steps(16, 0, 15, 8, 1, 1),
}
_PLAIN_NIBBLES: Final = Steps(16, 16, 16, 8, 1, 1)
_BYTES: Final = {"Q8_0": Steps(256, 1, 255, 128, 8, 1)}


def _rows(spec: Spec, block: BlockType) -> int:
    """Rows of the matrix if there is one tensor, for the scales' shape."""
    if len(spec.shapes) == 1 and len(spec.shapes[0]) > 1:
        rows, columns = spec.matrices()[0]
        if columns % block.weights == 0:
            return rows
    return 1


def _float_spec(field: Field, blocks: int, rows: int) -> Spec:
    width = 4 if field.dtype == "F32" else 2
    return Spec(field.dtype, ((rows, blocks * field.nbytes // width // rows),))


def _minimum(block: BlockType) -> Field | None:
    return next((f for f in block.fields if f.name in ("m", "dmin") and f.dtype == "F16"), None)


def _ordered(block: BlockType) -> list[Field]:
    """The minimum first: scales are coded against it."""
    return sorted(block.fields, key=lambda f: f is not _minimum(block))


def _half(blocks: Bytes, field: Field | None) -> NDArray[np.uint16]:
    """A field's half-precision patterns (uint16 [blocks]); zeros if there is none."""
    if field is None:
        return np.zeros(len(blocks), np.uint16)
    return np.ascontiguousarray(blocks[:, field.offset : field.offset + 2]).view("<u2")[:, 0]


def _prior(blocks: Bytes, block: BlockType) -> Bytes:
    """Where zero lies in a block of Q4_1: -m / d in steps, folded about the middle of the range. Integers only."""
    if block.name != "Q4_1":
        return np.zeros(len(blocks), np.uint8)
    return ratios.zero_class(_half(blocks, block.fields[0]), _half(blocks, block.fields[1]), _PRIORS)


def _nibbles(packed: Bytes) -> Bytes:
    return np.ascontiguousarray(np.concatenate([packed & 15, packed >> 4], axis=1).T)


def _write_scales(
    out: Writer, scales: Bytes, minima: NDArray[np.uint16], block: BlockType, spec: Spec, effort: Effort
) -> None:
    """The shortest of the ways to code the scales (uint8 [bytes], half precision)."""
    from ..methods import encode_block as encode_plain

    tries: dict[int, bytes | None] = {_PLAIN: encode_plain(scales, spec, effort)}
    if block.name in grids.STEPS:
        rows = spec.shapes[0][0]
        tries[_GRID] = grids.encode_scales(scales.view("<u2"), minima, grids.STEPS[block.name], rows, effort)
    if _minimum(block):
        tries[_RATIO] = ratios.encode_ratios(scales.view("<u2"), minima)
    kind, body = min(((k, b) for k, b in tries.items() if b is not None), key=lambda pair: len(pair[1]))
    out.raw(bytes([kind])).blob(body)


def _read_scales(source: Reader, minima: NDArray[np.uint16], block: BlockType, spec: Spec) -> Bytes:
    from ..methods import decode_block as decode_plain

    kind, body = source.byte(), source.blob()
    if kind == _PLAIN:
        return decode_plain(body, spec)
    if kind == _GRID and block.name in grids.STEPS:
        return grids.decode_scales(body, minima, grids.STEPS[block.name], spec.shapes[0][0]).view(np.uint8)
    if kind == _RATIO:
        return ratios.decode_ratios(body, minima).view(np.uint8)
    raise FormatError(f"{block.name} block: unknown code of scales")


def encode_block(data: Bytes, spec: Spec, effort: Effort) -> bytes | None:
    """Whole blocks of `spec.dtype`; None if this would not be smaller."""
    from ..methods import encode_block as encode_plain

    block = BLOCK_TYPES[spec.dtype]
    blocks, out = data.reshape(-1, block.nbytes), Writer()
    rows, minima = _rows(spec, block), _half(blocks, _minimum(block))
    for field in _ordered(block):
        raw = np.ascontiguousarray(blocks[:, field.offset : field.offset + field.nbytes])
        if field.name == "d" and field.dtype == "F16":
            _write_scales(out, raw.reshape(-1), minima, block, _float_spec(field, len(blocks), rows), effort)
        elif field.dtype in ("F16", "F32"):
            out.blob(encode_plain(raw.reshape(-1), _float_spec(field, len(blocks), rows), effort))
        elif field.dtype == "U4":
            write_steps(out, _nibbles(raw), _prior(blocks, block), _nibble_model(block, field))
        elif block.name in _BYTES and field.name == "qs":
            write_steps(out, np.ascontiguousarray((raw ^ 128).T), _prior(blocks, block), _BYTES[block.name])
        else:
            out.blob(encode_plain(raw.reshape(-1), Spec("U8", (raw.shape,)), effort))
    return out.bytes() if len(out) < data.size else None


def _nibble_model(block: BlockType, field: Field) -> Steps:
    return _NIBBLES.get(block.name, _PLAIN_NIBBLES) if field.name == "qs" else _PLAIN_NIBBLES


def decode_block(body: bytes | memoryview, spec: Spec) -> Bytes:
    """The inverse: `spec.nbytes` bytes. Raises FormatError."""
    from ..methods import decode_block as decode_plain

    if spec.dtype not in BLOCK_TYPES:
        raise FormatError(f"quantised blocks: {spec.dtype} has none")
    block, source = BLOCK_TYPES[spec.dtype], Reader(body, f"{spec.dtype} block")
    count, rows = spec.nbytes // block.nbytes, _rows(spec, block)
    out = np.empty((count, block.nbytes), np.uint8)
    for field in _ordered(block):
        part = out[:, field.offset : field.offset + field.nbytes]
        if field.name == "d" and field.dtype == "F16":
            scales = _float_spec(field, count, rows)
            part[:] = _read_scales(source, _half(out, _minimum(block)), block, scales).reshape(part.shape)
        elif field.dtype in ("F16", "F32"):
            part[:] = decode_plain(source.blob(), _float_spec(field, count, rows)).reshape(part.shape)
        elif field.dtype == "U4":
            values = read_steps(source, 2 * field.nbytes, _prior(out, block), _nibble_model(block, field))
            part[:] = (values[: field.nbytes] | values[field.nbytes :] << 4).T
        elif block.name in _BYTES and field.name == "qs":
            part[:] = read_steps(source, field.nbytes, _prior(out, block), _BYTES[block.name]).T ^ 128
        else:
            part[:] = decode_plain(source.blob(), Spec("U8", (part.shape,))).reshape(part.shape)
    source.end()
    return out.reshape(-1)

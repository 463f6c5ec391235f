"""CTranslate2's model.bin: variables become regions; damage leaves one gap."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from netweight.source import BytesSource
from netweight.weights.regions import find

WEIGHT = np.arange(12, dtype=np.float16).reshape(3, 4)


def _string(text: bytes) -> bytes:
    return struct.pack("<H", len(text) + 1) + text + b"\0"


def _variable(name: bytes, shape: tuple[int, ...], number: int, data: bytes) -> bytes:
    sizes = struct.pack(f"<{len(shape)}I", *shape)
    return _string(name) + bytes([len(shape)]) + sizes + bytes([number]) + struct.pack("<I", len(data)) + data


def _model(*variables: bytes, version: int = 6) -> bytes:
    head = struct.pack("<I", version) + _string(b"WhisperSpec") + struct.pack("<II", 3, len(variables))
    return head + b"".join(variables) + struct.pack("<I", 0)


MODEL = _model(
    _variable(b"decoder/scale", (), 0, struct.pack("<f", 0.5)),
    _variable(b"decoder/weight", (3, 4), 4, WEIGHT.tobytes()),
    _variable(b"decoder/none", (0, 7), 1, b""),
)


def test_variables_become_regions() -> None:
    layout = find(BytesSource(MODEL))
    assert (layout.format, layout.problem) == ("ctranslate2", "")
    scale, weight = layout.regions
    assert (scale.name, scale.dtype, scale.shape) == ("decoder/scale", "F32", ())
    assert (weight.name, weight.dtype, weight.shape) == ("decoder/weight", "F16", (3, 4))
    assert MODEL[weight.offset : weight.offset + weight.nbytes] == WEIGHT.tobytes()
    assert layout.empty == (("decoder/none", "I8", (0, 7)),)


@pytest.mark.parametrize("cut", range(30, len(MODEL) - 4, 7))
def test_a_cut_file_is_one_gap(cut: int) -> None:
    layout = find(BytesSource(MODEL[:cut]))
    assert layout.regions == ()
    assert layout.problem


@pytest.mark.parametrize(
    "variable",
    [
        _variable(b"w", (3, 4), 9, WEIGHT.tobytes()),
        _variable(b"w", (4, 4), 4, WEIGHT.tobytes()),
        _variable(b"w", (2**32 - 1,) * 4, 4, WEIGHT.tobytes()),
        _variable(b"w", (2**32 - 1,) * 200, 4, WEIGHT.tobytes()),
    ],
)
def test_lying_variables_are_a_problem(variable: bytes) -> None:
    layout = find(BytesSource(_model(variable)))
    assert layout.regions == ()
    assert layout.problem


@pytest.mark.parametrize(
    "data", [b"", b"\6\0\0\0", _model(version=3), b"\6\0\0\0\2\0 \0" + bytes(64), b"\6\0\0\0" + bytes(99)]
)
def test_other_files_are_not_taken_for_models(data: bytes) -> None:
    assert find(BytesSource(data)).format != "ctranslate2"

"""ONNX: agreement with the onnx package, external data, and models that lie."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from attacks_regions import arrays_of, assert_sound, layout_of, onnx_file, proto
from netweight.errors import FormatError
from netweight.source import BytesSource
from netweight.weights.regions import external_regions, protobuf

RAW = np.arange(6, dtype=np.float32).tobytes()


def model(initializers: list[object], nodes: list[object] | None = None) -> bytes:
    from onnx import helper

    graph = helper.make_graph(nodes or [], "g", [], [], initializers)
    data: bytes = helper.make_model(graph).SerializeToString()
    return data


def test_agrees_with_the_package_on_every_dtype() -> None:
    onnx = pytest.importorskip("onnx")
    import ml_dtypes
    from onnx import numpy_helper

    rng = np.random.default_rng(1)
    types = ["f8", "f4", "f2", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?", "c8", "c16", ml_dtypes.bfloat16]
    types += [ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2, ml_dtypes.float8_e4m3fnuz, ml_dtypes.float8_e5m2fnuz]
    arrays = {f"t{k}": rng.integers(0, 2, (3, 5)).astype(t) for k, t in enumerate(types)}
    arrays |= {"scalar": np.array(2.5, np.float32), "empty": np.zeros((0, 2), np.float32)}
    data = model([numpy_helper.from_array(a, name) for name, a in arrays.items()])
    layout = layout_of(data)
    assert_sound(layout, len(data))
    found = arrays_of(data, layout)
    assert found.keys() == arrays.keys()
    for initializer in onnx.load_from_string(data).graph.initializer:
        expected = numpy_helper.to_array(initializer)
        assert found[initializer.name].dtype == expected.dtype
        assert found[initializer.name].shape == expected.shape
        assert found[initializer.name].tobytes() == expected.tobytes()


def test_typed_data_subgraphs_constants_and_sparse_ones() -> None:
    pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    floats = helper.make_tensor("floats", TensorProto.FLOAT, [2, 2], [1.0, 2.0, 3.0, 4.0])
    doubles = helper.make_tensor("doubles", TensorProto.DOUBLE, [2], [5.0, 6.0])
    integers = helper.make_tensor("integers", TensorProto.INT32, [2], [5, 6])
    branch = helper.make_graph([], "b", [], [], [numpy_helper.from_array(np.full(3, 7, np.int16), "w")])
    constant = helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.full(2, 9.0), "ignored"))
    choice = helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch)
    data = model([floats, doubles, integers], [constant, choice])
    found = arrays_of(data, layout_of(data))
    assert found.keys() == {"floats", "doubles", "c", "y.w", "y.w#2"}
    np.testing.assert_array_equal(found["floats"], [[1, 2], [3, 4]])
    np.testing.assert_array_equal(found["doubles"], [5, 6])
    np.testing.assert_array_equal(found["c"], [9, 9])
    np.testing.assert_array_equal(found["y.w#2"], [7, 7, 7])
    values = proto((1, 2), (2, 1), (8, "s"), (9, bytes(8)))
    indices = proto((1, 2), (2, 7), (9, bytes(16)))
    layout = layout_of(onnx_file((15, proto((1, values), (2, indices), (3, 10)))))
    assert [(r.name, r.dtype) for r in layout.regions] == [("s", "F32"), ("s.indices", "I64")]


def test_external_data(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    from onnx import helper, numpy_helper

    arrays = {"a": np.arange(300, dtype=np.float32).reshape(3, 100), "b": np.arange(500, dtype=np.float16)}
    graph = helper.make_graph([], "g", [], [], [numpy_helper.from_array(a, n) for n, a in arrays.items()])
    options = {"save_as_external_data": True, "location": "weights.bin", "size_threshold": 0}
    onnx.save_model(helper.make_model(graph), tmp_path / "m.onnx", **options)
    data = (tmp_path / "m.onnx").read_bytes()
    assert layout_of(data).regions == ()
    assert layout_of(data).format == "onnx"
    files = external_regions(BytesSource(data))
    assert files.keys() == {"weights.bin"}
    stored = (tmp_path / "weights.bin").read_bytes()
    for region in files["weights.bin"]:
        assert stored[region.offset : region.offset + region.nbytes] == arrays[region.name].tobytes()
        assert region.shape == arrays[region.name].shape


def external(*entries: tuple[str, str]) -> bytes:
    pairs = [(13, proto((1, key), (2, value))) for key, value in entries]
    return proto((1, 2), (1, 3), (2, 1), (8, "w"), *pairs, (14, 1))


@pytest.mark.parametrize(
    ("entries", "word"),
    [
        ([("location", "/etc/passwd")], "below"),
        ([("location", "../w.bin")], "below"),
        ([("location", "a/../../w.bin")], "below"),
        ([("location", "")], "below"),
        ([], "below"),
        ([("location", "C:\\w.bin")], "below"),
        ([("location", "w\0.bin")], "below"),
        ([("location", "w.bin"), ("offset", "-1")], "number"),
        ([("location", "w.bin"), ("offset", "9" * 30)], "number"),
        ([("location", "w.bin"), ("length", "23")], "length"),
    ],
)
def test_external_data_that_lies(entries: list[tuple[str, str]], word: str) -> None:
    data = onnx_file((5, external(*entries)))
    assert not layout_of(data).problem
    with pytest.raises(FormatError, match=word):
        external_regions(BytesSource(data))


def test_external_tensors_may_share_a_place_but_not_overlap() -> None:
    here = external(("location", "w.bin"), ("offset", "8"))
    there = external(("location", "w.bin"), ("offset", "16"))
    (region,) = external_regions(BytesSource(onnx_file((5, here), (5, here))))["w.bin"]
    assert (region.offset, region.nbytes) == (8, 24)
    with pytest.raises(FormatError, match="overlap"):
        external_regions(BytesSource(onnx_file((5, here), (5, there))))


@pytest.mark.parametrize(
    ("graph", "word"),
    [
        ([(5, proto((1, 2), (1, 4), (2, 1), (8, "w"), (9, RAW)))], "expected"),
        ([(5, proto((1, 1 << 63), (2, 1), (9, RAW)))], "shape"),
        ([(5, proto((1, 1 << 40), (1, 1 << 40), (2, 1), (9, RAW)))], "shape"),
        ([(5, proto(*[(1, 1)] * 65, (2, 1), (9, RAW)))], "shape"),
        ([(5, proto((1, b"\x01" * 2000), (2, 1), (9, RAW)))], "shape"),
        ([(5, proto((1, 6), (2, 1), (8, "w"), (9, RAW)))] * 2, "called"),
        ([(5, b"\x0a\x7f")], "announced"),
        ([(5, b"\x0a\x03")], "behind its message"),
        ([(5, b"\x0b")], "wire type"),
        ([(5, b"\x80" * 11)], "number too long"),
        ([(5, b"\x00\x00")], "field number"),
    ],
)
def test_lying_models_are_one_gap_with_a_problem(graph: list[tuple[int, bytes]], word: str) -> None:
    layout = layout_of(onnx_file(*graph))
    assert (layout.format, layout.regions) == ("onnx", ())
    assert word in layout.problem


def test_graphs_in_graphs_are_followed_to_a_bound() -> None:
    graph = proto((5, proto((1, 6), (2, 1), (8, "w"), (9, RAW))))
    for _ in range(200):
        graph = proto((1, proto((2, "y"), (5, proto((6, graph))))))
    layout = layout_of(onnx_file((1, proto((2, "y"), (5, proto((6, graph)))))))
    assert (layout.regions, layout.problem) == ((), "")


def test_fields_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protobuf, "MAX_FIELDS", 100)
    assert "fields" in layout_of(onnx_file(*[(2, "")] * 200)).problem


@pytest.mark.parametrize("data", [b"\x08", b"\x08\x07", b"\x08\x07\x12\x00", b"\x08" * 40, b"\x08\x01\xff\xff\xff\xff"])
def test_what_only_starts_alike_is_unknown(data: bytes) -> None:
    assert layout_of(data).format == "unknown"

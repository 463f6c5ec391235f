"""PyTorch files: agreement with torch.load, and pickles that would do harm."""

from __future__ import annotations

import io
import pickle
import time
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

from attacks_regions import (
    arrays_of,
    assert_sound,
    integer,
    layout_of,
    pickled,
    storage,
    tensor,
    text,
    torch_legacy,
    torch_zip,
)  # fmt: skip
from netweight.errors import BombError, FormatError, TruncatedError
from netweight.weights.regions import pickles
from netweight.weights.regions.pickle_machine import Dict, Global, Made
from netweight.weights.regions.torch_layout import memory_shape

ONES = np.ones(6, np.float32)
FORMATS = pytest.mark.parametrize("zipped", [True, False])


def saved(thing: object, zipped: bool = True, **options: object) -> bytes:
    import torch

    out = io.BytesIO()
    torch.save(thing, out, _use_new_zipfile_serialization=zipped, **options)
    return out.getvalue()


def assert_equal(data: bytes, expected: dict[str, object]) -> None:
    """Each tensor that torch holds comes out of the file's bytes by the layout alone, bit for bit."""
    import torch

    layout = layout_of(data)
    assert layout.format == "pytorch"
    assert not layout.problem
    assert_sound(layout, len(data))
    found = arrays_of(data, layout)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert isinstance(value, torch.Tensor)
        assert found[name].shape == tuple(value.shape), name
        raw = value.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        assert found[name].tobytes() == raw, name


@FORMATS
def test_state_dict_of_a_network(zipped: bool) -> None:
    torch = pytest.importorskip("torch")
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Linear(4, 2))
    state = net.state_dict()
    data = saved(state, zipped)
    assert_equal(data, dict(state))
    assert layout_of(data).views == ()


@FORMATS
def test_whole_module_optimizer_and_nesting(zipped: bool) -> None:
    torch = pytest.importorskip("torch")
    net = torch.nn.Linear(3, 2)
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    one, two, three = torch.arange(3), torch.ones(2), torch.zeros(1)
    thing = {"net": net, "optimizer": optimizer.state_dict(), "list": [one, (two,)], 7: three}
    expected = {"net.weight": net.weight, "net.bias": net.bias, "list.0": one, "list.1.0": two, "7": three}
    for number, part in optimizer.state_dict()["state"].items():
        expected |= {f"optimizer.state.{number}.{key}": value for key, value in part.items()}
    assert_equal(saved(thing, zipped), expected)


@FORMATS
def test_every_dtype(zipped: bool) -> None:
    torch = pytest.importorskip("torch")
    names = [
        "float64",
        "float32",
        "float16",
        "bfloat16",
        "int64",
        "int32",
        "int16",
        "int8",
        "uint8",
        "bool",
        "complex64",
        "complex128",
    ]
    names += ["float8_e4m3fn", "float8_e5m2", "uint16", "uint32", "uint64"] if zipped else []
    state = {name: torch.tensor([0.0, 1.0, 1.0]).to(getattr(torch, name)) for name in names}
    data = saved(state, zipped)
    assert_equal(data, state)
    assert layout_of(data).views == ()


@FORMATS
def test_tied_strided_shared_and_empty_tensors(zipped: bool) -> None:
    torch = pytest.importorskip("torch")
    base = torch.arange(24.0).reshape(4, 6)
    state = {
        "tied.a": base, "tied.b": base, "transposed": torch.randn(3, 5).t(), "slice": base[1:3, ::2],
        "channels_last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last), "scalar": torch.tensor(2.0),
        "expanded": torch.ones(1, 3).expand(4, 3), "empty": torch.zeros(0, 3), "tail": torch.arange(10)[4:],
    }  # fmt: skip
    data = saved(state, zipped)
    assert_equal(data, state)
    layout = layout_of(data)
    shapes = {r.name: r.shape for r in layout.regions}
    assert shapes["tied.a"] == (4, 6)
    assert shapes["transposed"] == (3, 5)
    assert shapes["channels_last"] == (2, 4, 5, 3)
    assert [v.region for v in layout.views if v.name.startswith("tied")] == [layout.views[0].region] * 2
    assert layout.empty == (("empty", "F32", (0, 3)),)


def test_many_tensors_of_one_storage_become_regions_of_their_own() -> None:
    torch = pytest.importorskip("torch")
    flat = torch.randn(100)
    state = {"w": flat[10:70].view(6, 10), "v": flat[70:75]}
    data = saved(state)
    assert_equal(data, state)
    assert [(r.name, r.shape) for r in layout_of(data).regions] == [
        ("storage/0", (10,)), ("w", (6, 10)), ("v", (5,)), ("storage/0@75", (25,)),
    ]  # fmt: skip
    assert_equal(saved(state | {"across": flat[60:80]}), state | {"across": flat[60:80]})


@FORMATS
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickle_protocols(zipped: bool, protocol: int) -> None:
    torch = pytest.importorskip("torch")
    state = OrderedDict(w=torch.nn.Parameter(torch.randn(3, 2)), b=torch.randn(3))
    assert_equal(saved(state, zipped, pickle_protocol=protocol), dict(state))


def test_a_lone_tensor_and_a_subclass() -> None:
    torch = pytest.importorskip("torch")
    buffer = torch.nn.Buffer(torch.randn(3))
    assert_equal(saved(buffer.data), {"tensor": buffer.data})
    named = torch.randn(4)
    named.note = "attributes make torch pickle a tensor differently"
    assert_equal(saved({"w": named}), {"w": named})


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torchscript() -> None:
    torch = pytest.importorskip("torch")
    net = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Linear(2, 1))
    out = io.BytesIO()
    torch.jit.save(torch.jit.trace(net, torch.ones(1, 3)), out)
    found = arrays_of(out.getvalue(), layout_of(out.getvalue()))
    for name, value in net.state_dict().items():
        assert found[name].tobytes() == value.numpy().tobytes()


def test_sparse_and_quantised_tensors_do_no_harm() -> None:
    torch = pytest.importorskip("torch")
    sparse = torch.eye(3).to_sparse()
    data = saved({"sparse": sparse, "w": torch.ones(2)})
    assert_sound(layout_of(data), len(data))
    assert "w" in arrays_of(data, layout_of(data))


@FORMATS
def test_nothing_in_a_pickle_is_executed(zipped: bool, tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    attack = b"cos\nsystem\n(" + text(f"touch {marker}") + b"tR"
    thing = pickled({"x": attack, "w": tensor("0", 6, (2, 3))})
    data = torch_zip(thing, {"0": ONES.tobytes()}) if zipped else torch_legacy(thing, {"0": ONES})
    layout = layout_of(data)
    assert [r.name for r in layout.regions] == ["w"]
    assert not marker.exists()
    with pytest.raises(pickle.UnpicklingError):  # the same bytes do name what they would call
        pickle.loads(thing)
    pickle.loads(b"\x80\x02" + attack + b".")
    assert marker.exists()


@pytest.mark.parametrize(
    ("entries", "word"),
    [
        ({"w": tensor("0", 6, (2, 4))}, "past the end"),
        ({"w": tensor("0", 6, (2,), start=5)}, "past the end"),
        ({"w": tensor("0", 6, (1 << 61, 1 << 61))}, "past the end"),
    ],
)
def test_tensors_outside_of_their_storage(entries: dict[str, bytes], word: str) -> None:
    layout = layout_of(torch_zip(pickled(entries), {"0": ONES.tobytes()}))
    assert layout.regions == ()
    assert word in layout.problem


def test_storages_that_lie_about_their_length_stay_gaps() -> None:
    layout = layout_of(torch_zip(pickled({"w": tensor("0", 7, (7,))}), {"0": ONES.tobytes()}))
    assert layout.regions == ()
    layout = layout_of(torch_legacy(pickled({"w": tensor("0", 7, (7,))}), {"0": ONES}))
    assert "elements stored" in layout.problem


def test_deflated_archives_are_gaps() -> None:
    data = torch_zip(pickled({"w": tensor("0", 6, (6,))}), {"0": ONES.tobytes()}, zipfile.ZIP_DEFLATED)
    assert layout_of(data).regions == ()


def test_repeated_names_and_keys() -> None:
    entries = {"a.b": tensor("0", 6, (6,)), "a": b"}(" + text("b") + tensor("1", 6, (6,)) + b"u"}
    layout = layout_of(torch_zip(pickled(entries), {"0": ONES.tobytes(), "1": ONES.tobytes()}))
    assert sorted(r.name for r in layout.regions) == ["a.b", "a.b#2"]
    twice = b"\x80\x02}(" + text("w") + tensor("0", 6, (6,)) + text("w") + tensor("1", 6, (2, 3)) + b"u."
    layout = layout_of(torch_zip(twice, {"0": ONES.tobytes(), "1": ONES.tobytes()}))
    assert {(r.name, r.shape) for r in layout.regions} == {("storage/0", (6,)), ("w", (2, 3))}


def test_graphs_without_end_and_without_bottom() -> None:
    cycle = b"\x80\x02]q\x00h\x00a."
    deep = b"\x80\x02" + b"]" * 50_000 + b"a" * 49_999 + b"."
    branching = b"\x80\x02)" + b"2\x86" * 5_000 + b"."
    calls = b"\x80\x02" + b"ca\nb\n" * 20_000 + b")" + b"R" * 20_000 + b"."
    states = b"\x80\x02ca\nb\n)R" + b"ca\nb\n)R" * 20_000 + b"b" * 20_000 + b"."
    named = b"\x80\x02" + tensor("1", 6, (6,)) + b"2\x86" * 5_000 + b"."
    for thing in (cycle, deep, branching, calls, states, named):
        start = time.perf_counter()
        assert layout_of(torch_zip(thing, {"0": b""})).regions == ()
        assert time.perf_counter() - start < 15


def test_a_container_within_itself_gives_each_tensor_one_name() -> None:
    thing = b"\x80\x02}q\x00(" + text("self") + b"h\x00" + text("w") + tensor("0", 6, (2, 3)) + b"u."
    layout = layout_of(torch_zip(thing, {"0": ONES.tobytes()}))
    assert [r.name for r in layout.regions] == ["w"]
    assert layout.views == ()


@pytest.mark.parametrize(
    "broken",
    [
        b"\x80\x02", b"", b"q", b"t.", b"\x85.", b"h\x07.", b"X\xff\xff\xff\xff.", b"\x8b\xff\xff\xff\x7f.", b"\xff.",
        b"Ix\n.", b"F1e\n.", b"L" + b"9" * 5000 + b"\n.", b"}(K\x01u.", b"1.", b"0.", b"p-1\n.", b"]a.",
        b"K\x01K\x02\x93.", b"\x97.",
    ],
)  # fmt: skip
def test_malformed_pickles(broken: bytes) -> None:
    with pytest.raises(FormatError):
        pickles.load(broken)


def test_pickle_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickles, "MAX_MEMORY", 1 << 16)
    with pytest.raises(BombError, match="bytes"):
        pickles.load(b"]" * 5000 + b".")
    monkeypatch.setattr(pickles, "MAX_OPCODES", 1000)
    with pytest.raises(BombError, match="opcodes"):
        pickles.load(b"N0" * 600 + b".")
    with pytest.raises(TruncatedError):
        pickles.load(b"X\x05\x00\x00\x00abc")


@pytest.mark.parametrize("protocol", range(6))
def test_pickles_of_unknown_length_are_read_piece_by_piece(protocol: int) -> None:
    thing = {"a": [1, 2.5, "text", (None, True)], "b": OrderedDict(c=-1, d=1 << 70)}
    data = pickle.dumps(thing, protocol)
    whole = pickles.load(data)
    pieces = pickles.load(data[:1], lambda length: (data + b"rest")[: length + 1])
    assert pieces.nbytes == whole.nbytes == len(data)
    assert plain(pieces.root) == plain(whole.root)
    with pytest.raises(TruncatedError):
        pickles.load(data[:1], lambda length: data[: min(length + 1, len(data) - 1)])


def plain(value: object) -> object:
    """Inert values as lists, to be compared."""
    if isinstance(value, Dict):
        return [plain(item) for item in value.items]
    if isinstance(value, Made):
        return [value.callee, plain(value.args), *map(plain, value.items)]
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


@pytest.mark.parametrize("protocol", range(6))
def test_plain_values_as_pickle_reads_them(protocol: int) -> None:
    values = [None, True, False, 0, 255, 65535, -1, 1 << 40, -(1 << 70), 1.5, "text", "é", (1, 2, 3, 4), [], [1], ()]
    assert pickles.load(pickle.dumps(values, protocol)).root == values
    root = pickles.load(pickle.dumps({"a": {1: 2}}, protocol)).root
    assert isinstance(root, Dict)
    assert isinstance(root.items[1], Dict)
    assert root.items[1].items == [1, 2]
    made = pickles.load(pickle.dumps(OrderedDict(a=1), protocol)).root
    assert isinstance(made, Made)
    assert made.callee == Global("collections", "OrderedDict")


@pytest.mark.parametrize(
    ("shape", "strides", "expected"),
    [
        ((2, 3), (3, 1), (2, 3)), ((2, 3), (1, 2), (3, 2)), ((2, 3), (4, 1), None), ((2, 3), (0, 1), None),
        ((), (), ()), ((5,), (2,), None), ((1, 5), (77, 1), (1, 5)), ((4, 3, 2), (1, 4, 12), (6, 4)),
        ((2, 3, 4, 5), (60, 1, 15, 3), (2, 4, 5, 3)), ((16, 32, 1, 1), (1, 16, 512, 512), (32, 16)),
    ],
)  # fmt: skip
def test_memory_shape(shape: tuple[int, ...], strides: tuple[int, ...], expected: tuple[int, ...] | None) -> None:
    assert memory_shape(shape, strides) == expected


def test_ids_that_are_no_storages() -> None:
    odd = {"a": b"(" + text("storage") + b"tQ", "b": integer(3) + b"Q", "c": storage("0", -1)}
    odd["d"] = storage("0", 1, "NewStorage")
    assert layout_of(torch_zip(pickled(odd), {"0": bytes(4)})).regions == ()

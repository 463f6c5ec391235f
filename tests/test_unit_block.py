"""Units coded without their order: archives of the same function, their refunds, hostile bytes."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from netweight.cli.app import cli
from netweight.data import demo_network
from netweight.entropy.stack import Stack
from netweight.errors import FormatError, InputError
from netweight.spec import Spec
from netweight.weights.archive import compress_file, decompress_file, verify_file
from netweight.weights.archive import open as open_archive
from netweight.weights.methods import decode_block
from netweight.weights.symmetry import unit_block
from netweight.weights.symmetry.alphabet import FLOAT, GRID, PATH, WHOLE, alphabets_of
from netweight.weights.symmetry.canonical import Owned
from netweight.weights.symmetry.choices import cheapest, strides
from netweight.weights.symmetry.compress import compress_symmetric
from netweight.weights.symmetry.unit_forms import PRESETS, Part, read_places
from netweight.weights.symmetry.unit_quantiser import quantise
from netweight.weights.symmetry.urn import Urn
from netweight.wire import Reader, Writer

MLP = [
    {"units": "fc1", "count": 300, "in": ["fc1.weight:0", "fc1.bias:0"], "out": ["fc2.weight:1"]},
    {"units": "fc2", "count": 100, "in": ["fc2.weight:0", "fc2.bias:0"], "out": ["fc3.weight:1"]},
]


def random(seed):
    return np.random.Generator(np.random.PCG64(seed))


def rows(array):
    """Every unit owns one place of axis 0."""
    return Owned("", 0, np.arange(len(array)).reshape(-1, 1))


def block_of(records, *, signs=False):
    """(body, its only part, keys) of one tensor [units, columns] in its order."""
    part, keys = cheapest(rows(records), [(a, a.keys(records)) for a in alphabets_of(records, dtype(records))])
    part = replace(part, plain_signs=True) if signs else part
    keys = keys[unit_block.order_of(keys)]
    return unit_block.encode([keys], [part], signs=signs), part, keys


def dtype(array):
    return {"float32": "F32", "uint8": "U8", "int16": "I16"}[array.dtype.name]


def mlp(r, hidden=40):
    return {
        "a": r.normal(0, 0.1, (hidden, 30)).astype(np.float32), "ab": r.normal(0, 0.1, hidden).astype(np.float32),
        "b": r.normal(0, 0.1, (5, hidden)).astype(np.float32),
    }  # fmt: skip


def declared(folder, *entries):
    path = folder / "arch.json"
    path.write_text(json.dumps({"symmetries": list(entries)}))
    return path


def hidden_units(**flags):
    return {"units": "hidden", "count": 40, "in": ["a:0", "ab:0"], "out": ["b:1"], **flags}


def outputs(state, x, activation):
    return activation(x @ state["a"].T.astype(np.float64) + state["ab"]) @ state["b"].T


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["gauss", "sparse", "whole"]))
def test_blocks_decode_to_their_sorted_units(seed, kind):
    r = random(seed)
    shape = (int(r.integers(2, 12)), int(r.integers(1, 40)))
    records = {
        "gauss": lambda: r.normal(size=shape).astype(np.float32),
        "sparse": lambda: (r.integers(-2, 3, shape) * (r.random(shape) < 0.3) * 0.125).astype(np.float32),
        "whole": lambda: r.integers(0, 9, shape).astype(np.uint8),
    }[kind]()
    body, part, keys = block_of(records)
    decoded = unit_block.decode(body, Spec(dtype(records), (shape,)))
    assert decoded.tobytes() == part.alphabet.numbers(keys).tobytes()
    assert sorted(map(bytes, records)) == sorted(map(bytes, decoded.view(records.dtype).reshape(shape)))


def test_each_kind_of_number_has_its_alphabet():
    r = random(0)
    kinds = lambda a: [x.kind for x in alphabets_of(a, dtype(a))]  # noqa: E731
    assert kinds(r.normal(size=(20, 9)).astype(np.float32)) == [FLOAT]
    assert GRID in kinds((r.integers(-3, 4, (20, 9)) * 0.25).astype(np.float32))
    assert kinds(r.integers(-99, 99, (20, 9)).astype(np.int16)) == [WHOLE]
    assert kinds(r.integers(-(2**15), 2**15, (90, 90)).astype(np.int16)) == []
    special = np.array([[np.nan, -np.inf, -0.0, 1e-42, 0.0, 3.0]] * 2, np.float32)
    zeros = np.zeros((200, 50), np.float32)
    zeros[7] = random(1).normal(size=50)
    assert len(block_of(zeros)[0]) < 50 * 4 + 60  # zeros cost next to nothing
    body, _, _ = block_of(special)
    assert unit_block.decode(body, Spec("F32", (special.shape,))).tobytes() == special.tobytes()


@pytest.mark.parametrize("alike", [False, True])
def test_the_order_is_given_back(alike):
    """Against the same urns in one order: log2 n! bits; units that are all alike have one order and refund nothing."""
    records = random(1).normal(size=(200, 20)).astype(np.float32)
    body, part, keys = block_of(np.repeat(records[:1], 200, axis=0) if alike else records)
    urn, head = part.urn(20), 8 * 70  # tokens and places are in the body too
    saved = sum(urn.add(part.alphabet.split(row)) for row in keys) - 8 * len(body)
    assert saved == pytest.approx(0 if alike else math.lgamma(201) / math.log(2), abs=head)


def test_urns_don_t_mind_the_order():
    """What is left in an urn predicts the same, in whatever order it came."""
    records = (random(2).integers(-2, 3, (30, 25)) * 0.5).astype(np.float32)
    part, keys = cheapest(rows(records), [(a, a.keys(records)) for a in alphabets_of(records, "F32")])
    one, other = part.urn(25), part.urn(25)
    for row in keys[:-1]:
        one.add(part.alphabet.split(row))
    for row in keys[:-1][::-1]:
        other.add(part.alphabet.split(row))
    last, stacks = part.alphabet.split(keys[-1]), (Stack(), Stack())
    one.push(stacks[0], last)
    other.push(stacks[1], last)
    assert stacks[0] == stacks[1]
    popped = one.pop(stacks[0])
    assert all(np.array_equal(a, b) for a, b in zip(popped, last, strict=True))
    assert stacks[0] == Stack()
    one.remove(popped)
    one.push(stacks[0], last)  # as if it had never been there
    assert stacks[0] == stacks[1]


def test_signs_refund_a_bit_a_unit():
    r = random(3)
    records = r.normal(size=(256, 16)).astype(np.float32)
    plain, _, _ = block_of(records)
    signed, part, keys = block_of(records * np.where(records[:, :1] < 0, -1, 1).astype(np.float32), signs=True)
    assert 8 * (len(plain) - len(signed)) == pytest.approx(256, abs=64)
    assert unit_block.decode(signed, Spec("F32", (records.shape,))).tobytes() == part.alphabet.numbers(keys).tobytes()


def test_rows_of_images_are_found():
    r = random(4)
    image = np.cumsum(np.cumsum(r.normal(size=(60, 12, 12)), axis=1), axis=2).reshape(60, 144).astype(np.float32)
    (alphabet,) = alphabets_of(image, "F32")
    assert 12 in strides(alphabet, alphabet.keys(image))


def test_units_may_lie_in_several_runs():
    out = Writer()
    places = np.concatenate([np.arange(8).reshape(4, 2), 8 + np.arange(4).reshape(4, 1)], axis=1)
    from netweight.weights.symmetry.unit_forms import write_places

    write_places(out, Owned("", 1, places))
    found = read_places(Reader(out.bytes()), 4, (3, 12))
    assert np.array_equal(found.places, places)
    with pytest.raises(FormatError, match="hold"):
        read_places(Reader(out.bytes()), 4, (3, 13))


def test_quantised_units_decode_to_what_was_measured():
    values = (random(5).normal(size=(120, 100)) * np.linspace(0.2, 2, 100)).astype(np.float32)
    made = quantise(values, "F32", 0.25)
    assert made is not None
    assert made.alphabet.kind == PATH
    assert made.alphabet.groups is not None
    keys = made.keys[unit_block.order_of(made.keys)]
    body = unit_block.encode([keys], [Part(rows(values), made.alphabet)], signs=False)
    decoded = unit_block.decode(body, Spec("F32", (values.shape,))).view(np.float32).reshape(values.shape)
    points = made.alphabet.numbers(made.keys)
    assert sorted(map(bytes, points)) == sorted(map(bytes, decoded))
    assert float(np.square(points - values).mean()) < 0.3 * 0.25**2


def test_a_demo_network_loses_its_order_and_keeps_its_function(tmp_path):
    arch, made = declared(tmp_path, *MLP), tmp_path / "d.nw"
    receipt = compress_symmetric(demo_network(), made, arch)
    plain = compress_file(demo_network(), tmp_path / "plain.nw")
    assert receipt.archive_bytes < plain.archive_bytes - 150
    assert receipt.guarantee == "same function"
    assert receipt.units >= 300
    found = decompress_file(made, tmp_path / "d.safetensors")
    assert found.guarantee == "same function"
    verify_file(made, against=demo_network(), symmetries=arch)
    with pytest.raises(InputError, match="another order"):
        verify_file(made, against=demo_network())
    one, other = load_file(demo_network()), load_file(tmp_path / "d.safetensors")
    assert any(a.tobytes() != other[n].tobytes() for n, a in one.items())

    def run(s, x):
        h = np.maximum(x @ s["fc1.weight"].T.astype(np.float64) + s["fc1.bias"], 0)
        return np.maximum(h @ s["fc2.weight"].T + s["fc2.bias"], 0) @ s["fc3.weight"].T + s["fc3.bias"]

    x = random(6).random((50, 64))
    assert np.abs(run(one, x) - run(other, x)).max() < 1e-12
    save_file(one | {"fc2.bias": one["fc2.bias"] + np.float32(1)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="fc2"):
        verify_file(made, against=tmp_path / "other.safetensors", symmetries=arch)


@pytest.mark.parametrize("flags", [{}, {"sign": True}, {"scale": True}])
def test_signs_and_scales_keep_the_function_too(tmp_path, flags):
    state, arch = mlp(random(7)), declared(tmp_path, hidden_units(**flags))
    state["a"] *= 2.0 ** random(8).integers(-6, 7, (40, 1)).astype(np.float32)
    save_file(state, tmp_path / "m.safetensors")
    compress_symmetric(tmp_path / "m.safetensors", tmp_path / "m.nw", arch)
    decompress_file(tmp_path / "m.nw", tmp_path / "n.safetensors")
    verify_file(tmp_path / "m.nw", against=tmp_path / "m.safetensors", symmetries=arch)
    activation = np.tanh if "sign" in flags else lambda v: np.maximum(v, 0)
    x = random(9).normal(size=(20, 30))
    one, other = (outputs(load_file(tmp_path / n), x, activation) for n in ("m.safetensors", "n.safetensors"))
    assert np.abs(one - other).max() <= 1e-12 * np.abs(one).max()


def test_dead_units_carry_nothing(tmp_path):
    """Unit 3 isn't made by anything, unit 5 isn't read: ReLU of 0 is 0, so both may be empty on both sides."""
    state, arch = mlp(random(12)), declared(tmp_path, hidden_units(scale=True))
    state["a"][3] = state["ab"][3] = 0
    state["b"][:, 5] = 0
    save_file(state, tmp_path / "m.safetensors")
    receipt = compress_symmetric(tmp_path / "m.safetensors", tmp_path / "m.nw", arch)
    assert receipt.dead == 2
    decompress_file(tmp_path / "m.nw", tmp_path / "n.safetensors")
    verify_file(tmp_path / "m.nw", against=tmp_path / "m.safetensors", symmetries=arch)
    found = load_file(tmp_path / "n.safetensors")
    empty = ~found["a"].any(axis=1) & (found["ab"] == 0) & ~found["b"].any(axis=0)
    assert empty.sum() == 2
    x = random(13).normal(size=(20, 30))
    one, other = (outputs(s, x, lambda v: np.maximum(v, 0)) for s in (state, found))
    assert np.abs(one - other).max() <= 1e-12 * np.abs(one).max()
    plain = compress_symmetric(tmp_path / "m.safetensors", tmp_path / "p.nw", declared(tmp_path, hidden_units()))
    assert plain.dead == 0  # of a softplus, say, f(0) isn't 0


def test_a_stated_error_is_kept(tmp_path):
    arch = declared(tmp_path, *MLP)
    receipt = compress_symmetric(demo_network(), tmp_path / "d.nw", arch, rel_mse=0.1)
    assert receipt.guarantee == "same function, lossy"
    assert 0.08 < receipt.rel_mse <= 0.1
    with open_archive(tmp_path / "d.nw") as archive:
        norms = np.sort(np.linalg.norm(archive.tensor("fc1.weight"), axis=1))
        assert archive.index.losses
    true = np.sort(np.linalg.norm(load_file(demo_network())["fc1.weight"], axis=1))
    assert np.abs(norms - true).max() < 0.3 * true.max()
    with pytest.raises(InputError, match="quantised"):
        verify_file(tmp_path / "d.nw", against=demo_network(), symmetries=arch)


def test_the_command_says_what_it_did(tmp_path):
    arch, out = declared(tmp_path, *MLP), tmp_path / "d.nw"
    ran = CliRunner().invoke(cli, ["compress", str(demo_network()), "--symmetries", str(arch), "-o", str(out)])
    assert ran.exit_code == 0
    assert "same function" in ran.output
    assert "coded without order" in ran.output
    checked = CliRunner().invoke(
        cli, ["verify", str(out), "--against", str(demo_network()), "--symmetries", str(arch), "--json"]
    )
    assert json.loads(checked.stdout)["guarantee"] == "same function"
    for wrong in (["--base", "x"], ["--bits", "3"], ["--structure"], ["--calibrate", "x"]):
        ran = CliRunner().invoke(cli, ["compress", str(demo_network()), "--symmetries", str(arch), *wrong])
        assert ran.exit_code == 2
        assert "symmetries" in ran.output


def test_what_can_t_be_is_refused(tmp_path):
    state = mlp(random(10))
    save_file(state, tmp_path / "m.safetensors")
    wrong = declared(tmp_path, hidden_units() | {"count": 41})
    with pytest.raises(InputError, match="41 units"):
        compress_symmetric(tmp_path / "m.safetensors", None, wrong)
    (tmp_path / "text").write_text("no checkpoint")
    with pytest.raises(InputError, match="no checkpoint"):
        compress_symmetric(tmp_path / "text", None, declared(tmp_path, hidden_units()))
    turned = declared(tmp_path, {"units": "s", "count": 40, "in": ["a:0"], "rotation": True})
    with pytest.raises(InputError, match="rotations"):
        compress_symmetric(tmp_path / "m.safetensors", None, turned)
    assert not list(tmp_path.glob("*.nw"))


@settings(max_examples=120, deadline=None)
@given(st.integers(0, 10**9))
def test_any_bytes_decode_or_are_refused(seed):
    r = random(seed)
    records = BLOCKS[seed % len(BLOCKS)]
    body = bytearray(b"\x0e" + records[0])
    for _ in range(int(r.integers(1, 4))):
        body[int(r.integers(len(body)))] = int(r.integers(256))
    body = body[: int(r.integers(1, len(body) + 1))] if seed % 3 == 0 else body
    try:
        decoded = decode_block(bytes(body), records[1])
    except FormatError:
        return
    assert decoded.size == records[1].nbytes


def _blocks():
    r = random(11)
    gauss = r.normal(size=(12, 20)).astype(np.float32)
    grid = (r.integers(-40, 41, (12, 20)) * 0.5).astype(np.float32)
    whole = r.integers(0, 9, (12, 20)).astype(np.uint8)
    path = quantise(np.tile(gauss, (1, 40)), "F32", 0.5)
    assert path is not None
    keys = path.keys[unit_block.order_of(path.keys)]
    made = [(block_of(x)[0], Spec(dtype(x), (x.shape,))) for x in (gauss, grid, whole)]
    return [
        *made, (unit_block.encode([keys], [Part(rows(gauss), path.alphabet)], signs=False), Spec("F32", ((12, 800),))),
    ]  # fmt: skip


BLOCKS = _blocks()


def test_presets_are_distinct_and_fit_the_urn():
    assert len({p.tobytes() for p in PRESETS}) == len(PRESETS)
    part = Part(rows(np.zeros((2, 3))), alphabets_of(np.ones((2, 3), np.float32), "F32")[0])
    for weights in PRESETS:
        assert isinstance(Urn(part.form(3), weights).mean_weights, np.ndarray)

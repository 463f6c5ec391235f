"""Symmetries: what is decoded computes the same, units refund log2 n!, and what doesn't fit is refused."""

from __future__ import annotations

import json
import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netweight.data import demo_accuracy, demo_network
from netweight.errors import BaseMismatchError, FormatError, InputError, NotFoundError
from netweight.weights.archive.inputs import open_inputs
from netweight.weights.lossy.convert import arrays_of
from netweight.weights.lossy.task import load_task
from netweight.weights.symmetry.architecture import parse
from netweight.weights.symmetry.canonical import negate
from netweight.weights.symmetry.message import canonical_of, decode, encode, plan_of
from netweight.weights.symmetry.orbit import layout_of
from netweight.weights.symmetry.weigh import order_bits, reordered, weigh_network, weigh_symmetries


def groups(*entries):
    return parse(json.dumps({"symmetries": list(entries)}))


def assert_decodes(tensors, declared):
    """The message, once its decoded network is the canonical one bit for bit; that network."""
    message = encode(tensors, declared)
    decoded = decode(message.data, layout_of(tensors), declared)
    canonical = canonical_of(tensors, declared)
    assert list(decoded) == list(tensors)
    for name, array in canonical.items():
        assert decoded[name].dtype == array.dtype
        assert decoded[name].tobytes() == array.tobytes()
    return message, decoded


def mlp(r, sizes=(13, 40, 30, 5), dtype=np.float64):
    """Weights that are small integers: every sum of them is exact in whatever order."""
    out = {}
    for k, (i, o) in enumerate(pairwise(sizes)):
        out[f"fc{k}.weight"] = r.integers(-20, 21, (o, i)).astype(dtype)
        out[f"fc{k}.bias"] = r.integers(-20, 21, o).astype(dtype)
    return out


def mlp_entries(sizes=(13, 40, 30, 5), **flags):
    return [
        {
            "units": f"fc{k}",
            "count": n,
            "in": [f"fc{k}.weight:0", f"fc{k}.bias:0"],
            "out": [f"fc{k + 1}.weight:1"],
            **flags,
        }
        for k, n in enumerate(sizes[1:-1])
    ]


def run_mlp(state, x, activation):
    layers = len(state) // 2
    for k in range(layers):
        x = x @ state[f"fc{k}.weight"].T + state[f"fc{k}.bias"]
        x = activation(x) if k < layers - 1 else x
    return x


def relu(x):
    return np.maximum(x, 0)


def odd(x):
    """Odd, and exact on integers."""
    return np.sign(x) * (np.abs(x) % 17)


@pytest.mark.parametrize(
    ("flags", "activation"), [({}, relu), ({"sign": True}, odd), ({"scale": True}, relu), ({"sign": True}, np.tanh)]
)
def test_a_decoded_mlp_computes_the_same(flags, activation):
    r = np.random.default_rng(1)
    state, x = mlp(r), r.integers(-3, 4, (50, 13)).astype(float)
    _, decoded = assert_decodes(state, groups(*mlp_entries(**flags)))
    assert decoded["fc0.weight"].tobytes() != state["fc0.weight"].tobytes()
    expected, found = run_mlp(state, x, activation), run_mlp(decoded, x, activation)
    if activation is np.tanh:
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-9)
    else:
        np.testing.assert_array_equal(found, expected)


def test_a_network_in_any_order_is_the_same_message():
    r = np.random.default_rng(2)
    state, declared = mlp(r), groups(*mlp_entries(sign=True))
    shuffled = reordered(state, 3, declared)
    for fitted in plan_of(layout_of(state), declared).groups:
        negate(shuffled, fitted, r.random(fitted.group.count) < 0.5)
    assert shuffled["fc1.weight"].tobytes() != state["fc1.weight"].tobytes()
    assert encode(shuffled, declared).data == encode(state, declared).data


def test_units_refund_their_orders_and_signs():
    r = np.random.default_rng(3)
    sizes = (30, 200, 150, 10)
    state = {name: r.normal(size=a.shape).astype(np.float32) for name, a in mlp(r, sizes).items()}
    found = weigh_network(state, groups(*mlp_entries(sizes, sign=True)))
    plain, ordered, signed = found.rows
    orders = math.log2(math.factorial(200)) + math.log2(math.factorial(150))
    assert ordered.bound_bits == pytest.approx(orders)
    assert ordered.saved_bits == pytest.approx(orders, rel=0.01)
    assert signed.saved_bits == pytest.approx(orders + 350, rel=0.01)
    assert 8 * plain.bytes - 8 * signed.bytes == signed.saved_bits
    assert plain.bytes < found.original_bytes


def test_scales_that_mean_nothing_cost_nothing():
    r = np.random.default_rng(4)
    sizes = (30, 200, 10)
    state = {name: r.normal(size=a.shape).astype(np.float32) for name, a in mlp(r, sizes).items()}
    scaled, factors = dict(state), np.exp2(r.integers(-9, 10, 200)).astype(np.float32)
    scaled["fc0.weight"], scaled["fc0.bias"] = state["fc0.weight"] * factors[:, None], state["fc0.bias"] * factors
    scaled["fc1.weight"] = state["fc1.weight"] / factors
    declared = groups(*mlp_entries(sizes, scale=True))
    message, decoded = assert_decodes(scaled, declared)
    assert len(message.data) < 1.005 * len(encode(state, groups(*mlp_entries(sizes))).data)
    assert len(message.data) < len(encode(scaled, groups(*mlp_entries(sizes))).data) - 200
    x = r.normal(size=(20, 30)).astype(np.float32)
    np.testing.assert_allclose(run_mlp(decoded, x, relu), run_mlp(scaled, x, relu), rtol=1e-4, atol=1e-4)


def test_a_scale_never_rounds():
    """Units that would leave their dtype's range stay as they are, dead ones too."""
    state = mlp(np.random.default_rng(5), dtype=np.float32)
    state["fc0.weight"][0] *= np.float32(1e30)
    state["fc0.weight"][1] = np.float32(1e-44)  # subnormal
    state["fc0.weight"][2], state["fc0.bias"][2] = 0, 0
    state["fc1.weight"][:, 0] *= np.float32(2.0**-120)
    declared = groups(*mlp_entries(scale=True))
    _, decoded = assert_decodes(state, declared)
    gain = [np.sort(np.abs(s["fc0.weight"]).max(1) * np.abs(s["fc1.weight"]).max(0)) for s in (state, decoded)]
    np.testing.assert_array_equal(*gain)


def test_equal_units_are_refunded_what_their_order_could_tell():
    state = {"a:b": np.zeros((50, 3), np.int8), "out": np.ones((2, 50), np.uint8)}
    state["a:b"][:25] = 1
    declared = groups({"units": "u", "count": 50, "in": ["a:b:0"], "out": ["out:1"]})
    message, _ = assert_decodes(state, declared)
    assert len(message.data) < len(encode(state, ()).data) + 8
    assert order_bits(state, declared) == pytest.approx(math.log2(math.comb(50, 25)))


def conv(x, weight):
    """'same' 3 x 3 convolution of [n, c, h, w]."""
    n, _, h, w = x.shape
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    out = np.zeros((n, len(weight), h, w))
    for i in range(3):
        for j in range(3):
            out += np.einsum("nchw,oc->nohw", padded[:, :, i : i + h, j : j + w], weight[:, :, i, j])
    return out


def test_a_cnn_with_a_flattened_map():
    r = np.random.default_rng(6)
    state = {
        "c1": r.integers(-5, 6, (8, 2, 3, 3)), "c2": r.integers(-5, 6, (12, 8, 3, 3)), "gain": r.integers(1, 4, 12),
        "head": r.integers(-5, 6, (4, 12 * 25)),
    }  # fmt: skip
    state = {name: a.astype(np.float32) for name, a in state.items()}
    declared = groups(
        {"units": "c1", "count": 8, "in": ["c1:0"], "out": ["c2:1"]},
        {"units": "c2", "count": 12, "in": ["c2:0"], "along": ["gain:0"], "out": ["head:1"]},
    )
    _, decoded = assert_decodes(state, declared)

    def run(s):
        h = relu(conv(relu(conv(x, s["c1"])), s["c2"])) * s["gain"][:, None, None]
        return h.reshape(len(x), -1) @ s["head"].T

    x = r.integers(0, 4, (6, 2, 5, 5)).astype(float)
    np.testing.assert_array_equal(run(decoded), run(state))
    assert decoded["head"].tobytes() != state["head"].tobytes()


D, HEADS, SIZE, HIDDEN, LAYERS = 12, 4, 3, 20, 2


def transformer(r):
    out = {"embed": r.normal(size=(17, D))}
    for k in range(LAYERS):
        out |= {f"{k}.qkv": r.normal(size=(3 * HEADS * SIZE, D)), f"{k}.o": r.normal(size=(D, HEADS * SIZE))}
        out |= {
            f"{k}.up": r.normal(size=(HIDDEN, D)),
            f"{k}.down": r.normal(size=(D, HIDDEN)),
            f"{k}.norm": r.normal(size=D),
        }
    return {name: a.astype(np.float32) for name, a in out.items()}


def transformer_groups():
    stream = {"units": "stream", "count": D, "in": ["embed:1"], "along": [], "out": []}
    for k in range(LAYERS):
        stream["in"] += [f"{k}.o:0", f"{k}.down:0"]
        stream["out"] += [f"{k}.qkv:1", f"{k}.up:1"]
        stream["along"] += [f"{k}.norm:0"]
    heads = [{"tensor": "{k}.qkv", "axis": 0, "start": s * HEADS * SIZE, "block": SIZE} for s in range(3)]
    return groups(
        stream,
        {"units": "heads {k}", "repeat": {"k": LAYERS}, "count": HEADS, "in": heads, "out": ["{k}.o:1"]},
        {"units": "mlp {k}", "repeat": {"k": LAYERS}, "count": HIDDEN, "in": ["{k}.up:0"], "out": ["{k}.down:1"]},
    )


def run_transformer(s, tokens):
    x = s["embed"][tokens].astype(float)
    for k in range(LAYERS):
        h = x / np.sqrt((x**2).mean(-1, keepdims=True)) * s[f"{k}.norm"]
        q, key, v = ((h @ part.T).reshape(len(x), HEADS, SIZE) for part in np.split(s[f"{k}.qkv"], 3))
        scores = np.exp(np.einsum("ihd,jhd->hij", q, key) / 9)
        mixed = np.einsum("hij,jhd->ihd", scores / scores.sum(-1, keepdims=True), v)
        x = x + mixed.reshape(len(x), -1) @ s[f"{k}.o"].T
        x = x + relu(x @ s[f"{k}.up"].T) @ s[f"{k}.down"].T
    return x @ s["embed"].T


def test_a_transformer_with_its_stream_heads_and_units():
    r = np.random.default_rng(7)
    state, tokens = transformer(r), r.integers(0, 17, 9)
    message, decoded = assert_decodes(state, transformer_groups())
    np.testing.assert_allclose(run_transformer(decoded, tokens), run_transformer(state, tokens), rtol=1e-4, atol=1e-3)
    assert not np.array_equal(decoded["embed"], state["embed"])
    bound = order_bits(state, transformer_groups())
    assert bound == pytest.approx(sum(math.log2(math.factorial(n)) for n in (D, HEADS, HEADS, HIDDEN, HIDDEN)))
    assert 8 * (len(encode(state, ()).data) - len(message.data)) == pytest.approx(bound, abs=24)


def stream_without_gains(r):
    state = {name: a for name, a in transformer(r).items() if not name.endswith("norm")}
    axes = {"in": ["embed:1"], "out": []}
    for k in range(LAYERS):
        axes["in"] += [f"{k}.o:0", f"{k}.down:0"]
        axes["out"] += [f"{k}.qkv:1", f"{k}.up:1"]
    return state, {"units": "stream", "count": D, "rotation": True, **axes}


def test_a_rotated_stream_computes_the_same_and_sends_a_triangle():
    r = np.random.default_rng(9)
    state, stream = stream_without_gains(r)
    _, heads, _, mlp, _ = transformer_groups()
    declared = (*groups(stream), heads, mlp)
    message, decoded = assert_decodes(state, declared)
    gains = {f"{k}.norm": np.ones(D, np.float32) for k in range(LAYERS)}
    tokens = r.integers(0, 17, 9)
    found, expected = run_transformer(decoded | gains, tokens), run_transformer(state | gains, tokens)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)
    assert not np.triu(decoded["embed"][:D], 1).any()
    assert (np.diag(decoded["embed"]) >= 0).all()
    saved = 8 * (len(encode(state, declared[1:]).data) - len(message.data))
    numbers = D * (D - 1) // 2
    assert 24 * numbers < saved < 32 * numbers
    rows = weigh_network(state, declared).rows
    assert [row.label for row in rows][-1].startswith("... and any rotation")


def test_what_cant_be_rotated():
    state, stream = stream_without_gains(np.random.default_rng(9))
    with pytest.raises(InputError, match="fold a normalisation"):
        groups(stream | {"along": ["0.norm:0"]})
    with pytest.raises(InputError, match="neither sign nor scale"):
        groups(stream | {"sign": True})
    with pytest.raises(InputError, match=r"'embed' of shape \[17, 12\] isn't the whole stream of 11"):
        encode(state, groups(stream | {"count": 11}))
    with pytest.raises(InputError, match="no matrix makes all 12"):
        encode(state, groups(stream | {"in": ["0.down:0"]}, {"units": "u", "count": 20, "in": ["0.down:1"]}))
    with pytest.raises(InputError, match="NaN"):
        encode(state | {"embed": np.full((17, D), np.nan, np.float32)}, groups(stream))
    with pytest.raises(InputError, match="needs floats"):
        encode(state | {"embed": np.ones((17, D), np.int8)}, groups(stream))


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float16", "float32", "float64", "bool"])
def test_every_bit_pattern_of_every_dtype(dtype):
    r = np.random.default_rng(8)
    size = np.dtype(dtype).itemsize
    data = r.integers(0, 2 if dtype == "bool" else 256, (30, 7 * size), np.uint8).view(dtype)
    state = {"w": data, "empty": np.zeros((0, 4), np.float32), "other": np.arange(5.0)}
    assert_decodes(state, groups({"units": "u", "count": 30, "in": ["w:0"]}))


# --- what is refused -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"units": "u", "count": 41, "in": ["fc0.weight:0"]}, r"fc0.weight' of shape \[40, 13\].*41 units"),
        ({"units": "u", "count": 40, "in": ["fc9.weight:0"]}, "no tensor 'fc9.weight'"),
        ({"units": "u", "count": 40, "in": ["fc0.bias:1"]}, r"'fc0.bias' of shape \[40\] has no axis 1"),
        ({"units": "u", "count": 0, "in": ["fc0.bias:0"]}, "count"),
        ({"units": "u", "count": 40, "in": ["fc0.bias"]}, "isn't tensor:axis"),
        ({"units": "u", "count": 40, "in": []}, "names no axis"),
        ({"units": "u", "count": 40, "inn": []}, "no keys but"),
        ({"units": "u", "count": 40, "sign": 1, "in": ["fc0.bias:0"]}, "true or false"),
        ({"units": "u", "count": 40, "sign": True, "in": ["fc0.weight:0"], "along": ["fc0.bias:0"]}, "forbids"),
        ({"units": "u", "count": 3, "in": [{"tensor": "fc0.bias", "axis": 0, "start": 38, "block": 1}]}, "from 38 on"),
        ({"units": "u", "count": 40, "repeat": {"i": 10**9}, "in": ["fc0.bias:0"]}, "number of times"),
        ({"units": "u", "count": 5, "in": [{"tensor": "fc0.bias", "axis": 0, "block": 1}]}, "list them after"),
        ("fc0", "must be an object"),
    ],
)
def test_an_architecture_that_doesnt_fit(entry, message):
    with pytest.raises(InputError, match=message):
        encode(mlp(np.random.default_rng(0)), groups(entry))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"symmetries": []}', "[" * 100_000])
def test_what_is_no_architecture(text):
    with pytest.raises(InputError):
        parse(text)


def test_units_whose_order_nothing_tells():
    state = mlp(np.random.default_rng(0))
    first, second = mlp_entries()
    first["in"] = []
    with pytest.raises(InputError, match="list them after"):
        encode(state, groups(first, second))


@pytest.mark.parametrize("flag", ["sign", "scale"])
def test_what_cant_be_negated_or_scaled(flag):
    state = mlp(np.random.default_rng(0))
    declared = groups(*mlp_entries(**{flag: True}))
    state["fc1.weight"][3, 4] = np.nan
    with pytest.raises(InputError, match=r"'fc1.weight' holds NaN or infinity"):
        encode(state, declared)
    state["fc1.weight"] = np.ones((30, 40), np.int8)
    with pytest.raises(InputError, match="needs floats"):
        encode(state, declared)


def test_another_receiver_is_refused():
    state, declared = mlp(np.random.default_rng(0)), groups(*mlp_entries())
    data = encode(state, declared).data
    with pytest.raises(BaseMismatchError, match="another architecture"):
        decode(data, layout_of(state), declared[:1])
    with pytest.raises(BaseMismatchError):
        decode(data, layout_of(state | {"more": np.zeros(3)}), declared)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 255), st.booleans())
def test_a_damaged_message_is_refused(at, flip, cut):
    state, declared = mlp(np.random.default_rng(0), (3, 4, 2)), groups(*mlp_entries((3, 4, 2), sign=True))
    data = bytearray(encode(state, declared).data)
    if cut:
        del data[at % len(data) :]
    else:
        data[at % len(data)] ^= flip
    with pytest.raises((FormatError, BaseMismatchError)):
        decode(bytes(data), layout_of(state), declared)


# --- a file --------------------------------------------------------------------------------------------------------------


def test_a_file_is_weighed_with_its_task(tmp_path):
    with open_inputs(demo_network()) as inputs:
        state = arrays_of(inputs)
    entries = [
        {"units": f"fc{k}", "count": n, "in": [f"fc{k}.weight:0", f"fc{k}.bias:0"], "out": [f"fc{k + 1}.weight:1"]}
        for k, n in ((1, 300), (2, 100))
    ]
    (tmp_path / "mlp.json").write_text(json.dumps({"symmetries": entries}))
    (tmp_path / "task.py").write_text("from netweight.data import demo_accuracy as score\n")
    found = weigh_symmetries(demo_network(), tmp_path / "mlp.json", task=load_task(tmp_path / "task.py"))
    assert found.rows[1].saved_bits == pytest.approx(found.rows[1].bound_bits, rel=0.01)
    assert found.score == demo_accuracy(state) == found.rows[1].score
    assert json.loads(json.dumps(found.to_dict()))["units"] == 400
    with pytest.raises(NotFoundError):
        weigh_symmetries(demo_network(), tmp_path / "none.json")

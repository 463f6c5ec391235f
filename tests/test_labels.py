"""Labels under a network's predictions: three codes, decoded elsewhere from the inputs alone."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from netweight.data import demo_test_set
from netweight.errors import BaseMismatchError, FormatError, InputError, NotFoundError
from netweight.weights.bits_back.mlp import Recipe, fit
from netweight.weights.labels import prequential, two_part, variational
from netweight.weights.labels.network import Network, Plan, fade
from netweight.weights.labels.receiver import in_a_fresh_process, scaled
from netweight.weights.labels.study import weigh_labels

RECIPE = Recipe(hidden=8, steps=3000)
SCHEDULE = prequential.Schedule(views=1, most=60, plan=Plan(rate=0.005))


@pytest.fixture(scope="module")
def digits():
    inputs, labels = demo_test_set()
    return inputs.reshape(-1, 8, 8)[:240], labels[:240].astype(np.int64)


@pytest.fixture(scope="module")
def study(digits):
    carried = np.random.default_rng(0).integers(0, 3, 4001, np.uint8).tobytes()
    return weigh_labels(*digits, recipe=RECIPE, schedule=SCHEDULE, carried=carried)


def test_all_codes_of_the_digits_come_back_from_fresh_processes(study):
    """`weigh_labels` compares; here is what they cost."""
    rows = {row.code: row for row in study.rows}
    assert list(rows) == ["uniform", "prequential", "variational", "two-part"]
    assert 8 * rows["uniform"].bytes == pytest.approx(study.uniform_bits, abs=64)
    assert rows["prequential"].bytes < 0.6 * rows["uniform"].bytes
    vague = rows["variational"]
    assert vague.weight_bits == pytest.approx(vague.divergence_bits, rel=0.25)
    assert vague.bytes < rows["two-part"].bytes
    assert vague.initial_bits > vague.divergence_bits
    assert vague.carried_bytes == 4001


def test_a_joint_file_without_cargo_is_lent_bits_and_counts_them(digits):
    pictures, labels = digits
    inputs = scaled(pictures)
    posterior = fit(inputs, labels, 10, RECIPE)
    joint = variational.encode(inputs, labels, 10, RECIPE, posterior=posterior)
    assert joint.lent_bytes * 8 > joint.initial_bits
    assert len(joint.data) > joint.lent_bytes
    found, carried = variational.decode(joint.data, inputs, 10, RECIPE)
    np.testing.assert_array_equal(found, labels)
    assert carried == b""


@pytest.fixture(scope="module")
def files(digits):
    pictures, labels = digits
    pictures, labels = pictures[:60], labels[:60]
    inputs = scaled(pictures)
    recipe = Recipe(hidden=3, steps=200)
    return pictures, labels, {
        "prequential": (prequential.encode(pictures, labels, 10, SCHEDULE), SCHEDULE.to_dict()),
        "variational": (variational.encode(inputs, labels, 10, recipe, b"cargo" * 400).data, recipe.to_dict()),
        "two-part": (two_part.encode(inputs, labels, 10, recipe, fit(inputs, labels, 10, recipe)), recipe.to_dict()),
    }  # fmt: skip


def decoded(code, data, pictures, settings):
    from netweight.weights.labels.receiver import decode

    return decode(code, data, pictures, 10, settings)[0]


@pytest.mark.parametrize("code", ["prequential", "variational", "two-part"])
def test_another_receiver_is_refused(files, code):
    pictures, labels, coded = files
    data, settings = coded[code]
    np.testing.assert_array_equal(decoded(code, data, pictures, settings), labels)
    other = pictures.copy()
    other[0, 0, 0] += 1
    with pytest.raises(BaseMismatchError):
        decoded(code, data, other, settings)
    changed = {"plan": settings["plan"] | {"seed": 9}} if code == "prequential" else {"sigma": 0.5}
    with pytest.raises(BaseMismatchError):
        decoded(code, data, pictures, settings | changed)
    with pytest.raises(FormatError):
        decoded(
            {"prequential": "two-part"}.get(code, "prequential"),
            data,
            pictures,
            coded[{"prequential": "two-part"}.get(code, "prequential")][1],
        )


@pytest.mark.parametrize("code", ["prequential", "variational", "two-part"])
def test_a_damaged_file_is_refused(files, code):
    pictures, _, coded = files
    data, settings = coded[code]
    r = np.random.default_rng(4)
    for _ in range(12):
        spoilt = bytearray(data)
        spoilt[r.integers(9, len(data))] ^= 1 << r.integers(8)
        with pytest.raises(FormatError):
            decoded(code, bytes(spoilt), pictures, settings)
    for cut in (0, 5, 12, len(data) - 1):
        with pytest.raises((FormatError, BaseMismatchError)):
            decoded(code, data[:cut], pictures, settings)


def test_labels_that_cant_be_coded():
    pictures = np.zeros((4, 8, 8), np.uint8)
    with pytest.raises(InputError, match="labels of shape"):
        prequential.encode(pictures, np.zeros(3, np.int64), 2)
    with pytest.raises(InputError, match="labels of shape"):
        prequential.encode(pictures, np.full(4, 2), 2)
    with pytest.raises(InputError, match="pictures must be"):
        prequential.encode(np.zeros((4, 8), np.uint8), np.zeros(4, np.int64), 2)
    with pytest.raises(InputError, match="NaN"):
        variational.encode(np.full((4, 3), np.nan), np.zeros(4, np.int64), 2, RECIPE)
    with pytest.raises(InputError, match="no labels"):
        weigh_labels(pictures[:0], np.zeros(0, np.int64))
    with pytest.raises(NotFoundError):
        weigh_labels(pictures, np.zeros(4, np.int64), codes=["zip"])


def test_a_fresh_process_says_why_it_fails(files):
    from netweight.errors import GuaranteeError

    pictures, _, coded = files
    data, settings = coded["two-part"]
    with pytest.raises(GuaranteeError, match="other inputs"):
        in_a_fresh_process("two-part", data, pictures + np.uint8(1), 10, settings)


def test_the_networks_gradient():
    """Learning one picture follows the slope of its own loss: checked by what a small step does, against finite differences."""
    r = np.random.default_rng(5)
    pictures, labels = r.integers(0, 256, (1, 12, 12), np.uint8), np.array([1])
    still = Plan(channels=(3, 4, 5), batch=1, rate=1e-4, warp=0.0)
    net = Network(12, 12, 3, still)

    def loss():
        logits = net.logits(pictures, np.zeros((1, 2), np.int64))[0]
        return np.log(np.exp(logits).sum()) - logits[1]

    flat = net._flat  # the averaged weights predict: move both
    net.learn(pictures, labels, 1, 1)
    gradient = flat[1].copy()
    weights = flat[0].copy()
    for k in r.choice(np.flatnonzero(np.abs(gradient) > 0.01), 20, replace=False):
        values = []
        for sign in (1, -1):
            flat[4] = weights
            flat[4, k] += sign * np.float32(2e-3)
            values.append(loss())
        assert (values[0] - values[1]) / 4e-3 == pytest.approx(gradient[k], rel=0.05, abs=0.01)


def test_fade():
    assert fade(1) == fade(1000) == 1
    assert fade(60_000) == pytest.approx((1000 / 60_000) ** 0.3, rel=0.1)


def test_the_verbs(tmp_path, digits):
    """Small ones; `netweight labels` without a file codes all shipped digits, which takes longer."""
    import json

    from click.testing import CliRunner

    from netweight.cli.bitsback import command as bitsback
    from netweight.cli.labels import command as labels

    pictures, truth = digits
    np.savez(tmp_path / "digits.npz", x=pictures, y=truth)
    done = CliRunner().invoke(labels, [str(tmp_path / "digits.npz"), "--code", "two-part", "--limit", "50"])
    assert done.exit_code == 0
    assert "two-part" in done.output
    assert "50 labels" in done.output
    told = json.loads(CliRunner().invoke(bitsback, ["--json"]).stdout)
    back, step = told["rows"][0], told["rows"][-1]
    assert back["prior_bits"] - back["refund_bits"] == pytest.approx(back["weight_bits"], abs=16)
    assert back["weight_bits"] == pytest.approx(back["bound_bits"], rel=0.2)
    assert back["total_bits"] < step["total_bits"]


def test_a_file_of_labelled_pictures(tmp_path):
    from netweight.weights.labels.data import read_labelled

    with pytest.raises(NotFoundError):
        read_labelled(tmp_path / "none.npz")
    (tmp_path / "bad.npz").write_bytes(b"PK\3\4 no archive")
    np.savez(tmp_path / "other.npz", z=np.zeros(3))
    np.savez(tmp_path / "float.npz", x=np.zeros((3, 4, 4)), y=np.zeros(3, int))
    np.save(tmp_path / "one.npy", np.zeros(3))
    for name, why in (
        ("bad.npz", "isn't an"),
        ("other.npz", "x .pictures"),
        ("float.npz", "uint8"),
        ("one.npy", "isn't an"),
    ):
        with pytest.raises(InputError, match=why):
            read_labelled(tmp_path / name)


def test_a_prequential_file_is_pinned():
    """Sender and receiver need not have the same processor: the same bytes come out with and without AVX."""
    pictures = (np.arange(40 * 144) * 7919 % 256).astype(np.uint8).reshape(40, 12, 12)
    data = prequential.encode(pictures, np.arange(40) % 3, 3, prequential.Schedule(most=2))
    assert hashlib.sha256(data).hexdigest()[:16] == "90ce36acc504e00e"

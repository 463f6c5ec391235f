"""Weights quantised with what their layers see in mind: smaller output errors at equal bytes, and what calibration takes."""

import numpy as np
import pytest

import netweight
from netweight.errors import InputError
from netweight.weights.coders import trellis
from netweight.weights.coders.scales import Shape
from netweight.weights.coders.trellis import Settings
from netweight.weights.coders.trellis_stream import segments
from netweight.weights.lossy.aware import encode_aware
from netweight.weights.lossy.calibration import open_calibration
from netweight.weights.lossy.compress import compress_lossy
from netweight.weights.lossy.feedback import feedback_of, output_error
from netweight.weights.lossy.target import Target

RNG = np.random.default_rng(5)


def correlated(samples: int, columns: int) -> np.ndarray:
    """Inputs float32 [samples, columns] whose energy lies in few directions."""
    mix = RNG.normal(size=(columns, columns)) * (np.arange(1, columns + 1) ** -0.7)[:, None]
    return (RNG.normal(size=(samples, columns)) @ mix).astype(np.float32)


def moments(columns: int) -> np.ndarray:
    x = correlated(4 * columns, columns)
    return x.T @ x / len(x)


WEIGHT = RNG.normal(size=(96, 128)).astype(np.float32)
MOMENTS = moments(128)
SHAPE = Shape(96, 128, 1)


def bits_and_error(body: bytes, weight: np.ndarray, h: np.ndarray) -> tuple[int, float]:
    """Bits of a body, and the output error of what it decodes to, in dB."""
    decoded = trellis.decode(body, [Shape(*weight.shape, 1)]).reshape(weight.shape)
    return 8 * len(body), 10 * np.log10(output_error(weight - decoded, h) / output_error(weight, h))


@pytest.mark.parametrize("states", [1, 8])
def test_at_equal_bits_the_outputs_are_far_better(states):
    plain = trellis.encode(WEIGHT.reshape(-1), [SHAPE], Settings((0.4,), states))
    aware = encode_aware(WEIGHT.reshape(-1), SHAPE, Settings((0.5,), states), feedback_of(MOMENTS))
    bits, error = bits_and_error(plain[0], WEIGHT, MOMENTS)
    bits_aware, error_aware = bits_and_error(aware[0], WEIGHT, MOMENTS)
    assert bits_aware <= bits
    assert error_aware < error - 5


@pytest.mark.parametrize(("rows", "columns"), [(1, 40), (7, 33), (64, 70), (100, 700)])
def test_what_is_coded_is_what_is_decoded(rows, columns):
    """Segments end inside columns, and columns don't fill the last group."""
    weight = RNG.laplace(size=rows * columns).astype(np.float32)
    shape = Shape(rows, columns, 1)
    body, restored = encode_aware(weight, shape, Settings((0.7,), 8), feedback_of(moments(columns)))
    assert np.array_equal(trellis.decode(body, [shape]), restored)
    assert {end % rows for _, end in segments(rows * columns)} != {0} or rows * columns < 4096 or rows == 64


def test_inputs_that_are_alike_and_independent_ask_for_no_feedback():
    feedback = feedback_of(3 * np.eye(20))
    assert np.array_equal(feedback.passed, np.eye(20))
    assert np.allclose(feedback.dear, 1)
    assert feedback.level == pytest.approx(3 * 1.01)


def test_feedback_factors_the_damped_moments():
    h = moments(30).astype(np.float64)
    feedback = feedback_of(h, damping=0.01)
    inverse = np.linalg.inv(feedback.passed.astype(np.float64))
    again = inverse @ np.diag(feedback.dear * feedback.level) @ inverse.T
    damped = h + 0.01 * np.trace(h) / 30 * np.eye(30)
    assert np.allclose(again, damped, rtol=1e-4, atol=1e-4 * np.abs(damped).max())


def test_the_error_of_one_column_is_made_good_by_its_twin():
    """Two equal inputs: only the sum of their weights counts, and the second weight pays for the first."""
    weight = RNG.uniform(-1, 1, (400, 2)).astype(np.float32)
    h = np.array([[1.0, 0.999], [0.999, 1.0]])
    _, restored = encode_aware(
        weight.reshape(-1), Shape(400, 2, 1), Settings((0.3,), 1, 0.0), feedback_of(h, damping=1e-6)
    )
    error = weight - restored.reshape(weight.shape)
    assert np.std(error.sum(axis=1)) == pytest.approx(np.std(error[:, 0]), rel=0.1)  # and not sqrt(2) of it
    assert np.corrcoef(error.T)[0, 1] == pytest.approx(-np.sqrt(0.5), abs=0.05)


@pytest.mark.parametrize("bad", [np.zeros((6, 6)), -np.eye(6), np.diag([1.0, 1, 1, 1, 1, -1])])
def test_no_second_moments_no_feedback(bad):
    assert feedback_of(bad) is None


def test_few_samples_are_enough_to_go_on():
    x = correlated(3, 50)
    feedback = feedback_of(x.T @ x)
    assert np.isfinite(feedback.passed).all()
    assert feedback.dear.max() < 65


def test_weights_too_many_steps_large_are_refused():
    assert encode_aware(WEIGHT.reshape(-1), SHAPE, Settings((1e-12,)), feedback_of(MOMENTS)) is None
    with pytest.raises(ValueError, match="100 columns"):
        encode_aware(WEIGHT.reshape(-1), SHAPE, Settings((1.0,)), feedback_of(np.eye(100)))


@pytest.fixture
def checkpoint(tmp_path):
    """(path, weights, calibration): a matrix, a convolution, and a matrix that nobody calibrated."""
    from safetensors.numpy import save_file

    weights = {
        "a.weight": WEIGHT,
        "conv.weight": RNG.normal(size=(24, 8, 3, 3)).astype(np.float32) / 5,
        "other.weight": RNG.normal(size=(32, 40)).astype(np.float32),
    }
    save_file(weights, tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors", weights, {"a.weight": MOMENTS, "conv.weight.inputs": correlated(300, 72)}


def outputs(weights: dict, decoded: dict, name: str, h: np.ndarray) -> float:
    error = (weights[name] - decoded[name]).reshape(len(weights[name]), -1)
    return output_error(error, h)


@pytest.mark.parametrize("kind", ["npz", "compressed npz", "safetensors", "mapping", "function"])
def test_a_checkpoint_is_calibrated(checkpoint, tmp_path, kind):
    path, weights, arrays = checkpoint
    arrays = arrays | {"stranger": np.eye(3)}
    archive = tmp_path / "out.nw"
    receipt = compress_lossy(path, archive, step=0.5, effort="fast", calibration=_as(kind, arrays, tmp_path))
    decoded = netweight.load_file(archive)
    x = arrays["conv.weight.inputs"]
    seen = {"a.weight": MOMENTS, "conv.weight": x.T @ x / len(x)}
    felt = sum(outputs(weights, decoded, n, h) for n, h in seen.items())
    whole = sum(output_error(weights[n].reshape(len(weights[n]), -1), h) for n, h in seen.items())
    notes = receipt.notes["calibration"]
    assert notes["tensors"] == 2
    assert notes["output_error"] == pytest.approx(felt / whole, rel=1e-3)
    assert notes.get("ignored", []) == ([] if kind == "function" else ["stranger"])
    noise = sum(((weights[n] - decoded[n]) ** 2).sum() for n in weights)
    assert receipt.rel_mse == pytest.approx(noise / sum((w**2).sum() for w in weights.values()), rel=1e-4)


def _as(kind, arrays, folder):
    from safetensors.numpy import save_file

    if kind == "function":
        return arrays.get
    if kind == "mapping":
        return arrays
    path = folder / f"seen.{kind.split()[-1]}"
    {"npz": np.savez, "compressed npz": np.savez_compressed}.get(kind, lambda p, **a: save_file(a, p))(path, **arrays)
    return path


def test_calibrated_checkpoints_are_better_at_equal_bytes(checkpoint, tmp_path):
    path, weights, arrays = checkpoint
    errors, sizes = [], []
    for calibration in (None, arrays):
        receipt = compress_lossy(
            path, tmp_path / "out.nw", Target("bits", 2.5), effort="fast", calibration=calibration, force=True
        )
        decoded = netweight.load_file(tmp_path / "out.nw")
        errors.append(outputs(weights, decoded, "a.weight", MOMENTS))
        sizes.append(receipt.quantised_bits)
    assert max(sizes) <= 2.5
    assert errors[1] < 0.4 * errors[0]


def test_rows_of_one_tensor_are_cut_into_blocks_that_know_what_it_sees(tmp_path):
    """A matrix of more weights than a block holds."""
    from safetensors.numpy import save_file

    weight = RNG.normal(size=(5000, 256)).astype(np.float32)
    save_file({"w": weight}, tmp_path / "big.safetensors")
    h = moments(256)
    errors = []
    for calibration in (None, {"w": h}):
        source, archive = tmp_path / "big.safetensors", tmp_path / "o.nw"
        compress_lossy(source, archive, step=0.5, effort="fast", calibration=calibration, force=True)
        decoded = netweight.load_file(archive)["w"]
        errors.append([output_error(part, h) for part in np.array_split(weight - decoded, 5)])
    assert max(errors[1]) < 0.4 * min(errors[0])


BAD = {
    "shape": ({"a.weight": np.eye(5)}, r"a\.weight has shape \[5, 5\], expected \[128, 128\]"),
    "samples": (
        {"a.weight.inputs": np.ones((4, 7))},
        r"a\.weight\.inputs has shape \[4, 7\], expected \[samples, 128\]",
    ),
    "none": ({"a.weight.inputs": np.ones((0, 128))}, r"expected \[samples, 128\]"),
    "nan": ({"a.weight": np.full((128, 128), np.nan)}, "NaN or infinities"),
    "text": ({"a.weight": np.full((128, 128), "x")}, "dtype"),
    "complex": ({"a.weight": np.eye(128) * 1j}, "expected floats"),
    "zero": ({"a.weight": np.zeros((128, 128))}, "no second moments"),
    "negative": ({"a.weight": -np.eye(128)}, "no second moments"),
}


@pytest.mark.parametrize(("arrays", "message"), BAD.values(), ids=BAD)
def test_useless_calibration_is_refused(checkpoint, tmp_path, arrays, message):
    with pytest.raises(InputError, match=message):
        compress_lossy(checkpoint[0], tmp_path / "out.nw", step=0.5, calibration=arrays)
    assert not (tmp_path / "out.nw").exists()


@pytest.mark.parametrize("name", ["seen.npz", "seen.safetensors", "seen.bin"])
def test_damaged_and_missing_files_are_input_errors(tmp_path, name):
    with pytest.raises(InputError), open_calibration(tmp_path / name) as _:
        pass
    (tmp_path / name).write_bytes(b"PK\3\4 not a file of arrays" * 9)
    with pytest.raises(InputError), open_calibration(tmp_path / name) as _:
        pass


def test_promises_about_single_weights_exclude_calibration(checkpoint, tmp_path):
    path, _, arrays = checkpoint
    with pytest.raises(InputError, match="felt least"):
        compress_lossy(path, tmp_path / "o.nw", Target("max_error", 0.1), calibration=arrays)
    with pytest.raises(InputError, match="felt least"):
        compress_lossy(path, tmp_path / "o.nw", step=0.1, equal_error=True, calibration=arrays)

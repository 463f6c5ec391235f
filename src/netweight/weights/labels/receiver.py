"""The receiver as a program of its own: it is given a file, the inputs and the settings, and nothing that the sender knew.

python -m netweight.weights.labels.receiver FOLDER     FOLDER has message, inputs.npy and settings.json
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...errors import GuaranteeError
from ..bits_back.mlp import Recipe
from . import prequential, two_part, variational
from .network import Plan

Ints = NDArray[np.int64]

_MESSAGE, _INPUTS, _SETTINGS, _LABELS, _CARRIED = "message", "inputs.npy", "settings.json", "labels.npy", "carried"
PREQUENTIAL, TWO_PART, VARIATIONAL = "prequential", "two-part", "variational"
CODES: Final = (PREQUENTIAL, VARIATIONAL, TWO_PART)


def scaled(pictures: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Pictures uint8 [n, ...] as float64 rows in 0..1, over their largest pixel."""
    rows = pictures.reshape(len(pictures), -1).astype(np.float64)
    return rows / max(1.0, float(rows.max(initial=0.0)))


def decode(
    code: str, data: bytes, pictures: NDArray[np.uint8], classes: int, settings: dict[str, Any]
) -> tuple[Ints, bytes]:
    """(labels, what was carried) by the code's name and its settings. Raises FormatError, BaseMismatchError."""
    if code == PREQUENTIAL:
        plan = settings["plan"] | {"channels": tuple(settings["plan"]["channels"])}
        schedule = prequential.Schedule(**settings | {"plan": Plan(**plan)})
        return prequential.decode(data, pictures, classes, schedule), b""
    if code == TWO_PART:
        return two_part.decode(data, scaled(pictures), classes, Recipe(**settings)), b""
    return variational.decode(data, scaled(pictures), classes, Recipe(**settings))


def in_a_fresh_process(
    code: str, data: bytes, pictures: NDArray[np.uint8], classes: int, settings: dict[str, Any]
) -> tuple[Ints, bytes]:
    """The same by another Python process. Raises GuaranteeError with what it said if it fails."""
    with tempfile.TemporaryDirectory(prefix="netweight-") as name:
        folder = Path(name)
        (folder / _MESSAGE).write_bytes(data)
        np.save(folder / _INPUTS, pictures)
        told = {"code": code, "classes": classes, "settings": settings}
        (folder / _SETTINGS).write_text(json.dumps(told))
        command = [sys.executable, "-m", __name__, name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  our own module
        if done.returncode:
            raise GuaranteeError(f"{code}: a fresh process can't decode the labels: {done.stderr.strip()[-500:]}")
        return np.load(folder / _LABELS), (folder / _CARRIED).read_bytes()


def main(folder: Path) -> None:
    """Decode what lies in `folder`, beside it."""
    told = json.loads((folder / _SETTINGS).read_text())
    data, pictures = (folder / _MESSAGE).read_bytes(), np.load(folder / _INPUTS)
    labels, carried = decode(told["code"], data, pictures, told["classes"], told["settings"])
    np.save(folder / _LABELS, labels)
    (folder / _CARRIED).write_bytes(carried)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

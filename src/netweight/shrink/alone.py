"""What coding alone does to the same network: the smallest archive of its weights, unchanged in shape, that scores as well."""

from __future__ import annotations

import copy
import math
import tempfile
from pathlib import Path
from typing import Final

import numpy as np
import torch

from ..errors import InputError
from ..weights.archive import load_file
from ..weights.as_torch import from_numpy
from ..weights.lossy.budget import REL_MSE
from ..weights.lossy.compress import compress_lossy, rms_of
from ..weights.lossy.rate import NOISE_OF_STEP
from ..weights.lossy.search import Evaluation, cheapest
from ..weights.lossy.target import Touched
from .network import Network
from .protocol import Evaluate

TRIES: Final = 8


def coded_alone(network: Network, evaluate: Evaluate, score: float, reference: float, tries: int = TRIES) -> int | None:
    """Bytes of the smallest archive found of the network's weights whose decoded weights score at least `score`; None if none does.

    `reference` is the network's own score. Each of the `tries` settings is written, decoded and scored.
    """
    from safetensors.torch import save_file

    state = {k: v for k, v in network.state_dict().items() if v.is_floating_point()}
    trial = copy.deepcopy(network)
    with tempfile.TemporaryDirectory(prefix="netweight-") as folder:
        plain, packed = Path(folder) / "network.safetensors", Path(folder) / "network.nw"
        first: dict[int, str] = {}
        owned = {k: v for k, v in state.items() if first.setdefault(v.data_ptr(), k) == k}
        save_file({k: v.detach().cpu().contiguous().clone() for k, v in owned.items()}, plain)
        try:
            rms = rms_of(plain, Touched())
        except InputError:  # nothing in it is large enough to quantise
            return None

        def measured(t: float) -> Evaluation:
            compress_lossy(
                plain, packed, step=rms * math.sqrt(10**t / NOISE_OF_STEP), effort="max", threads=1, force=True
            )
            decoded = load_file(packed)
            with torch.no_grad():
                places = dict(trial.state_dict(keep_vars=True))
                for name, array in decoded.items():
                    places[name].copy_(from_numpy(np.array(array)))
            return Evaluation(t, packed.stat().st_size, float(evaluate(trial.eval())))

        best = cheapest(measured, REL_MSE, floor=score, reference=max(reference, score), most=tries).best
    return None if best is None else best.bytes

"""Networks made smaller before they are coded: pruned, factored, quantised, distilled, with early exits.

    from netweight.shrink import shrink, Prune, LowRank, Quantize, Distil, EarlyExit
    result = shrink(model, example, steps=[Prune(), Quantize(w=4, a=8)], target={"macs": 0.5},
                    train=losses, evaluate=score, budget=1000)
    result.save("small.nw")
    netweight.shrink.load("small.nw")        # a module that runs

Needs the extra `shrink` (torch).

api.py        shrink: target, order, budget
protocol.py   what a step is and what it may use
tracing.py    torch modules to networks: torch.export's graph, with layers and pure functions (lifting.py, ops.py, network.py)
graph/        coupled channels, and their removal
steps/        the steps
order/        which comes first
budget.py     targets to strengths
saving.py     networks in archives (structure.py: as JSON)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from .._lazy import exporter
from ..weights.as_torch import library

if TYPE_CHECKING:
    from .api import shrink
    from .network import Network
    from .order.measure import Pair
    from .protocol import Context, Step, StepError
    from .result import Report, Result
    from .saving import load, save
    from .steps.collaborative import Collaborative
    from .steps.distil import Distil
    from .steps.early_exit import EarlyExit
    from .steps.low_rank import LowRank
    from .steps.masks import Mask
    from .steps.prune import Prune
    from .steps.quantise import Quantize
    from .tracing import TraceError, trace
    from .training import TrainingError

_HOMES: Final = {
    "Collaborative": "steps.collaborative",
    "Context": "protocol",
    "Distil": "steps.distil",
    "EarlyExit": "steps.early_exit",
    "LowRank": "steps.low_rank",
    "Mask": "steps.masks",
    "Network": "network",
    "Pair": "order.measure",
    "Prune": "steps.prune",
    "Quantize": "steps.quantise",
    "Report": "result",
    "Result": "result",
    "Step": "protocol",
    "StepError": "protocol",
    "TraceError": "tracing",
    "TrainingError": "training",
    "load": "saving",
    "save": "saving",
    "shrink": "api",
    "trace": "tracing",
}

__all__ = [
    "Collaborative",
    "Context",
    "Distil",
    "EarlyExit",
    "LowRank",
    "Mask",
    "Network",
    "Pair",
    "Prune",
    "Quantize",
    "Report",
    "Result",
    "Step",
    "StepError",
    "TraceError",
    "TrainingError",
    "load",
    "save",
    "shrink",
    "trace",
]

_found = exporter(__name__, _HOMES)


def __getattr__(name: str) -> Any:
    """Load what is asked for. Raises MissingExtraError without torch."""
    if name in _HOMES:
        library()
    return _found(name)

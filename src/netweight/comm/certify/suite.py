"""Which compressors are certified: ours, at several settings, and those of users."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from ...errors import InputError
from ..compressor import Compressor
from .inputs import INPUTS, ISOTROPIC
from .measure import Measurement, measure

Progress = Callable[[str, int, int], None]

CLAIMS: Final = (
    "Identity()", "Float16()", "BFloat16()",
    "TopK(fraction=0.1)", "TopK(fraction=0.1, values='fp16')", "TopK(fraction=0.1, values='bit')",
    "RandK(fraction=0.1)", "RandK(fraction=0.1, unbiased=False)", "RandK(fraction=0.1, values='fp16')",
    "SignMean()", "TernGrad()", "QSGD(s=1)", "QSGD(s=32)", "NaturalCompression()",
    "MinMax(bits=4)", "MinMax(bits=2, stochastic=True)", "InfinityNorm(bits=2)", "InfinityNorm(bits=4, block=64)",
    "SparseDithering(nu=0.25)", "SparseDithering(nu=1.0, randomised=True)", "SubtractiveDithering(nu=0.1)",
    "Spherical(alpha=0.25, block=6)", "MaxBlockNorm()", "SparseRandomised()", "GaussianCodebook(bits=6)",
    "Kashin(s=1)", "Kashin(s=4)", "Drive()", "Drive(shrunk=True)", "Eden(bits=0.5)", "Eden(bits=2)", "Eden(bits=2, coded=True)",
    "TrellisCoded(nu=0.1)", "DitheredTrellis(nu=0.25)", "DitheredTrellis(nu=8.0)", "DitheredTrellis(nu=0.25, shrunk=True)",
)  # fmt: skip
"""Tried on every kind of vector."""

SWEEP: Final = (
    *(f"TopK(fraction={f}, values='bit')" for f in (0.01, 0.03, 0.2, 0.35)),
    *(f"TopK(fraction={f})" for f in (0.01, 0.03)),
    *(f"SparseDithering(nu={nu})" for nu in (0.02, 0.1, 0.9)),
    *(f"SparseDithering(nu={nu}, randomised=True)" for nu in (0.1, 0.3, 4.0, 16.0)),
    *(f"SubtractiveDithering(nu={nu})" for nu in (0.01, 0.03, 0.3, 1.0)),
    *(f"InfinityNorm(bits={b})" for b in (1, 3, 4)),
    *(f"QSGD(s={s})" for s in (4, 12)),
    *(f"MinMax(bits={b})" for b in (1, 2, 3)),
    *(f"Eden(bits={b})" for b in (0.1, 0.25, 1.5, 3)),
    *(f"Eden(bits={b}, coded=True)" for b in (0.5, 1, 3)),
    *(f"Kashin(s={s})" for s in (2,)),
    *(f"TrellisCoded(nu={nu})" for nu in (0.02, 0.05, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.97)),
    *(f"DitheredTrellis(nu={nu}, shrunk=True)" for nu in (0.02, 0.1, 1.0, 3.0, 8.0, 30.0)),
    *(f"DitheredTrellis(nu={nu})" for nu in (0.02, 0.1, 0.5, 1.0, 3.0, 30.0)),
)
"""Other settings, tried on isotropic vectors alone, for the plot."""


@dataclass(frozen=True)
class Candidate:
    """A compressor, how it is shown, and the kinds of vectors that it is tried on."""

    label: str
    compressor: Compressor
    inputs: tuple[str, ...]


def parse(text: str) -> Compressor:
    """`TopK` or `TopK(fraction=0.01)`: one of netweight.comm, with literal arguments. Raises InputError."""
    from ... import comm

    try:
        node = ast.parse(text.strip(), mode="eval").body
        call = node if isinstance(node, ast.Call) else ast.Call(node, [], [])
        if not isinstance(call.func, ast.Name) or call.func.id not in comm.__all__:
            raise InputError(f"no compressor {text!r} in netweight.comm; a compressor of yours is module:name")
        arguments = [ast.literal_eval(a) for a in call.args]
        keywords = {k.arg: ast.literal_eval(k.value) for k in call.keywords if k.arg}
        made = getattr(comm, call.func.id)(*arguments, **keywords)
    except (SyntaxError, ValueError, TypeError) as error:
        raise InputError(f"{text!r} isn't a compressor with literal arguments: {error}") from None
    if not isinstance(made, Compressor):
        raise InputError(f"{text!r} isn't a compressor")
    return made


def load(target: str) -> Compressor:
    """`module:name` of a user, an instance or a class that needs no arguments; modules are looked for here, too. Raises InputError.

    What the user's module itself raises is not caught.
    """
    module, _, name = target.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found: Any = import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.split(".", maxsplit=1)[0]:
            raise
        raise InputError(f"no module {module!r} in {here} or on Python's path") from None
    for part in name.split("."):
        if not hasattr(found, part):
            raise InputError(f"module {module!r} has no {name!r}")
        found = getattr(found, part)
    made = found() if isinstance(found, type) else found
    if not isinstance(made, Compressor):
        raise InputError(f"{target} is no netweight.comm.Compressor but a {type(made).__name__}")
    return made


def candidates(targets: Sequence[str] = ()) -> list[Candidate]:
    """Ours, or those that are named, which are tried on everything. Raises InputError."""
    everything = tuple(INPUTS)
    if targets:
        return [Candidate(t, load(t) if ":" in t else parse(t), everything) for t in targets]
    ours = [Candidate(text, parse(text), everything) for text in CLAIMS]
    return [*ours, *(Candidate(text, parse(text), (ISOTROPIC,)) for text in SWEEP)]


def certify(
    chosen: Sequence[Candidate],
    d: Sequence[int] = (1024,),
    draws: int = 2,
    seeds: int = 24,
    progress: Progress | None = None,
) -> list[Measurement]:
    """Every candidate on each of its kinds of vectors at every length. Raises InputError for fewer than two seeds."""
    if seeds < 2 or draws < 1 or min(d, default=1) < 1:
        raise InputError("certifying takes at least two seeds, one vector and one coordinate")
    work = [(c, kind, n) for n in d for c in chosen for kind in c.inputs]
    out = []
    for done, (candidate, kind, n) in enumerate(work):
        if progress is not None:
            progress(f"{candidate.label} on {kind}", done, len(work))
        out.append(measure(candidate.compressor, candidate.label, kind, n, draws, seeds))
    return out

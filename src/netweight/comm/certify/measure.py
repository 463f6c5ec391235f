"""One compressor on one kind of vector: what was sent, what was lost, and whether that is what it claims."""

from __future__ import annotations

import math
import sysconfig
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..compressor import Claim, Compressor, relative_error
from .inputs import ISOTROPIC, Vector32, vector
from .statistics import Bias, Mean, combined, mean_of, squared_bias

OVER: Final = 5.0
"""Standard errors by which a mean may exceed its claim."""
_PACKAGE: Final = str(Path(__file__).parents[2])
_LIBRARIES: Final = tuple({sysconfig.get_paths()[name] for name in ("stdlib", "purelib", "platlib")})
_SAME, _UNLIKELY = 1e-6, 1e-3
_ROUNDING: Final = 1e-6
"""Relative to the claim, and of ||x||^2: what float32 may add."""
_UNSEEN: Final = 1e-7
"""A squared bias, relative to ||x||^2, that events too rare for the number of seeds may feign."""
_NEGLIGIBLE: Final = 1e-10
"""A squared error, relative to ||x||^2, in which no bias is looked for: the rounding of float32."""


@dataclass(frozen=True)
class Measurement:
    """What `trials` messages of one kind of vector of length d gave. `bits` are of payloads that were decoded again.

    `error` is ||C(x) - x||^2 / ||x||^2; `bias` is ||E C(x) - x||^2 / ||x||^2, None unless the claim is unbiased; `problems` is what
    the compressor broke, in words.
    """

    label: str
    kind_of_input: str
    d: int
    trials: int
    claim: Claim
    bits: Mean
    error: Mean
    largest_error: float
    bias: Bias | None
    problems: tuple[str, ...]

    @property
    def bits_per_coordinate(self) -> float:
        return self.bits.value / self.d

    @property
    def contraction(self) -> float:
        """The alpha that was measured: of C, or of C / (1 + omega) if it is unbiased."""
        error = self.error.value
        return error / (1 + error) if self.claim.kind == "unbiased" else error

    @property
    def gap(self) -> tuple[float, float, float]:
        """Alpha 4^(bits / d) and its 95 % interval; the limit for isotropic vectors is 1."""
        if not self.contraction:
            return 0.0, 0.0, 0.0
        log_gap = math.log(self.contraction) + 2 * math.log(2) * self.bits_per_coordinate
        relative = self.error.error / self.error.value
        if self.claim.kind == "unbiased":
            relative /= 1 + self.error.value
        spread = 1.96 * math.hypot(relative, 2 * math.log(2) * self.bits.error / self.d)
        return tuple(math.exp(min(log_gap + s, 700.0)) for s in (0.0, -spread, spread))  # type: ignore[return-value]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        gap, low, high = self.gap
        return {
            "compressor": self.label, "input": self.kind_of_input, "d": self.d, "trials": self.trials,
            "claim": {"kind": self.claim.kind, "value": self.claim.value, "sure": self.claim.sure, "source": self.claim.source},
            "bits_per_coordinate": self.bits_per_coordinate, "error": self.error.value, "error_se": _finite(self.error.error),
            "largest_error": self.largest_error, "squared_bias": None if self.bias is None else self.bias.value,
            "gap": gap, "gap_low": low, "gap_high": _finite(high), "holds": not self.problems, "problems": list(self.problems),
        }  # fmt: skip


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def measure(compressor: Compressor, label: str, kind_of_input: str, d: int, draws: int, seeds: int) -> Measurement:
    """Send `draws` vectors of a kind with `seeds` seeds each. What the compressor raises becomes a problem."""
    claim = compressor.bound(d)
    bits, errors, biases = [], [], []
    problems: list[str] = []
    try:
        for number in range(draws):
            x = vector(kind_of_input, d, number)
            sizes, found = _send(compressor, x, range(number * seeds, (number + 1) * seeds), problems)
            exact = x.astype(np.float64)
            bits.append(sizes)
            errors.append(np.array([relative_error(x, row) for row in found]))
            biases.append(squared_bias((found - exact) / math.sqrt(float(np.sum(np.square(exact))))))
    except Exception as error:  # noqa: BLE001  a user's compressor may raise anything: that is a finding, not a crash
        infinite = Mean(math.inf, math.inf)
        text = f"{type(error).__name__}: {error}{_place(error)}"
        return Measurement(label, kind_of_input, d, 0, claim, Mean(0.0, 0.0), infinite, math.inf, None, (text,))
    every = np.concatenate(errors)
    bias = combined(biases) if claim.kind == "unbiased" and seeds > 1 else None
    problems += _broken(claim, errors, bias)
    return Measurement(
        label, kind_of_input, d, every.size, claim, mean_of(np.concatenate(bits)), mean_of(every), float(every.max()), bias,
        tuple(dict.fromkeys(problems)),
    )  # fmt: skip


def _place(error: Exception) -> str:
    """Where a user's compressor raised: the innermost line that isn't netweight's or a library's; empty for ours."""
    frames = traceback.extract_tb(error.__traceback__)
    users = [f for f in frames if not f.filename.startswith((_PACKAGE, *_LIBRARIES, "<"))]
    return f" ({users[-1].filename}, line {users[-1].lineno})" if users else ""


def _send(
    compressor: Compressor, x: Vector32, seeds: range, problems: list[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(bits, decoded vectors) for each seed; breaches of the contract are added to `problems`."""
    bits, found = np.zeros(len(seeds)), np.zeros((len(seeds), x.size))
    fixed = compressor.size(x.size)
    for i, seed in enumerate(seeds):
        before = x.copy()
        payload = compressor.compress(x, seed)
        decoded = compressor.decompress(payload, x.size, x.dtype, seed)
        if not isinstance(decoded, np.ndarray) or decoded.shape != x.shape or decoded.dtype != x.dtype:
            raise TypeError(
                f"decoded to {type(decoded).__name__} {getattr(decoded, 'shape', '')}, not to float32 {x.shape}"
            )
        if not np.array_equal(before, x):
            problems.append("it alters its input")
        if fixed is not None and fixed != len(payload):
            problems.append(f"{len(payload)} bytes, but size() says {fixed}")
        bits[i], found[i] = 8 * len(payload), decoded
        if i == 0:
            problems += _fickle(compressor, x, seed, payload, decoded)
    return bits, found


def _fickle(compressor: Compressor, x: Vector32, seed: int, payload: bytes, decoded: Any) -> list[str]:
    """Whether the same arguments give the same results, and the seed is needed only where that is said."""
    problems = []
    if compressor.compress(x, seed) != payload:
        problems.append("the same seed gives other bytes")
    other = seed if compressor.shares_seed else seed + 1
    if not np.array_equal(compressor.decompress(payload, x.size, x.dtype, other), decoded):
        problems.append(
            "it decodes to something else the second time, or with another seed, which it doesn't claim to share"
        )
    return problems


def _broken(claim: Claim, errors: list[NDArray[np.float64]], bias: Bias | None) -> list[str]:
    """What of a claim doesn't hold. Each vector is judged by itself, since a claim is made for every one."""
    limit = claim.value * (1 + _ROUNDING) + _ROUNDING**2
    problems = []
    if claim.kind == "identity" or claim.sure:
        worst = max(float(e.max()) for e in errors)
        if worst > limit + _NEGLIGIBLE:
            problems.append(f"an error of {worst:.4g}, over {claim.value:.4g}")
    elif claim.kind != "none":
        for each in errors:
            mean = mean_of(each)
            if mean.value > limit and not _by_chance(each, mean, limit):
                problems.append(f"a mean error of {mean.value:.4g} +- {mean.error:.2g}, over {claim.value:.4g}")
    if claim.kind == "contractive" and not 0 <= claim.value < 1 + _ROUNDING:
        problems.append(f"alpha of {claim.value:.4g} isn't in [0, 1)")
    seen = max(float(e.mean()) for e in errors)
    if bias is not None and seen > _NEGLIGIBLE and bias.value > _UNSEEN and bias.is_real(max(claim.value, _NEGLIGIBLE)):
        score = bias.value / bias.error
        problems.append(f"biased: ||E C(x) - x||^2 is {bias.value:.3g} ||x||^2, {score:.0f} standard errors from 0")
    return problems


def _by_chance(errors: NDArray[np.float64], mean: Mean, limit: float) -> bool:
    """Whether a mean error over the limit may be chance. Errors that are all the same tell no spread; then by Markov's inequality each is
    so large with a probability of at most limit / error.
    """
    if mean.error > _SAME * mean.value:
        return mean.value - OVER * mean.error <= limit
    return (limit / float(errors.min())) ** errors.size > _UNLIKELY


def below_the_limit(found: Measurement) -> bool:
    """Whether an isotropic measurement lies under the bound by more than chance, which none can."""
    return found.kind_of_input == ISOTROPIC and found.error.value > 0 and found.gap[2] < 1

"""Is a penalty a code length? Networks trained under rising decay, all weights coded under one fixed prior.

Under a Gaussian of standard deviation sigma, in steps of delta, weights w cost

    sum -log2 P(k) = ||w||^2 / (2 sigma^2 ln 2) + n log2(sigma sqrt(2 pi) / delta)          bits, and under a Laplace prior
    sum -log2 P(k) = ||w||_1 / (b ln 2)         + n log2(2 b / delta),

to the second order of delta / sigma (MacKay 2003, section 28.3). Here the left side is the length of bytes that decode,
the right side theory. Minimising mean loss + strength * penalty over N samples is minimising label bits + weight bits
when strength is 1 / (N sigma^2), or 1 / (N b).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...entropy.priors import GAUSSIAN, LAPLACE, Prior
from ...errors import GuaranteeError
from ...registry import create
from ...tensors import to_array, to_bytes
from ...wire import Reader, Writer
from .codes import prior as codes
from .decay import L1, L2, Floats, Labels, Network, train

Progress = Callable[[str, int, int], None]

WIDTH: Final = 0.25
"""Standard deviation of the Gaussian, mean magnitude of the Laplace prior."""
STEP: Final = WIDTH / 64
_PRIORS: Final = {
    L2: Prior(GAUSSIAN, 104),
    L1: Prior(LAPLACE, 96),
}  # 64 steps: alpha is 2^(104 / 16) = 64 sqrt 2, and 2^(96 / 16)
STRENGTHS: Final = (0.0, *(2.0**k for k in range(-9, 2)))
"""As multiples of the strength at which the penalty is the code length under the fixed prior."""
REL_MSE: Final = 0.01


@dataclass(frozen=True)
class Data:
    """float32 [n, inputs] and uint8 [n], to train on and held out."""

    inputs: Floats
    labels: Labels
    test_inputs: Floats
    test_labels: Labels


@dataclass(frozen=True)
class Point:
    """One trained network. Sizes are lengths of bytes that were decoded and compared; accuracies are of held-out samples."""

    strength: float
    penalty: float
    """||w||^2 or ||w||_1."""
    zeros: float
    """Share of weights that are exactly 0."""
    accuracy: float
    label_bits: float
    """Of the training labels: a bound."""
    fixed_bytes: int
    theory_bits: float
    fitted_bytes: int
    """With the same step under the prior that gives the fewest bytes."""
    lossy_bytes: int
    """A frame of `netweight.lossy.prior` at a relative error of REL_MSE."""
    lossy_accuracy: float

    @property
    def total_bits(self) -> float:
        """Two-part description of the training labels: weights (bytes) and labels (bound)."""
        return 8 * self.fixed_bytes + self.label_bits


@dataclass(frozen=True)
class Line:
    """Least squares of bits on penalty, beside theory: bits = slope * penalty + constant."""

    slope: float
    constant: float
    r_squared: float
    theory_slope: float
    theory_constant: float

    @property
    def slope_error(self) -> float:
        """Measured over theoretical slope, less 1."""
        return self.slope / self.theory_slope - 1


@dataclass(frozen=True)
class Sweep:
    """The networks of one penalty, in order of rising strength."""

    kind: str
    weights: int
    samples: int
    width: float
    step: float
    points: tuple[Point, ...]
    line: Line

    @property
    def own_strength(self) -> float:
        """Where the penalty is the code length under the fixed prior."""
        return own_strength(self.kind, self.samples)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        derived = {"own_strength": self.own_strength, "slope_error": self.line.slope_error}
        return asdict(self) | derived


def own_strength(kind: str, samples: int) -> float:
    """1 / (N sigma^2) or 1 / (N b)."""
    return 1 / (samples * (WIDTH**2 if kind == L2 else WIDTH))


def theory(kind: str, count: int) -> tuple[float, float]:
    """(bits per unit of penalty, bits at no penalty) of `count` weights."""
    if kind == L2:
        return 1 / (2 * WIDTH**2 * np.log(2)), count * float(np.log2(WIDTH * np.sqrt(2 * np.pi) / STEP))
    return 1 / (WIDTH * np.log(2)), count * float(np.log2(2 * WIDTH / STEP))


def _checked(body: bytes, multiples: codes.Multiples, network: Network) -> int:
    """The length of `body`, once it has been decoded and compared. Raises GuaranteeError."""
    source = Reader(body, "multiples")
    decoded = codes.read_multiples(source, network.shapes)
    source.end()
    if not np.array_equal(decoded, multiples):
        raise GuaranteeError("other multiples came back; please report this")
    return len(body)


def _lossy(w: Floats, network: Network) -> tuple[int, Floats]:
    """(bytes of a frame, decoded weights) within REL_MSE. Raises GuaranteeError."""
    from ...codec import measure_error
    from ...frame import pack, unpack
    from ...spec import Spec

    data, _ = to_bytes(w)
    spec = Spec("F32", tuple((s.rows, s.columns) for s in network.shapes))
    codec = create("netweight.lossy.prior", {"rel_mse": REL_MSE})
    blob = pack(codec, data, spec)
    decoded, _ = unpack(blob)
    if not codec.guarantee.holds(measure_error(data, decoded, spec)):
        raise GuaranteeError(f"{codec.id} broke its promise; please report this")
    restored: Floats = to_array(decoded, spec)
    return len(blob), restored


def weigh_weights(kind: str, network: Network, w: Floats, data: Data, strength: float) -> Point:
    """Every figure of one network with parameters `w` (float32 [size])."""
    multiples = np.rint(w.astype(np.float64) / STEP).astype(np.int32)
    flat, slope_constant = codes.one_width(network.shapes), theory(kind, w.size)
    fixed = Writer()
    codes.write_under(fixed, multiples, flat, _PRIORS[kind])
    fitted = codes.encode_multiples(multiples, codes.widths_of(w, network.shapes, "rows-columns"), codes.AUTO)
    wide = w.astype(np.float64)
    penalty = float((wide**2).sum() if kind == L2 else np.abs(wide).sum())
    lossy_bytes, restored = _lossy(w, network)
    return Point(
        strength=strength,
        penalty=penalty,
        zeros=float(np.mean(w == 0)),
        accuracy=network.accuracy(w, data.test_inputs, data.test_labels),
        label_bits=network.label_bits((multiples * STEP).astype(np.float32), data.inputs, data.labels),
        fixed_bytes=_checked(fixed.bytes(), multiples, network),
        theory_bits=slope_constant[0] * penalty + slope_constant[1],
        fitted_bytes=_checked(fitted, multiples, network),
        lossy_bytes=lossy_bytes,
        lossy_accuracy=network.accuracy(restored, data.test_inputs, data.test_labels),
    )


def line_of(kind: str, count: int, points: Iterable[Point]) -> Line:
    """Ordinary least squares over networks of `count` weights."""
    pairs: NDArray[np.float64] = np.array([(p.penalty, 8 * p.fixed_bytes) for p in points], np.float64)
    x, y = pairs.T
    slope = float(((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum())
    constant = float(y.mean() - slope * x.mean())
    left = ((y - slope * x - constant) ** 2).sum() / ((y - y.mean()) ** 2).sum()
    return Line(slope, constant, float(1 - left), *theory(kind, count))


def sweep(
    kind: str,
    data: Data,
    *,
    hidden: int = 48,
    strengths: Iterable[float] = STRENGTHS,
    steps: int = 1000,
    seed: int = 0,
    progress: Progress | None = None,
) -> Sweep:
    """Train and weigh a network at each of `strengths` (multiples of the prior's own) under penalty `kind`, L1 or L2.

    Deterministic on one machine; another BLAS may round differently. Raises GuaranteeError.
    """
    network = Network(data.inputs.shape[1], hidden, int(data.labels.max()) + 1)
    own, chosen, points = own_strength(kind, len(data.labels)), tuple(strengths), []
    for done, multiple in enumerate(chosen):
        if progress is not None:
            progress(f"training under {kind.upper()} decay", done, len(chosen))
        w = train(network, data.inputs, data.labels, kind, multiple * own, steps=steps, seed=seed)
        points.append(weigh_weights(kind, network, w, data, multiple * own))
    line = line_of(kind, network.size, points)
    return Sweep(kind, network.size, len(data.labels), WIDTH, STEP, tuple(points), line)

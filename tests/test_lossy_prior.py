"""`netweight.lossy.prior`: that it keeps its promise, pays what theory says, and picks what is shortest."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from contract import check_hostile, check_round_trip, gaussian, mutations
from netweight import tensors
from netweight.errors import FormatError
from netweight.registry import create
from netweight.spec import Spec
from netweight.weights.lossy.codes.prior import PRIORS, read_multiples
from netweight.wire import Reader

VARIANTS = [(p, s) for p in PRIORS for s in ("tensor", "rows-columns")]


@cache
def sample(kind: str, rows: int = 200, columns: int = 300) -> np.ndarray:
    rng = np.random.default_rng(1)
    if kind == "laplace":
        return rng.laplace(size=(rows, columns)).astype(np.float32)
    w = rng.standard_normal((rows, columns)).astype(np.float32)
    if kind == "sparse":
        w[rng.random((rows, columns)) < 0.95] = 0
    return w


def coded(weights: np.ndarray, **config: Any) -> bytes:
    """A payload that was decoded again, within its error."""
    payload = check_round_trip(create("netweight.lossy.prior", config), *tensors.to_bytes(weights))
    assert payload is not None
    assert payload[0] == 1, "not coded losslessly"
    return payload


@pytest.mark.parametrize(("prior", "scales"), VARIANTS)
def test_every_setting_round_trips_and_is_safe(prior: str, scales: str) -> None:
    codec = create("netweight.lossy.prior", {"rel_mse": 0.02, "prior": prior, "scales": scales})
    data = np.concatenate([gaussian(np.float32, 12, 16).reshape(-1), np.zeros(30, np.float32), np.ones(3, np.float32)])
    spec = Spec("F32", ((12, 4, 2, 2), (5, 6), (3,)))
    payload = check_round_trip(codec, data.view(np.uint8), spec)
    assert payload is not None
    assert payload[0] == 1
    for bad in mutations(payload, 60):
        check_hostile(codec, bad, spec)
    for length in range(0, len(payload), 13):
        with pytest.raises(FormatError):
            codec.decode(payload[:length], spec)
    for other in (Spec("F32", ((3, 7),)), Spec("F16", ((20, 24),)), Spec("F32", ((0,),)), Spec("F32", ((225,),))):
        check_hostile(codec, payload, other)


def test_refuses_what_it_does_not_know() -> None:
    for config in ({"prior": "cauchy"}, {"scales": "layers"}, {"rel_mse": 0.0}):
        with pytest.raises(FormatError):
            create("netweight.lossy.prior", config)


@pytest.mark.parametrize("rel_mse", [1.0, 0.3, 1e-3, 1e-9, 1e-13])
def test_any_error(rel_mse: float) -> None:
    coded(sample("gaussian", 40, 50), rel_mse=rel_mse, prior="gaussian")


def test_an_impossible_error_is_coded_losslessly() -> None:
    payload = check_round_trip(
        create("netweight.lossy.prior", {"rel_mse": 1e-30}), *tensors.to_bytes(sample("laplace", 9, 9))
    )
    assert payload is not None
    assert payload[0] == 0


@pytest.mark.parametrize(
    ("kind", "entropy"), [("gaussian", np.log2(np.sqrt(2 * np.pi * np.e))), ("laplace", np.log2(2 * np.e))]
)
def test_high_rate_costs_the_differential_entropy_less_the_step(kind: str, entropy: float) -> None:
    """Gish and Pierce 1968: h(W) - log2 step, with an error of step^2 / 12."""
    weights, rel_mse = sample(kind), 1e-4
    scale = 1.0 if kind == "gaussian" else np.sqrt(0.5)  # the Laplace sample has variance 2
    step = np.sqrt(12 * rel_mse * float((weights**2).mean()))
    theory = entropy - np.log2(step)
    assert 8 * len(coded(weights, rel_mse=rel_mse, prior=kind)) / weights.size == pytest.approx(theory, rel=0.01)
    assert scale * step < 0.05


def test_the_right_prior_is_the_shorter_one() -> None:
    for right, wrong in (("gaussian", "laplace"), ("laplace", "gaussian")):
        assert len(coded(sample(right), prior=right)) < 0.99 * len(coded(sample(right), prior=wrong))


def test_a_spike_pays_for_sparse_weights() -> None:
    """95 % exact zeros and a Gaussian: two numbers, a share and a width, say all of it."""
    bare, spiked = (len(coded(sample("sparse"), prior=p)) for p in ("gaussian", "spike-gaussian"))
    assert spiked < 0.8 * bare


@pytest.mark.parametrize("kind", ["gaussian", "laplace", "sparse"])
def test_auto_is_the_shortest(kind: str) -> None:
    for scales in ("tensor", "rows-columns"):
        sizes = {p: len(coded(sample(kind, 60, 80), prior=p, scales=scales)) for p in PRIORS}
        assert sizes["auto"] == min(sizes.values())
        assert sizes["generalised-gaussian"] <= min(sizes["gaussian"], sizes["laplace"]) + 8


def test_rows_and_columns_pay_where_they_differ() -> None:
    """Widths that vary by row and by column: knowing them saves the gap between log E and E log."""
    rng = np.random.default_rng(2)
    octaves = (rng.normal(size=(200, 1)) + rng.normal(size=300)) / 2
    weights = (sample("gaussian") * 2**octaves).astype(np.float32)
    one, many = (8 * len(coded(weights, rel_mse=1e-5, prior="gaussian", scales=s)) for s in ("tensor", "rows-columns"))
    gap = 0.5 * np.log2(np.mean(4**octaves)) - octaves.mean()
    told = gap * weights.size - (one - many)
    assert 500 < told < 6 * 500, "what it takes to tell the steps of 200 rows and 300 columns, in bits"


def test_tensors_have_their_own_widths() -> None:
    small, large = sample("gaussian", 60, 50) / 64, sample("laplace", 60, 50)
    codec = create("netweight.lossy.prior", {"rel_mse": 1e-4, "scales": "tensor"})
    data = np.concatenate([small.reshape(-1), large.reshape(-1)]).view(np.uint8)
    together = check_round_trip(codec, data, Spec("F32", ((60, 50), (60, 50))))
    as_one = check_round_trip(codec, data, Spec("F32", ((120, 50),)))
    assert together is not None
    assert as_one is not None
    assert len(together) < 0.85 * len(as_one)


@pytest.mark.parametrize("prior", ["gaussian", "auto", "empirical"])
def test_weights_that_lean_cost_no_more_than_those_that_do_not(prior: str) -> None:
    """As the scales of a normalisation do: all near one. The error is relative to the larger energy, so it is scaled."""
    upright = coded(sample("gaussian"), rel_mse=1e-3, prior=prior)
    leaning = coded(sample("gaussian") * np.float32(0.1) + 1, rel_mse=1e-5 / 1.01, prior=prior)
    assert len(leaning) == pytest.approx(len(upright), abs=len(upright) // 100)


def test_level_zero_counts_as_level_one() -> None:
    """Rows eight octaves apart still come back."""
    weights = sample("gaussian", 64, 64) * np.exp2(-np.arange(64) / 3)[:, None]
    coded(weights.astype(np.float32), rel_mse=1e-8)


def test_unknown_kinds_are_refused() -> None:
    payload = coded(sample("gaussian", 8, 9), scales="tensor", prior="gaussian")
    assert payload[5:7] == b"\0\0", "symmetric about 0, one width for all"
    for kind in (7, 16, 23, 200):
        with pytest.raises(FormatError):
            read_multiples(Reader(bytes([kind]) + payload[7:]), [])

"""Indices in contexts of a low-rank model: what it saves, what it leaves alone, and bytes that lie."""

from __future__ import annotations

import contextlib
from functools import cache

import numpy as np
import pytest

from contract import mutations
from netweight.codec import weigh
from netweight.errors import FormatError
from netweight.registry import create
from netweight.spec import Spec
from netweight.weights.coders import balanced, lowrank
from netweight.weights.coders.singular import largest, product
from netweight.weights.methods import EFFORTS, LOWRANK, decode_block, encode_block

SHAPE = (320, 256)
SPEC = Spec("U8", (SHAPE,))


def indices(scores: np.ndarray, levels: int = 64) -> np.ndarray:
    """Ranks of scores in `levels` classes of equal size: what a sorted codebook does."""
    order = scores.reshape(-1).argsort().argsort()
    return (order * levels // order.size).astype(np.uint8).reshape(scores.shape)


@cache
def made(rank: int, share: float) -> np.ndarray:
    """A matrix of which a low-rank part has `share` of the variance."""
    rng = np.random.default_rng(rank)
    part = rng.normal(size=(SHAPE[0], rank)) @ rng.normal(size=(rank, SHAPE[1])) / max(rank, 1) ** 0.5
    return indices(share**0.5 * part + (1 - share) ** 0.5 * rng.normal(size=SHAPE))


def coded(matrix: np.ndarray, dtype: str = "U8") -> bytes | None:
    """The body, decoded again."""
    data, spec = np.ascontiguousarray(matrix).reshape(-1).view(np.uint8), Spec(dtype, (matrix.shape,))
    body = lowrank.encode_block(data, spec)
    if body is not None:
        assert np.array_equal(lowrank.decode_block(body, spec), data)
    return body


@pytest.mark.parametrize(("rank", "share"), [(2, 0.4), (4, 0.5), (8, 0.8)])
def test_saves_most_of_what_the_low_rank_part_tells(rank: int, share: float) -> None:
    """Knowing a part with `share` of a Gaussian's variance saves 1/2 log2(1 / (1 - share)) bit an element, of six."""
    body = coded(made(rank, share))
    assert body is not None
    saved = 6 - 8 * len(body) / made(rank, share).size
    assert 0.5 * np.log2(1 / (1 - share)) > saved > 0.5 * (0.5 * np.log2(1 / (1 - share)))
    plain = balanced.encode_block(made(rank, share).reshape(-1), SPEC)
    assert plain is not None
    assert len(body) < len(plain)


def test_signed_bytes_too() -> None:
    body = coded((made(4, 0.5).astype(np.int16) - 32).astype(np.int8), "I8")
    assert body is not None
    assert len(body) == pytest.approx(len(coded(made(4, 0.5)) or b""), rel=0.01)


def test_noise_and_what_is_no_matrix_are_left_to_others() -> None:
    assert coded(made(0, 0.0)) is None
    assert coded(made(4, 0.5).reshape(-1)) is None
    assert coded(made(4, 0.5)[:40]) is None
    assert lowrank.encode_block(made(4, 0.5).reshape(-1), Spec("U8", ((160, 256), (160, 256)))) is None
    assert lowrank.encode_block(made(4, 0.5).reshape(-1), Spec("F8_E4M3", (SHAPE,))) is None


@pytest.mark.parametrize(
    "matrix", [np.zeros(SHAPE), np.indices(SHAPE)[0] % 5, np.eye(*SHAPE) * 200], ids=["0", "rows", "eye"]
)
def test_regular_matrices_come_back(matrix: np.ndarray) -> None:
    coded(matrix.astype(np.uint8))


def test_max_takes_it_and_balanced_does_not() -> None:
    data = made(8, 0.8).reshape(-1)
    payload = encode_block(data, SPEC, EFFORTS["max"])
    assert payload[0] == LOWRANK
    assert np.array_equal(decode_block(payload, SPEC), data)
    assert encode_block(data, SPEC, EFFORTS["balanced"])[0] != LOWRANK
    assert weigh(create("netweight.max"), made(8, 0.8)).error.identical


def test_output_is_deterministic() -> None:
    assert coded(made(4, 0.5)) == coded(made(4, 0.5).copy())


def test_bytes_that_lie() -> None:
    body = coded(made(4, 0.5))
    assert body is not None
    for bad in mutations(body, 400):
        _hostile(bad, SPEC)
    for length in range(0, len(body), 997):
        with pytest.raises(FormatError):
            lowrank.decode_block(body[:length], SPEC)
    with pytest.raises(FormatError):
        lowrank.decode_block(body + b"\0", SPEC)
    for other in (
        Spec("U8", ((256, 320),)),
        Spec("I8", (SHAPE,)),
        Spec("U8", ((50, 1000),)),
        Spec("U8", ((1 << 20, 48),)),
    ):
        _hostile(body, other)
    for other in (Spec("U8", ((81920,),)), Spec("F32", (SHAPE,)), Spec("U8", ((2, 2),)), Spec("U8", ())):
        with pytest.raises(FormatError):
            lowrank.decode_block(body, other)


def _hostile(body: bytes, spec: Spec) -> None:
    """The right number of bytes or a FormatError."""
    with contextlib.suppress(FormatError):
        assert lowrank.decode_block(body, spec).size == spec.nbytes


def test_largest_singular_values() -> None:
    rng = np.random.default_rng(3)
    left, right = (np.linalg.qr(rng.normal(size=(n, 6)))[0] for n in (90, 51))
    exact = np.array([50.0, 30, 20, 12, 6, 3])
    z = ((left * exact) @ right.T + 0.001 * rng.normal(size=(90, 51))).astype(np.float32)
    found_left, values, found_right = largest(z, rng.normal(size=(51, 6)).astype(np.float32), 8)
    assert np.allclose(values, exact, rtol=1e-2)
    assert np.allclose((found_left * values) @ found_right.T, z, atol=0.02)
    assert np.allclose(found_right.T @ found_right, np.eye(6), atol=1e-4)
    assert np.allclose(product(z, found_right), z @ found_right, atol=1e-3)


def test_no_more_singular_vectors_than_there_are() -> None:
    z = np.outer(np.arange(1, 9), np.arange(1, 6)).astype(np.float32)
    _, values, _ = largest(z, np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32), 3)
    assert values[0] == pytest.approx(np.linalg.norm(z), rel=1e-5)
    assert values[1:].max(initial=0.0) < 1e-3 * values[0]

"""Structure codes: what is planted is found and paid for, what isn't there isn't found, and bytes lie in vain."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netweight.errors import FormatError
from netweight.spec import Spec
from netweight.weights.lossy.values import bytes_of, floats_of
from netweight.weights.methods import EFFORTS, STRUCTURE, encode_block
from netweight.weights.methods import decode_block as decode_payload
from netweight.weights.structure import block, elementary, tied
from netweight.weights.structure.fractions_of_a_turn import COUNT, fractions, rotation
from netweight.weights.structure.kinds import KINDS, name_of
from netweight.weights.structure.message import Whole, pack_cells, unpack_cells
from netweight.weights.structure.model import Layout, Tolerance
from netweight.weights.structure.pricing import best_ways

BENCHMARKS = str(Path(__file__).parent.parent / "benchmarks")
REL_MSE = 1e-4
ROTATION = np.array([[0.587785, -0.809017], [0.809017, 0.587785]], np.float32)
FOUND_AS = {
    "constant": "constant", "dead": "dead units", "duplicates": "duplicates", "negated": "duplicates",
    "scaled": "duplicates", "shifted": "duplicates", "flipped filters": "duplicates", "turned filters": "duplicates",
    "orthogonal": "orthogonal", "block diagonal": "block-diagonal", "circulant": "diagonals", "toeplitz": "diagonals",
    "kronecker": "Kronecker", "hadamard": "spectrum", "butterfly": "butterfly", "fourier": "spectrum",
    "cosines": "spectrum", "low rank": "low rank", "low rank and sparse": "low rank", "gabor": "Gabor",
    "dictionary": "dictionary",
}  # fmt: skip
MOST_OF_PLAIN = {"dead": 0.85, "dictionary": 0.7, "low rank and sparse": 0.85, "butterfly": 0.4, "block diagonal": 0.75}


@pytest.fixture(scope="module")
def planted() -> Iterator[Any]:
    """The generators of the benchmark."""
    sys.path.insert(0, BENCHMARKS)
    import planted

    yield planted
    sys.path.remove(BENCHMARKS)
    del sys.modules["planted"]


def tolerance_of(weights: np.ndarray, rel_mse: float = REL_MSE) -> Tolerance:
    return Tolerance(rel_mse * float(np.square(weights, dtype=np.float64).mean()))


def ways_of(weights: np.ndarray, tolerance: Tolerance) -> Any:
    """(plain, best); both were decoded and held against the tolerance."""
    return best_ways(weights.reshape(-1).view(np.uint8), weights.reshape(-1), Spec("F32", (weights.shape,)), tolerance)


@pytest.mark.parametrize("kind", FOUND_AS)
def test_planted_structure_is_found_and_pays(planted: Any, kind: str) -> None:
    rng = np.random.default_rng(7)
    weights = planted.with_noise(planted.PLANTED[kind](32, rng), 0.0, rng)
    plain, best = ways_of(weights, tolerance_of(weights))
    assert best.name == FOUND_AS[kind]
    assert len(best.payload) < MOST_OF_PLAIN.get(kind, 0.6) * len(plain.payload)
    error = weights.reshape(-1) - best.decoded
    assert float(np.square(error, dtype=np.float64).mean()) <= tolerance_of(weights).noise


@pytest.mark.parametrize(
    "kind", ["circulant", "kronecker", "orthogonal", "shifted", "turned filters", "low rank", "fourier"]
)
def test_structure_in_noise_pays_for_its_residual(planted: Any, kind: str) -> None:
    rng = np.random.default_rng(3)
    weights = planted.with_noise(planted.PLANTED[kind](64, rng), 0.05, rng)
    plain, best = ways_of(weights, tolerance_of(weights))
    assert best.name == FOUND_AS[kind]
    # The noise itself, of relMSE 2.5e-3, takes log2(25) / 2 = 2.3 bits a weight at 1e-4, whatever the structure.
    assert 2.2 * weights.size < 8 * len(best.payload) < 0.85 * 8 * len(plain.payload)


@pytest.mark.parametrize("shape", [(2, 2), (5, 7), (64, 64), (128, 32), (48, 3, 5, 5), (512, 16)])
@pytest.mark.parametrize("rel_mse", [1e-2, 1e-5])
def test_nothing_is_found_in_random_weights(shape: tuple[int, ...], rel_mse: float) -> None:
    weights = np.random.default_rng(11).normal(size=shape).astype(np.float32)
    plain, best = ways_of(weights, tolerance_of(weights, rel_mse))
    assert best is plain
    assert best.name == ""


def test_heavy_tails_and_scales_are_no_structure() -> None:
    rng = np.random.default_rng(2)
    weights = (rng.standard_t(3, (64, 64)) * np.exp(rng.normal(size=(64, 1)))).astype(np.float32)
    plain, best = ways_of(weights, tolerance_of(weights))
    assert len(best.payload) <= len(plain.payload)
    assert best.name in ("", "low rank", "dead units")


# --- the rotation ------------------------------------------------------------------------------------------------------


def test_the_rotation_by_54_degrees_takes_one_byte() -> None:
    layout, spec = Layout((2, 2), "F32"), Spec("F32", ((2, 2),))
    for limit in (1.2e-2, 4e-7):
        priced = block.encode(ROTATION.reshape(-1), layout, Tolerance(limit**2, limit))
        assert priced is not None
        assert (len(priced.body), priced.text) == (1, "rotation by 54 degrees (3/20 of a turn)")
        decoded = block.decode(priced.body, spec).view(np.float32)
        assert float(np.abs(decoded - ROTATION.reshape(-1)).max()) <= limit


def test_fractions_of_a_turn_are_exact_to_float32() -> None:
    assert len(fractions()) == COUNT
    for number, (p, q) in enumerate(fractions()):
        c, s = math.cos(2 * math.pi * p / q), math.sin(2 * math.pi * p / q)
        np.testing.assert_allclose(rotation(number), [[c, -s], [s, c]], atol=6e-8)


def test_any_other_angle_is_a_rotation_of_few_bytes() -> None:
    angle = 1.2345
    weights = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]], np.float32)
    _, best = ways_of(weights, tolerance_of(weights, 1e-6))
    assert best.name == "orthogonal"
    assert best.text.startswith("rotation by 70.73 degrees")
    assert len(best.payload) <= 9


@pytest.mark.parametrize(("n", "most"), [(8, 0.55), (32, 0.68), (128, 0.78)])
def test_orthogonal_matrices_beat_the_gaussian_prior(planted: Any, n: int, most: float) -> None:
    from netweight.weights.structure import numbers

    weights = planted.orthogonal(n, np.random.default_rng(n)).astype(np.float32)
    step = 2 * math.pi / 4096
    gaussian = numbers.uniform(weights.reshape(-1), step)
    assert gaussian is not None
    error = weights.reshape(-1) - numbers.decode(gaussian, [block.Layout((n, n), "F32").shapes[0]])
    _, best = ways_of(weights, Tolerance(float(np.square(error, dtype=np.float64).mean())))
    assert best.name == "orthogonal"
    assert len(best.payload) < most * len(gaussian)


# --- losslessly --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", ["constant", "dead", "duplicates", "negated", "turned filters", "circulant", "toeplitz"]
)
@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
def test_exact_structure_is_coded_losslessly(planted: Any, kind: str, dtype: str) -> None:
    values = np.ascontiguousarray(planted.PLANTED[kind](32, np.random.default_rng(5)), np.float32)
    spec = Spec(dtype, (values.shape,))
    data = bytes_of(values.reshape(-1), dtype)
    rounded = floats_of(data, spec)
    assert rounded is not None
    plain = encode_block(data, spec, EFFORTS["balanced"])
    priced = block.encode(rounded, Layout(values.shape, dtype), Tolerance(0.0))
    assert priced is not None
    assert len(priced.body) < 0.75 * len(plain)
    assert np.array_equal(block.decode(priced.body, spec), data)


def test_noisy_structure_is_coded_losslessly_too(planted: Any) -> None:
    rng = np.random.default_rng(6)
    values = planted.with_noise(planted.circulant(64, rng), 1e-3, rng)
    data = values.reshape(-1).view(np.uint8)
    priced = block.encode(values.reshape(-1), Layout(values.shape, "F32"), Tolerance(0.0))
    assert priced is not None
    assert np.array_equal(block.decode(priced.body, Spec("F32", (values.shape,))), data)
    assert len(priced.body) < len(encode_block(data, Spec("F32", (values.shape,)), EFFORTS["balanced"]))


# --- bytes that lie ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bodies(planted: Any) -> list[tuple[Spec, bytes]]:
    """One body of every kind, in noise and without."""
    out = []
    for kind in {found: kind for kind, found in FOUND_AS.items()}.values():
        for noise in (0.0, 0.05):
            rng = np.random.default_rng(1)
            weights = planted.with_noise(planted.PLANTED[kind](16, rng), noise, rng)
            priced = block.encode(weights.reshape(-1), Layout(weights.shape, "F32"), tolerance_of(weights))
            if priced is not None:
                out.append((Spec("F32", (weights.shape,)), priced.body))
    assert {body[0] & 31 for _, body in out} >= set(KINDS) - {4}
    return out


def test_damaged_bodies_raise_or_decode(bodies: list[tuple[Spec, bytes]]) -> None:
    rng = np.random.default_rng(0)
    for spec, body in bodies:
        for trial in range(12):
            damaged = bytearray(body)
            if trial < 3:
                del damaged[int(rng.integers(0, len(damaged))) :]
            else:
                at = int(rng.integers(0, min(len(damaged), 24) if trial < 8 else len(damaged)))
                damaged[at] ^= 1 << int(rng.integers(0, 8))
            try:
                assert block.decode(bytes(damaged), spec).size == spec.nbytes
            except FormatError:
                continue


def test_bodies_of_other_shapes_and_kinds_are_refused(bodies: list[tuple[Spec, bytes]]) -> None:
    for _, body in bodies:
        for spec in (Spec("F32", ((3, 5),)), Spec("I32", ((16, 16),)), Spec("F32", ((2, 2), (2, 2)))):
            with pytest.raises(FormatError):
                block.decode(body, spec)
    for kind in range(len(KINDS), 30):
        with pytest.raises(FormatError):
            block.decode(bytes([128 + kind]) + bytes(8), Spec("F32", ((4, 4),)))
    with pytest.raises(FormatError):
        block.decode(b"\x05\x00", Spec("F32", ((2, 2),)))


def test_structures_dont_nest() -> None:
    """An exact core that is a structure again could go on without end."""
    inner = bytes([STRUCTURE, 128])
    for _ in range(3):
        inner = bytes([STRUCTURE, 128, 2, len(inner) << 1 | 1]) + inner
    with pytest.raises(FormatError, match="within"):
        decode_payload(inner, Spec("F32", ((4, 4),)))


# --- the small parts ---------------------------------------------------------------------------------------------------


def test_a_whole_number_gives_back_what_was_pushed() -> None:
    rng = np.random.default_rng(4)
    symbols = [
        (int(s), int(f), int(p))
        for s, f, p in zip(rng.integers(0, 8, 200), rng.integers(1, 9, 200), rng.integers(4, 9, 200), strict=True)
    ]
    whole, states = Whole(), []
    for start, frequency, precision in symbols:
        states.append(whole.number)
        whole.push(start, frequency, precision)
    whole = Whole.from_bytes(whole.to_bytes())
    for (start, frequency, precision), before in zip(reversed(symbols), reversed(states), strict=True):
        assert start <= whole.peek(precision) < start + frequency
        whole.pop(start, frequency, precision)
        assert whole.number == before


@pytest.mark.parametrize("count", [0, 1, 40, 2000])
def test_cells_take_their_entropy(count: int) -> None:
    cells = np.rint(np.random.default_rng(9).normal(size=count) * 30).astype(np.int64)
    payload = pack_cells(cells, 30 << 16)
    assert np.array_equal(unpack_cells(payload, count, 30 << 16), cells)
    assert 8 * len(payload) <= count * math.log2(30 * math.sqrt(2 * math.pi * math.e)) * 1.03 + 80
    with pytest.raises(FormatError):
        unpack_cells(payload + b"\x01\x02\x03\x04\x05\x06\x07\x08", count, 30 << 16)


def test_elementary_functions_are_right() -> None:
    turns = np.random.default_rng(1).uniform(-3, 3, 4000)
    c, s = elementary.cos_sin_of_turns(turns)
    np.testing.assert_allclose(c, np.cos(2 * np.pi * turns), atol=3e-15)
    np.testing.assert_allclose(s, np.sin(2 * np.pi * turns), atol=3e-15)
    x = np.random.default_rng(2).uniform(-60, 10, 4000)
    np.testing.assert_allclose(elementary.exp(x), np.exp(x), rtol=1e-13)


def test_a_tied_tensor_is_nearly_free_and_says_how() -> None:
    first = np.random.default_rng(3).normal(size=(40, 60)).astype(np.float32)
    other = np.ascontiguousarray(first.T * np.float32(-1.5))
    layout = Layout((60, 40), "F32")
    prints = tied.fingerprints(first.reshape(-1), (40, 60))
    assert tied.alike(float(tied.fingerprint(other.reshape(-1), (60, 40)) @ prints[60, 40]), other.size)
    body = tied.encode_other(other.reshape(-1), first.reshape(-1), (40, 60), layout, tolerance_of(other, 1e-6))
    assert body is not None
    assert len(body) < 10
    assert tied.words(body, "a") == "like a, transposed, times -1.5"


def test_kinds_keep_their_numbers() -> None:
    assert [name_of(k) for k in KINDS] == [
        "constant", "dead units", "duplicates", "orthogonal", "block-diagonal", "diagonals", "Kronecker", "butterfly",
        "spectrum", "Gabor", "dictionary", "low rank",
    ]  # fmt: skip

"""Indices by context mixing: they come back, cost what their source is worth, and no bytes break the decoder."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

import netweight
from contract import mutations
from netweight import tensors
from netweight.errors import BombError, FormatError
from netweight.spec import Spec
from netweight.weights.coders import grid, index_regression, index_work, mixed_indices, multiples, trellis
from netweight.weights.coders.scales import Shape
from netweight.weights.coders.state_machine import STATES, machine
from netweight.weights.coders.trellis import Settings
from netweight.weights.coders.trellis_stream import segments, walk
from netweight.weights.coders.trellis_symbols import LARGEST
from netweight.weights.lossy.aware import encode_aware
from netweight.weights.lossy.compress import compress_lossy
from netweight.weights.lossy.feedback import feedback_of, output_error
from netweight.weights.lossy.target import Target

SHAPES = [Shape(30, 20, 1), Shape(1, 17, 1), Shape(0, 5, 1), Shape(8, 3, 9), Shape(61, 1, 1), Shape(1, 1, 1)]
EXAMPLE = [Shape(12, 2, 9), Shape(1, 12, 1)]
PINNED = (86, "02fe0b5dceaa9180", "72f937490e5884c8")  # bytes of the example, hashes of them and of its contexts


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def draw(shapes: list[Shape], spread: float, seed: int = 0) -> np.ndarray:
    count = sum(s.rows * s.columns for s in shapes)
    return np.rint(spread * rng(seed).standard_normal(count)).astype(np.int32)


def example() -> np.ndarray:
    """Small integers without a generator behind them."""
    i = np.arange(sum(s.rows * s.columns for s in EXAMPLE), dtype=np.int64)
    return ((i * i * 7919 + i * 104729) % 1009 % 7 - 3).astype(np.int32)


def check(indices: np.ndarray, shapes: list[Shape], states: int, strides: list[int] | None = None) -> int:
    """Bytes of the code, after it has come back."""
    payload, coded = mixed_indices.encode(indices, shapes, states, strides)
    back = mixed_indices.decode(payload, shapes, states)
    assert np.array_equal(back.indices, indices)
    assert np.array_equal(back.contexts, coded.contexts)
    return len(payload)


def entropy(cells: np.ndarray) -> float:
    """Bits of one draw with these probabilities, mean over rows."""
    return -float((cells * np.log2(np.maximum(cells, 1e-300))).sum(axis=-1).mean())


def normal_cells(deviations: np.ndarray) -> np.ndarray:
    """P(rint(deviation x normal) = k) for k in -60..60, a row a deviation."""
    from scipy.special import ndtr

    borders = np.arange(-60, 62) - 0.5
    return np.diff(ndtr(borders / deviations[:, None]), axis=1)


@pytest.mark.parametrize("states", STATES)
def test_round_trip_with_every_machine(states):
    for spread in (0.3, 2.0, 700.0):
        check(draw(SHAPES, spread), SHAPES, states)


@pytest.mark.parametrize("shapes", [[], [Shape(0, 7, 1)], [Shape(1, 1, 1)], [Shape(3, 0, 1), Shape(5, 1, 1)]])
@pytest.mark.parametrize("states", [1, 8])
def test_round_trip_of_next_to_nothing(shapes, states):
    check(draw(shapes, 3.0), shapes, states)


@pytest.mark.parametrize("states", [1, 64])
def test_round_trip_of_huge_and_wild_indices(states):
    largest = LARGEST - 1
    wild = np.array([0, largest, -largest, 1, -1, largest, 0, 0, -largest, 2, 1 << 20, 0] * 20, np.int32)
    check(wild, [Shape(20, 12, 1)], states)
    check(np.full(240, largest, np.int32), [Shape(1, 240, 1)], states)
    check((rng(1).integers(0, 2, 600) * largest).astype(np.int32), [Shape(20, 30, 1)], states)
    with pytest.raises(ValueError, match="out of range"):
        mixed_indices.encode(np.array([LARGEST], np.int32), [Shape(1, 1, 1)], states)


def test_rows_too_long_for_columns_of_their_own_are_folded():
    shape = Shape(1, (1 << 16) + 12_345, 1)
    indices = draw([shape], 0.2)
    assert check(indices, [shape], 1) < 8000


def test_strides_are_sent():
    shapes = [Shape(30, 28, 1), Shape(8, 3, 9)]
    for strides in ([7, 9], [0, 0], [mixed_indices.MOST_STRIDE, 3]):
        check(draw(shapes, 1.0), shapes, 1, strides)


def test_contexts_hold_the_unions_of_the_path():
    indices, states = draw(SHAPES, 2.0), 64
    coded = mixed_indices.encode(indices, SHAPES, states)[1]
    unions, moves = np.empty(indices.size, np.uint8), machine(states)
    for start, end in segments(indices.size):
        walk(indices[start:end], moves.next_state, moves.union_of, unions[start:end])
    assert np.array_equal(coded.contexts >= mixed_indices.CLASSES, unions == 1)


@pytest.mark.parametrize(("spread", "most"), [(0.4, 1.02), (1.5, 1.02), (12.0, 1.02)])
def test_independent_weights_cost_their_entropy(spread, most):
    shape = Shape(160, 200, 1)
    bits = 8 * check(draw([shape], spread), [shape], 1) / 32_000
    ideal = entropy(normal_cells(np.array([spread])))
    assert 0.97 * ideal < bits < most * ideal


def test_scales_of_rows_and_columns_are_learnt():
    r = rng(3)
    rows, columns = np.exp(0.7 * r.standard_normal((200, 1))), np.exp(0.7 * r.standard_normal(150))
    indices = np.rint(rows * columns * r.standard_normal((200, 150))).astype(np.int32).reshape(-1)
    ideal = entropy(normal_cells((rows * columns).reshape(-1)))
    assert 8 * check(indices, [Shape(200, 150, 1)], 1) / indices.size < 1.05 * ideal


def test_linear_dependence_within_rows_is_learnt():
    """Each column of the second half is half of two of the first, and noise of a third of the deviation."""
    r = rng(4)
    left = 6 * r.standard_normal((1500, 12))
    right = (left + np.roll(left, 1, axis=1)) / 2 + 2 * r.standard_normal((1500, 12))
    indices = np.rint(np.hstack([left, right])).astype(np.int32).reshape(-1)
    ideal = (entropy(normal_cells(np.array([6.0]))) + entropy(normal_cells(np.array([2.0])))) / 2
    assert 8 * check(indices, [Shape(1500, 24, 1)], 1) / indices.size < 1.03 * ideal


def test_empty_rows_and_columns_cost_next_to_nothing():
    whole = np.zeros((300, 784), np.int32)
    whole[100:130, 200:260] = draw([Shape(30, 60, 1)], 2.0).reshape(30, 60)
    alone = check(whole[100:130, 200:260].reshape(-1), [Shape(30, 60, 1)], 1)
    assert check(whole.reshape(-1), [Shape(300, 784, 1)], 1) < alone + 260
    assert check(np.zeros(200_000, np.int32), [Shape(400, 500, 1)], 1) < 40


def test_similar_tensors_share_what_was_learnt():
    shapes, indices = [Shape(10, 40, 1)] * 8, draw([Shape(80, 40, 1)], 9.0)
    alone = sum(check(indices[k * 400 : k * 400 + 400], shapes[:1], 1) for k in range(8))
    assert check(indices, shapes, 1) < 0.99 * alone


def test_regression_is_least_squares():
    """Its last mean against that of the normal equations with the same ridge."""
    size, rows = 6, rng(5).standard_normal((40, 7)).astype(np.float32)
    rows[:, 0] = 1
    lower, diagonal = index_regression.fresh(1, size)
    ridge = diagonal[0].astype(float)
    for row in rows[:-1]:
        index_regression.add_row(lower[0], diagonal[0], row.copy(), size + 1)
    moments = rows[:-1].astype(float).T @ rows[:-1] + np.diag(ridge)
    weights = np.linalg.solve(moments[:size, :size], moments[:size, size])
    means = np.zeros(size + 1, np.float32)
    for place in range(size):
        index_regression.spread(lower[0], place, rows[-1, place] - means[place], means)
    assert means[size] == pytest.approx(float(rows[-1, :size] @ weights), abs=1e-4)


def test_memory_of_a_block_is_bounded():
    work, counters = index_work.make_state()
    lower, _ = index_regression.fresh(1, 1 << 16)
    assert work.nbytes + counters.nbytes + lower.nbytes < 32 << 20


def test_hostile_payloads():
    for shapes, states in (([Shape(20, 30, 1)], 1), (SHAPES, 8), ([Shape(4, 2, 25), Shape(1, 9, 1)], 256)):
        payload, _ = mixed_indices.encode(draw(shapes, 2.0), shapes, states)
        count = sum(s.rows * s.columns for s in shapes)
        noise = [rng(k).integers(0, 256, 1 + 40 * k, np.uint8).tobytes() for k in range(40)]
        for damaged in [*mutations(payload, 300), *noise, b"\xff" * 900, bytes(900)]:
            try:
                decoded = mixed_indices.decode(damaged, shapes, states)
            except FormatError:
                continue
            assert decoded.indices.shape == decoded.contexts.shape == (count,)
            assert int(np.abs(decoded.indices.astype(np.int64)).max()) < 2 * LARGEST


def test_a_few_bytes_hold_no_million_weights():
    with pytest.raises(BombError):
        mixed_indices.decode(bytes(30), [Shape(1000, 1000, 1)], 1)
    with pytest.raises(FormatError):
        mixed_indices.decode(bytes([255] * 64), [Shape(1000, 1000, 1)], 1)


def test_pinned_bytes():
    payload, coded = mixed_indices.encode(example(), EXAMPLE, 8)
    assert len(payload) == PINNED[0]
    assert hashlib.sha256(payload).hexdigest()[:16] == PINNED[1]
    assert hashlib.sha256(coded.contexts.tobytes()).hexdigest()[:16] == PINNED[2]


def test_the_interpreter_decodes_what_compiled_code_wrote():
    """Another process, without a compiler: no fused or reordered operation is part of the format."""
    payload, _ = mixed_indices.encode(example(), EXAMPLE, 8)
    script = f"""
import numpy as np
from netweight.weights.coders import mixed_indices
from netweight.weights.coders.scales import Shape
coded = mixed_indices.decode(bytes.fromhex("{payload.hex()}"), {EXAMPLE!r}, 8)
print(coded.indices.tobytes().hex(), coded.contexts.tobytes().hex())
"""
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    found = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    _, coded = mixed_indices.encode(example(), EXAMPLE, 8)
    assert found.stdout.split() == [coded.indices.tobytes().hex(), coded.contexts.tobytes().hex()]


def encode(values: np.ndarray, shapes: list[Shape], settings: Settings) -> tuple[bytes, np.ndarray]:
    made = trellis.encode(values, shapes, settings)
    assert made is not None
    return made


def matrix() -> np.ndarray:
    r = rng(6)
    scales = np.exp(0.5 * r.standard_normal((90, 1)) + 0.5 * r.standard_normal(120))
    return (scales * r.standard_normal((90, 120))).astype(np.float32).reshape(-1)


@pytest.mark.parametrize("down", [False, True])
@pytest.mark.parametrize("states", [1, 8, 256])
def test_trellis_bodies_with_mixed_indices(states, down):
    """They decode to what was promised, and gain a twentieth of a bit at the same error."""
    values, shapes = matrix(), [Shape(90, 120, 1)]
    bodies = [encode(values, shapes, Settings((0.3,), states, down=down, mixed=m)) for m in (False, True)]
    assert bodies[1][0][0] == bodies[0][0][0] | 32
    assert np.array_equal(trellis.decode(bodies[1][0], shapes), bodies[1][1])
    bits = [8 * len(body) / values.size for body, _ in bodies]
    errors = [float(np.square(restored.astype(float) - values).sum()) for _, restored in bodies]
    assert bits[1] + 0.5 * np.log2(errors[1]) < bits[0] + 0.5 * np.log2(errors[0]) - 0.05, "bits at the same error"


def test_a_path_by_what_is_expected_of_each_weight_gains():
    """Rows that are alike are predicted; at few bits the path knows that, and gains over coding the first one."""
    r = rng(9)
    alike = (r.standard_normal((256, 6)) @ r.standard_normal((6, 160)) + r.standard_normal((256, 160))).astype(
        np.float32
    )
    values, shapes, costs = alike.reshape(-1), [Shape(256, 160, 1)], []
    for limit in (0.0, trellis._FEW_BITS):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(trellis, "_FEW_BITS", limit)
            body, restored = encode(values, shapes, Settings((2.0,), 64, mixed=True))
        assert body[0] & 32
        costs.append(8 * len(body) / values.size + 0.5 * np.log2(np.square(restored.astype(float) - values).sum()))
    assert costs[1] < costs[0] - 0.005


def test_mixed_bodies_keep_the_largest_error():
    values, shapes = matrix(), [Shape(90, 120, 1)]
    made = encode(values, shapes, Settings((0.125,), 1, strength=0.0, mixed=True))
    assert made[0][0] & 32
    assert float(np.abs(made[1] - values).max()) <= 0.125


def test_calibrated_bodies_with_mixed_indices():
    """Fewer bytes, and the layer's outputs are as near: errors were passed on for the points that are decoded."""
    r = rng(8)
    inputs = r.standard_normal((500, 120)) @ (r.standard_normal((120, 120)) * np.arange(1, 121)[:, None] ** -0.7)
    moments = inputs.T @ inputs
    feedback, shape = feedback_of(moments), Shape(90, 120, 1)
    assert feedback is not None
    bodies, errors = [], []
    for mixed in (False, True):
        made = encode_aware(matrix(), shape, Settings((0.3,), 8, mixed=mixed), feedback)
        assert made is not None
        assert np.array_equal(trellis.decode(made[0], [shape]), made[1])
        bodies.append(made[0])
        errors.append(output_error((matrix() - made[1]).reshape(90, 120), moments))
    assert bodies[1][0] == bodies[0][0] | 32
    assert len(bodies[1]) < 0.99 * len(bodies[0])
    assert errors[1] < 1.05 * errors[0]


def test_effort_max_mixes_what_is_quantised(tmp_path):
    from safetensors.numpy import save_file

    save_file({"w": matrix().reshape(90, 120), "b": matrix()[:8]}, tmp_path / "m.safetensors")
    sizes = {}
    for effort in ("balanced", "max"):
        receipt = compress_lossy(
            tmp_path / "m.safetensors", tmp_path / f"{effort}.nw", target=Target("rel_mse", 0.02), effort=effort
        )
        sizes[effort] = receipt.payload_bytes
        with netweight.open(tmp_path / f"{effort}.nw") as archive:
            noise = archive.tensor("w").astype(float).reshape(-1) - matrix()
        assert np.square(noise).sum() <= 0.02 * np.square(matrix().astype(float)).sum()
    assert sizes["max"] < 0.98 * sizes["balanced"]


def test_hostile_trellis_bodies():
    values, shapes = matrix()[:3600], [Shape(30, 120, 1)]
    made = encode(values, shapes, Settings((0.3,), 8, mixed=True))
    assert made[0][0] & 32
    for damaged in mutations(made[0], 300):
        try:
            decoded = trellis.decode(damaged, shapes)
        except FormatError:
            continue
        assert decoded.shape == (3600,)
    with pytest.raises(FormatError, match="unknown kind"):
        trellis.decode(bytes([made[0][0] | 64]) + made[0][1:], shapes)


def block(*arrays: np.ndarray) -> tuple[np.ndarray, Spec]:
    data = np.concatenate([tensors.to_bytes(a)[0] for a in arrays])
    return data, Spec("F32", tuple(a.shape for a in arrays))


def images(count: int, side: int) -> np.ndarray:
    """Sparse rows that are images: blots three pixels wide and high."""
    r, out = rng(7), np.zeros((count, side, side), np.float32)
    for image in out:
        for _ in range(3):
            y, x = r.integers(0, side - 3, 2)
            image[y : y + 3, x : x + 3] = r.integers(-2, 3, (3, 3))
    return out.reshape(count, -1) * np.float32(0.07)


def test_grids_come_back_and_are_smaller_than_with_plain_contexts():
    data, spec = block(images(60, 20), np.float32(0.3) * images(1, 9)[0])
    body, plain = grid.encode_block(data, spec), multiples.encode_block(data, spec)
    assert body is not None
    assert plain is not None
    assert np.array_equal(grid.decode_block(body, spec), data)
    assert len(body) < 0.9 * len(plain)


def test_the_stride_of_images_is_found():
    data, spec = block(images(60, 20))
    made = grid.encode_block(data, spec)
    found = multiples.on_grid(data, spec)
    assert made is not None
    assert found is not None
    without = mixed_indices.encode(found[1][0].astype(np.int32), [Shape(60, 400, 1)], 1)[0]
    assert len(made) - 6 < 0.97 * len(without)


def test_what_is_no_grid_is_left_to_others():
    signed = images(20, 9)
    signed[0, 0] = -0.0
    for values in (signed, matrix().reshape(90, 120)):
        assert grid.encode_block(*block(values)) is None


def test_hostile_grids():
    data, spec = block(images(9, 9), images(1, 5))
    body = grid.encode_block(data, spec)
    assert body is not None
    for damaged in mutations(body, 300):
        try:
            decoded = grid.decode_block(damaged, spec)
        except FormatError:
            continue
        assert decoded.shape == data.shape

"""Policies, and the memories around compressors: their algebra, without ranks."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from netweight.comm import (
    AQSGD,
    EF21,
    QSGD,
    DifferenceMemory,
    ErrorFeedback,
    Identity,
    Memoryless,
    Policy,
    RandK,
    Rule,
    SignMean,
    TopK,
)
from netweight.comm.distributed import bundle
from netweight.comm.distributed.bundle import ABSENT, CODED, PASSED, Item
from netweight.comm.distributed.powersgd import orthonormalise, product
from netweight.comm.distributed.wire import Wire
from netweight.comm.message import Address, as_it_is
from netweight.comm.state.base import State
from netweight.errors import ChecksumError, FormatError, InputError, PeerError


def vector(d: int, seed: int = 0, dtype: Any = np.float32) -> Any:
    return np.random.default_rng(seed).standard_normal(d).astype(dtype)


def exchange(states: list[State], xs: list[Any], name: str = "w") -> Any:
    """One round of averaging as the ranks do it: everyone's estimate, from everyone's message."""
    compressor = states[0].compressor(name, xs[0].size, "gradient")
    mean, sent = np.zeros_like(xs[0]), []
    for rank, (state, x) in enumerate(zip(states, xs, strict=True)):
        out, seed = state.outgoing(name, x), state.seed_of(rank, name)
        if out is None:
            sent.append(None)
            continue
        decoded = compressor.decompress(compressor.compress(out, seed), x.size, x.dtype, seed)
        mean += decoded
        sent.append((out, decoded))
    mean /= x.dtype.type(len(states))
    estimates = []
    for state, pair in zip(states, sent, strict=True):
        if pair is not None:
            state.sent(name, *pair)
        estimates.append(state.received(name, mean.copy()))
        state.complete()
    for estimate in estimates[1:]:
        assert np.array_equal(estimate, estimates[0])
    return estimates[0]


# policies


def test_the_first_rule_that_is_met_decides() -> None:
    rules = [
        Rule(Identity(), r"\.bias$"),
        Rule(SignMean(), role="activation"),
        Rule(TopK(0.5), "head", max_numel=100),
        Rule(TopK(0.1), "head"),
    ]
    policy = Policy(RandK(0.2), rules, min_numel=10)
    assert policy.compressor("head.bias", 5000) == Identity()
    assert policy.compressor("head.weight", 100) == TopK(0.5)
    assert policy.compressor("head.weight", 101) == TopK(0.1)
    assert policy.compressor("body", 10) == RandK(0.2)
    assert policy.compressor("body", 9) == Identity()
    assert policy.compressor("body", 50, "activation") == SignMean()


def test_policies_are_json_and_their_fingerprints_tell_them_apart() -> None:
    policy = Policy(TopK(0.01, values="bit"), [Rule(QSGD(s=3), "x", "gradient", 5, 9)], 100)
    again = Policy.from_dict(json.loads(json.dumps(policy.to_dict())))
    assert again == policy
    assert again.fingerprint() == policy.fingerprint()
    others = [
        Policy(TopK(0.02, values="bit"), policy.rules, 100),
        Policy(policy.default, [], 100),
        Policy(policy.default, policy.rules, 101),
        Policy(policy.default, policy.rules, 100, SignMean()),
    ]
    assert len({p.fingerprint() for p in [policy, *others]}) == 5


def test_policies_from_text_import_nothing_foreign() -> None:
    data = Policy(TopK(0.1)).to_dict()
    for kind in ("os:system", "netweight.comm.policy:Policy", "netweight.comm.compressors.sparse:Missing"):
        with pytest.raises(InputError, match="no compressor of netweight"):
            Policy.from_dict({**data, "default": {"class": kind}})
    for broken in ({}, {**data, "rules": [3]}, {**data, "default": {"class": data["default"]["class"], "colour": 1}}):
        with pytest.raises(InputError, match="isn't a policy"):
            Policy.from_dict(broken)
    with pytest.raises(InputError, match="regular expression"):
        Rule(TopK(0.1), "(")
    with pytest.raises(InputError, match="role"):
        Rule(TopK(0.1), role="mood")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="a policy or a compressor"):
        ErrorFeedback("top k")  # type: ignore[arg-type]


# memories


@pytest.mark.parametrize("compressor", [TopK(0.1), SignMean(), RandK(0.2, unbiased=False)], ids=lambda c: c.name)
def test_error_feedback_loses_nothing(compressor: Any) -> None:
    """All that went in has come out or is still owed."""
    state, put, got = ErrorFeedback(compressor), np.zeros(200), np.zeros(200)
    for step in range(30):
        x = vector(200, step)
        put += x
        got += exchange([state], [x])
    owed = state.remembered("error", "w", x)
    assert np.abs(put - got - owed).max() < 1e-4
    assert np.abs(put - got).max() > 0.1


def three_nodes(kind: Any) -> float:
    """Three strongly convex functions on which gradient descent with top 1 grows without bound (arXiv 2002.12410,
    section 4.4); ||x||_inf after 200 steps from 1.
    """
    a = np.array([[-3.0, 2, 2], [2, -3, 2], [2, 2, -3]])
    x, states = np.ones(3), [kind(TopK(count=1)) for _ in a]
    for _ in range(200):
        x = x - 0.02 * exchange(states, [2 * (row @ x) * row + x / 2 for row in a])
    return float(np.abs(x).max())


def test_memory_cures_a_biased_compressor() -> None:
    assert three_nodes(Memoryless) > 100
    assert three_nodes(EF21) < 0.2
    assert three_nodes(ErrorFeedback) < 0.2


def test_ef21_contracts_as_the_compressor_does() -> None:
    """Of a constant vector the loss shrinks by alpha a step, surely (arXiv 2106.05203)."""
    x, state = vector(100), EF21(TopK(0.1))
    before = float(x @ x)
    for _ in range(9):
        loss = float(np.square(exchange([state], [x]) - x).sum())
        assert loss <= 0.9 * before * (1 + 1e-5)
        before = loss
    assert np.array_equal(exchange([state], [x]), x)


def test_differences_are_unbiased_and_their_variance_dies_out() -> None:
    """DIANA: with an unbiased compressor the estimate's mean is the vector, and its error shrinks as the memory learns."""
    x, omega = vector(60), 3.0
    first, late = [], []
    for seed in range(200):
        state = DifferenceMemory(RandK(0.25), rate=1 / (1 + omega), seed=seed)
        estimates = [exchange([state], [x]) for _ in range(40)]
        first.append(estimates[0])
        late.append(estimates[-1])
    spread = np.std(first, axis=0) / np.sqrt(len(first))
    assert (np.abs(np.mean(first, axis=0) - x) < 4.5 * spread).all()
    errors = [np.mean(np.square(np.array(found) - x).sum(1)) for found in (first, late)]
    assert errors[0] == pytest.approx(omega * float(x @ x), rel=0.15)
    assert errors[1] < 1e-3 * errors[0]


def test_ranks_with_different_vectors_agree_on_their_mean() -> None:
    states = [EF21(TopK(0.2)) for _ in range(3)]
    xs = [vector(50, k) for k in range(3)]
    for _ in range(40):
        found = exchange(states, xs)
    assert np.abs(found - np.mean(xs, axis=0)).max() < 1e-5


def test_zeros_are_not_sent_and_what_is_owed_stays_owed() -> None:
    x, state = vector(40), ErrorFeedback(TopK(0.1))
    exchange([state], [x])
    owed = state.remembered("error", "w", x).copy()
    assert not exchange([state], [np.zeros_like(x)]).any()
    assert np.array_equal(state.remembered("error", "w", x), owed)
    assert owed.any()


def test_an_unfinished_step_leaves_no_trace() -> None:
    x, state = vector(40), EF21(TopK(0.1))
    exchange([state], [x])
    before, step = state.remembered("own", "w", x).copy(), state.step
    state.sent("w", x, x)
    state.received("w", x)
    assert np.array_equal(state.remembered("own", "w", x), before)
    state.discard()
    state.complete(step=False)
    assert np.array_equal(state.remembered("own", "w", x), before)
    assert state.step == step


def test_aqsgd_is_exact_at_first() -> None:
    x, state = vector(40), AQSGD(TopK(0.1))
    assert state.compressor("w", 40, "activation") == Identity()
    assert np.array_equal(exchange([state], [x]), x)
    assert state.compressor("w", 40, "activation") == TopK(0.1)
    assert state.compressor("v", 40, "activation") == Identity()


def test_seeds_differ_between_senders_names_and_steps() -> None:
    state = Memoryless(TopK(0.1))
    seeds = {state.seed_of(sender, name) for sender in range(5) for name in "abc"}
    state.complete()
    seeds |= {state.seed_of(sender, name) for sender in range(5) for name in "abc"}
    seeds.add(Memoryless(TopK(0.1), seed=1).seed_of(0, "a"))
    assert len(seeds) == 31
    assert all(0 <= seed < 1 << 63 for seed in seeds)


def test_checkpoints_are_restored_and_foreign_ones_refused() -> None:
    pytest.importorskip("torch")
    x, state = vector(40), EF21(TopK(0.1))
    for _ in range(3):
        exchange([state], [x])
    saved = state.state_dict()
    again = EF21(TopK(0.1))
    again.load_state_dict(saved)
    assert again.step == 3
    assert np.array_equal(exchange([again], [x]), exchange([state], [x]))
    assert again.memory_bytes() == 2 * 40 * 4
    for wrong, what in (
        ({**saved, "kind": "error feedback"}, "isn't EF21's"),
        ({**saved, "world": 4}, "another memory"),
    ):
        with pytest.raises(InputError, match=what):
            again.load_state_dict(wrong)
    with pytest.raises(InputError, match="another model"):
        exchange([again], [vector(41)])


def test_options_are_checked() -> None:
    for options, what in (
        ({"on_nonfinite": "ignore"}, "'raise' or 'pass'"),
        ({"capacity": 0}, "holds no message"),
    ):
        with pytest.raises(InputError, match=what):
            Memoryless(TopK(0.1), **options)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="in parts"):
        EF21(TopK(0.1), in_parts=True)
    with pytest.raises(InputError, match="capacity"):
        ErrorFeedback(TopK(0.1), in_parts=True, capacity=100)
    with pytest.raises(InputError, match="rate"):
        DifferenceMemory(TopK(0.1), rate=1.5)


# messages of several vectors


WHERE = Address(2, "", 5, "")


def items() -> list[Item]:
    kinds = [TopK(0.2), Identity(), SignMean(), TopK(0.5), Identity()]
    return [Item(f"p{k}", vector(10 + k, k, np.float64 if k == 3 else np.float32), c) for k, c in enumerate(kinds)]


def bundled(marks: list[int]) -> tuple[bytes, Wire]:
    wire, payloads = Wire(), []
    for item, mark in zip(items(), marks, strict=True):
        coded = item.compressor.compress(item.x, 7) if mark == CODED else as_it_is(item.x)
        payloads.append(None if mark == ABSENT else coded)
    return bundle.build(items(), payloads, marks, WHERE, wire), wire


@pytest.mark.parametrize("marks", [[CODED] * 5, [CODED, ABSENT, PASSED, CODED, ABSENT], [ABSENT] * 5])
def test_bundles_come_back(marks: list[int]) -> None:
    message, wire = bundled(marks)
    assert wire.handed == len(message)
    for item, mark, found in zip(
        items(), marks, bundle.read(memoryview(message), items(), [7] * 5, WHERE), strict=True
    ):
        assert found.passed == (mark == PASSED)
        if mark == ABSENT:
            assert found.vector is None
        else:
            exact = item.compressor.decompress(item.compressor.compress(item.x, 7), item.x.size, item.x.dtype, 7)
            assert np.array_equal(found.vector, item.x if mark == PASSED else exact)


def test_damaged_bundles_are_refused() -> None:
    rng = np.random.default_rng(1)
    message, _ = bundled([CODED, ABSENT, PASSED, CODED, CODED])
    for _ in range(300):
        bad = bytearray(message)
        bad[rng.integers(len(bad))] ^= 1 << rng.integers(8)
        with pytest.raises(FormatError, match="rank 2"):
            bundle.read(memoryview(bytes(bad)), items(), [7] * 5, WHERE)
    for cut in range(len(message)):
        with pytest.raises(FormatError, match="rank 2"):
            bundle.read(memoryview(message)[:cut], items(), [7] * 5, WHERE)
    for noise in range(100):
        with pytest.raises(FormatError, match="rank 2"):
            bundle.read(memoryview(rng.bytes(noise)), items(), [7] * 5, WHERE)
    for elsewhere in (Address(1, "", 5, ""), Address(2, "", 6, "")):
        with pytest.raises(ChecksumError):
            bundle.read(memoryview(message), items(), [7] * 5, elsewhere)


def test_faults_travel_whole_or_not_at_all() -> None:
    message = bundle.fault(InputError("the gradient is gone"))
    with pytest.raises(PeerError, match="rank 2: the gradient is gone"):
        bundle.read(memoryview(message), items(), [7] * 5, WHERE)
    bad = bytearray(message)
    bad[9] ^= 1
    with pytest.raises(ChecksumError, match="rank 2"):
        bundle.read(memoryview(bytes(bad)), items(), [7] * 5, WHERE)


# linear sketches


def test_orthonormal_columns_and_dependent_ones() -> None:
    a = np.random.default_rng(0).standard_normal((50, 4)).astype(np.float32)
    a[:, 2] = 2 * a[:, 0] - a[:, 1]
    a *= np.float32(1e-12)
    orthonormalise(a)
    gram = a.T.astype(np.float64) @ a
    assert np.abs(gram - np.diag([1, 1, 0, 1])).max() < 1e-5
    assert np.array_equal(product(a[:, :1], a[:, 1:2]), np.multiply.outer(a[:, 0], a[:, 1]))

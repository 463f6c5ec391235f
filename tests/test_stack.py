"""The stack and the codes on it: one law, pop(push(s, x)) == (x, s), and what popping random bits must look like."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netweight.entropy.bitsback import BitsBack, Multiset
from netweight.entropy.codes import Each, Map, OneOf, Symbols, Uniform
from netweight.entropy.normal import CELLS, Normals
from netweight.entropy.stack import Stack
from netweight.errors import FormatError, TruncatedError

unhurried = settings(deadline=None)  # the first call of a kernel compiles it


def assert_lawful(code, x, expected=None, words=400) -> float:
    """pop(push(s, x)) == (x, s) from random messages; how much the message grew, in bits."""
    grown = 0.0
    for seed in range(3):
        before = Stack.of_random(words, seed)
        stack = before.copy()
        code.push(stack, x)
        grown = stack.bits - before.bits
        np.testing.assert_array_equal(code.pop(stack), x if expected is None else expected)
        assert stack == before
    return grown


@unhurried
@given(st.integers(1, 2**32), st.integers(0, 2**32))
def test_uniform(n, x):
    grown = assert_lawful(Uniform(n), x % n)
    assert grown == pytest.approx(Uniform(n).bits(x % n), abs=1e-4)
    assert grown == pytest.approx(math.log2(n), abs=1e-4 + n / 2**31)


@unhurried
@given(st.integers(1, 32), st.integers(0, 2**32), st.integers(1, 2**32))
def test_any_interval_is_a_symbol(precision, start, frequency):
    start %= 1 << precision
    frequency = 1 + (frequency - 1) % ((1 << precision) - start)
    before = Stack.of_random(9, precision)
    stack = before.copy()
    stack.push(start, frequency, precision)
    assert start <= stack.peek(precision) < start + frequency or frequency == 1 << precision
    assert stack.bits - before.bits == pytest.approx(precision - math.log2(frequency), abs=1e-4)
    stack.pop(start, frequency, precision)
    assert stack == before


@unhurried
@given(st.integers(0, 2**32), st.lists(st.integers(0, 6), max_size=40))
def test_popping_is_undone_by_pushing(seed, symbols):
    """The other half of the law, on which bits-back rests: push(pop(s)) == s."""
    code = Symbols(np.array([[1, 0, 5, 90, 900, 28, 0]]), np.zeros(len(symbols), np.int64))
    before = Stack.of_random(100, seed)
    stack = before.copy()
    drawn = code.pop(stack)
    code.push(stack, drawn)
    assert stack == before


@unhurried
@given(st.data())
def test_symbols_in_contexts(data):
    frequencies = np.array([[1, 3, 60, 0], [64, 0, 0, 0], [16, 16, 16, 16]])
    contexts = np.array(data.draw(st.lists(st.integers(0, 2), max_size=50)), np.int64)
    allowed = [np.flatnonzero(frequencies[c]) for c in contexts]
    x = np.array([data.draw(st.sampled_from(a.tolist())) for a in allowed], np.int64)
    code = Symbols(frequencies, contexts)
    assert assert_lawful(code, x) == pytest.approx(code.bits(x), abs=0.01)


def test_what_cant_be_coded():
    with pytest.raises(ValueError, match="frequency 0"):
        Symbols(np.array([[4, 0]]), np.zeros(1, np.int64)).push(Stack(), np.ones(1, np.int64))
    with pytest.raises(ValueError, match="power of two"):
        Symbols(np.array([[4, 1]]), np.zeros(1, np.int64))
    with pytest.raises(ValueError, match="isn't below"):
        Uniform(4).push(Stack(), 4)
    with pytest.raises(ValueError, match="without mass"):
        Normals(1, 0, 1 << 16).push(Stack(), np.array([100]))
    with pytest.raises(ValueError, match="out of range"):
        Normals(1, 0, 0)


def test_an_empty_message_gives_nothing():
    with pytest.raises(TruncatedError, match="empty"):
        Normals(64, 0, 1 << 22).pop(Stack())
    with pytest.raises(TruncatedError, match="empty"):
        Uniform(1000).pop(Stack())


@unhurried
@given(st.integers(0, 60), st.integers(0, 2**32))
def test_a_message_is_its_bytes(words, seed):
    stack = Stack.of_random(words, seed)
    Uniform(2**31).push(stack, seed % 2**31)
    data = stack.to_bytes()
    assert Stack.from_bytes(data) == stack
    assert 8 * len(data) - 64 <= stack.bits <= 8 * len(data) - 48


@pytest.mark.parametrize("data", [b"", b"abc", bytes(7), bytes(8), bytes(20), b"\xff" * 6])
def test_what_is_no_message(data):
    with pytest.raises(FormatError):
        Stack.from_bytes(data)


PINNED = "00000000b798ad4208d12ec402"


def test_a_pinned_message():
    stack = Stack()
    Each([Uniform(10), Uniform(3), Uniform(1 << 32)]).push(stack, [7, 2, 123456789])
    Normals(3, [0, 3 << 16, -5 << 15], [1 << 16, 9 << 16, 1 << 20]).push(stack, np.array([1, -4, 7]))
    assert stack.to_bytes().hex() == PINNED


# --- normals -------------------------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 1))
def test_normals_of_all_means_and_widths(seed, floor):
    r = np.random.default_rng(seed)
    n = 200
    means = r.integers(-CELLS << 15, CELLS << 15, n)
    widths = np.exp2(r.uniform(0, 30, n)).astype(np.int64)
    k = np.clip((means + widths * r.normal(size=n)) / 65536, -CELLS + 1, CELLS - 1).round().astype(np.int64)
    code = Normals(n, means, widths, floor=bool(floor))
    assert assert_lawful(code, k) == pytest.approx(code.bits(k), rel=1e-4, abs=0.01)


@pytest.mark.parametrize("width", [0.3, 1.0, 2.5, 40.0, 3000.0])
def test_popped_samples_have_the_right_statistics(width):
    """Mean, variance and tails of a rounded normal, from random bits: no leak of a floor, no bias of half a cell."""
    n, mean = 200_000, 1000.37
    code = Normals(n, round(mean * 65536), round(width * 65536))
    k = code.pop(Stack.of_random(2 * n, 11)).astype(float)
    spread = math.hypot(width, math.sqrt(1 / 12)) if width >= 1 else k.std()
    z = (k - mean) / spread
    assert abs(z.mean()) < (5 / math.sqrt(n) if width >= 1 else 1)
    assert z.std() == pytest.approx(1, abs=0.01)
    for limit, share in ((1.0, 0.3173), (2.0, 0.0455), (3.0, 0.0027)) if width >= 40 else ():
        assert (np.abs(z) > limit).mean() == pytest.approx(share, abs=4 * math.sqrt(share / n))
    assert np.abs(z).max() < 7


def test_a_narrow_normal_has_the_exact_share_of_each_cell():
    n = 100_000
    k = Normals(n, 1 << 14, 1 << 15).pop(Stack.of_random(n, 3))  # mean 0.25, width 0.5 cells
    shares = {-1: 0.0668, 0: 0.6247, 1: 0.3023, 2: 0.0062}  # Phi((k + 0.25) / 0.5) - Phi((k - 0.75) / 0.5)
    for cell, share in shares.items():
        assert (k == cell).mean() == pytest.approx(share, abs=4 * math.sqrt(share / n))


def test_a_floor_can_code_anything():
    code = Normals(3, 0, 1 << 16, floor=True)
    k = np.array([CELLS - 1, 0, 1 - CELLS])
    assert assert_lawful(code, k) == pytest.approx(64 + 1.39, abs=0.1)


# --- combinators ---------------------------------------------------------------------------------------------------------


def test_each_map_and_one_of():
    pairs = Map(lambda x: [x // 10, x % 10], lambda x: 10 * x[0] + x[1], Each([Uniform(5), Uniform(10)]))
    assert assert_lawful(pairs, 37) == pytest.approx(math.log2(50), abs=1e-3)
    digits = np.zeros(1, np.int64)
    peaked = [Symbols(np.array([[1 if k != s else 249 for k in range(8)]]), digits) for s in (0, 3)]
    either = OneOf(peaked)
    for s in range(8):
        assert assert_lawful(either, np.array([s])) == pytest.approx(
            1 + (math.log2(256 / 249) if s in (0, 3) else 8), abs=1e-3
        )


def test_one_of_passes_over_codes_that_cant():
    digits = np.zeros(1, np.int64)
    either = OneOf([Symbols(np.array([[4, 0, 0]]), digits), Symbols(np.array([[2, 1, 1]]), digits)])
    assert_lawful(either, np.array([2]))
    with pytest.raises(ValueError, match="no code"):
        OneOf([Symbols(np.array([[4, 0, 0]]), digits)]).push(Stack(), np.array([2]))


def test_bits_back_grows_by_the_negative_evidence_bound():
    """x = z + noise, both Gaussian on a fine grid: with the true posterior the net is -log2 P(x), whatever z is drawn."""
    n, unit = 2000, 1 << 16
    r = np.random.default_rng(5)
    x = r.normal(0, math.hypot(400, 300), n).round().astype(np.int64)
    prior = Normals(n, 0, 400 * unit, floor=True)
    posterior_width = round(400 * 300 / 500 * unit)
    code = BitsBack(
        prior,
        likelihood=lambda z: Normals(n, z * unit, 300 * unit, floor=True),
        posterior=lambda x: Normals(n, x * (unit * 16) // 25, posterior_width),
    )
    grown = assert_lawful(code, x, words=4 * n)
    assert grown == pytest.approx(Normals(n, 0, 500 * unit).bits(x), rel=1e-3)
    stack = Stack.of_random(4 * n, 1)
    start = stack.bits
    code.push(stack, x)
    assert start - stack.least_bits == pytest.approx(n * math.log2(240 * math.sqrt(2 * math.pi * math.e)), rel=0.02)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 255), max_size=60))
def test_a_multiset_is_refunded_its_orders(records):
    """Also with equal records: exactly log2(n! / prod m!), and the code never sees the order."""
    code = Multiset(len(records), lambda _: Uniform(256), lambda x: bytes([x]))
    grown = assert_lawful(code, records, sorted(records), words=1000)
    counts = np.bincount(records, minlength=1) if records else np.zeros(1, int)
    orders = math.factorial(len(records)) // math.prod(math.factorial(int(c)) for c in counts)
    assert grown == pytest.approx(8 * len(records) - math.log2(orders), abs=0.01)
    assert code.refund(records) == pytest.approx(math.log2(orders), abs=1e-6)


def test_the_first_record_is_drawn_evenly():
    code, firsts = Multiset(3, lambda _: Uniform(3), lambda x: bytes([x])), []
    for seed in range(600):
        stack = Stack.of_random(8, seed)
        code.push(stack, [0, 1, 2])
        firsts.append([Uniform(3).pop(stack) for _ in range(3)][-1])
    assert np.bincount(firsts).min() > 200 - 5 * math.sqrt(200 * 2 / 3)

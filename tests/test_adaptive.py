from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coder_samples import below, digest, entropy_bits, mutants, random_words
from netweight.entropy import adaptive
from netweight.errors import FormatError

MOST = (1 << 31) - 1


def zeros(count: int) -> np.ndarray:
    return np.zeros(count, np.uint8)


def geometric(key: object, count: int) -> np.ndarray:
    """int64 [count] with probabilities 1/2, 1/4, 1/8, ..."""
    words = random_words(key, count)
    return np.log2((words & (~words + np.uint64(1))).astype(np.float64)).astype(np.int64)


@settings(deadline=None, max_examples=100)
@given(
    values=st.lists(
        st.one_of(st.integers(0, 40), st.integers(0, MOST), st.sampled_from([23, 24, 25, MOST])), max_size=200
    ),
    contexts=st.integers(1, adaptive.CONTEXTS),
)
def test_round_trip(values, contexts):
    array, context = np.array(values, np.int64), below(len(values), len(values), contexts).astype(np.uint8)
    payload = adaptive.encode(array, context)
    assert np.array_equal(adaptive.decode(payload, context, MOST), array)
    assert np.array_equal(adaptive.decode(memoryview(payload), context, max(values, default=0)), array)


def test_nothing_is_one_byte():
    assert len(adaptive.encode(np.empty(0, np.int64), zeros(0))) == 1
    assert adaptive.decode(adaptive.encode(np.empty(0, np.int64), zeros(0)), zeros(0), 0).size == 0


def test_code_length_is_near_the_entropy():
    values = geometric("entropy", 40_000)
    bits = 8 * len(adaptive.encode(values, zeros(values.size)))
    # rates of 1/32 leave about one part in a hundred per decision
    assert entropy_bits(values) < bits < 1.03 * entropy_bits(values) + 200


def test_zeros_cost_next_to_nothing():
    assert len(adaptive.encode(np.zeros(100_000, np.int64), zeros(100_000))) < 30


def test_contexts_are_kept_apart():
    values = np.tile(np.array([0, 7, 19]), 3000)
    apart = adaptive.encode(values, (np.arange(values.size) % 3).astype(np.uint8))
    assert len(apart) < 120
    assert len(apart) * 10 < len(adaptive.encode(values, zeros(values.size)))


@pytest.mark.parametrize("rare", [1, 23, 24, 1000, MOST])
def test_surprises_after_long_habits(rare):
    """Each decision goes against probabilities that are at their end: the dearest input there is."""
    values = np.zeros(4000, np.int64)
    values[::200] = rare
    payload = adaptive.encode(values, zeros(values.size))
    assert np.array_equal(adaptive.decode(payload, zeros(values.size), rare), values)
    # a decision against a probability of 64 / 65536 costs ten bits
    assert len(payload) < 20 * (min(rare, 24) + 1 + 62) * 11 / 8 + 200


def test_ranges_that_nearly_close():
    """Many short streams of extreme decisions: low and high meet across a byte's border in some of them."""
    for k in range(300):
        values = np.where(below(k, 60, 9) == 0, below((k, "v"), 60, 30), 0)
        payload = adaptive.encode(values, zeros(60))
        assert np.array_equal(adaptive.decode(payload, zeros(60), 30), values)


def test_other_bytes_are_refused():
    values = geometric("hostile", 500)
    payload = adaptive.encode(values, zeros(500))
    for n in range(len(payload)):
        try:
            # what is left can be the code of other values; never of these
            assert not np.array_equal(adaptive.decode(payload[:n], zeros(500), 40), values)
        except FormatError:
            continue
    with pytest.raises(FormatError, match="end where"):
        adaptive.decode(payload + b"\0", zeros(500), 40)
    with pytest.raises(FormatError):
        adaptive.decode(b"", zeros(1), 40)
    with pytest.raises(FormatError, match="over 3"):
        adaptive.decode(payload, zeros(500), 3)


def test_garbage_has_the_right_length_or_is_refused():
    payload, refused = adaptive.encode(geometric("garbage", 200), zeros(200)), 0
    for mutant in mutants(payload, "adaptive", 600):
        try:
            values = adaptive.decode(mutant, zeros(200), 255)
        except FormatError:
            refused += 1
        else:
            assert values.shape == (200,)
            assert values.min() >= 0
            assert values.max() <= 255
    assert refused > 300


def test_pinned_bytes():
    values = np.array([0, 1, 2, 3, 0, 0, 24, 25, 1000, MOST, 5, 5, 5])
    assert (
        adaptive.encode(values, (np.arange(13) % 8).astype(np.uint8)).hex()
        == "a4700000080000030000000029634064a6000000047897339ec5"
    )
    assert digest(adaptive.encode(geometric("pin", 3000), below("pin", 3000, 8).astype(np.uint8))) == "57fab874606de764"

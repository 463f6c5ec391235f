"""The search for the cheapest setting of a knob, on functions whose answers are known."""

import json
import math

import numpy as np
import pytest

from netweight.weights.lossy.journal import Journal, key_of
from netweight.weights.lossy.search import Evaluation, Knob, Outcome, cheapest

KNOB = Knob(finest=-6.0, coarsest=0.0, start=-2.0, step=0.5)
WEIGHTS = 1_000_000
ACCURACY = 0.83


def rate(t: float) -> int:
    """Bytes of a Gaussian source at relative error 10^t."""
    return round(WEIGHTS / 8 * max(0.02, -t * math.log2(10) / 2 + 0.1))


def clean(t: float, *, half: float = -1.3) -> float:
    """Accuracy that falls from ACCURACY to chance, half of the way at `half`."""
    return 0.1 + (ACCURACY - 0.1) / (1 + 10 ** (2.5 * (t - half)))


def noise(t: float, seed: int) -> float:
    """A new throw for each setting, the same one when it is asked again."""
    return float(np.random.default_rng([seed, abs(hash(t))]).normal())


class Counted:
    """An evaluation that counts its calls and refuses to be asked twice for one setting."""

    def __init__(self, score, rate=rate):
        self.score, self.rate, self.asked = score, rate, []

    def __call__(self, t: float) -> Evaluation:
        assert KNOB.finest <= t <= KNOB.coarsest
        assert t not in self.asked
        self.asked.append(t)
        return Evaluation(t, self.rate(t), self.score(t))


def search(evaluate, drop, **more) -> Outcome:
    return cheapest(evaluate, KNOB, floor=ACCURACY - drop, reference=ACCURACY, **more)


def limit(drop: float, half: float = -1.3) -> float:
    """Where `clean` has dropped by exactly this."""
    return half + math.log10((ACCURACY - 0.1) / (ACCURACY - drop - 0.1) - 1) / 2.5


@pytest.mark.parametrize("drop", [0.001, 0.005, 0.02, 0.1])
@pytest.mark.parametrize("half", [-4.0, -2.2, -1.3, -0.5])
def test_smooth_scores_are_met_within_a_percent_of_bytes(drop, half):
    evaluate = Counted(lambda t: clean(t, half=half))
    best = search(evaluate, drop).best
    assert best.score >= ACCURACY - drop
    assert rate(limit(drop, half)) <= best.bytes <= 1.012 * rate(limit(drop, half))
    assert len(evaluate.asked) <= 12


def test_smooth_scores_take_fewer_evaluations_than_bisection():
    evaluate = Counted(clean)
    search(evaluate, 0.005, precision=0.002)
    bracket = KNOB.step * math.log2(10) / 2 / (-limit(0.005) * math.log2(10) / 2 + 0.1)
    bisections = math.ceil(math.log2(bracket / 0.002))
    assert len(evaluate.asked) < 2 + bisections + 2


@pytest.mark.parametrize("seed", range(40))
def test_noise_never_breaks_the_floor_and_costs_little(seed):
    evaluate = Counted(lambda t: clean(t) + 0.001 * noise(t, seed))
    outcome = search(evaluate, 0.005)
    assert outcome.best.score >= ACCURACY - 0.005
    assert outcome.best.bytes == min(e.bytes for e in outcome.evaluations if e.score >= outcome.floor)
    assert outcome.best.bytes <= 1.05 * rate(limit(0.005))


def test_noise_is_used_on_average():
    """Settings just beyond the floor are tried: some of them do, so the mean is at or below the smooth answer."""
    sizes = [search(Counted(lambda t, s=s: clean(t) + 0.002 * noise(t, s)), 0.005).best.bytes for s in range(60)]
    assert np.mean(sizes) < rate(limit(0.005))


def test_a_hole_in_the_curve_is_never_returned():
    """Good settings on both sides of bad ones."""
    evaluate = Counted(lambda t: clean(t) - (0.2 if -2.4 < t < -1.9 else 0))
    best = search(evaluate, 0.005).best
    assert best.score >= ACCURACY - 0.005
    assert best.bytes <= 1.02 * rate(-2.4)


def test_steps():
    """Settings that share bytes and scores, as few-level codebooks do: a level is found, evaluations aren't wasted."""

    def level(t: float) -> float:
        return math.floor(2 * t) / 2

    evaluate = Counted(lambda t: clean(level(t)), lambda t: rate(level(t)))
    best = search(evaluate, 0.02).best
    assert best.bytes == rate(level(limit(0.02)))


def test_everything_is_good_enough():
    evaluate = Counted(lambda _: ACCURACY)
    assert search(evaluate, 0.0).best.t == KNOB.coarsest
    assert len(evaluate.asked) == 4


def test_nothing_is_good_enough_names_the_nearest():
    evaluate = Counted(lambda t: 0.5 - 0.01 * t)
    outcome = search(evaluate, 0.005)
    assert outcome.best is None
    assert outcome.nearest.t == KNOB.finest
    assert len(evaluate.asked) == 5


def test_no_drop_at_all():
    """Floor equal to the reference: settings that score as the original, or above it, are found."""
    evaluate = Counted(lambda t: round(clean(t), 3))
    best = search(evaluate, 0.0).best
    assert best.score == ACCURACY
    assert best.bytes <= 1.02 * rate(limit(0.0005))


def test_scores_above_the_reference_are_welcome():
    evaluate = Counted(lambda t: clean(t) + (0.01 if t > -3 else 0))
    best = search(evaluate, 0.005).best
    assert best.bytes <= 1.012 * rate(limit(0.015))


def test_negative_scores():
    """Minus a perplexity."""
    evaluate = Counted(lambda t: -20 - 10 ** (t + 2))
    outcome = cheapest(evaluate, KNOB, floor=-20.5, reference=-20.0)
    assert outcome.best.bytes <= 1.012 * rate(math.log10(0.5) - 2)


def test_few_evaluations():
    for most in range(1, 9):
        evaluate = Counted(clean)
        outcome = search(evaluate, 0.005, most=most)
        assert len(evaluate.asked) <= most
        assert outcome.best is None or outcome.best.score >= outcome.floor
    with pytest.raises(ValueError, match="an evaluation"):
        search(Counted(clean), 0.005, most=0)


def test_progress_tells_each_evaluation():
    told = []
    outcome = search(Counted(clean), 0.005, progress=lambda *step: told.append(step))
    assert [e for _, _, e in told] == list(outcome.evaluations)
    assert [(n, most) for n, most, _ in told] == [(k + 1, 12) for k in range(len(told))]


class StoppedError(Exception):
    """What a user's Ctrl-C is to a test."""


@pytest.mark.parametrize("stop", [1, 3, 6])
def test_an_interrupted_search_goes_the_same_way(tmp_path, stop):
    whole = search(Counted(clean), 0.005)
    path = tmp_path / "x.json"

    def stopping(t: float) -> Evaluation:
        if len(first.evaluations) == stop:
            raise StoppedError
        return Evaluation(t, rate(t), clean(t))

    first = Journal(path, "key")
    first.start(ACCURACY)
    with pytest.raises(StoppedError):
        search(first.remember(stopping), 0.005)
    second = Journal(path, "key")
    second.start(ACCURACY)
    assert len(second.evaluations) == stop
    evaluate = Counted(clean)
    assert search(second.remember(evaluate), 0.005) == whole
    assert len(evaluate.asked) == len(whole.evaluations) - stop
    second.remove()
    assert not list(tmp_path.iterdir())


def test_a_journal_of_something_else_is_no_journal(tmp_path):
    path = tmp_path / "x.json"
    journal = Journal(path, "key")
    journal.start(0.5)
    journal.remember(Counted(clean))(-2.0)
    assert Journal(path, "another").evaluations == []
    again = Journal(path, "key")
    assert (again.reference, len(again.evaluations)) == (0.5, 1)
    again.start(0.6)
    assert again.evaluations == []


@pytest.mark.parametrize("damage", ["", "[]", "{", "[" * 100_000, '{"netweight search": 1}', "nan"])
def test_a_damaged_journal_is_no_journal(tmp_path, damage):
    path = tmp_path / "x.json"
    path.write_text(damage)
    assert Journal(path, "key").evaluations == []


@pytest.mark.parametrize("value", ["NaN", "Infinity", '"x"', "null"])
def test_a_journal_with_a_mad_number_is_no_journal(tmp_path, value):
    path = tmp_path / "x.json"
    journal = Journal(path, "key")
    journal.start(0.5)
    journal.remember(lambda t: Evaluation(t, 1, 0.25))(-2.0)
    sound = path.read_text()
    assert json.loads(sound)["evaluations"][0]["score"] == 0.25
    path.write_text(sound.replace("0.25", value))
    assert Journal(path, "key").evaluations == []


def test_a_key_depends_on_every_part_and_not_on_their_order():
    assert key_of({"a": 1, "b": [2, 3]}) == key_of({"b": [2, 3], "a": 1})
    assert key_of({"a": 1, "b": [2, 3]}) != key_of({"a": 1, "b": [2, 4]})

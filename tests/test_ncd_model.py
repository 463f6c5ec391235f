"""Lengths under a language model: sums of -log2 p, the same however texts are batched, a shared prefix worked out once."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from ncd_stand_ins import BEGIN, MISSING, LetterModel
from netweight.errors import InputError
from netweight.text.codec.spelling import Speller
from netweight.text.model import LOGIT_BITS
from netweight.text.ncd.lengths import MODEL
from netweight.text.ncd.model_lengths import ModelLengths, said

TEXTS = [b"a cat sat on a mat", b"the cat", b"", b"zebra" * 7, b"q"]


def ideal_bits(history: bytes, text: bytes) -> float:
    """Straight from the definition, in floating point."""
    seen, total = [BEGIN, *history], 0.0
    for token in text:
        logits = np.minimum(np.bincount(seen, minlength=129), 12) * 2.0 ** (11 - LOGIT_BITS)
        total += np.log2(np.exp(logits).sum()) - logits[token] / np.log(2)
        seen.append(token)
    return total


def test_lengths_are_sums_of_ideal_code_lengths() -> None:
    lengths = ModelLengths(LetterModel())
    assert lengths.unit == MODEL
    for text in TEXTS:
        assert lengths.alone(text) == pytest.approx(ideal_bits(b"", text), abs=0.02, rel=1e-3)
        given = lengths.given(b"a dog", lengths.prepare([text]))[0]
        assert given == pytest.approx(ideal_bits(b"a dog", b" " + text), abs=0.02, rel=1e-3)


def test_a_pair_is_a_text_and_what_follows_it() -> None:
    lengths = ModelLengths(LetterModel(), b"\n")
    joined = lengths.joined(b"a dog", lengths.prepare(TEXTS))
    assert joined == pytest.approx([lengths.alone(b"a dog\n" + text) for text in TEXTS], rel=1e-12)


def test_batches_change_nothing() -> None:
    together = ModelLengths(LetterModel())
    batch = together.given(b"prefix", together.prepare(TEXTS))
    one_by_one = ModelLengths(LetterModel())
    suffixes = one_by_one.prepare(TEXTS)
    assert [one_by_one.given(b"prefix", suffixes, np.array([k]))[0] for k in range(len(TEXTS))] == batch.tolist()
    assert together.each(TEXTS).tolist() == [ModelLengths(LetterModel()).alone(text) for text in TEXTS]


def test_a_prefix_is_worked_out_once_for_all_texts_and_pairs_are_remembered() -> None:
    model = LetterModel()
    lengths = ModelLengths(model)
    suffixes = lengths.prepare([b"ab"] * 5 + [b"cd"] * 5)
    lengths.given(b"x" * 100, suffixes)
    assert model.positions == 100 + 2 * 3  # the prefix; then each text that is new, with its separator
    lengths.given(b"x" * 100, suffixes)
    assert model.positions == 106


def test_predictions_look_back_no_further_than_the_context() -> None:
    model = LetterModel(context=32)
    lengths = ModelLengths(model)
    found = lengths.given(b"p" * 100, lengths.prepare([b"t" * 50, b"u"]))
    assert model.longest <= 32
    assert np.isfinite(found).all()
    assert (found > 0).all()
    alone = ModelLengths(LetterModel(context=32))
    assert alone.given(b"p" * 100, alone.prepare([b"u"]))[0] == found[1]
    near = lengths.given(b"n" * 100 + b"u" * 20, lengths.prepare([b"uuuu"]))
    far = lengths.given(b"u" * 20 + b"n" * 100, lengths.prepare([b"uuuu"]))
    assert near[0] < far[0]  # the end of the prefix is what counts


def test_bytes_that_no_token_carries_are_counted_apart() -> None:
    speller = Speller(LetterModel().tokenizer)
    for text, escaped in [(b"abcdefghij", 0), (b"abcdefghi~jkl", 1), ("une tasse de caf\u00e9".encode(), 2), (b"", 0)]:
        found = said(speller, text)
        assert found.escaped == escaped
        assert len(found.tokens) == len(text) - escaped
    assert said(speller, b"\xff\xfe").escaped == 2
    lengths = ModelLengths(LetterModel())
    assert lengths.alone(b"abcdefghi" + MISSING.encode()) == lengths.alone(b"abcdefghi") + 16


def test_a_model_travels_by_name_only() -> None:
    with pytest.raises(InputError, match="by name or path"):
        pickle.dumps(ModelLengths(LetterModel()))
    back = pickle.loads(pickle.dumps(ModelLengths("some.gguf", b"|", 3)))
    assert (back.name, back.separator, back.threads) == ("some.gguf", b"|", 3)

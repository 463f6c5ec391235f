"""What the text codec is made of: the range coder, the softmax, spelling, line ends, ranks, the byte model."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from netweight.entropy import adaptive_huffman, range_coder
from netweight.errors import FormatError
from netweight.text.codec import byte_model, line_breaks, model_block, rank_blocks, ranks, softmax
from netweight.text.codec.encoder import cut
from netweight.text.codec.history import append, candidates, make_history
from netweight.text.codec.ladder import weigh_text
from netweight.text.codec.settings import Window
from netweight.text.codec.spelling import Speller, looks_like_text
from netweight.text.codec.windows import stretches
from text_stand_in import MISSING, WORDS, StandIn, story

MODEL = StandIn()


@njit
def _walk(coder, buffer, symbols, starts):  # type: ignore[no-untyped-def]
    total = starts[-1]
    for i in range(symbols.size):
        if coder[range_coder.DECODING]:
            symbols[i] = np.searchsorted(starts, range_coder.target(coder, total), side="right") - 1
        s = symbols[i]
        range_coder.narrow(coder, buffer, starts[s], starts[s + 1] - starts[s], total)


@pytest.mark.parametrize("seed", range(40))
def test_range_coder_walks_back_and_wastes_nothing(seed: int) -> None:
    r = np.random.default_rng(seed)
    sizes = r.integers(1, 1 << int(r.integers(1, 40)), int(r.integers(1, 60)))
    starts = np.concatenate([[0], np.cumsum(sizes)])
    symbols = r.choice(sizes.size, size=int(r.integers(0, 300)), p=sizes / sizes.sum())
    coder, buffer = range_coder.make_encoder(), np.zeros(8 * symbols.size + 8, np.uint8)
    _walk(coder, buffer, symbols.copy(), starts)
    payload = range_coder.finish(coder, buffer)
    assert payload is not None
    assert len(payload) <= -np.log2(sizes[symbols] / sizes.sum()).sum() / 8 + 2
    coded, back = np.frombuffer(payload, np.uint8).copy(), np.zeros_like(symbols)
    coder = range_coder.make_decoder(coded)
    _walk(coder, coded, back, starts)
    np.testing.assert_array_equal(back, symbols)
    assert range_coder.ends(coder, coded)
    longer = np.concatenate([coded, np.zeros(9, np.uint8)])
    coder = range_coder.make_decoder(longer)
    _walk(coder, longer, back, starts)
    assert not range_coder.ends(coder, longer)


def test_range_coder_says_when_the_buffer_is_too_small() -> None:
    coder, symbols = range_coder.make_encoder(), np.zeros(99, np.int64)
    buffer = np.zeros(10, np.uint8)
    _walk(coder, buffer, symbols, np.array([0, 1, 256]))
    assert range_coder.finish(coder, buffer) is None


def test_softmax_table_is_pinned_and_right() -> None:
    digest = hashlib.sha256(softmax.POWERS.astype("<i8").tobytes()).hexdigest()
    assert digest == "89be6db8e8bb5fa143bb8c78517d05ebef8631ebf997ba013b92c314e11e8d7b"
    np.testing.assert_allclose(softmax.POWERS / 2.0**30, 2.0 ** (-np.arange(2048) / 2048), rtol=3e-9)


def test_masses_are_a_softmax() -> None:
    logits = np.random.default_rng(1).normal(0, 4, 500)
    bias = np.random.default_rng(2).normal(0, 1, 500)
    mass = np.zeros(500, np.int64)
    fixed = [np.rint(logits * 4096).astype(np.int32), np.rint(bias * 65536).astype(np.int32)]
    total, best = softmax.masses(*fixed, 4, softmax.UNIT_SCALE, mass)
    want = np.exp(logits + bias - (logits + bias).max())
    np.testing.assert_allclose(mass / total, want / want.sum(), rtol=2e-3, atol=2e-9)
    assert best == want.argmax()
    assert total == mass.sum()
    assert softmax.second(mass, best) == np.argsort(want)[-2]
    for boost in (-300_000, -65_536, -1, 1, 40_000, 65_536, 500_000):
        assert softmax.scaled(1 << 28, boost) == pytest.approx(2.0**28 * np.exp(boost / 65536), rel=1e-3, abs=2)


def test_bias_goes_down_the_gradient() -> None:
    mass, bias = np.array([1 << 29, 1 << 28, 1 << 28], np.int64), np.zeros(3, np.int32)
    softmax.learn_bias(mass, int(mass.sum()), bias, 1, 1000)
    np.testing.assert_allclose(bias, [-500, 750, -250], atol=1)


def test_candidates_are_what_followed_before() -> None:
    text = [5, 6, 7, 8, 5, 6, 7, 9, 1, 6, 7]
    history = make_history(len(text))
    for k, token in enumerate(text):
        append(history, k, token)
    found, seen = np.zeros((2, 9), np.int64)
    n, longest = candidates(history, len(text), found, seen)
    assert dict(zip(found[:n].tolist(), seen[:n].tolist(), strict=True)) == {9: 0b011, 8: 0}
    assert longest == 2


def test_a_window_keeps_its_last_positions() -> None:
    assert list(stretches(10, Window(4, 2))) == [(0, 0, 4), (2, 4, 6), (4, 6, 8), (6, 8, 10)]
    assert list(stretches(3, Window(4, 2))) == [(0, 0, 3)]
    assert list(stretches(0, Window(4, 2))) == []


# --- spelling ---


def test_bytes_that_the_tokenizer_drops_are_literals() -> None:
    data = b"the \x04line\xff\xfe and \x13\x06"
    spelling = Speller(MODEL.tokenizer).spell(data * 3 + b"more of the line" * 5)
    assert spelling is not None
    assert [b for _, b in spelling.literals][:3] == [b"\x04", b"\xff\xfe", b"\x13\x06"]
    assert Speller(MODEL.tokenizer).say(spelling) == data * 3 + b"more of the line" * 5
    assert all(b"\x04" not in (piece or b"") for piece in MODEL.tokenizer.pieces)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=80), st.text(max_size=40))
def test_what_is_spelt_says_the_bytes(noise: bytes, text: str) -> None:
    data = text.encode("utf-8", "surrogatepass") * 4 + noise
    spelling = Speller(MODEL.tokenizer).spell(data)
    assert spelling is None or Speller(MODEL.tokenizer).say(spelling) == data


def test_too_many_literals_are_left_to_the_byte_model() -> None:
    assert Speller(MODEL.tokenizer).spell(MISSING * 10 + b"the") is None


def test_a_tokenizer_that_adds_a_space_is_put_up_with() -> None:
    class Adding:
        pieces = MODEL.tokenizer.pieces

        def encode(self, text: str) -> list[int]:
            return MODEL.tokenizer.encode(" " + text)

    data = story(200).strip() + b"\xff" + b"more"
    spelling = Speller(Adding()).spell(data)
    assert spelling is not None
    assert spelling.lead == 1
    assert Speller(Adding()).say(spelling) == data


def test_what_looks_like_text() -> None:
    assert looks_like_text(story(500))
    assert looks_like_text("naïve 你好\n".encode())
    assert not looks_like_text(b"")
    assert not looks_like_text(bytes(range(256)))
    assert not looks_like_text(np.random.default_rng(0).integers(0, 256, 4000, np.uint8).tobytes())


@pytest.mark.parametrize("most", [7, 100, 5000])
def test_cuts_are_short_enough_and_between_characters(most: int) -> None:
    data = "zwölf Bücher über Größe\n".encode() * 60
    parts = list(cut(data, most))
    assert b"".join(parts) == data
    assert max(map(len, parts)) <= most
    for part in parts:
        part.decode()


# --- line ends ---


def test_wrapped_text_costs_little_and_comes_back() -> None:
    lines, line = [], ""
    for word in (w.decode().strip() for w in np.random.default_rng(4).choice(np.array(WORDS[:-2], object), 1500)):
        word = word[: 2 + len(word) * ord(word[0]) % 7]
        if len(line) + len(word) > 70:
            lines.append(line)
            line = ""
        line += (" " if line else "") + word
    text = "\n".join(lines).encode()
    unwrapped, ends = line_breaks.unwrap(text)
    assert b"\n" not in unwrapped
    assert ends.sum() == len(lines) - 1
    assert line_breaks.worth_unwrapping(unwrapped, ends)
    coder, buffer = range_coder.make_encoder(), np.zeros(4000, np.uint8)
    line_breaks.encode(coder, buffer, unwrapped, ends)
    payload = range_coder.finish(coder, buffer)
    assert payload is not None
    assert 8 * len(payload) < len(lines)  # less than a bit a line
    coded = np.frombuffer(payload, np.uint8).copy()
    assert line_breaks.decode(range_coder.make_decoder(coded), coded, unwrapped) == text


def test_lists_and_verse_stay_as_they_are() -> None:
    r = np.random.default_rng(5)
    verse = b"\n".join(b" ".join([b"word"] * int(r.integers(1, 12))) for _ in range(60))
    assert not line_breaks.worth_unwrapping(*line_breaks.unwrap(verse))


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="ab \n\r\t", max_size=120))
def test_blocks_with_any_line_ends_come_back(text: str) -> None:
    for data in (text.encode(), text.replace("\n", "\r\n").encode()):
        unwrapped, ends = line_breaks.unwrap(data)
        coder, buffer = range_coder.make_encoder(), np.zeros(400, np.uint8)
        line_breaks.encode(coder, buffer, unwrapped, ends)
        coded = np.frombuffer(range_coder.finish(coder, buffer) or b"", np.uint8).copy()
        assert line_breaks.decode(range_coder.make_decoder(coded), coded, unwrapped) == data


def test_windows_line_ends_take_no_tokens() -> None:
    one, two = (
        model_block.prepare(Speller(MODEL.tokenizer), d) for d in (story(500), story(500).replace(b"\n", b"\r\n"))
    )
    assert one is not None
    assert two is not None
    assert two.flags & model_block.WINDOWS_ENDS
    np.testing.assert_array_equal(one.spelling.tokens, two.spelling.tokens)


# --- ranks, Huffman, bytes ---


def test_rank_is_the_place_and_ties_go_to_the_lower_number() -> None:
    logits = np.array([[5, 9, 9, -2, 5]], np.int32)
    out = np.zeros(1, np.int32)
    for token, rank in [(1, 0), (2, 1), (0, 2), (4, 3), (3, 4)]:
        ranks.ranks_of(logits, np.array([token], np.int32), out)
        assert out[0] == rank
        assert ranks.token_at(logits[0], rank) == token
    with pytest.raises(FormatError, match="rank"):
        ranks.token_at(logits[0], 5)


@pytest.mark.parametrize("back_end", ranks.BACK_ENDS)
@pytest.mark.parametrize("size", [0, 1, 2000])
def test_ranks_of_blocks_come_back(back_end: str, size: int) -> None:
    blocks = list(cut(story(size), 700)) if size else []
    window = Window(48, 16)
    made = rank_blocks.ranked(MODEL, window, blocks, lambda _: None)
    assert made is not None
    payload = rank_blocks.encode(made, back_end)
    assert rank_blocks.decode(MODEL, window, payload, back_end, lambda _: None) == b"".join(blocks)
    for end in range(max(0, len(payload) - 40), len(payload)):
        with pytest.raises(FormatError):
            rank_blocks.decode(MODEL, window, payload[:end], back_end, lambda _: None)


@pytest.mark.parametrize("seed", range(30))
def test_adaptive_huffman_comes_back_near_the_entropy(seed: int) -> None:
    r = np.random.default_rng(seed)
    share = r.dirichlet(np.full(int(r.integers(1, 257)), 10.0 ** r.uniform(-2, 1)))
    data = r.choice(share.size, size=int(r.integers(0, 3000)), p=share).astype(np.uint8)
    payload = adaptive_huffman.encode(data)
    np.testing.assert_array_equal(adaptive_huffman.decode(payload, data.size), data)
    counts = np.bincount(data)
    entropy = -(counts[counts > 0] * np.log2(counts[counts > 0] / data.size)).sum() if data.size else 0
    assert 8 * len(payload) <= entropy + data.size + 18 * np.count_nonzero(counts) + 8  # within a bit a symbol
    for wrong in (payload[:-1], payload + b"\0"):
        if wrong or data.size:
            with pytest.raises(FormatError):
                adaptive_huffman.decode(wrong, data.size)


def test_byte_model_learns_and_comes_back() -> None:
    data = np.frombuffer(story(6000) + bytes(range(256)) + b"x" * 3000, np.uint8)
    payload = byte_model.encode(data)
    assert payload is not None
    np.testing.assert_array_equal(byte_model.decode(payload, data.size), data)
    once, twice = (byte_model.encode(np.frombuffer(story(3000) * k, np.uint8)) for k in (1, 2))
    assert once is not None
    assert twice is not None
    assert len(twice) < len(once) + 20
    noise = np.random.default_rng(0).integers(0, 256, 3000, np.uint8)
    assert byte_model.encode(noise) is None
    for wrong in (payload[:-20], payload + bytes(9)):
        with pytest.raises(FormatError):
            byte_model.decode(wrong, data.size)


def test_ladder_rows_are_checked_and_say_what_a_receiver_needs() -> None:
    labels: list[str] = []
    weighing = weigh_text(
        story(1200),
        "story",
        model=MODEL,
        model_bytes=5000,
        effort="fast",
        progress=lambda label, _d, _t: labels.append(label),
    )
    rows = {row.label: row for row in weighing.rows}
    assert {
        "gzip 9",
        "xz 9",
        "zstd 19",
        "brotli 11",
        "netweight bytes",
        "netweight text fast",
        "ranks rANS",
    } <= rows.keys()
    assert all(row.bytes for row in weighing.rows if not row.problem)
    assert rows["gzip 9"].receiver == ""
    assert rows["gzip 9"].with_model is None
    model = rows["netweight text fast"]
    assert "stand-in" in model.receiver
    assert model.with_model == model.bytes + 5000
    assert weighing.rows[0] is model
    assert any("decoding" in label for label in labels)
    assert weighing.to_dict()["rows"][0]["bits_per_byte"] == pytest.approx(8 * model.bytes / 1200)

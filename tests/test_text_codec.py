"""Text under a language model: every byte string comes back, and what is damaged is named."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netweight.codec import weigh
from netweight.errors import BaseMismatchError, ChecksumError, FormatError, VersionError
from netweight.source import BytesSource
from netweight.text.codec import DamagedBlocksError, LanguageModelCodec, TextFile, compress_stream
from netweight.text.codec import encoder as encoders
from netweight.text.codec import settings as efforts
from netweight.text.codec.container import KINDS
from text_stand_in import MISSING, StandIn, story

MODEL = StandIn()
SMALL = efforts.Effort(500, efforts.Window(48, 16))


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of some hundred bytes, windows that fill up."""
    monkeypatch.setitem(efforts.EFFORTS, "small", SMALL)
    monkeypatch.setattr(encoders, "_REDUNDANT", 1000)


def compress(data: bytes, model: StandIn | None = MODEL, effort: str = "small") -> bytes:
    parts: list[bytes] = []
    receipt = compress_stream([data], parts.append, model=model, effort=effort)
    blob = b"".join(parts)
    assert (receipt.original_bytes, receipt.compressed_bytes) == (len(data), len(blob))
    return blob


def opened(blob: bytes, model: StandIn = MODEL, **keywords: bool) -> TextFile:
    return TextFile(BytesSource(blob, "book.nw"), lambda: model, **keywords)


def decompress(blob: bytes, model: StandIn = MODEL) -> bytes:
    return b"".join(opened(blob, model).pieces())


def kinds(blob: bytes) -> list[str]:
    file = opened(blob)
    return [KINDS[file.record(b).kind] for b in file.blocks]


@pytest.mark.parametrize(
    "data",
    [
        b"", b"a", b"\xff", b"\0", b"\n", b"\r\n" * 40, MISSING, b" ", "é".encode(), b"\xed\xb0\x80",
        "\udcff".encode("utf-8", "surrogatepass"),
        story(2500), story(700).replace(b"\n", b"\r\n"), story(600) + b"\xff\xfe" + story(300), bytes(range(256)) * 3,
        b"the \x04line\x06 " * 60, b"a" * 5000, story(400).decode().encode("utf-16"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("model", [MODEL, None])
def test_comes_back(data: bytes, model: StandIn | None) -> None:
    blob = compress(data, model)
    assert decompress(blob) == data
    assert len(blob) <= len(data) * 1.001 + 16


@settings(max_examples=60, deadline=None)
@given(st.one_of(st.binary(max_size=300), st.text(max_size=200).map(lambda t: t.encode("utf-8", "surrogatepass"))))
def test_any_bytes_come_back(data: bytes) -> None:
    assert decompress(compress(data)) == data


@pytest.mark.parametrize("size", [1, 100, 1000, 5000, 100_000])
def test_random_bytes_hardly_grow(size: int) -> None:
    data = np.random.default_rng(size).integers(0, 256, size, np.uint8).tobytes()
    for model in (MODEL, None):
        blob = compress(data, model, "balanced")
        assert len(blob) <= size * 1.001 + 16
        assert decompress(blob) == data


def test_a_million_times_one_byte_asks_no_model() -> None:
    model = StandIn()
    blob = compress(b"a" * (1 << 20), model, "balanced")
    assert len(blob) < 200
    assert model.positions == 0
    assert decompress(blob) == b"a" * (1 << 20)


@pytest.mark.skipif("NETWEIGHT_SLOW_TESTS" not in os.environ, reason="set NETWEIGHT_SLOW_TESTS")
def test_ten_million_times_one_byte() -> None:
    assert decompress(compress(b"a" * 10_000_000, effort="balanced")) == b"a" * 10_000_000


def test_text_uses_the_model_and_its_receiver_is_told() -> None:
    codec = LanguageModelCodec(MODEL, effort="small")
    receipt = weigh(codec, np.frombuffer(story(1500), np.uint8))
    assert receipt.error.identical
    assert MODEL.digest.hex() in receipt.receiver["language model"]
    assert set(kinds(compress(story(1500)))) == {"language model"}


def test_a_model_that_knows_the_words_saves_bytes() -> None:
    assert len(compress(story(3000), effort="max")) < len(compress(story(3000), StandIn(seed=2), "max")) * 1.2
    assert len(compress(story(400), effort="max")) < len(compress(story(400), None))


def test_blocks_are_independent_and_read_at_random() -> None:
    data = story(3000)
    file = opened(compress(data))
    assert len(file.blocks) > 5
    for offset, length in [(0, 10), (490, 30), (1234, 777), (len(data) - 1, 1), (0, 0), (0, len(data))]:
        assert file.read(offset, length) == data[offset : offset + length]


def test_lockstep_and_one_by_one_agree() -> None:
    data = story(2600)
    file = opened(compress(data))
    together = [d for _, d in file.decode()]
    alone = [next(iter(file.decode([b])))[1] for b in file.blocks]
    assert together == alone
    assert b"".join(bytes(p) for p in together) == data  # type: ignore[arg-type]


def test_cutting_the_input_elsewhere_changes_nothing() -> None:
    data, parts = story(2000), []
    compress_stream([data[:7], b"", data[7:1500], data[1500:]], parts.append, model=MODEL, effort="small")
    assert b"".join(parts) == compress(data)


def test_another_model_is_refused_and_both_are_named() -> None:
    other = StandIn(seed=9)
    with pytest.raises(BaseMismatchError) as caught:
        decompress(compress(story(300)), other)
    assert MODEL.digest[:8].hex() in str(caught.value)
    assert other.digest[:8].hex() in str(caught.value)


def test_a_shorter_model_is_no_excuse_for_another_window() -> None:
    blob = compress(story(900))
    assert decompress(blob, StandIn(context=MODEL.context)) == story(900)


def test_a_newer_version_is_refused() -> None:
    blob = bytearray(compress(story(300)))
    blob[4] += 1
    with pytest.raises(VersionError, match="update"):
        opened(bytes(blob))


# --- damage ---


def test_a_flipped_byte_in_any_block_is_named_and_the_rest_comes_back() -> None:
    data = story(2600)
    blob = compress(data)
    sound = opened(blob)
    for block in sound.blocks:
        for at in (block.offset, block.offset + 3, block.offset + block.length // 2, block.offset + block.length - 1):
            damaged = bytearray(blob)
            damaged[at] ^= 0x41
            file = opened(bytes(damaged))
            with pytest.raises(DamagedBlocksError, match=f"block {block.number} ") as caught:
                list(file.pieces())
            assert [b.number for b in caught.value.blocks] == [block.number]
            got = {b.number: d for b, d in file.decode() if isinstance(d, bytes)}
            want = {b.number: data[b.start : b.start + b.size] for b in sound.blocks if b.number != block.number}
            assert got == want


def test_any_flipped_byte_or_cut_raises_our_error() -> None:
    data = story(900)
    blob = compress(data)
    for at in range(len(blob)):
        damaged = bytearray(blob)
        damaged[at] ^= 1 << at % 8
        try:
            back = decompress(bytes(damaged))
        except (FormatError, BaseMismatchError):
            continue
        assert back == data  # a byte of the model's name, which is for people
    for end in range(len(blob)):
        with pytest.raises(FormatError):
            decompress(blob[:end])
    with pytest.raises(FormatError):
        decompress(blob + b"x")


def test_a_lost_index_is_done_without() -> None:
    data = story(2600)
    blob = bytearray(compress(data))
    blob[-6] ^= 1
    with pytest.raises(ChecksumError, match="index"):
        opened(bytes(blob))
    file = opened(bytes(blob), salvage=True)
    assert file.problem
    assert b"".join(file.pieces()) == data
    assert b"".join(opened(bytes(blob[:-40]), salvage=True).pieces()) in data


def test_random_payloads_never_crash() -> None:
    r, sound = np.random.default_rng(5), compress(story(300))
    file = opened(sound)
    head = file.blocks[0].offset
    for _ in range(150):
        body = r.integers(0, 256, int(r.integers(0, 60)), np.uint8).tobytes()
        blob = sound[:head] + bytes([int(r.integers(1, 4)), 200, 2, len(body)]) + body + bytes(4)
        with pytest.raises(FormatError):
            decompress(blob)


def test_a_short_payload_cannot_announce_endless_tokens() -> None:
    sound = compress(story(300))
    head = opened(sound).blocks[0].offset
    body = bytes([0, 0xFF, 0xFF, 0x7F, 1])  # flags, two million tokens, one byte of code
    blob = sound[:head] + bytes([3, 0x80, 0x80, 0x40, len(body)]) + body + bytes(4)
    with pytest.raises(FormatError, match="announced"):
        decompress(blob)


class _StopError(Exception):
    pass


def test_progress_adds_up_and_may_interrupt() -> None:
    data, seen = story(2600), []
    parts: list[bytes] = []
    compress_stream([data], parts.append, model=MODEL, effort="small", progress=seen.append)
    assert sum(seen) == len(data)
    assert len(seen) > 6

    def stop(_: int) -> None:
        raise _StopError

    with pytest.raises(_StopError):
        compress_stream([data], parts.append, model=MODEL, effort="small", progress=stop)
    back: list[int] = []
    list(opened(compress(data)).pieces(progress=back.append))
    assert sum(back) == len(data)

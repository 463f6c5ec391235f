"""C(x) and C(xy): the same numbers as compressing plainly, primed states, real payloads, a model's ideal lengths."""

from __future__ import annotations

import bz2
import gzip
import lzma
import pickle
import random
import zlib

import numpy as np
import pytest
import zstandard

from netweight.errors import GuaranteeError, InputError, MissingExtraError, NotFoundError
from netweight.text.ncd import deflate
from netweight.text.ncd.codes import lengths_of
from netweight.text.ncd.compressors import COMPRESSORS
from netweight.text.ncd.deflate import Deflate, DeflateSuffixes
from netweight.text.ncd.deflate_matches import LONGEST_TEXT
from netweight.text.ncd.lengths import PAYLOAD, compare

ALL = [*deflate.CONTAINERS, *COMPRESSORS]


def made_text(seed: int, size: int) -> bytes:
    """Words from a small vocabulary: matches at all distances and lengths."""
    made = random.Random(seed)
    words = ["".join(made.choices("abcdefghijklmnop ", k=made.randint(1, 9))) for _ in range(300)]
    text = b""
    while len(text) < size:
        text += " ".join(made.choices(words, k=50)).encode() + b"\n"
    return text[:size]


def texts() -> list[bytes]:
    """What a search for matches could trip over: runs, noise, one byte, repeats of the whole, all lengths near the end."""
    made = random.Random(5)
    kinds = [
        made_text(1, 700), made_text(2, 5000), b"a" * 300, b"ab" * 200, made.randbytes(40), made.randbytes(3000), b"x",
        b"", b"abc", made_text(1, 700)[:350], bytes(range(256)), made_text(1, 260), "h\u00e9, \u4e2d".encode() * 9,
    ]  # fmt: skip
    return kinds + [made_text(3, size) for size in range(2, 40, 3)]


def test_gzip_of_a_pair_is_gzip_of_the_joined_texts() -> None:
    lengths, ends = lengths_of("gzip"), texts()
    suffixes = lengths.prepare(ends)
    for start in texts():
        plain = [8 * len(gzip.compress(start + b" " + end)) for end in ends]
        assert lengths.joined(start, suffixes).tolist() == plain


@pytest.mark.parametrize("size", [9_000, 17_000, 40_000, 90_000])
@pytest.mark.parametrize("level", [1, 6, 9])
def test_a_primed_zlib_is_a_plain_one_inside_and_beyond_the_window(size: int, level: int) -> None:
    start, ends = made_text(7, size), [made_text(7, 2000), made_text(8, 9000), made_text(9, 40_000), b""]
    lengths = Deflate("zlib", level)
    plain = [8 * len(zlib.compress(start + b" " + end, level)) for end in ends]
    assert lengths.joined(start, lengths.prepare(ends)).tolist() == plain


def test_lengths_are_worked_out_without_zlib_where_texts_are_short() -> None:
    if not deflate.agrees_with_zlib():
        pytest.skip("Python was built with another zlib, which is asked for every pair")
    suffixes = DeflateSuffixes([b" " + made_text(1, 600), b" " + made_text(2, LONGEST_TEXT), b" " + b"z" * 2000])
    raw = np.full(3, -1, np.int64)
    deflate.calculate(made_text(3, 500), suffixes, np.arange(3), raw)
    assert raw[0] == len(zlib.compress(made_text(3, 500) + suffixes.texts[0], 9)) - 6
    assert raw[1] == -1  # more than one block, perhaps
    assert raw[2] == -1  # a chain that zlib would cut


def test_many_random_pairs_agree_with_zlib() -> None:
    made = random.Random(11)
    letters = [b"ab", b"abcdefgh", bytes(range(256))]
    pool = [bytes(made.choices(made.choice(letters), k=made.randint(0, 900))) for _ in range(60)]
    pool += [b"", b"aaaa", *(made_text(n, made.randint(1, 3000)) for n in range(60))]
    lengths = Deflate("deflate", separator=b"")
    suffixes = lengths.prepare(pool)
    for start in [*pool[::9], b"aaaa", b""]:
        plain = [8 * (len(zlib.compress(start + end, 9)) - 6) for end in pool]
        assert lengths.joined(start, suffixes).tolist() == plain


def test_the_least_that_a_block_can_take_is_a_bound() -> None:
    """With limits of 0 only what the bound says is left out; a bound that is too high would leave out right answers."""
    made = random.Random(3)
    pool = [
        *texts(),
        *(made_text(n, made.randint(1, 2000)) for n in range(30)),
        *(made.randbytes(n) for n in range(40)),
    ]
    lengths = lengths_of("gzip")
    suffixes = lengths.prepare(pool)
    for start in (b"a", b"prefix of some words", made_text(50, 900)):
        exact = lengths.joined(start, suffixes)
        assert lengths.joined(start, suffixes, limits=exact).tolist() == exact.tolist()
        below = lengths.joined(start, suffixes, limits=exact / 2)
        assert np.isin(below, [np.inf, *exact]).all()
        assert not lengths.limited or np.isinf(below).mean() > 0.7


def test_only_what_is_wanted_is_compressed() -> None:
    for code in ("gzip", "zstd"):
        lengths = lengths_of(code)
        suffixes, wanted = lengths.prepare(texts()), np.array([5, 0, 1])
        every = lengths.joined(b"prefix", suffixes)
        assert lengths.joined(b"prefix", suffixes, wanted).tolist() == every[wanted].tolist()
        assert (
            lengths.given(b"prefix", suffixes, wanted).tolist() == lengths.given(b"prefix", suffixes)[wanted].tolist()
        )


@pytest.mark.parametrize("code", ALL)
def test_lengths_are_those_of_payloads(code: str) -> None:
    lengths = lengths_of(code)
    text, other = made_text(1, 900), made_text(4, 700)
    assert lengths.unit == PAYLOAD
    both = lengths.joined(text, lengths.prepare([other]))[0]
    assert both == lengths.alone(text + b" " + other)
    assert both % 8 == 0
    assert 0 < lengths.alone(text) < 8 * len(text)
    assert lengths.given(text, lengths.prepare([text]))[0] < lengths.alone(text) / 2 or code == "bz2"


def test_payloads_are_the_well_known_ones() -> None:
    text = made_text(1, 900)
    assert lengths_of("bz2").alone(text) == 8 * len(bz2.compress(text, 9))
    assert lengths_of("xz").alone(text) == 8 * len(lzma.compress(text, preset=6))
    assert lengths_of("zstd:3").alone(text) == 8 * len(zstandard.ZstdCompressor(level=3).compress(text))


def test_zstd_with_a_prefix_as_dictionary_is_a_real_payload() -> None:
    lengths = lengths_of("zstd")
    prefix, text = made_text(1, 3000), made_text(1, 3000)[1000:2000]
    given = lengths.given(prefix, lengths.prepare([text]))[0]
    dictionary = zstandard.ZstdCompressionDict(prefix, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    payload = zstandard.ZstdCompressor(level=19, dict_data=dictionary).compress(b" " + text)
    assert given == 8 * len(payload)
    assert given < lengths.alone(text) / 4


def test_a_code_that_lies_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(GuaranteeError, match="came back"):
        compare("some", b"text", b"other")
    monkeypatch.setattr(deflate, "agrees_with_zlib", lambda: True)
    monkeypatch.setattr(deflate, "calculate", lambda *arguments: arguments[3].fill(7))
    lengths = lengths_of("gzip")
    with pytest.raises(GuaranteeError, match="worked out"):
        lengths.joined(b"prefix", lengths.prepare([b"text"]))


def test_another_zlib_is_asked_and_not_imitated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deflate, "after", lambda *arguments: arguments[-1].fill(1))
    deflate.agrees_with_zlib.cache_clear()
    try:
        lengths = lengths_of("gzip")
        assert not lengths.calculated  # type: ignore[attr-defined]
        found = lengths.joined(b"one", lengths.prepare([b"two"]))[0]
    finally:
        deflate.agrees_with_zlib.cache_clear()
    assert found == 8 * len(gzip.compress(b"one two"))


@pytest.mark.parametrize("code", ALL)
def test_codes_survive_a_journey(code: str) -> None:
    lengths = lengths_of(code, b"\n")
    back = pickle.loads(pickle.dumps(lengths))
    assert (back.name, back.separator, back.identity) == (lengths.name, b"\n", lengths.identity)
    assert back.alone(b"some text") == lengths.alone(b"some text")


@pytest.mark.parametrize(
    ("code", "error"),
    [("gzip:0", InputError), ("zstd:99", InputError), ("gzip:x", NotFoundError), ("nothing", NotFoundError)],
)
def test_codes_that_there_are_not(code: str, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"level must be|no code"):
        lengths_of(code)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyppmd", None)
    with pytest.raises(MissingExtraError, match=r"netweight\[ncd\]"):
        lengths_of("ppmd")

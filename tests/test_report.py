"""Figures, tables, surveys and the ladder: what is printed is what was measured."""

from __future__ import annotations

import math
import time
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netweight import compress_file
from netweight.errors import GuaranteeError, MissingExtraError, NotFoundError, OutputError, UnsupportedError
from netweight.report import files, layout, numbers, plots, story, tables, texts
from netweight.source import BytesSource
from netweight.weights import bench
from netweight.weights.inspection import inspect
from netweight.weights.ladder import Weighing, chosen_codes, weigh_file
from netweight.weights.regions.model import Layout, Region, View
from netweight.weights.survey import entropy_bits, order0, survey
from report_samples import HOSTILE, layer, save_tensors, small_checkpoint, weighing

# --- figures ---


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (9995, "10.0 kB"), (99_949, "99.9 kB"), (999_999, "1.00 MB"),
     (90_868_376, "90.9 MB"), (123_456_789, "123 MB"), (2 * 10**12, "2.00 TB"), (10**21, "1000 EB")],
)  # fmt: skip
def test_sizes_are_decimal(count: int, text: str) -> None:
    assert numbers.size(count) == text


@given(st.integers(0, 10**17))
def test_a_size_is_near_what_it_says(count: int) -> None:
    value, unit = numbers.size(count).split()
    scale = 1000 ** ("B", "kB", "MB", "GB", "TB", "PB", "EB").index(unit)
    assert float(value) * scale == pytest.approx(count, rel=0.0051)
    assert len(value) <= 4


def test_percents_never_round_to_all_or_nothing() -> None:
    assert numbers.percent(1.0) == "100.0 %"
    assert numbers.percent(0.99998) == "99.998 %"
    assert numbers.percent(0.0001) == "0.010 %"
    assert (numbers.percent(1 - 1e-9), numbers.percent(1e-9), numbers.percent(0.0)) == (
        "> 99.999 %",
        "< 0.001 %",
        "0.0 %",
    )
    assert numbers.saved(1000, 1200) == "-20.0 %"
    assert numbers.saved(0, 10) == numbers.DASH


def test_other_figures() -> None:
    assert (numbers.bits(10.494), numbers.bits(0.0312), numbers.bits(None)) == ("10.49", "0.031", "-")
    assert (numbers.gap(-0.151), numbers.gap(2.0), numbers.gap(None)) == ("-0.15", "+2.00", "-")
    assert (numbers.ratio(300, 200), numbers.ratio(3, 0)) == ("1.50x", "-")
    assert (numbers.seconds(0.0123), numbers.seconds(1.94), numbers.seconds(125.2)) == ("12 ms", "1.9 s", "2 min 05 s")
    assert (numbers.speed(10**9, 2.0), numbers.speed(10**6, 2.0), numbers.speed(1, None)) == ("500", "0.5", "-")
    assert (numbers.plural(1, "tensor"), numbers.plural(1200, "tensor")) == ("1 tensor", "1,200 tensors")
    assert (numbers.shape((3, 4)), numbers.shape(())) == ("3x4", "scalar")


@given(st.text())
def test_printable_text_can_steer_no_terminal(text: str) -> None:
    shown = numbers.printable(text)
    assert shown.isprintable()
    shown.encode("utf-8")
    if text.isprintable():
        assert shown == text


def test_lone_surrogates_are_printable() -> None:
    assert numbers.printable("a\udcffb") == "a\\udcffb"


# --- the bound ---


def test_entropy_of_known_histograms() -> None:
    assert entropy_bits(np.array([4, 4, 0, 0])) == 8.0
    assert entropy_bits(np.array([7])) == 0.0
    assert entropy_bits(np.zeros(256, np.int64)) == 0.0


def test_the_bound_of_floats_is_exponent_entropy_and_raw_rest() -> None:
    values = np.array([1.0, -1.5, 2.0, 3.0, 0.25, 0.3, 4.0, -7.9], np.float32)
    bound, counts = order0([values[:3].view(np.uint8), values[3:].view(np.uint8)], "F32")
    assert counts is not None
    assert counts[127] == 2
    assert counts[128] == 2
    assert counts[125] == 2
    assert counts[129] == 2
    assert bound == pytest.approx(8 * (2 + 24))


@pytest.mark.parametrize(
    ("dtype", "kind", "other"),
    [
        ("F16", np.float16, 11),
        ("BF16", ml_dtypes.bfloat16, 8),
        ("F8_E4M3", ml_dtypes.float8_e4m3fn, 4),
        ("F64", np.float64, 53),
    ],
)
def test_the_bound_counts_raw_bits_of_each_dtype(dtype: str, kind: type, other: int) -> None:
    bound, counts = order0([np.array([1.0, 1.0, 2.0, 2.0], kind).view(np.uint8)], dtype)
    assert counts is not None
    assert counts.sum() == 4
    assert bound == pytest.approx(4 * (1 + other))


def test_complex_numbers_are_two_floats() -> None:
    bound, counts = order0([np.array([1 + 2j, 1 + 2j], np.complex64).view(np.uint8)], "C64")
    assert counts is not None
    assert counts.sum() == 4
    assert bound == pytest.approx(4 * (1 + 24))


def test_integers_are_bounded_by_their_bytes() -> None:
    bound, counts = order0([np.array([1, 2, 3, 4], np.uint8)], "U8")
    assert counts is None
    assert bound == pytest.approx(8.0)


def test_blocks_are_bounded_field_by_field() -> None:
    rng = np.random.default_rng(1)
    blocks = np.zeros((64, 34), np.uint8)
    blocks[:, 2:] = rng.integers(0, 4, (64, 32))
    blocks[:, :2] = rng.integers(200, 202, (64, 2))
    bound, _ = order0([blocks.reshape(-1)], "Q8_0")
    assert bound <= 64 * (32 * 2 + 2 * 1) + 1e-6
    pooled, _ = order0([blocks.reshape(-1)], "U8")
    assert bound < pooled


@settings(deadline=None, max_examples=30)
@given(st.binary(max_size=4000))
def test_no_order_zero_code_beats_the_bound_of_bytes(data: bytes) -> None:
    """A Huffman code knows as much as the bound allows, and never does better."""
    import heapq

    array = np.frombuffer(data, np.uint8)
    counts = [int(c) for c in np.bincount(array, minlength=1) if c]
    heap, total = counts[:], 0
    heapq.heapify(heap)
    while len(heap) > 1:
        merged = heapq.heappop(heap) + heapq.heappop(heap)
        total += merged
        heapq.heappush(heap, merged)
    assert order0([array], "U8")[0] <= total + 1e-6


def test_a_survey_covers_every_byte() -> None:
    data = np.arange(100, dtype=np.uint8)
    layout = Layout("toy", (Region("a", "F32", (5,), 10, 20), Region("b", "U8", (7,), 40, 7)))
    seen: list[int] = []
    got = survey(BytesSource(data), layout, "toy.bin", seen.append)
    assert [t.name for t in got.tensors] == ["a", "b"]
    assert got.gap_bytes == 100 - 27
    assert sum(seen) == 100
    assert got.elements == 12


def test_views_cut_a_storage_into_its_tensors() -> None:
    data = np.arange(12, dtype=np.float32).view(np.uint8)
    region = Region("storage", "F32", (12,), 0, 48)
    views = (View("w", 0, (2, 3), 0, (1, 2)), View("b", 0, (4,), 6, (1,)), View("tied", 0, (4,), 6, (1,)))
    got = survey(BytesSource(data), Layout("pytorch", (region,), views), "x.pt")
    assert [(t.name, t.elements, t.nbytes) for t in got.tensors] == [("w", 6, 24), ("b", 4, 16), ("storage", 2, 8)]
    gappy = (View("half", 0, (6,), 0, (2,)),)
    got = survey(BytesSource(data), Layout("pytorch", (region,), gappy), "x.pt")
    assert [(t.name, t.elements) for t in got.tensors] == [("storage", 12)]


# --- the ladder ---

QUICK = ["raw", "gzip", "png", "netweight.fast"]


@pytest.fixture(scope="module")
def weighed(tmp_path_factory: pytest.TempPathFactory) -> Weighing:
    path = small_checkpoint(tmp_path_factory.mktemp("ladder") / "model.safetensors")
    return weigh_file(path, codes=QUICK, threads=1)


def test_the_ladder_is_sorted_and_real(weighed: Weighing) -> None:
    sizes = [r.bytes for r in weighed.rows]
    assert {r.code for r in weighed.rows} == set(QUICK)
    assert all(n is not None for n in sizes)
    assert sizes == sorted(sizes, key=lambda n: n or 0)
    raw = next(r for r in weighed.rows if r.code == "raw")
    assert raw.bytes == weighed.original_bytes
    assert weighed.elements == 64 * 96 + 32 * 64 + 128 + 1
    assert weighed.dtypes == {"F32": 64 * 96 + 1, "F16": 2048, "I64": 128}
    assert weighed.layers_code == "netweight.fast"
    assert len(weighed.layers) == 4


def test_layers_carry_their_bounds(weighed: Weighing) -> None:
    by_name = {t.name: t for t in weighed.layers}
    bound = by_name["encoder.weight"].bound_per_weight
    assert bound is not None
    assert 24 < bound < 28
    assert by_name[HOSTILE].dtype == "F16"


def test_json_has_every_figure(weighed: Weighing) -> None:
    import json

    data = json.loads(json.dumps(weighed.to_dict(), allow_nan=False))
    assert [r["code"] for r in data["rows"]] == [r.code for r in weighed.rows]
    assert all(r["lossless"] for r in data["rows"])
    assert data["rows"][0]["bits_per_weight"] == pytest.approx(8 * data["rows"][0]["bytes"] / weighed.elements)


def test_a_code_that_gives_other_bytes_back_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from netweight.entropy.general import Gzip

    path = small_checkpoint(tmp_path / "model.safetensors")
    real = Gzip.decode_stream

    def flipped(self: Gzip, chunks: object) -> object:
        for piece in real(self, chunks):  # type: ignore[arg-type]
            yield piece[:-1] + bytes([piece[-1] ^ 1])

    monkeypatch.setattr(Gzip, "decode_stream", flipped)
    with pytest.raises(GuaranteeError, match="gzip gave other bytes back"):
        weigh_file(path, codes=["gzip"])
    monkeypatch.setattr(Gzip, "decode_stream", lambda self, chunks: iter([b"".join(real(self, chunks))[:-1]]))
    with pytest.raises(GuaranteeError, match="gave back"):
        weigh_file(path, codes=["gzip"])


def test_a_missing_package_is_a_row_that_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(code: str) -> object:
        raise ModuleNotFoundError("No module named 'oxipng'", name="oxipng")

    monkeypatch.setattr(bench, "create", absent)
    got = weigh_file(small_checkpoint(tmp_path / "m.safetensors"), codes=["png"])
    assert got.rows[0].bytes is None
    assert "pip install pyoxipng" in got.rows[0].problem
    assert "pip install pyoxipng" in texts.ladder_text(got, 200)


def test_a_row_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    got = weigh_file(small_checkpoint(tmp_path / "m.safetensors"), codes=["xz"], limit_seconds=1e-9)
    assert got.rows[0].problem.startswith("stopped after")
    assert got.best is None


def test_plain_bytes_and_empty_files_have_a_ladder_too(tmp_path: Path) -> None:
    plain, empty = tmp_path / "notes.txt", tmp_path / "empty.bin"
    plain.write_text("net weight " * 500)
    empty.write_bytes(b"")
    got = weigh_file(plain, codes=["raw", "gzip", "png", "netweight.balanced"], threads=1)
    assert got.elements == 0
    assert got.best is not None
    assert (got.best.bytes or 0) < 5500
    assert "no weights found" in texts.ladder_text(got, 120)
    got = weigh_file(empty, codes=["raw", "gzip", "png"])
    assert got.original_bytes == 0
    assert tables.headline(got)


def test_folders_are_weighed_as_one(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    small_checkpoint(folder / "a.safetensors")
    (folder / "config.json").write_text("{}")
    got = weigh_file(folder, codes=["gzip", "netweight.fast"], threads=1)
    assert got.original_bytes == sum(p.stat().st_size for p in folder.iterdir())
    assert len(got.layers) == 4


def test_unknown_codes_and_archives_are_refused(tmp_path: Path) -> None:
    assert chosen_codes(["gzip", "gzip"], ["fast"]) == ["gzip", "netweight.fast"]
    with pytest.raises(NotFoundError, match="no codec 'gzap'"):
        chosen_codes(["gzap"])
    path = small_checkpoint(tmp_path / "m.safetensors")
    compress_file(path, tmp_path / "m.nw", effort="fast")
    with pytest.raises(UnsupportedError, match="is an archive"):
        weigh_file(tmp_path / "m.nw", codes=["raw"])


# --- inspection ---


def test_inspection_of_a_checkpoint_and_of_its_archive_agree(tmp_path: Path) -> None:
    path = small_checkpoint(tmp_path / "m.safetensors")
    compress_file(path, tmp_path / "m.nw", effort="balanced", threads=1)
    plain, packed = inspect(path), inspect(tmp_path / "m.nw")
    assert (plain.kind, packed.kind) == ("checkpoint", "archive")
    assert [(t.name, t.dtype, t.shape) for t in plain.tensors] == [(t.name, t.dtype, t.shape) for t in packed.tensors]
    for a, b in zip(plain.tensors, packed.tensors, strict=True):
        assert a.bound_bits == pytest.approx(b.bound_bits)
    assert packed.total_bytes == (tmp_path / "m.nw").stat().st_size
    assert sum(t.bytes for t in packed.tensors) + packed.other_bytes == pytest.approx(packed.total_bytes)


def test_inspection_without_bounds_reads_headers_only(tmp_path: Path) -> None:
    path = small_checkpoint(tmp_path / "m.safetensors")
    got = inspect(path, bounds=False)
    assert all(t.bound_bits is None and t.distance is None for t in got.tensors)
    assert got.elements == inspect(path).elements


def test_empty_tensors_are_listed(tmp_path: Path) -> None:
    tensors = {"none": ("F32", np.zeros((0, 4), np.float32)), "one": ("F32", np.ones(1, np.float32))}
    got = inspect(save_tensors(tmp_path / "m.safetensors", tensors))
    assert {t.name for t in got.tensors} == {"none", "one"}
    assert texts.inspection_text(got, 100)


# --- tables ---


def test_tables_fit_the_width_and_hide_nothing() -> None:
    name = "a." + "very_long_name." * 8 + "weight"
    table = tables.tensor_table([layer(0, name), layer(1)])
    for width in (80, 100, 200):
        lines = layout.render(table, width).splitlines()
        assert max(map(len, lines)) <= width
        start = lines[0].index("dtype")
        assert name in "".join(line[:start].strip() for line in lines)
        assert sum("5,683" in line and "11.10" in line and "-0.10" in line for line in lines) == 1


@given(st.text(min_size=1, max_size=60), st.integers(1, 40))
def test_folding_loses_no_character(text: str, width: int) -> None:
    shown = numbers.printable(text)
    table = tables.Table((tables.Column("n", number=False, folds=True),), ((tables.words(text),),))
    lines = layout.render(table, width).splitlines()[2:]
    assert "".join(lines).replace(" ", "") == shown.replace(" ", "")
    assert max(map(layout.cells, lines), default=0) <= max(width, 16)


def test_wide_characters_keep_columns_in_line() -> None:
    lines = layout.render(tables.tensor_table([layer(0, "\u91cd\u307f"), layer(1, "weight")]), 100).splitlines()
    assert layout.cells(lines[2]) == layout.cells(lines[3])


def test_many_rows_are_laid_out_quickly() -> None:
    table = tables.tensor_table([layer(1)] * 20_000)
    start = time.perf_counter()
    assert layout.render(table, 90).count("\n") >= 20_001
    assert time.perf_counter() - start < 10


def test_hostile_names_are_shown_as_text() -> None:
    text = layout.render(tables.tensor_table([layer(0, HOSTILE)]), 200)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "\\x1b[31m" in text
    assert "<script>" in text


def test_figures_are_never_cut() -> None:
    table = tables.tensor_table([layer(0), layer(1)])
    assert all(
        "5,683" in layout.render(table, width) and "-0.10" in layout.render(table, width) for width in (10, 40, 60)
    )


def test_names_are_not_markup() -> None:
    assert "[bold]x[/bold]" in layout.render(tables.tensor_table([layer(0, "[bold]x[/bold]")]), 200)


def test_the_bound_is_never_a_row_of_the_ladder() -> None:
    table = tables.ladder_table(weighing())
    assert all(row[-1].text != tables.BOUND for row in table.rows)
    (bound,) = table.footer
    assert bound[0].text == "order-0 bound"
    assert bound[-1].text == tables.BOUND


def test_headline_is_the_lightest_code() -> None:
    w = weighing()
    assert tables.headline(w) == f"Your network weighs {numbers.size(w.rows[0].bytes or 0)}, 10.56 bits per weight."
    assert math.isclose(w.bits_per_weight(w.rows[0].bytes) or 0, 10.56, abs_tol=0.01)
    assert "(netweight max)." in texts.ladder_text(w, 120)


# --- the demo ---


def test_the_demo_refuses_to_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(story, "weigh_file", lambda _path, **_: weighing())
    monkeypatch.setattr(story, "compress_file", lambda src, dst, **_: compress_file(src, dst, effort="fast"))
    told = story.tell()
    assert told.same_bytes
    assert told.digest_before in story.text(told, 100)
    monkeypatch.setattr(story, "decompress_file", lambda _src, dst: dst.write_bytes(b"something else"))
    with pytest.raises(GuaranteeError, match="came back as another one"):
        story.tell()


# --- files ---


def test_reports_are_promised_before_and_written_after(tmp_path: Path) -> None:
    page, plot = tmp_path / "r.html", tmp_path / "r.png"
    with files.planned(html=str(page), png=str(plot), force=False) as reports:
        assert not page.exists()
        reports.write(weighing())
    assert page.read_text().startswith("<!doctype html>")
    assert plot.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(OutputError, match="exists"), files.planned(html=str(page), png=None, force=False):
        pass
    with (
        pytest.raises(OutputError, match="folder"),
        files.planned(html=str(tmp_path / "no" / "r"), png=None, force=True),
    ):
        pass


def test_plots_without_matplotlib_say_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files.importlib.util, "find_spec", lambda _name: None)
    with (
        pytest.raises(MissingExtraError, match=r"netweight\[report\]"),
        files.planned(html=None, png=str(tmp_path / "p.png"), force=False),
    ):
        pass


@pytest.mark.parametrize("layers", [1, 600])
def test_plots_are_drawn_for_few_and_many_layers(layers: int) -> None:
    from io import BytesIO

    from PIL import Image

    image = Image.open(BytesIO(plots.render(weighing(layers))))
    assert image.width == 1440
    assert len(np.unique(np.asarray(image.convert("L").resize((60, 60))))) > 20

"""The page, as a reader sees it: opened in a real browser."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from netweight.report import numbers
from netweight.report.page import render
from netweight.report.page.exponents import middle, zeros
from netweight.report.page.layers import Column, columns, scale, signed_scale, typical_distances, typical_top
from netweight.weights.ladder import Histogram, Weighing
from report_samples import HOSTILE, weighing

CHROMIUM = shutil.which("chromium")
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (apt-get install chromium)")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
    "--virtual-time-budget=4000",
]  # fmt: skip
FRAME = """<!doctype html><body style="margin:0"><iframe id="f" style="border:0;width:{width}px;height:4000px"
srcdoc="{page}"></iframe><pre id="out"></pre><script>
document.getElementById("f").addEventListener("load", () => {{
  const page = document.getElementById("f").contentDocument, view = document.getElementById("f").contentWindow;
  const out = document.getElementById("out");
  const answer = () => {{ {question} }};
  try {{ out.textContent = JSON.stringify(answer()); }} catch (e) {{ out.textContent = JSON.stringify(String(e)); }}
}});
</script>"""


def ask(tmp_path: Path, page: str, question: str, width: int = 390, *flags: str) -> Any:
    """What the script `question` returns inside a window of `width` pixels that shows `page`."""
    assert CHROMIUM is not None
    frame = tmp_path / "frame.html"
    frame.write_text(FRAME.format(width=width, page=html.escape(page), question=question))
    command = [CHROMIUM, *FLAGS, *flags, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", frame.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    found = re.search(r'<pre id="out">(.*?)</pre>', dom, re.DOTALL)
    assert found is not None, dom[-2000:]
    return json.loads(html.unescape(found[1]))


# --- without a browser ---


def test_the_page_names_no_address() -> None:
    page = render(weighing())
    assert not re.search(r"https?:|//[a-z]|@import|url\(", page, re.IGNORECASE)
    assert set(re.findall(r'(?:href|src)="([^"]*)"', page)) == {"data:,"}


def test_everything_from_the_checkpoint_is_escaped() -> None:
    hostile = f"{HOSTILE}</title></style>\udcff"
    page = render(weighing(name=hostile))
    assert page.count("<script>") == 1
    assert page.count("</style>") == 1
    assert page.count("</title>") > 1
    assert "pwned&quot;&lt;/script&gt;" in page
    assert "\x1b" not in page
    assert "\u202e" not in page
    page.encode("utf-8")


def test_a_dollar_in_a_name_is_only_a_dollar() -> None:
    assert "$headline ${x}" in render(weighing(name="$headline ${x}"))


def test_the_page_is_the_same_each_time() -> None:
    assert render(weighing()) == render(weighing())


def test_thousands_of_tensors_make_a_page_of_bounded_size() -> None:
    page = render(weighing(5000))
    assert len(page) < 3_000_000
    assert "The largest 2,000 of 5,000 tensors" in page


def test_columns_keep_bytes_and_weights() -> None:
    layers = weighing(3000).layers
    drawn = columns(layers)
    assert len(drawn) <= 1201
    assert sum(c.elements for c in drawn) == sum(t.elements for t in layers)
    assert sum(c.elements * c.bits for c in drawn) == pytest.approx(8 * sum(t.bytes for t in layers))


@pytest.mark.parametrize("highest", [0.2, 1.0, 5.3, 10.7, 16.01, 32.03, 64.0])
def test_scales_hold_their_values(highest: float) -> None:
    top, ticks = scale(highest)
    assert highest <= top * 1.01
    assert 2 <= len(ticks) <= 9
    low, high, ticks = signed_scale([-highest, highest / 3])
    assert low * 1.05 <= -highest
    assert high >= highest / 3.2
    assert 0.0 in ticks
    assert len(ticks) <= 9


def test_the_shown_part_of_a_histogram_leaves_out_its_far_tails_alone() -> None:
    counts = (1, *[0] * 90, 10_000, 50_000, 40_000, 0, 0, 1)
    first, shown = middle(Histogram("h", "F32", sum(counts), 1.0, 3, 127, counts))
    assert shown == (10_000, 50_000, 40_000)
    assert first == 3 + 91
    assert middle(Histogram("h", "F32", 5, 0.0, 127, 127, (5,))) == (127, (5,))


def test_zeros_stand_apart_from_the_hill() -> None:
    counts = (450, *[0] * 110, 900, 800)
    histogram = Histogram("h", "BF16", sum(counts), 1.0, 0, 127, counts)
    assert zeros(histogram) == 450
    assert middle(histogram) == (111, (900, 800))
    page = render(replace(weighing(), histograms=(histogram,)))
    assert "450 zero or subnormal" in page
    assert "outside the range" not in page
    small = Histogram("h", "F8_E4M3", 6, 1.0, 0, 7, (1, 2, 3))
    assert zeros(small) == 0


def test_a_few_odd_weights_don_t_flatten_the_plot() -> None:
    drawn = [Column("w", 100_000, 4.2, 4.5), Column("b", 100, 32.0, 24.0)]
    assert typical_top(drawn) == 4.5
    assert typical_distances(drawn) == (pytest.approx(-0.3), pytest.approx(-0.3))
    assert typical_top([Column("b", 100, 32.0, 24.0)]) == 32.0


def bare() -> Weighing:
    return replace(
        weighing(), elements=0, dtypes={}, layers=(), layers_code="", histograms=(), problems=("x: <b>odd</b>",)
    )


def test_a_file_without_weights_has_a_page_too() -> None:
    page = render(bare())
    assert "there are no layers to show" in page
    assert "there are no exponents to show" in page
    assert "x: &lt;b&gt;odd&lt;/b&gt;" in page
    assert "per weight</h1>" not in page


# --- in a browser ---


@needs_browser
def test_a_reader_finds_the_answer_and_the_bars(tmp_path: Path) -> None:
    w = weighing()
    seen = ask(tmp_path, render(w), """
      const bars = [...page.querySelectorAll(".bars g")];
      return {
        answer: page.querySelector("h1").textContent, title: page.title,
        rows: [...page.querySelectorAll("table")[0].tBodies[0].rows].map((r) => r.cells[0].textContent),
        foot: page.querySelector("tfoot").textContent,
        bars: bars.map((g) => [Number(g.dataset.bytes), g.querySelector(".bar").getBoundingClientRect().width]),
        layers: page.querySelectorAll(".layers .bar").length,
        hills: [...page.querySelectorAll(".histogram")].map((s) => s.querySelectorAll(".bar").length),
        buttons: page.querySelectorAll("thead button").length,
      };""", width=1000)  # fmt: skip
    best = numbers.size(w.rows[0].bytes or 0)
    assert seen["answer"] == f"Your network weighs {best}, 10.56 bits per weight"
    assert seen["title"] == "model.safetensors - netweight"
    assert seen["rows"] == [r.label for r in w.rows]
    assert "bound, no bytes" in seen["foot"]
    drawn = [r.bytes for r in w.rows if r.bytes is not None]
    assert [b for b, _ in seen["bars"]] == drawn
    scales = [width / nbytes for nbytes, width in seen["bars"]]
    assert max(scales) == pytest.approx(min(scales), rel=0.01)
    assert seen["layers"] == 2 * 8
    assert seen["hills"] == [3, 3]
    assert seen["buttons"] == 17


@needs_browser
def test_a_phone_needs_no_sideways_scrolling_and_names_stay_text(tmp_path: Path) -> None:
    seen = ask(tmp_path, render(weighing(500, name="a" * 120)), """
      const root = page.documentElement;
      return { wide: root.scrollWidth, window: view.innerWidth, title: page.title,
        scripts: page.querySelectorAll("script").length,
        name: page.querySelector(".tall tbody th").textContent,
        text: parseFloat(view.getComputedStyle(page.querySelector(".bars text")).fontSize),
        labels: [...page.querySelectorAll(".bars g")].every((g) => {
          const [a, b] = [...g.querySelectorAll("text")].map((t) => t.getBoundingClientRect());
          return a.right < b.left && b.right <= view.innerWidth; }) };""")  # fmt: skip
    assert seen["window"] == 390
    assert seen["wide"] <= 390
    assert seen["scripts"] == 1
    assert seen["title"].startswith("aaa")
    assert seen["name"] == numbers.printable(HOSTILE)
    assert seen["text"] >= 12
    assert seen["labels"]


@needs_browser
def test_tables_sort_and_filter(tmp_path: Path) -> None:
    seen = ask(tmp_path, render(weighing(500)), """
      const table = page.querySelector(".tall table"), heads = [...table.tHead.rows[0].cells];
      const column = (name) => heads.findIndex((h) => h.textContent === name);
      const cells = (k) => [...table.tBodies[0].rows].slice(0, 3).map((r) => r.cells[k].textContent);
      const press = (k) => heads[k].querySelector("button").click();
      const out = { start: cells(column("#")) };
      press(column("bits/weight")); out.up = cells(column("bits/weight"));
      out.sorted = heads[column("bits/weight")].getAttribute("aria-sort");
      press(column("bits/weight")); out.down = cells(column("bits/weight"));
      press(column("tensor")); out.names = cells(column("tensor")).slice(1);
      press(column("#")); out.again = cells(column("#"));
      const box = page.getElementById("filter");
      box.value = "LAYERS.49"; box.dispatchEvent(new view.Event("input"));
      out.shown = page.getElementById("shown").textContent;
      out.visible = [...table.tBodies[0].rows].filter((r) => r.getBoundingClientRect().height > 0).length;
      const ladder = page.querySelectorAll("table")[0];
      ladder.tHead.rows[0].cells[5].querySelector("button").click();
      out.last = [...ladder.tBodies[0].rows].slice(-2).map((r) => r.cells[0].textContent);
      return out;""")  # fmt: skip
    assert seen["start"] == seen["again"] == ["1", "2", "3"]
    assert seen["up"] == ["11.00"] * 3
    assert seen["down"] == ["11.60"] * 3
    assert seen["sorted"] == "ascending"
    assert seen["names"] == ["model.layers.1.mlp.dense.weight", "model.layers.2.mlp.dense.weight"]
    assert seen["shown"] == "11 tensors"
    assert seen["visible"] == 11
    assert set(seen["last"]) == {"raw", "brotli 9"}


@needs_browser
@pytest.mark.parametrize("dark", [False, True])
def test_text_stands_out_in_light_and_dark(tmp_path: Path, dark: bool) -> None:
    """WCAG contrast of at least 4.5 for text, whichever scheme the reader prefers."""
    question = """
      const rgb = (c) => c.match(/[0-9.]+/g).map(Number);
      const paper = rgb(view.getComputedStyle(page.documentElement).backgroundColor);
      const parts = ["h1", "section > p", "figcaption", "tbody td", ".eyebrow", "footer"];
      return { paper, inks: parts.map((s) => rgb(view.getComputedStyle(page.querySelector(s)).color)) };"""
    seen = ask(tmp_path, render(weighing()), question, 390, f"--blink-settings=preferredColorScheme={int(not dark)}")

    def light(color: list[float]) -> float:
        parts = [c / 255 for c in color[:3]]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    paper = light(seen["paper"])
    assert (paper < 0.1) is dark
    for ink in seen["inks"]:
        high, low = max(paper, light(ink)), min(paper, light(ink))
        assert (high + 0.05) / (low + 0.05) >= 4.5, ink

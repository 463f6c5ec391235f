"""docs/adding-a-codec.md, run: its codec as an installed plug-in, under the contract of every codec."""

from __future__ import annotations

import doctest
import importlib
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from contract import CodecContract, gaussian
from netweight import tensors
from netweight.codec import Codec
from netweight.errors import FormatError
from netweight.registry import create, names

PAGE = Path(__file__).parents[1] / "docs" / "adding-a-codec.md"
TEXT = PAGE.read_text(encoding="utf-8")


def fenced(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module", autouse=True)
def _plug_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The page's module and entry points, laid out as pip would install them."""
    site = tmp_path_factory.mktemp("site")
    (site / "example_codec.py").write_text(fenced("python")[0], encoding="utf-8")
    info = site / "example_codec-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: example-codec\nVersion: 1.0\n")
    ((group, entries),) = tomllib.loads(fenced("toml")[0])["project"]["entry-points"].items()
    (info / "entry_points.txt").write_text(f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in entries.items()))
    sys.path.insert(0, str(site))
    importlib.invalidate_caches()
    yield
    sys.path.remove(str(site))
    sys.modules.pop("example_codec", None)


class TestSparse(CodecContract):
    @pytest.fixture
    def codec(self) -> Codec:
        return create("example.sparse")

    def test_worked_example(self, codec: Codec) -> None:
        worked = re.search(r"padding:\n\n    ([0-9A-F ]+)\n", TEXT)
        assert worked
        data, spec = tensors.to_bytes(np.array([0, 1, 0, -0.0], np.float32))
        assert codec.encode(data, spec) == bytes.fromhex(worked[1])

    def test_never_shorter_than_the_words_that_are_not_zero(self, codec: Codec) -> None:
        weights = gaussian(np.float32)
        pruned = np.where(np.abs(weights) > np.quantile(np.abs(weights), 0.8), weights, np.float32(0))
        data, spec = tensors.to_bytes(pruned)
        size = len(codec.encode(data, spec))
        assert size == 1 + pruned.size // 8 + 4 * np.count_nonzero(pruned)

    def test_each_content_has_one_code(self, codec: Codec) -> None:
        data, spec = tensors.to_bytes(np.array([0, 1, 0, -0.0], np.float32))
        payload = codec.encode(data, spec)
        for bad in (b"\x02", payload[:1] + b"\x51" + payload[2:], payload[:2] + bytes(4) + payload[6:]):
            with pytest.raises(FormatError):
                codec.decode(bad, spec)


def test_plug_in_is_listed() -> None:
    assert "example.sparse" in names()


def test_page_subclasses_the_contract() -> None:
    scope: dict[str, object] = {"__name__": "page"}
    exec(fenced("python")[1], scope)  # noqa: S102
    assert issubclass(scope["TestSparse"], CodecContract)  # type: ignore[arg-type]


def test_session_prints_what_the_page_says() -> None:
    parsed = doctest.DocTestParser().get_doctest(fenced("pycon")[0], {}, PAGE.name, str(PAGE), 0)
    assert parsed.examples
    runner = doctest.DocTestRunner(verbose=False)
    assert runner.run(parsed).failed == 0

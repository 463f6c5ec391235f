"""Packages whose names load what they need when they are first used, and nothing before."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("numba", "scipy", "torch", "zstandard", "sklearn", "distributed")


@pytest.mark.parametrize("package", ["netweight", "netweight.text", "netweight.text.codec", "netweight.text.ncd"])
def test_every_public_name_is_there(package: str) -> None:
    module = importlib.import_module(package)
    for name in module.__all__:
        value = getattr(module, name)
        assert vars(module)[name] is value, "found once, kept"
    with pytest.raises(AttributeError, match=rf"module '{package}' has no attribute 'nothing'"):
        module.nothing  # noqa: B018


def test_a_name_is_never_the_module_that_it_comes_from() -> None:
    code = "from netweight.text.ncd import NcdClassifier, distances, matrix_of; assert callable(distances)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_a_file_is_can_be_asked_without_loading_a_coder(tmp_path: Path) -> None:
    path = tmp_path / "some"
    path.write_bytes(b"\x89NWT and then nothing")
    code = f"""
import sys
from netweight.cli import routes
assert routes.is_compressed_text({str(path)!r}) and routes.is_plain_text({__file__!r})
print(*(name for name in {HEAVY} if name in sys.modules))
"""
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert not found.stdout.split()

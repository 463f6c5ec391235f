"""The README's commands run, and what it says they print is what they print, speeds and times apart."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from netweight.data import demo_network

README = (Path(__file__).parents[1] / "README.md").read_text()
CONSOLES = re.findall(r"```console\n(.*?)```", README, re.DOTALL)
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def _commands() -> list[tuple[str, str]]:
    """(command, what the README says it prints) in order."""
    out = []
    for console in CONSOLES:
        for part in console.split("$ ")[1:]:
            command, _, printed = part.partition("\n")
            out.append((command, printed.strip()))
    return out


def _sizes(text: str) -> list[str]:
    """Codes and byte counts: lines such as "netweight max  167,935 ...", and percentages."""
    return re.findall(r"\b\d{1,3}(?:,\d{3})+\b", text)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("readme")
    shutil.copy(demo_network(), folder / "model.safetensors")
    return folder


def test_there_is_something_to_run() -> None:
    assert len(_commands()) >= 4
    assert len(PYTHON) == 1
    assert "@@" not in README


def test_commands_print_what_the_readme_says(folder: Path) -> None:
    for command, printed in _commands():
        words = shlex.split(command)
        assert words[0] == "netweight"
        run = subprocess.run(
            [sys.executable, "-m", *words],
            cwd=folder,
            capture_output=True,
            text=True,
            env=os.environ | {"COLUMNS": "120"},
            check=False,
        )
        assert run.returncode == 0, run.stderr
        assert _sizes(run.stdout) == _sizes(printed), command
    assert (folder / "copy.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()


def test_python_runs(folder: Path) -> None:
    program = PYTHON[0] + "\nprint(w.shape)"
    run = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (0, "(300, 64)\n"), run.stderr
    assert sum(bool(line.strip()) for line in PYTHON[0].splitlines()) == 4

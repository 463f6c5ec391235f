"""The command line, run inside the test's own process."""

from __future__ import annotations

import json
from typing import Any

import pytest

from netweight.cli import app


def run(*arguments: object) -> int:
    """The exit code."""
    return app._run([str(a) for a in arguments])


def run_json(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    """What a run that succeeds answers with --json."""
    capsys.readouterr()
    assert run(*arguments, "--json") == 0
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer

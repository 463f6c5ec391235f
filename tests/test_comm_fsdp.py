"""FSDP2 with compressed collectives, on real ranks over gloo."""

from __future__ import annotations

from typing import Any

import pytest

from comm_ranks import run

torch = pytest.importorskip("torch")
fsdp = pytest.importorskip("torch.distributed.fsdp")
if not hasattr(getattr(fsdp, "FSDPModule", None), "set_custom_reduce_scatter"):
    pytest.skip("this torch's FSDP2 has no custom collectives", allow_module_level=True)

SCENARIOS = {"gradients": 2, "resumed": 2, "gathered": 2, "not_finite": 2, "unsharded": 1}


@pytest.fixture(scope="module")
def ranks() -> dict[str, list[Any]]:
    return run("comm_fsdp_ranks", SCENARIOS)


@pytest.fixture
def told(ranks: dict[str, list[Any]], request: pytest.FixtureRequest) -> list[Any]:
    results = ranks[request.node.name.removeprefix("test_")]
    for result in results:
        assert "trace" not in result, result["trace"]
    return results


def test_gradients(told: list[Any]) -> None:
    for name in told[0]:
        assert told[0][name]["digest"] == told[1][name]["digest"]
        assert told[0][name]["moved"] > 1e-3
        assert set(told[0][name]["wire"]["parameters"]) >= {"0/0", "0/1", "2/0", "model/1"}
    for rank in told:
        assert rank["identity"]["error"] < 1e-6
        assert rank["whole"]["error"] < 1e-6
        assert rank["tenth"]["error"] > 1e-4  # something was left out, so what follows was compressed
        assert rank["tenth"]["wire"]["payload"] < 0.2 * rank["identity"]["wire"]["payload"]


def test_resumed(told: list[Any]) -> None:
    assert len({digest for rank in told for digest in rank}) == 1


def test_gathered(told: list[Any]) -> None:
    for rank in told:
        assert rank["same"]
        assert rank["wire"]["payload"] == rank["wire"]["raw"] / 2 + 2 * 3  # an exponent a message


def test_not_finite(told: list[Any]) -> None:
    assert {rank["error"] for rank in told} <= {"InputError", "PeerError"}
    assert all("on rank 1 isn't finite" in rank["message"] for rank in told)


def test_unsharded(told: list[Any]) -> None:
    assert told[0].startswith("InputError: no module here is sharded")

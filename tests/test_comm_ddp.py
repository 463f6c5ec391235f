"""DDP with compressed gradients, on real ranks over gloo."""

from __future__ import annotations

from typing import Any

import pytest

from comm_ranks import run

pytest.importorskip("torch")

SCENARIOS = {
    "same_bits": 3, "resumed": 2, "dead_rank": 3, "hung_rank": 2, "damaged": 2, "mismatched": 2, "not_finite": 2,
    "odd_parameters": 2, "narrow": 2, "accumulated": 2, "overflow": 2,
    "overlapped": 2, "low_rank": 2,
    "parts": 3,
    "subgroup": 3,
}  # fmt: skip


@pytest.fixture(scope="module")
def ranks() -> dict[str, list[Any]]:
    return run("comm_ddp_ranks", SCENARIOS)


@pytest.fixture
def told(ranks: dict[str, list[Any]], request: pytest.FixtureRequest) -> list[Any]:
    """What each rank of the scenario named like the test says."""
    results = ranks[request.node.name.removeprefix("test_").partition("[")[0]]
    for result in results:
        assert result is None or "trace" not in result, result["trace"]
    return results


def test_same_bits(told: list[Any]) -> None:
    for name in told[0]:
        assert len({rank[name]["digest"] for rank in told}) == 1, name
        assert [rank[name]["step"] for rank in told] == [4, 4, 4]
        for rank in told:
            wire = rank[name]["wire"]
            assert wire["handed"] == rank[name]["counted"], name
            carried = sum(line["payload"] for line in wire["parameters"].values())
            flags = (
                0
                if name in {"top k", "EF21", "fixed length", "overlapped", "dithering", "rotated", "in parts"}
                else wire["summed"] % carried
                if carried
                else 0
            )
            assert carried <= wire["payload"] + wire["summed"] <= carried + 4 * 3 * 4 * 8 + flags
    alike = ("top k", "fixed length", "overlapped")
    assert len({told[0][name]["digest"] for name in alike}) == 1
    assert told[0]["identity"]["error"] < 1e-5
    assert told[0]["top k"]["wire"]["payload"] * 4 < told[0]["identity"]["wire"]["summed"]
    assert len({told[0][name]["digest"] for name in told[0]}) == 9
    assert "2.weight" in told[0]["mixed"]["wire"]["parameters"]


def test_resumed(told: list[Any]) -> None:
    for rank in told:
        refused = rank.pop("wrong rank")
        assert refused.startswith("InputError: a checkpoint of rank")
        for name, digests in rank.items():
            assert digests["straight"] == digests["resumed"], name
            assert digests["straight"] != digests["without"], name


def test_dead_rank(told: list[Any]) -> None:
    assert told[2] is None
    for rank in told[:2]:
        assert rank["error"] == "PeerError"
        assert "lost the others" in rank["message"]
        assert rank["seconds"] < 60


def test_hung_rank(told: list[Any]) -> None:
    assert told[0]["error"] == "PeerError"
    assert 0.9 < told[0]["seconds"] < 3.9


def test_damaged(told: list[Any]) -> None:
    for how, kind in {"flipped": "ChecksumError", "cut": "TruncatedError", "long": "FormatError"}.items():
        for rank in told:
            assert rank[how]["error"] == kind, rank[how]
            assert "from rank 1 at step 2" in rank[how]["message"]
            assert "parameter '2." in rank[how]["message"] or "parameter '4." in rank[how]["message"]
            assert rank[how]["kept"]


def test_mismatched(told: list[Any]) -> None:
    for rank in told:
        assert rank["compressor"]["error"] == rank["kind"]["error"] == "PeerError"
        assert "policy is" in rank["compressor"]["message"]
        assert "0.2" in rank["compressor"]["message"]
        assert rank["unbound"]["error"] == "InputError"
        assert "state.bind(model)" in rank["unbound"]["message"]
        assert "state is" in rank["kind"]["message"] or "policy is" in rank["kind"]["message"]


def test_not_finite(told: list[Any]) -> None:
    for rank, result in enumerate(told):
        for name in ("messages", "capacity", "sums"):
            assert result[f"{name} raise"]["error"] in {"PeerError", "InputError"}
            message = result[f"{name} raise"]["message"]
            assert "'2.weight'" in message, (name, rank)
            assert "rank 1" in message
        for name in ("messages", "sums"):
            passed = result[f"{name} pass"]
            assert passed["error"] is None
            assert passed["nan"] == ["2.weight"]
            assert passed["finite"]
            assert passed["digest"] == told[0][f"{name} pass"]["digest"]


def test_odd_parameters(told: list[Any]) -> None:
    assert told[0]["digest"] == told[1]["digest"]
    assert told[0]["unused"] is None
    assert told[1]["errors"] == [None, None, None]  # it never had a gradient to lose
    first, second, third = told[0]["errors"]
    assert first > 0
    assert second > 0
    assert third == second  # nobody used it: what is owed stays owed


def test_narrow(told: list[Any]) -> None:
    for name in ("torch.float16", "torch.bfloat16", "torch.float64"):
        assert told[0][name]["digest"] == told[1][name]["digest"]
        assert told[0][name]["memory"] == ["torch.float64" if name == "torch.float64" else "torch.float32"]


def test_overlapped(told: list[Any]) -> None:
    assert told[0]["digest"] == told[1]["digest"]
    assert [rank["error"] for rank in told] == ["PeerError", "InputError"]
    for rank in told:
        assert "'2.weight' on rank 1 isn't finite at step 3" in rank["message"]
        assert rank["kept"]


def test_accumulated(told: list[Any]) -> None:
    for rank in told:
        assert rank["halves"] == pytest.approx(rank["whole"], rel=1e-4)
        assert rank["halves steps"] == rank["whole steps"] == 1


def test_subgroup(told: list[Any]) -> None:
    assert told[1] is None
    assert told[0] == told[2]
    assert len({*told[0].values()}) == 2  # in parts what is lost differs


def test_overflow(told: list[Any]) -> None:
    for rank in told:
        assert rank["error"] in {"PeerError", "InputError"}
        assert "capacity of 40" in rank["message"]


def test_parts(told: list[Any]) -> None:
    for k, rank in enumerate(told):
        assert rank["error"] < 1e-6
        assert rank["drift"] < 0.15
        assert rank["total"] == told[0]["total"]
        assert set(rank["names"]) == {"w/0", "w/1", "w/2", f"w/{k} mean"}


def test_low_rank(told: list[Any]) -> None:
    for rank in told:
        assert rank["norm"] > 1
        assert rank["error"] < 1e-5
        assert rank["sketches"] == 1
        assert rank["summed"] == 4 * 2 * (30 + 40) + 2 * 4 * 2

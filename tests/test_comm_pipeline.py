"""PipelineLink: in one process, and between ranks over gloo."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from comm_ranks import run

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import comm_pipeline_ranks as ranks_side  # noqa: E402  it needs torch
from netweight.comm import (  # noqa: E402
    AQSGD,
    EF21,
    ErrorFeedback,
    Float16,
    Identity,
    MinMax,
    PipelineLink,
    TopK,
)
from netweight.comm.pipeline.link import examples  # noqa: E402
from netweight.errors import FormatError, InputError  # noqa: E402

SCENARIOS = {"two_stages": 2, "four_stages": 4, "inference": 2, "order": 2, "not_finite": 2, "dead_stage": 2}


@pytest.fixture(scope="module")
def ranks() -> dict[str, list[Any]]:
    return run("comm_pipeline_ranks", SCENARIOS)


@pytest.mark.parametrize(("scenario", "count"), [("two_stages", 2), ("four_stages", 4)])
def test_ranks_are_one_process(ranks: dict[str, list[Any]], scenario: str, count: int) -> None:
    told = ranks[scenario]
    for rank in told:
        assert "trace" not in rank, rank["trace"]
    for name, options in ranks_side.links().items():
        weights, wire = ranks_side.alone(options, count)
        for k in range(count):
            assert told[k][name]["weights"] == weights[k], (name, k)
        first = [told[0][name]["wire"][0], told[1][name]["wire"][0]]
        assert sum(side["payload"] for side in first) == wire["payload"]
        for way in ("activation", "activation_gradient"):
            assert (
                sum(side["parameters"].get(way, {"payload": 0})["payload"] for side in first)
                == (wire["parameters"][way]["payload"])
            )


def test_inference_between_ranks(ranks: dict[str, list[Any]]) -> None:
    sender, receiver = ranks["inference"]
    x = np.array(sender["False"]["found"])
    assert np.array_equal(receiver["False"]["found"], x)
    kept = np.array(receiver["True"]["found"])
    assert (np.count_nonzero(kept, axis=1) == 2).all()
    assert np.array_equal(kept[kept != 0], x[kept != 0])
    assert sender["True"]["sent"] < sender["False"]["sent"]


def test_faults_between_ranks(ranks: dict[str, list[Any]]) -> None:
    assert ranks["order"][1]["error"] == "ChecksumError"
    assert [rank["error"] for rank in ranks["not_finite"]] == ["InputError", "PeerError"]
    assert all("'middle' isn't finite" in rank["message"] for rank in ranks["not_finite"])
    assert ranks["dead_stage"][1]["error"] == "PeerError"
    assert ranks["dead_stage"][1]["seconds"] < 60


def crossed(link: PipelineLink, x: torch.Tensor, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    leaf = x.clone().requires_grad_()
    y = link(leaf)
    y.backward(gradient)
    return y.detach(), leaf.grad


def some(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def test_samples_are_compressed_apart() -> None:
    """Top k of each sample over all its dimensions, whatever the others' magnitudes."""
    x = some(4, 3, 5, 2)
    x[0] *= 1e-3
    y, g = crossed(PipelineLink(TopK(0.2), TopK(0.5)), x, some(4, 3, 5, 2, seed=1))
    assert [int(row.count_nonzero()) for row in y] == [6] * 4
    assert [int(row.count_nonzero()) for row in g] == [15] * 4
    whole, _ = crossed(PipelineLink(TopK(0.2), per_sample=False), x, x)
    assert int(whole[0].count_nonzero()) == 0
    assert int(whole.count_nonzero()) == 24
    for row, kept in zip(x, y, strict=True):
        assert float(row[kept == 0].abs().max()) <= float(row[kept != 0].abs().min())


def test_reused_indices_send_values_alone() -> None:
    x, gradient = some(6, 200), some(6, 200, seed=1)
    link = PipelineLink(TopK(0.1), Float16(), reuse_indices=True)
    y, g = crossed(link, x, gradient)
    assert torch.equal(g != 0, y != 0)
    assert torch.allclose(g, torch.where(y != 0, gradient, 0), rtol=1e-3)
    apart = PipelineLink(TopK(0.1), TopK(0.1, values="fp16"))
    crossed(apart, x, gradient)
    sent = [one.wire.parameters["activation_gradient"].payload for one in (link, apart)]
    assert sent[0] <= 6 * (20 * 2 + 2) + 8
    assert sent[0] < 0.8 * sent[1]


def test_feedback_makes_up_for_what_is_lost() -> None:
    """The same batch again and again: with error feedback the mean of what arrives tends to it."""
    x = some(3, 40)
    link = PipelineLink(ErrorFeedback(TopK(0.1)))
    received = torch.stack([link(x) for _ in range(200)])
    assert float((received.mean(0) - x).abs().max()) < 0.05 * float(x.abs().max())
    bare = PipelineLink(TopK(0.1))
    assert float((bare(x) - x).abs().max()) > 0.5


def test_ef21_converges_to_a_constant() -> None:
    x = some(3, 40)
    link = PipelineLink(EF21(TopK(0.1)))
    for _ in range(10):
        y = link(x)
    assert torch.equal(y, x)


def test_aqsgd_knows_its_examples() -> None:
    """The first message of an example is exact; later ones are differences to that example, not to the place."""
    x = some(4, 30)
    model = nn.Sequential(PipelineLink(AQSGD(TopK(0.1))))
    with examples(model, torch.tensor([5, 6, 7, 8])):
        assert torch.equal(model(x), x)
    moved = x + 0.01 * some(4, 30, seed=2)
    with examples(model, [8, 7, 6, 5]):
        found = model(moved.flip(0))
    assert float((found - moved.flip(0)).norm()) < 0.012 * float(x.norm())
    with pytest.raises(InputError, match="tell which 4"):
        model(x)
    model.eval()
    assert int(model(x)[0].count_nonzero()) == 3  # without examples and memory
    before = model[0].memory_dict()
    again = PipelineLink(AQSGD(TopK(0.1)))
    again.load_memory_dict(before)
    again.examples = [5, 6, 7, 8]
    assert float((again(moved) - moved).norm()) < 0.012 * float(x.norm())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_dtypes(dtype: torch.dtype) -> None:
    x = some(3, 20, dtype=dtype)
    y, g = crossed(PipelineLink(TopK(0.5), MinMax(8)), x, some(3, 20, seed=1, dtype=dtype))
    assert y.dtype == g.dtype == dtype
    assert torch.equal(y[y != 0], x[y != 0])


def test_empty_batches_cross() -> None:
    y, g = crossed(PipelineLink(TopK(0.5), Identity()), torch.zeros(0, 7), torch.zeros(0, 7))
    assert y.shape == g.shape == (0, 7)


def test_nonfinite_is_raised_or_passed() -> None:
    x = torch.tensor([[1.0, float("inf"), 2.0, 3.0]])
    with pytest.raises(InputError, match="activation at 'link' isn't finite"):
        PipelineLink(TopK(0.5))(x)
    passing = PipelineLink(ErrorFeedback(TopK(0.5), on_nonfinite="pass"))
    assert torch.equal(passing(x), x)
    assert torch.isfinite(passing(torch.ones(1, 4))).all()


def test_damaged_messages_are_refused() -> None:
    x = some(3, 40)
    rng = np.random.default_rng(0)
    for method in (TopK(0.2), MinMax(4), Identity()):
        link = PipelineLink(method)
        message, _, array = link.onward_message(x)
        assert np.array_equal(link.onward_received(message, array)[0], PipelineLink(method)(x).numpy())
        for _ in range(60):
            bad = bytearray(message)
            bad[rng.integers(len(bad))] ^= 1 << rng.integers(8)
            with pytest.raises(FormatError):
                link.onward_received(bytes(bad), array)
        for cut in range(len(message)):
            with pytest.raises(FormatError):
                link.onward_received(message[:cut], array)
        with pytest.raises(FormatError):
            link.onward_received(message + b"\0", array)
        link.onward.state.complete()
        with pytest.raises(FormatError):  # the next message is expected
            link.onward_received(message, array)


def test_a_message_that_fails_leaves_no_trace() -> None:
    """Memories after an error are those before it, on either side."""
    x = some(3, 40)
    link = PipelineLink(EF21(TopK(0.2)))
    link(x)
    before = link.memory_dict()
    message, _, array = link.onward_message(some(3, 40, seed=1))
    with pytest.raises(FormatError):
        link.onward_received(message[:-1], array)
    with pytest.raises(InputError):
        link(torch.cat([x[:2], torch.full((1, 40), float("nan"))]))
    link.onward.state.complete(step=False)
    for name in ("own", "mean"):
        after = link.memory_dict()["forward"]["memory"][name]
        assert all(torch.equal(value, after[key]) for key, value in before["forward"]["memory"][name].items())


def test_options_are_checked() -> None:
    with pytest.raises(InputError, match="not TopK"):
        PipelineLink(TopK(0.1), TopK(0.1), reuse_indices=True)
    with pytest.raises(InputError, match="can't follow"):
        PipelineLink(TopK(0.1), ErrorFeedback(Identity()), reuse_indices=True)
    with pytest.raises(InputError, match="per_sample"):
        PipelineLink(AQSGD(TopK(0.1)), per_sample=False)
    with pytest.raises(InputError, match="isn't initialised"):
        PipelineLink(TopK(0.1)).send(torch.zeros(1, 3), 1)


def test_a_shared_state_is_copied() -> None:
    state = ErrorFeedback(TopK(0.2))
    first, second = PipelineLink(state), PipelineLink(state)
    first(some(2, 10))
    assert first.onward.state.step == 1
    assert second.onward.state.step == state.step == 0

"""Tracing: the same function for other batches, and plain words where it can't be done."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from netweight.errors import InputError
from netweight.shrink import TraceError, trace
from netweight.shrink.network import Network
from shrink_nets import MAKERS, called, made, traced


@pytest.mark.parametrize("name", MAKERS)
def test_a_traced_network_computes_the_same_on_another_batch(name: str) -> None:
    network, example = made(name)
    same, _ = traced(name)
    larger = {k: torch.cat([v, v.flip(0), v[:1]]) for k, v in example.items()} if isinstance(example, dict) else None
    larger = torch.cat([example, example.flip(0), example[:1]]) if larger is None else larger
    torch.testing.assert_close(
        called(same, larger), called(network, larger), rtol=1e-5, atol=1e-6
    )  # ViT has a fused path
    assert {p.data_ptr() for p in same.parameters()}.isdisjoint(p.data_ptr() for p in network.parameters())


def test_axes_that_are_named_may_vary_and_others_not() -> None:
    network, example = made("gpt")
    short = example[:, :5]
    assert torch.equal(called(trace(network, example, dynamic={"x": (0, 1)}), short), called(network, short))


def test_layers_called_twice_and_weights_that_are_tied_stay_one() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.f = nn.Linear(4, 4)

        def forward(self, x):
            return self.f(torch.relu(self.f(x)))

    twice = trace(Twice(), torch.randn(2, 4))
    assert sum(1 for _ in twice.calls()) == 2
    assert len(list(twice.parameters())) == 2
    gpt, _ = traced("gpt")
    assert sum(p.numel() for p in gpt.parameters()) == sum(p.numel() for p in made("gpt")[0].parameters())


def test_a_module_that_branches_on_values_is_refused_with_the_line() -> None:
    class Branches(nn.Module):
        def forward(self, x):
            if x.sum() > 0:
                return x
            return -x

    with pytest.raises(TraceError, match=r"test_shrink_trace\.py:\d+: if x\.sum\(\) > 0.*torch\.where"):
        trace(Branches(), torch.randn(2, 3))


def test_writing_into_a_part_of_a_tensor_is_refused_with_the_line() -> None:
    class Writes(nn.Module):
        def forward(self, x):
            y = x * 2
            y[:, 0] = 0
            return y

    with pytest.raises(TraceError, match=r"test_shrink_trace\.py"):
        trace(Writes(), torch.randn(2, 3))


def test_an_operation_that_is_not_known_is_named_with_its_line() -> None:
    class Odd(nn.Module):
        def forward(self, x):
            return torch.linalg.inv(x)

    with pytest.raises(TraceError, match=r"linalg_inv.*test_shrink_trace\.py"):
        trace(Odd(), torch.randn(2, 3, 3))


def test_examples_that_cannot_be_batches_are_refused() -> None:
    for example in ("text", torch.tensor(1.0), (torch.zeros(2, 3), torch.zeros(3, 3))):
        with pytest.raises(InputError):
            trace(nn.Linear(3, 2), example)


def test_a_copy_shares_nothing_and_wrong_arguments_are_told() -> None:
    first = trace(nn.Linear(3, 2), torch.randn(2, 3))
    other = copy.deepcopy(first)
    with torch.no_grad():
        next(iter(other.parameters())).zero_()
    assert isinstance(other, Network)
    x = torch.randn(2, 3)
    assert not torch.equal(other(x), first(x))
    with pytest.raises(InputError, match="takes input"):
        first(x, x)


def test_a_refusal_is_one_sentence_and_torch_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    class Branching(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if x.sum() > 0 else -x

    with pytest.raises(TraceError, match="can't be traced") as caught:
        trace(Branching(), torch.ones(2, 3))
    assert "def forward" in caught.value.details
    assert capfd.readouterr() == ("", "")

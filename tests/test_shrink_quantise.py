"""Grids: what is trained is what is saved, and the rate in the loss is about what the coder takes."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from netweight.errors import InputError
from netweight.shrink import Quantize, StepError, load, save, trace
from netweight.shrink.finish import finish
from netweight.shrink.grids import ActivationGrid, WeightGrid
from netweight.shrink.layers import Shaped
from netweight.shrink.protocol import Context
from netweight.shrink.training import Training, rate
from shrink_nets import Task, called, losses_on, traced


def context_of(example: torch.Tensor, steps: int = 0) -> Context:
    return Context((example,), {}, losses_on(example), None, steps=steps, training=Training())


@pytest.mark.parametrize(("w", "a"), [(2, 4), (3, 3), (5, 8), (8, None)])
def test_the_loaded_network_is_the_trained_one_bit_for_bit(w: int, a: int | None, tmp_path: Path) -> None:
    """Without batch norms, that are folded, and with all numbers kept as they are."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(2, 6, 3, groups=2), nn.ReLU(), nn.Conv2d(6, 5, 3), nn.GELU(), nn.Flatten(), nn.Linear(80, 3)
    )
    example = torch.randn(4, 2, 8, 8)
    made = Quantize(w=w, a=a, ends=w, rate=0.5).apply(trace(network, example), context_of(example, steps=5))
    trained = called(copy.deepcopy(made).eval(), example)
    frozen = finish(made, (example,), {}, short=False)
    for module in frozen.modules():
        if isinstance(module, Shaped):
            assert module.integers is not None
            assert int(module.integers.abs().max()) <= 2 ** (w - 1) - 1
    save(frozen, tmp_path / "n.nw", effort="balanced")
    assert torch.equal(called(load(tmp_path / "n.nw"), example), trained)


def test_folding_a_batch_norm_alters_steps_and_never_integers() -> None:
    network, example = traced("vgg")
    made = Quantize(w=4, a=8).apply(network, context_of(example)).eval()
    integers = {n: m.grid.integers(m.weight) for n, m in made.named_modules() if isinstance(m, Shaped)}
    before = called(made, example)
    frozen = finish(made, (example,), {}, short=False)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in frozen.modules())
    for name, module in frozen.named_modules():
        if isinstance(module, Shaped):
            assert torch.equal(module.integers, integers[name])
    torch.testing.assert_close(called(frozen, example), before, rtol=0, atol=0.05)


def test_every_kind_of_layer_gets_a_grid() -> None:
    for name in ("lstm", "unet", "gpt"):
        network, example = traced(name)
        made = Quantize(w=4, a=8).apply(network, context_of(example))
        out = called(finish(made, (example,), {}), example)
        assert torch.isfinite(out).all()
        assert not [n for n, p in made.named_parameters() if p.dim() > 1 and "exit" not in n]


def test_the_rate_is_the_entropy_and_pulls_towards_frequent_integers() -> None:
    torch.manual_seed(0)
    grid, weight = WeightGrid(4, 8), torch.randn(8, 200, requires_grad=True)
    grid.fit(weight)
    on_grid = (grid.integers(weight) * grid.steps(weight)).detach().requires_grad_(True)
    bits = grid.rate(on_grid)
    counts = torch.bincount(grid.integers(on_grid).flatten().long() + 7, minlength=15).float() + 0.5
    shares = counts / counts.sum()
    entropy = -(torch.bincount(grid.integers(on_grid).flatten().long() + 7, minlength=15) * shares.log2()).sum()
    torch.testing.assert_close(bits, entropy, rtol=1e-5, atol=0.0)
    grid.rate(weight).backward()
    scaled = (weight.detach() / grid.steps(weight)).abs()
    inner = (scaled > 1) & (scaled < 5)
    assert (
        weight.grad[inner] * weight.detach()[inner] > 0
    ).float().mean() > 0.9  # going down the gradient shrinks weights


def test_training_with_a_rate_makes_the_file_smaller(tmp_path: Path) -> None:
    task = Task()
    network = trace(task.trained(), task.x[0][:4])
    sizes, bounds = [], []
    for price in (0.0, 1.0):
        context = Context((task.x[0][:4],), {}, task.train, task.evaluate, steps=80, training=Training(5e-3))
        made = Quantize(w=4, a=8, rate=price, ends=4).apply(copy.deepcopy(network), context)
        bits, count = rate(made)
        bounds.append(float(bits.detach()) / 8)
        assert count == sum(m.weight.numel() for m in made.modules() if isinstance(m, Shaped))
        made = finish(made, context.args, {})
        sizes.append(save(made, tmp_path / "n.nw").archive_bytes)
        assert task.evaluate(made) > 0.9
    assert sizes[1] < 0.9 * sizes[0]
    assert 0.35 < (sizes[0] - sizes[1]) / (bounds[0] - bounds[1]) < 1.5  # the coder knows more than shares


def test_activations_on_one_side_use_the_whole_range_and_others_a_zero_inside() -> None:
    x = torch.rand(1000) * 3
    grid = ActivationGrid(4, ready=False)
    grid.observe(x)
    assert grid.zero == 0
    assert (grid(x) - x).abs().max() < 3 / 15
    grid.observe(x - 1)
    assert 3 < grid.zero < 8
    assert not grid(torch.zeros(1)).any()
    with torch.no_grad():
        quick = grid(x - 1)
    assert torch.equal(quick, grid(x - 1))


def test_bits_out_of_range_and_second_grids_are_refused() -> None:
    for bits in (1, 9, 4.0):
        with pytest.raises(InputError, match="from 2 to 8"):
            Quantize(w=bits)
    network, example = traced("mlp")
    made = Quantize(w=4, a=None).apply(network, context_of(example))
    with pytest.raises(StepError, match="touches no layer"):
        Quantize(w=4, a=None).apply(made, context_of(example))

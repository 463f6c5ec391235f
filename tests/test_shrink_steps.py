"""Masks, factors, students, exits: each does what it says and keeps what was there."""

from __future__ import annotations

import copy
import itertools

import numpy as np
import pytest
import torch
from torch import nn

from netweight.errors import InputError
from netweight.shrink import Collaborative, Distil, EarlyExit, LowRank, Mask, Prune, Quantize, StepError, trace
from netweight.shrink.costs import cost, parameters
from netweight.shrink.factors import best_ranks, cost_share, cp_factors, error, factored
from netweight.shrink.graph.narrow import Coupling
from netweight.shrink.importance import CRITERIA, group_scores
from netweight.shrink.layers import Conv2d, Linear, Shaped
from netweight.shrink.network import Network
from netweight.shrink.protocol import Context
from netweight.shrink.steps.collaborative import prices
from netweight.shrink.training import Training
from shrink_nets import Task, called, losses_on, traced


@pytest.fixture(scope="module")
def task() -> Task:
    return Task()


@pytest.fixture(scope="module")
def learned(task: Task) -> Network:
    return trace(task.trained(), task.x[0][:4])


def context_of(task: Task, steps: int = 0, **more) -> Context:
    return Context((task.x[0][:4],), {}, task.train, task.evaluate, steps=steps, training=Training(3e-3), **more)


# --- factors ---


@pytest.mark.parametrize("method", ["channel", "spatial", "tucker"])
def test_factors_of_full_rank_are_exact_and_of_lower_rank_err_less_the_higher_it_is(method: str) -> None:
    torch.manual_seed(0)
    layer = Conv2d(6, 10, 3)
    errors = [
        float(error(layer, factored(layer, method, r), method).square().sum())
        for r in range(1, best_ranks(layer, method) + 1)
    ]
    assert errors[-1] < 1e-12
    assert all(a >= b - 1e-9 for a, b in itertools.pairwise(errors))
    s = torch.linalg.svdvals(layer.weight.detach().double().flatten(1))
    if method == "channel":
        assert errors[3] == pytest.approx(float(s[4:].square().sum()), rel=1e-6)
    assert 0 < cost_share(layer, method, 2) < 1


def test_cp_finds_a_sum_of_few_terms() -> None:
    torch.manual_seed(0)
    terms = [torch.randn(n, 2, dtype=torch.float64) for n in (6, 5, 3, 3)]
    tensor = torch.einsum("ar,br,cr,dr->abcd", *terms)
    found = torch.einsum("ar,br,cr,dr->abcd", *cp_factors(tensor, 2))
    assert float((found - tensor).norm() / tensor.norm()) < 1e-3


@pytest.mark.parametrize("method", ["channel", "spatial", "tucker", "cp"])
def test_a_factored_network_has_the_macs_asked_for(task: Task, learned: Network, method: str) -> None:
    context = context_of(task, steps=10)
    before = context.cost(learned).macs
    made = LowRank(keep=0.7, method=method, batches=2).apply(copy.deepcopy(learned), context)
    assert 0.45 * before < context.cost(made).macs <= 0.7 * before
    assert context.record["factored"]


def test_errors_on_data_count_and_not_those_of_weights_alone() -> None:
    """Inputs that are always nearly 0 cost an SVD nothing."""
    torch.manual_seed(0)
    layer = Linear(8, 8)
    x = torch.randn(400, 8) * torch.tensor([1.0] * 4 + [1e-3] * 4)
    moments = (x.T @ x / 400).double()
    values, vectors = torch.linalg.eigh(moments)
    root = (vectors * values.clamp_min(1e-12).sqrt()) @ vectors.T
    plain, seen = (error(layer, factored(layer, "channel", 4, r), "channel") for r in (None, root))
    assert float((x.double() @ seen.T).square().sum()) < 1e-3 * float((x.double() @ plain.T).square().sum())


# --- pruning and masks ---


@pytest.mark.parametrize("criterion", CRITERIA)
def test_channels_that_do_nothing_go_first(task: Task, learned: Network, criterion: str) -> None:
    network = copy.deepcopy(learned)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, Conv2d) and module.in_channels == 8 and module.out_channels == 16:
                module.weight[3:7] = 0
                module.bias[3:7] = 0
            if isinstance(module, Linear):
                module.weight[:, 4 * 3 : 4 * 7] = 0
    context = context_of(task)
    coupling = Coupling(network, context.args, {})
    scores = group_scores(coupling, context, criterion, 4)
    names = {m: n for n, m in network.named_modules()}
    kinds = [
        {(names[m], int(s.index[0])) for s in g.slices for m in [s.axes.owner] if s.role == "row"}
        for g in coupling.groups
    ]
    dead = [k for k, found in enumerate(kinds) if any(n == "c3" and 3 <= i < 7 for n, i in found)]
    others = [k for k, found in enumerate(kinds) if any(n == "c3" and not 3 <= i < 7 for n, i in found)]
    assert max(scores[dead]) < min(scores[others])


def test_pruning_meets_its_goal_keeps_the_score_and_refuses_what_it_cannot(task: Task, learned: Network) -> None:
    context = context_of(task, steps=60)
    before = context.cost(learned)
    made = Prune(keep=0.5, batches=4).apply(copy.deepcopy(learned), context)
    assert 0.35 * before.macs < context.cost(made).macs <= 0.5 * before.macs
    assert task.evaluate(made) > task.evaluate(learned) - 0.05
    fewer = Prune(keep=0.5, of="params", batches=4).apply(copy.deepcopy(learned), context_of(task))
    assert context.cost(fewer).params <= 0.5 * before.params
    with pytest.raises(StepError, match="can't get to"):
        Prune(keep=0.001, batches=2).apply(copy.deepcopy(learned), context_of(task))
    plain = trace(nn.Linear(4, 2), torch.randn(2, 4))
    with pytest.raises(StepError, match="touches no layer"):
        Prune(keep=0.5).apply(plain, Context((torch.randn(2, 4),), {}, losses_on(torch.randn(2, 4)), None))


def test_masks_hold_through_training_quantisation_and_pruning(task: Task, learned: Network) -> None:
    made = Mask(sparsity=0.6, rounds=2).apply(copy.deepcopy(learned), context_of(task, steps=20))
    masked = [m for m in made.modules() if isinstance(m, Shaped) and m.mask is not None]
    zeros = sum(int((~m.mask).sum()) for m in masked) / sum(m.mask.numel() for m in masked)
    assert zeros == pytest.approx(0.6, abs=0.01)
    total, nonzero = parameters(made)
    assert nonzero < total
    made = Quantize(w=4, a=8).apply(made, context_of(task, steps=10))
    made = Prune(keep=0.8, batches=2, rounds=1).apply(made, context_of(task))
    for module in made.modules():
        if isinstance(module, Shaped) and module.mask is not None:
            assert module.mask.shape == module.weight.shape
            assert not module.effective()[~module.mask].any()
            assert module.grid.bits in (4, 8)


def test_two_of_four_is_two_of_every_four(task: Task, learned: Network) -> None:
    made = Mask(pattern="2:4").apply(copy.deepcopy(learned), context_of(task))
    for module in made.modules():
        if isinstance(module, Shaped) and module.mask is not None:
            rows = module.mask.flatten(1)
            whole = rows.shape[1] // 4 * 4
            assert (rows[:, :whole].reshape(-1, 4).sum(1) == 2).all()
    for wrong in ("4:2", "2-4", "0:4"):
        with pytest.raises(InputError, match="pattern"):
            Mask(pattern=wrong)


# --- joint compression ---


def test_prices_are_what_the_squared_change_does() -> None:
    """Backward: the change of the sum now; forward: the mean change that the others' removal would cost more."""
    draw = np.random.default_rng(0)
    changes, state = draw.normal(size=(5, 7)) + 1.0, np.abs(draw.normal(size=7)) + 1.0
    left = np.ones(5, bool)

    def loss(*units: int) -> float:
        return float(np.square(state + changes[list(units)].sum(0)).sum())

    found = prices(changes, state, left, 0.9)
    for u in range(5):
        ahead = np.mean(
            [
                (loss(u, v) - loss(u)) - (loss(v) - loss()) if v != u else 2 * np.square(changes[u]).sum()
                for v in range(5)
            ]
        )
        assert found[u] == pytest.approx(loss(u) - loss() + 0.9 * ahead)


def test_joint_compression_removes_channels_and_singular_values(task: Task, learned: Network) -> None:
    context = context_of(task, steps=60)
    before = context.cost(learned).macs
    made = Collaborative(keep=0.4, batches=6).apply(copy.deepcopy(learned), context)
    assert context.cost(made).macs <= 0.4 * before
    first, second = context.record["losses of plans"]
    assert len(first) >= 3
    assert len(second) == 2
    assert context.record["plan"] == min(second, key=second.get)
    joint = Collaborative(keep=0.4, batches=6, joint_only=True).apply(copy.deepcopy(learned), context_of(task))
    assert 0.25 * before < context.cost(joint).macs <= 0.4 * before


# --- students and exits ---


def test_a_student_of_another_kind_learns_from_the_teacher(task: Task, learned: Network) -> None:
    torch.manual_seed(0)
    student = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 4))
    made = Distil(student=student, features=0.1).apply(learned, context_of(task, steps=120, teacher=learned))
    assert task.evaluate(made) > 0.8
    half = Distil(width=0.5).apply(copy.deepcopy(learned), context_of(task, steps=40, teacher=learned))
    assert parameters(half)[0] < 0.5 * parameters(learned)[0]
    with pytest.raises(StepError, match="no training steps"):
        Distil().apply(copy.deepcopy(learned), context_of(task))


def test_exits_cost_less_and_each_example_gets_what_it_would_get_alone(task: Task, learned: Network) -> None:
    context = context_of(task, steps=60)
    made = EarlyExit(count=2, drop=0.05).apply(copy.deepcopy(learned), context)
    plain = called(learned, task.x[1])
    shares = [e.share for e in made.exits.exits]
    assert sum(shares) > 0.1
    together = called(made, task.x[1])
    alone = torch.cat([called(made, x[None]) for x in task.x[1][:40]])
    torch.testing.assert_close(together[:40], alone, rtol=1e-4, atol=1e-5)
    stays = (together - plain).abs().amax(1) < 1e-5
    assert 0 < stays.float().mean() < 1
    assert cost(made, context.args, {}).macs < cost(learned, context.args, {}).macs
    assert task.evaluate(made) >= task.evaluate(learned) - 0.05
    for p, q in zip(learned.parameters(), [p for n, p in made.named_parameters() if "exit" not in n], strict=True):
        assert torch.equal(p, q)
    with pytest.raises(StepError, match="exits already"):
        EarlyExit().apply(made, context)
    unet, example = traced("unet")
    with pytest.raises(StepError, match="one tensor"):
        EarlyExit().apply(unet, Context((example,), {}, losses_on(example), None, steps=2, training=Training()))


def test_steps_after_exits_keep_them_working(task: Task, learned: Network) -> None:
    made = EarlyExit(count=1, drop=0.05).apply(copy.deepcopy(learned), context_of(task, steps=30))
    for step in (
        Distil(width=0.6),
        Prune(keep=0.8, batches=2, rounds=1),
        LowRank(keep=0.8, batches=2),
        Quantize(w=4, a=8),
    ):
        made = step.apply(made, context_of(task, steps=10))
        assert called(made, task.x[1]).shape == (256, 4)
    assert made.exits is not None


def test_settings_that_make_no_sense_are_refused() -> None:
    for make in (
        lambda: Prune(keep=0), lambda: Prune(criterion="luck"), lambda: Mask(sparsity=1.0), lambda: LowRank(method="magic"),
        lambda: Distil(width=0), lambda: Distil(student=nn.Linear(1, 1), width=0.5), lambda: EarlyExit(count=0),
        lambda: Collaborative(keep=2),
    ):  # fmt: skip
        with pytest.raises(InputError):
            make()

"""Coupled channels: a network without them is the network with them at zero."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from netweight.shrink.graph.atoms import NONE, Atoms
from netweight.shrink.graph.narrow import Coupling
from netweight.shrink.steps.prune import allowed
from netweight.shrink.tracing import doubled
from shrink_nets import MAKERS, called, traced

NORMALISED = (nn.LayerNorm, nn.GroupNorm)


@pytest.mark.parametrize("name", MAKERS)
def test_removing_groups_is_the_same_as_setting_them_to_zero(name: str) -> None:
    """Where no norm looks at all channels together, for that isn't the same without some of them."""
    network, example = traced(name)
    args, named = doubled(example)
    coupling = Coupling(network, args, named)
    chosen = [g for g in coupling.groups if not any(isinstance(m, NORMALISED) for m, _ in g.places)]
    dead = chosen[:: 3 if len(chosen) > 3 else 1]
    keep_one = [g for g in dead if all(coupling.sizes[p] > n for p, n in g.places.items())]
    assert keep_one
    zeroed = copy.deepcopy(network)
    twin = Coupling(zeroed, args, named)
    numbers = {g.number for g in keep_one}
    with torch.no_grad():
        for group in twin.groups:
            for part in group.slices if group.number in numbers else ():
                part.axes.tensor.index_fill_(part.axis, torch.from_numpy(part.index), 0)
    before = sum(p.numel() for p in network.parameters())
    coupling.cut(numbers)
    assert sum(p.numel() for p in network.parameters()) < before
    torch.testing.assert_close(called(network, example), called(zeroed, example), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", MAKERS)
def test_half_of_all_groups_can_go_and_the_network_still_runs_and_trains(name: str) -> None:
    network, example = traced(name)
    coupling = Coupling(network, *doubled(example))
    shape = called(network, example).shape
    coupling.cut([g.number for g in coupling.groups][::2])
    assert called(network, example).shape == shape
    network.train()
    out = network(**example) if isinstance(example, dict) else network(example)
    (out if isinstance(out, torch.Tensor) else out["last_hidden_state"]).sum().backward()


def groups_of(name: str) -> list[set[str]]:
    network, example = traced(name)
    names = {m: n for n, m in network.named_modules()}
    return [
        {f"{names[m]}:{r}x{n}" for (m, r), n in g.places.items()} for g in Coupling(network, *doubled(example)).groups
    ]


def test_attention_is_cut_by_whole_heads() -> None:
    heads = [g for g in groups_of("gpt") if "blocks.0.qkv:rowx12" in g]
    assert len(heads) == 4
    assert heads[0] == {"blocks.0.qkv:rowx12", "blocks.0.o:columnx4"}


def test_padding_shortcuts_couple_only_the_channels_that_they_carry() -> None:
    groups = groups_of("resnet")
    carried = [g for g in groups if "b:rowx1" in g and "blocks.1.b2:rowx1" in g]
    new = [g for g in groups if "blocks.1.b2:rowx1" in g and "b:rowx1" not in g]
    assert (len(carried), len(new)) == (8, 8)


def test_depthwise_layers_go_with_their_inputs_and_grouped_ones_evenly() -> None:
    groups = groups_of("mobilenet")
    assert any(
        {"blocks.0.a.0:rowx1", "blocks.0.a.3:rowx1", "blocks.0.gate.3:rowx1", "blocks.0.p.0:columnx1"} <= g
        for g in groups
    )
    assert any({"grouped:rowx3", "f:columnx3"} <= g for g in groups)


def test_outputs_are_never_cut() -> None:
    for name in ("mlp", "unet", "minilm"):
        network, example = traced(name)
        coupling = Coupling(network, *doubled(example))
        shape = called(network, example).shape
        coupling.cut(allowed(coupling, [g.number for g in coupling.groups], 1.0))
        assert called(network, example).shape == shape


def test_ties_join_and_blocks_choose_the_axis_that_leaves_most() -> None:
    atoms = Atoms()
    grid = atoms.fresh(12).reshape(3, 4)
    assert atoms.keep_shape(grid) is grid
    group, kept = atoms.solved()
    assert len(set(group.tolist())) == 4
    assert np.array_equal(group.reshape(3, 4)[0], group.reshape(3, 4)[2])
    assert not kept.any()


def test_fixed_axes_tie_across_and_keep_what_varies_nowhere_else() -> None:
    atoms = Atoms()
    heads = atoms.fresh(6).reshape(2, 3)
    left = atoms.fix(heads, (1,))
    assert left.shape == (2, 1)
    gone = atoms.fix(atoms.fresh(4), (0,))
    assert (gone == NONE).all()
    group, kept = atoms.solved()
    assert len(set(group[:6].tolist())) == 2
    assert kept[6:].all()
    assert not kept[:6].any()

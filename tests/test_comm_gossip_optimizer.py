"""The torch front in one process: what a parameter is to it, and one rank that gossips with nobody."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from netweight.comm import DPSGD, LEAD, Gossip, GossipOptimizer, InfinityNorm, PowerGossip, Topology
from netweight.comm.gossip.optimizer import ParameterVector
from netweight.errors import InputError, UnsupportedError


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[None]:
    """A process group of one."""
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def test_narrow_parameters_are_widened_and_rounded_back() -> None:
    net = torch.nn.Sequential(torch.nn.Linear(3, 2, dtype=torch.bfloat16), torch.nn.Linear(2, 1, dtype=torch.float16))
    net[0].bias.requires_grad_(False)
    vector = ParameterVector(net.named_parameters())
    assert vector.dtype == np.float32
    assert vector.shapes == {"0.weight": (2, 3), "1.weight": (1, 2), "1.bias": (1,)}
    x = vector.read()
    vector.write(x)
    np.testing.assert_array_equal(vector.read(), x)
    vector.write(x + np.float32(1 / 3))
    assert net[0].weight.dtype == torch.bfloat16
    np.testing.assert_allclose(vector.read(), x + 1 / 3, rtol=2**-8)


def test_one_double_makes_all_double() -> None:
    parameters = [
        ("a", torch.nn.Parameter(torch.ones(2))),
        ("b", torch.nn.Parameter(torch.ones(2, dtype=torch.float64))),
    ]
    assert ParameterVector(parameters).read().dtype == np.float64


def test_what_is_not_a_dense_float_is_refused() -> None:
    whole = torch.nn.Parameter(torch.ones(3, dtype=torch.complex64))
    with pytest.raises(UnsupportedError):
        ParameterVector([("c", whole)]).read()
    with pytest.raises(InputError, match="no trainable parameters"):
        ParameterVector([])


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize(
    "algorithm", [DPSGD(adapt_first=True), LEAD(InfinityNorm()), PowerGossip()], ids=lambda a: a.name
)
def test_alone_it_is_the_inner_optimizer(algorithm: DPSGD) -> None:
    nets = []
    for _ in range(2):
        torch.manual_seed(0)
        net = torch.nn.Linear(4, 3)
        net.unused = torch.nn.Parameter(torch.ones(2))
        nets.append(net)
    plain = torch.optim.SGD(nets[0].parameters(), lr=0.1, momentum=0.9)
    inner = torch.optim.SGD(nets[1].parameters(), lr=0.1, momentum=0.9)
    gossip = GossipOptimizer(inner, nets[1].named_parameters(), Gossip(Topology.ring(1), algorithm))
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(1))
    for _ in range(4):
        for net, optimizer in zip(nets, (plain, gossip), strict=True):
            optimizer.zero_grad()
            net(x).square().sum().backward()
            optimizer.step()
    np.testing.assert_allclose(
        gossip.vector.read(), ParameterVector(nets[0].named_parameters()).read(), rtol=1e-5, atol=1e-7
    )
    assert gossip.run.traffic.nbytes == 0
    assert all(isinstance(t, torch.Tensor) for t in gossip.state_dict()["gossip"]["nodes"][0].values())


@pytest.mark.usefixtures("alone")
def test_as_many_ranks_as_nodes() -> None:
    with pytest.raises(InputError, match="ring of 8 has 8 nodes, and there are 1 ranks"):
        Gossip(Topology.ring(8)).join(np.zeros(3))


def test_without_a_process_group_it_says_what_to_do() -> None:
    with pytest.raises(InputError, match="init_process_group"):
        Gossip(Topology.ring(2)).join(np.zeros(3))

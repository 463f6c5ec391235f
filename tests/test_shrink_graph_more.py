"""Coupled channels in wirings that users have: shuffles, dense blocks, grouped queries with rotary angles, pixel shuffles."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from netweight.shrink import trace
from netweight.shrink.graph.narrow import Coupling
from netweight.shrink.steps.prune import allowed
from netweight.shrink.tracing import doubled

NORMALISED = (nn.LayerNorm, nn.RMSNorm, nn.GroupNorm)


class Shuffle(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (
            nn.Conv2d(3, 12, 3, padding=1),
            nn.Conv2d(12, 12, 3, padding=1, groups=2),
            nn.Conv2d(12, 4, 1),
        )

    def forward(self, x):
        x = functional.relu(self.a(x))
        b, c, h, w = x.shape
        x = x.view(b, 2, c // 2, h, w).transpose(1, 2).reshape(b, c, h, w)
        return self.c(functional.relu(self.b(x)))


class Dense(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.n = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 6, 3, padding=1), nn.BatchNorm2d(14)
        self.c, self.d = nn.Conv2d(14, 5, 3, padding=1), nn.Conv2d(19, 4, 1)

    def forward(self, x):
        a = functional.relu(self.a(x))
        y = functional.relu(self.n(torch.cat([a, functional.relu(self.b(a))], 1)))
        return self.d(torch.cat([y, self.c(y)], 1))


class GatedRecurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.g, self.o = nn.GRU(6, 8, batch_first=True), nn.Linear(8, 3)

    def forward(self, x):
        y, h = self.g(x)
        return self.o(y.mean(1) + h[-1])


class Rotary(nn.Module):
    """Four heads of queries, two of keys, norms of each head's queries, a gated feed-forward."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = nn.Linear(16, 16), nn.Linear(16, 8), nn.Linear(16, 8), nn.Linear(16, 16)
        self.n, self.qn, self.e, self.h = nn.RMSNorm(16), nn.RMSNorm(4), nn.Embedding(20, 16), nn.Linear(16, 5)
        self.gate, self.up, self.down = nn.Linear(16, 24), nn.Linear(16, 24), nn.Linear(24, 16)

    def turned(self, x, c, s):
        a, b = x.chunk(2, -1)
        return torch.cat([a * c - b * s, b * c + a * s], -1)

    def forward(self, ids):
        x = self.e(ids)
        y, (b, t) = self.n(x), ids.shape
        q = self.qn(self.q(y).view(b, t, 4, 4)).transpose(1, 2)
        k, v = (f(y).view(b, t, 2, 4).transpose(1, 2) for f in (self.k, self.v))
        angles = torch.arange(t)[:, None] * torch.tensor([1.0, 0.1])
        q, k = (self.turned(z, angles.cos(), angles.sin()) for z in (q, k))
        k, v = k.repeat_interleave(2, 1), v.repeat_interleave(2, 1)
        o = functional.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(b, t, 16)
        x = x + self.o(o)
        y = self.n(x)
        return self.h(x + self.down(functional.silu(self.gate(y)) * self.up(y)))


class ConvNext(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.s, self.d, self.n = nn.Conv2d(3, 8, 2, 2), nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.LayerNorm(8)
        self.a, self.b, self.f = nn.Linear(8, 24), nn.Linear(24, 8), nn.Linear(8, 4)
        self.scale = nn.Parameter(torch.full((8,), 0.5))

    def forward(self, x):
        x = self.s(x)
        y = self.b(functional.gelu(self.a(self.n(self.d(x).permute(0, 2, 3, 1))))) * self.scale
        return self.f((x + y.permute(0, 3, 1, 2)).mean((2, 3)))


class Enlarged(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.p, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.PReLU(8), nn.Conv2d(8, 16, 3, padding=1)
        self.up, self.c = nn.PixelShuffle(2), nn.Conv2d(4, 3, 3, padding=1)

    def forward(self, x):
        return self.c(self.up(self.b(self.p(self.a(x)))))


class Gated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 16), nn.Linear(8, 3)

    def forward(self, x):
        u, v = self.a(x).chunk(2, -1)
        return self.b(u * torch.sigmoid(v))


CASES = {
    "shuffle": (Shuffle, (2, 3, 6, 6), 9),
    "dense": (Dense, (2, 3, 6, 6), 19),
    "gru": (GatedRecurrent, (2, 5, 6), 8),
    "rotary": (Rotary, (2, 6), 16 + 2 + 24),
    "convnext": (ConvNext, (2, 3, 8, 8), 8 + 24),
    "enlarged": (Enlarged, (2, 3, 5, 5), 8 + 4),
    "gated": (Gated, (2, 6), 8),
    "attention": (lambda: nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), (2, 4, 16), 4 + 32),
}


@pytest.mark.parametrize("name", CASES)
def test_groups_are_as_many_as_can_go_alone_and_going_is_being_zero(name: str) -> None:
    make, shape, count = CASES[name]
    torch.manual_seed(0)
    model = make().eval()
    x = torch.randint(0, 20, shape) if name == "rotary" else torch.randn(shape)
    network = trace(model, x)
    torch.testing.assert_close(network(x), model(x), rtol=1e-5, atol=1e-6)
    coupling = Coupling(network, *doubled(x))
    assert len(coupling.groups) == count
    free = [g for g in coupling.groups if not any(isinstance(m, NORMALISED) for m, _ in g.places)]
    dead = {g.number for g in free[::3] if all(coupling.sizes[p] > n for p, n in g.places.items())}
    zeroed = copy.deepcopy(network)
    with torch.no_grad():
        for group in Coupling(zeroed, *doubled(x)).groups:
            for part in group.slices if group.number in dead else ():
                part.axes.tensor.index_fill_(part.axis, torch.from_numpy(part.index), 0)
    coupling.cut(dead)
    assert dead
    torch.testing.assert_close(network(x), zeroed(x), rtol=1e-4, atol=1e-5)
    rest = Coupling(network, *doubled(x))
    rest.cut(allowed(rest, [g.number for g in rest.groups], 0.8))
    assert network(x).shape == model(x).shape

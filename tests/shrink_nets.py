"""Ten tiny architectures, and a task that tiny networks learn in a second."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from netweight.shrink import Network, trace


class LeNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.c1, self.c2 = nn.Conv2d(1, 6, 3), nn.Conv2d(6, 10, 3)
        self.f1, self.f2 = nn.Linear(40, 20), nn.Linear(20, 4)

    def forward(self, x):
        x = functional.max_pool2d(functional.relu(self.c2(functional.relu(self.c1(x)))), 2)
        return self.f2(functional.relu(self.f1(torch.flatten(x, 1))))


class VGG(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True),
            nn.Conv2d(8, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU(inplace=True), nn.MaxPool2d(2),
            nn.Conv2d(12, 16, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Dropout(0.1),
            nn.Linear(64, 4),
        )  # fmt: skip


class Residual(nn.Module):
    def __init__(self, narrow: int, wide: int, stride: int) -> None:
        super().__init__()
        self.c1, self.b1 = nn.Conv2d(narrow, wide, 3, stride, 1, bias=False), nn.BatchNorm2d(wide)
        self.c2, self.b2 = nn.Conv2d(wide, wide, 3, 1, 1, bias=False), nn.BatchNorm2d(wide)
        self.stride, self.new = stride, (wide - narrow) // 2

    def forward(self, x):
        y = self.b2(self.c2(functional.relu(self.b1(self.c1(x)), inplace=True)))
        if self.new:
            x = functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.new, self.new))
        return functional.relu(y.add_(x), inplace=True)


class ResNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.c, self.b = nn.Conv2d(3, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8)
        self.blocks = nn.Sequential(Residual(8, 8, 1), Residual(8, 16, 2), Residual(16, 16, 1))
        self.f = nn.Linear(16, 4)

    def forward(self, x):
        return self.f(self.blocks(functional.relu(self.b(self.c(x)))).mean((2, 3)))


class Inverted(nn.Module):
    def __init__(self, narrow: int, inner: int, out: int) -> None:
        super().__init__()
        self.a = nn.Sequential(
            nn.Conv2d(narrow, inner, 1, bias=False), nn.BatchNorm2d(inner), nn.ReLU6(),
            nn.Conv2d(inner, inner, 3, padding=1, groups=inner, bias=False), nn.BatchNorm2d(inner), nn.ReLU6(),
        )  # fmt: skip
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(inner, 4, 1), nn.SiLU(), nn.Conv2d(4, inner, 1), nn.Sigmoid()
        )
        self.p = nn.Sequential(nn.Conv2d(inner, out, 1, bias=False), nn.BatchNorm2d(out))
        self.residual = narrow == out

    def forward(self, x):
        y = self.a(x)
        y = self.p(y * self.gate(y))
        return x + y if self.residual else y


class MobileNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.blocks = nn.Sequential(Inverted(8, 16, 8), Inverted(8, 24, 12), Inverted(12, 24, 12))
        self.grouped, self.f = nn.Conv2d(12, 12, 3, padding=1, groups=3), nn.Linear(12, 4)

    def forward(self, x):
        return self.f(functional.hardswish(self.grouped(self.blocks(self.stem(x)))).mean((2, 3)))


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.d1, self.d2 = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 16, 3, padding=1)
        self.up, self.c = nn.ConvTranspose2d(16, 8, 2, 2), nn.Conv2d(16, 8, 3, padding=1)
        self.g, self.o = nn.GroupNorm(4, 8), nn.Conv2d(8, 2, 1)

    def forward(self, x):
        a = functional.relu(self.d1(x))
        u = self.up(functional.relu(self.d2(functional.max_pool2d(a, 2))))
        return self.o(functional.relu(self.g(self.c(torch.cat([a, u], 1)))))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.e, self.r = nn.Embedding(20, 12), nn.LSTM(12, 10, 2, batch_first=True, bidirectional=True)
        self.f, self.o = nn.Linear(20, 12), nn.Linear(12, 4)

    def forward(self, x):
        y, _ = self.r(self.e(x))
        return self.o(torch.tanh(self.f(y[:, -1])))


class ViT(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.p = nn.Conv2d(3, 16, 4, 4)
        self.cls, self.pos = nn.Parameter(torch.randn(1, 1, 16)), nn.Parameter(0.1 * torch.randn(1, 5, 16))
        self.t = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True, activation="gelu", norm_first=True)
        self.n, self.f = nn.LayerNorm(16), nn.Linear(16, 4)

    def forward(self, x):
        x = self.p(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(x.shape[0], -1, -1), x], 1) + self.pos
        return self.f(self.n(self.t(x))[:, 0])


class Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.n1, self.n2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.o = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.u, self.d = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.heads = heads

    def forward(self, x):
        b, t, c = x.shape
        parts = self.qkv(self.n1(x)).split(c, 2)
        q, k, v = (p.view(b, t, self.heads, c // self.heads).transpose(1, 2) for p in parts)
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(b, t, c)
        x = x + self.o(y)
        return x + self.d(functional.gelu(self.u(self.n2(x))))


class GPT(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.e, self.p = nn.Embedding(20, 16), nn.Embedding(12, 16)
        self.blocks, self.n = nn.Sequential(Block(16, 4), Block(16, 4)), nn.LayerNorm(16)
        self.head = nn.Linear(16, 20, bias=False)
        self.head.weight = self.e.weight

    def forward(self, x):
        return self.head(self.n(self.blocks(self.e(x) + self.p(torch.arange(x.shape[1], device=x.device)))))


class MiniBert(nn.Module):
    """MiniLM's architecture: a mask as input, three projections, post-norm."""

    def __init__(self) -> None:
        super().__init__()
        self.e, self.p, self.n = nn.Embedding(30, 16), nn.Embedding(16, 16), nn.LayerNorm(16)
        self.q, self.k, self.v, self.o = (nn.Linear(16, 16) for _ in range(4))
        self.n1, self.u, self.d, self.n2 = nn.LayerNorm(16), nn.Linear(16, 32), nn.Linear(32, 16), nn.LayerNorm(16)

    def forward(self, input_ids, attention_mask):
        b, t = input_ids.shape
        x = self.n(self.e(input_ids) + self.p(torch.arange(t, device=input_ids.device)))
        q, k, v = (f(x).view(b, t, -1, 4).transpose(1, 2) for f in (self.q, self.k, self.v))
        scores = q @ k.transpose(-1, -2) / 2 + (1.0 - attention_mask[:, None, None].float()) * -1e9
        y = (scores.softmax(-1) @ v).transpose(1, 2).reshape(b, t, -1)
        x = self.n1(x + self.o(y))
        return {"last_hidden_state": self.n2(x + self.d(functional.gelu(self.u(x))))}


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(16, 24), nn.ReLU(), nn.Linear(24, 20), nn.ReLU(), nn.Linear(20, 4))


MAKERS: dict[str, Callable[[], nn.Module]] = {
    "mlp": mlp, "lenet": LeNet, "vgg": VGG, "resnet": ResNet, "mobilenet": MobileNet, "unet": UNet, "lstm": Recurrent,
    "vit": ViT, "gpt": GPT, "minilm": MiniBert,
}  # fmt: skip


def made(name: str) -> tuple[nn.Module, Any]:
    """(network with batch norms that have seen something, example)."""
    torch.manual_seed(0)
    network = MAKERS[name]().eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    ids = torch.randint(0, 20, (2, 7))
    examples = {
        "mlp": torch.randn(2, 16), "lenet": torch.randn(2, 1, 8, 8), "unet": torch.randn(2, 1, 8, 8), "lstm": ids, "gpt": ids,
        "minilm": {"input_ids": ids, "attention_mask": torch.ones_like(ids)},
    }  # fmt: skip
    return network, examples.get(name, torch.randn(2, 3, 8, 8))


@cache
def _traced(name: str) -> tuple[Network, Any]:
    network, example = made(name)
    return trace(network, example), example


def traced(name: str) -> tuple[Network, Any]:
    """(a fresh copy of the traced network, example)."""
    network, example = _traced(name)
    return copy.deepcopy(network), example


def called(network: nn.Module, example: Any) -> torch.Tensor:
    """The (first) output."""
    with torch.no_grad():
        out = network(**example) if isinstance(example, dict) else network(example)
    return out if isinstance(out, torch.Tensor) else out["last_hidden_state"]


def losses_on(example: Any) -> Callable[[nn.Module, int], Iterator[torch.Tensor]]:
    """Squared distance of the outputs on one example from 1, for ever."""

    def train(model: nn.Module, seed: int) -> Iterator[torch.Tensor]:
        while True:
            out = model(**example) if isinstance(example, dict) else model(example)
            out = out if isinstance(out, torch.Tensor) else out["last_hidden_state"]
            yield (out - 1).square().mean()

    return train


class Task:
    """Which of four stripes an 8x8 image has brightest: 256 noisy images to learn from, 256 to score on."""

    def __init__(self) -> None:
        draw = torch.Generator().manual_seed(1)
        labels = torch.arange(512) % 4
        x = torch.randn(512, 1, 8, 8, generator=draw)
        x[torch.arange(512), 0, 2 * labels] += 1.5
        self.x, self.y = (x[:256], x[256:]), (labels[:256], labels[256:])

    def train(self, model: nn.Module, seed: int) -> Iterator[torch.Tensor]:
        draw = torch.Generator().manual_seed(seed)
        while True:
            for index in torch.randperm(256, generator=draw).split(32):
                yield functional.cross_entropy(model(self.x[0][index]), self.y[0][index])

    def evaluate(self, model: nn.Module) -> float:
        with torch.no_grad():
            return float((model(self.x[1]).argmax(1) == self.y[1]).float().mean())

    def trained(self, steps: int = 80) -> nn.Module:
        torch.manual_seed(0)
        network = Small()
        optimiser = torch.optim.Adam(network.parameters(), 5e-3)
        for _, loss in zip(range(steps), self.train(network, 0), strict=False):
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        return network.eval()


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.c1, self.b1 = nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.c2, self.b2 = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.c3, self.f = nn.Conv2d(8, 16, 3, padding=1), nn.Linear(64, 4)

    def forward(self, x):
        x = functional.relu(self.b1(self.c1(x)))
        x = functional.relu(x + self.b2(self.c2(x)))
        return self.f(functional.adaptive_avg_pool2d(functional.relu(self.c3(x)), (4, 1)).flatten(1))

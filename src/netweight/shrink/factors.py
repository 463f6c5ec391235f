"""Factors of a layer's weight: matrices and kernels of low rank, and the layers that they become.

    channel   W as outputs x (inputs x kernel), SVD: the kernel to r channels, then 1x1 to the outputs
    spatial   W as (inputs x height) x (width x outputs), SVD: k x 1 to r channels, then 1 x k (Jaderberg et al., arXiv 1405.3866)
    tucker    1x1 to r1 channels, the kernel to r2, 1x1 to the outputs; HOOI (Tucker-2: Kim et al., arXiv 1511.06530)
    cp        1x1 to r, k x 1 and 1 x k depthwise, 1x1 to the outputs; ALS (Lebedev et al., arXiv 1412.6553)

The singular values' square roots go to both factors of an SVD.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import torch

from . import layers

METHODS: Final = ("channel", "spatial", "tucker", "cp")
_SWEEPS: Final = 30
_RIDGE: Final = 1e-6


@dataclass(frozen=True)
class Part:
    """One layer of a factored one: its weight, and how a convolution is to be made of it."""

    weight: torch.Tensor
    stride: tuple[int, ...] = ()
    padding: Any = ()
    dilation: tuple[int, ...] = ()
    groups: int = 1


def can_factor(module: Any, method: str) -> bool:
    """Whether `method` applies: 2-D convolutions without groups for all, Linear and 1-D for channel alone."""
    if isinstance(module, layers.Linear):
        return method == "channel" and not module.frozen and min(module.raw.shape) > 1
    if not isinstance(module, (layers.Conv1d, layers.Conv2d)) or module.groups != 1 or module.frozen:
        return False
    if method == "channel":
        return min(module.raw.shape[:2]) > 1
    return isinstance(module, layers.Conv2d) and min(module.raw.shape) > 1 and not isinstance(module.padding, str)


def best_ranks(module: Any, method: str) -> int:
    """The rank beyond which nothing is gained in exactness."""
    rows, columns = module.weight.shape[:2]
    kernel = tuple(module.weight.shape[2:])
    if method == "channel":
        return int(min(rows, columns * _product(kernel)))
    if method == "spatial":
        return int(min(columns * kernel[0], rows * kernel[1]))
    return int(min(rows, columns)) if method == "tucker" else int(2 * max(rows, columns))


def _product(sizes: tuple[int, ...]) -> int:
    out = 1
    for n in sizes:
        out *= n
    return out


def tucker_ranks(module: Any, rank: int) -> tuple[int, int]:
    """(of inputs, of outputs): the rank is that of the smaller side, the other in proportion."""
    rows, columns = module.weight.shape[:2]
    small = min(rows, columns)
    return max(1, round(columns * rank / small)), max(1, round(rows * rank / small))


def cost_share(module: Any, method: str, rank: int) -> float:
    """Weights of the factored layer over those of the whole one; MACs too, but for strides between the factors."""
    rows, columns = map(int, module.weight.shape[:2])
    kernel = tuple(map(int, module.weight.shape[2:]))
    whole = rows * columns * _product(kernel)
    if method == "channel":
        return rank * (columns * _product(kernel) + rows) / whole
    if method == "spatial":
        return rank * (columns * kernel[0] + rows * kernel[1]) / whole
    if method == "tucker":
        r1, r2 = tucker_ranks(module, rank)
        return (columns * r1 + r1 * r2 * _product(kernel) + r2 * rows) / whole
    return rank * (columns + sum(kernel) + rows) / whole


def factored(module: Any, method: str, rank: int, root: torch.Tensor | None = None) -> list[Part]:
    """The layers that replace `module`; the bias is the last one's. `root`: C^(1/2) of the inputs' second moments C
    [columns x kernel]^2, by which an SVD's error is weighed (for "channel").
    """
    weight = module.weight.detach() if module.mask is None else module.weight.detach() * module.mask
    weight = weight.double()
    if method == "channel":
        return _channel(module, weight, rank, root)
    if method == "spatial":
        return _spatial(module, weight, rank)
    return _tucker(module, weight, rank) if method == "tucker" else _cp(module, weight, rank)


def truncated(matrix: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(left, right) of rank `rank` with left @ right nearest to float64 [m, n]; both carry roots of the singular values."""
    u, s, v = torch.linalg.svd(matrix, full_matrices=False)
    root = s[:rank].sqrt()
    return u[:, :rank] * root, root[:, None] * v[:rank]


def _channel(module: Any, weight: torch.Tensor, rank: int, root: torch.Tensor | None) -> list[Part]:
    rows = weight.flatten(1)
    if root is None:
        left, right = truncated(rows, rank)
    else:  # the projection of the weighed matrix on its first left singular vectors, applied to the plain one
        left = torch.linalg.svd(rows @ root, full_matrices=False)[0][:, :rank]
        right = left.T @ rows
        even = right.norm(dim=1).clamp_min(1e-12).sqrt()
        left, right = left * even, right / even[:, None]
    if weight.dim() == 2:
        return [Part(right), Part(left)]
    ones = (1,) * (weight.dim() - 2)
    first = Part(right.view(rank, *weight.shape[1:]), module.stride, module.padding, module.dilation)
    return [first, Part(left.view(*left.shape, *ones))]


def _spatial(module: Any, weight: torch.Tensor, rank: int) -> list[Part]:
    outputs, inputs, high, wide = weight.shape
    matrix = weight.permute(1, 2, 3, 0).reshape(inputs * high, wide * outputs)
    left, right = truncated(matrix, rank)
    first = left.T.reshape(rank, inputs, high, 1)
    second = right.reshape(rank, wide, outputs).permute(2, 0, 1).reshape(outputs, rank, 1, wide)
    (sh, sw), (ph, pw), (dh, dw) = module.stride, module.padding, module.dilation
    return [Part(first, (sh, 1), (ph, 0), (dh, 1)), Part(second, (1, sw), (0, pw), (1, dw))]


def _tucker(module: Any, weight: torch.Tensor, rank: int) -> list[Part]:
    r1, r2 = tucker_ranks(module, rank)
    outputs, inputs = weight.shape[:2]
    u = torch.linalg.svd(weight.flatten(1), full_matrices=False)[0][:, :r2]
    v = torch.linalg.svd(weight.transpose(0, 1).flatten(1), full_matrices=False)[0][:, :r1]
    for _ in range(_SWEEPS // 6):
        seen = torch.einsum("oihw,ir->orhw", weight, v)
        u = torch.linalg.svd(seen.flatten(1), full_matrices=False)[0][:, :r2]
        seen = torch.einsum("oihw,os->sihw", weight, u)
        v = torch.linalg.svd(seen.transpose(0, 1).flatten(1), full_matrices=False)[0][:, :r1]
    core = torch.einsum("oihw,os,ir->srhw", weight, u, v)
    return [
        Part(v.T.reshape(v.shape[1], inputs, 1, 1)),
        Part(core, module.stride, module.padding, module.dilation),
        Part(u.reshape(outputs, u.shape[1], 1, 1)),
    ]


def _cp(module: Any, weight: torch.Tensor, rank: int) -> list[Part]:
    factors = cp_factors(weight, rank)
    outputs, inputs, high, wide = factors
    (sh, sw), (ph, pw), (dh, dw) = module.stride, module.padding, module.dilation
    return [
        Part(inputs.T.reshape(rank, -1, 1, 1)),
        Part(high.T.reshape(rank, 1, -1, 1), (sh, 1), (ph, 0), (dh, 1), rank),
        Part(wide.T.reshape(rank, 1, 1, -1), (1, sw), (0, pw), (1, dw), rank),
        Part(outputs.reshape(-1, rank, 1, 1)),
    ]


def cp_factors(tensor: torch.Tensor, rank: int) -> list[torch.Tensor]:
    """Matrices [n_k, rank] whose rank-one terms add up to about `tensor`: alternating least squares with a small ridge.

    They start from the singular vectors of the unfoldings, and columns beyond those from a fixed random draw; the norms end up
    spread evenly.
    """
    draw = torch.Generator().manual_seed(0)
    factors = []
    for axis in range(tensor.dim()):
        u = torch.linalg.svd(tensor.movedim(axis, 0).flatten(1), full_matrices=False)[0][:, :rank]
        more = torch.randn(u.shape[0], rank - u.shape[1], generator=draw, dtype=u.dtype) / u.shape[0] ** 0.5
        factors.append(torch.cat([u, more], 1))
    for _ in range(_SWEEPS):
        for axis in range(tensor.dim()):
            others = [f for k, f in enumerate(factors) if k != axis]
            gram = torch.ones(rank, rank, dtype=tensor.dtype)
            joint = torch.ones(1, rank, dtype=tensor.dtype)
            for f in others:
                gram = gram * (f.T @ f)
                joint = (joint[:, None] * f[None]).reshape(-1, rank)
            ridge = _RIDGE * gram.diagonal().mean().clamp_min(1e-12) * torch.eye(rank, dtype=tensor.dtype)
            right = tensor.movedim(axis, 0).flatten(1) @ joint
            factors[axis] = torch.linalg.solve(gram + ridge, right.T).T
            if axis < tensor.dim() - 1:
                factors[axis] = factors[axis] / factors[axis].norm(dim=0).clamp_min(1e-12)
    size = factors[-1].norm(dim=0).clamp_min(1e-30) ** (1 / tensor.dim())
    return [f / f.norm(dim=0).clamp_min(1e-30) * size for f in factors]


def error(module: Any, parts: list[Part], method: str) -> torch.Tensor:
    """What the parts make together less the layer's weight, float64 of its shape."""
    weights = [p.weight for p in parts]
    whole = module.weight.detach().double()
    if method == "channel":
        made = (weights[1].flatten(1) @ weights[0].flatten(1)).view(whole.shape)
    elif method == "spatial":
        made = torch.einsum("rih,orw->oihw", weights[0][..., 0], weights[1][:, :, 0])
    elif method == "tucker":
        made = torch.einsum("ri,srhw,os->oihw", weights[0][..., 0, 0], weights[1], weights[2][..., 0, 0])
    else:
        made = torch.einsum(
            "ri,rh,rw,or->oihw",
            weights[0][..., 0, 0],
            weights[1][:, 0, :, 0],
            weights[2][:, 0, 0],
            weights[3][..., 0, 0],
        )
    off: torch.Tensor = made - whole
    return off

"""Functions that a network's graph may call, by name: pure operators of ATen, and arithmetic on sizes.

A saved network names its functions; only those on these lists are ever looked up, so a file can't make anything else
run. Every operator here is a pure function of its arguments: no randomness, no writing, no files.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, Final

import torch

from ..errors import FormatError


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ELEMENTWISE: Final = _words(
    """
    abs acos add addcdiv addcmul and asin atan atan2 bitwise_and bitwise_not bitwise_or bitwise_xor ceil celu
    clamp clamp_max clamp_min clip clone contiguous cos cosh detach detach_ div elu eq erf erfc exp exp2 expm1
    floor floor_divide fmod ge gelu gt hardsigmoid hardswish hardtanh isinf isnan le leaky_relu lerp log log10
    log1p log2 log_sigmoid logical_and logical_not logical_or logical_xor logit lt masked_fill maximum minimum
    mish mul ne neg pow prelu reciprocal relu relu6 remainder round rrelu rsqrt rsub selu sigmoid sign silu sin
    sinh softplus softsign sqrt square sub tan tanh threshold to true_divide trunc type_as where xlogy __and__
    __or__ __xor__ _to_copy alias lift_fresh_copy
    """
)
"""One output element for each element of the (broadcast) inputs."""

MOVES: Final = _words(
    """
    view reshape _unsafe_view flatten unflatten permute transpose t squeeze unsqueeze expand expand_as repeat
    repeat_interleave slice select narrow split split_with_sizes chunk unbind constant_pad_nd pad roll flip
    movedim pixel_shuffle pixel_unshuffle channel_shuffle swapaxes swapdims tensor_split numpy_T mT diagonal
    view_as reshape_as broadcast_to tile
    """
)
"""Outputs are inputs (or a constant), moved."""

SPATIAL: Final = _words(
    """
    max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d
    adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d upsample_nearest1d upsample_nearest2d
    upsample_nearest3d upsample_bilinear2d upsample_linear1d upsample_bicubic2d upsample_trilinear3d
    _upsample_nearest_exact2d reflection_pad1d reflection_pad2d replication_pad1d replication_pad2d
    instance_norm
    """
)
"""Each channel (axis 1) by itself."""

JOINS: Final = _words(
    """
    cat concat concatenate stack hstack vstack
    """
)
PRODUCTS: Final = _words(
    """
    matmul bmm mm baddbmm addmm linear einsum scaled_dot_product_attention dot outer
    """
)
REDUCTIONS: Final = _words(
    """
    sum mean amax amin prod var std var_mean norm linalg_vector_norm softmax log_softmax _softmax _log_softmax
    cumsum cumprod argmax argmin max min all any logsumexp count_nonzero
    """
)
CREATIONS: Final = _words(
    """
    zeros ones full empty new_zeros new_ones new_full new_empty zeros_like ones_like full_like empty_like arange
    scalar_tensor linspace eye
    """
)
OTHERS: Final = _words(
    """
    conv1d conv2d conv3d conv_transpose1d conv_transpose2d layer_norm rms_norm group_norm batch_norm embedding
    index index_select gather tril triu sym_size take_along_dim topk sort one_hot scatter masked_select
    cosine_similarity im2col col2im unfold unfold_copy meshgrid bucketize searchsorted
    """
)
ATEN: Final = ELEMENTWISE | MOVES | SPATIAL | JOINS | PRODUCTS | REDUCTIONS | CREATIONS | OTHERS

SIZES: Final[dict[str, Callable[..., Any]]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "floordiv": operator.floordiv,
    "mod": operator.mod,
    "neg": operator.neg,
    "truediv": operator.truediv,
    "getitem": operator.getitem,
    "min": min,
    "max": max,
}
_SIZE_NAMES: Final = {function: name for name, function in SIZES.items()}
_ALIASES: Final = {torch.sym_max: "max", torch.sym_min: "min"}


def base_name(target: Any) -> str:
    """The name without its overload: "relu" for aten.relu.default, "size.mul" for operator.mul; "" for what isn't allowed."""
    if isinstance(target, torch._ops.OpOverload):  # noqa: SLF001  there is no public name for the type
        space, _, name = target._schema.name.partition("::")  # noqa: SLF001
        return name if space == "aten" and name in ATEN else ""
    name = _SIZE_NAMES.get(target) or _ALIASES.get(target, "") if callable(target) else ""
    return f"size.{name}" if name else ""


def name_of(target: Any) -> str:
    """The name under which a function is saved; "" for what isn't allowed."""
    base = base_name(target)
    if not base or base.startswith("size."):
        return base
    overload = target._overloadname  # noqa: SLF001
    return base if overload == "default" else f"{base}.{overload}"


def function_named(name: str) -> Callable[..., Any]:
    """The inverse of `name_of`. Raises FormatError for a name that isn't on the lists."""
    if name.startswith("size."):
        found = SIZES.get(name.removeprefix("size."))
        if found is not None:
            return found
        raise FormatError(f"the network calls {name!r}, which isn't on the list of allowed functions")
    base, _, overload = name.partition(".")
    packet = getattr(torch.ops.aten, base, None) if base in ATEN else None
    if packet is None or (overload or "default") not in packet.overloads():
        raise FormatError(f"the network calls {name!r}, which isn't on the list of allowed functions")
    function: Callable[..., Any] = getattr(packet, overload or "default")
    return function

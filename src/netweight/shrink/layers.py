"""torch's layers with three optional parts: a mask, a grid of the weights, and a grid of what comes in.

A layer is `frozen` when its weights are integers and steps: they are all that is saved, and exactly what runs.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import nn
from torch.nn import functional

from .grids import ActivationGrid, WeightGrid

GATES: Final = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}


class Shaped(nn.Module):
    """What the layers share; mixed into a torch layer whose parameter is `weight`.

    `mask`: bool of the weight's shape, or None. `grid`, `input_grid`: or None. Frozen: `weight` is None, `integers`
    (int8) and `steps` (float32, as many axes as the weight) are there.
    """

    mask: torch.Tensor | None
    grid: WeightGrid | None
    input_grid: ActivationGrid | None
    integers: torch.Tensor | None
    steps: torch.Tensor | None
    axis = 0

    def add_parts(self) -> None:
        """To be called once, after the torch layer's __init__."""
        for name in ("mask", "integers", "steps"):
            self.register_buffer(name, None)
        self.grid, self.input_grid = None, None
        self._dense: torch.Tensor | None = None

    @property
    def frozen(self) -> bool:
        return self.integers is not None

    @property
    def weight_rank(self) -> int:
        """Axes of the weight."""
        kept: Any = self.weight if self.integers is None else self.integers
        return int(kept.dim())

    @property
    def raw(self) -> torch.Tensor:
        """The weight as it is trained, or the frozen one."""
        kept: torch.Tensor = self.effective() if self.frozen else self.weight  # type: ignore[assignment]
        return kept

    def effective(self) -> torch.Tensor:
        """The weight that multiplies."""
        if self.integers is not None and self.steps is not None:
            if self._dense is None or self._dense.device != self.integers.device:
                self._dense = self.integers.to(self.steps.dtype) * self.steps
            return self._dense
        weight: Any = self.weight
        if self.mask is not None:
            weight = weight * self.mask
        made: torch.Tensor = weight if self.grid is None else self.grid(weight)
        return made

    def seen(self, x: torch.Tensor) -> torch.Tensor:
        """The input as the layer sees it."""
        return x if self.input_grid is None else self.input_grid(x)

    def freeze(self) -> None:
        """Weights become integers and steps, the ones that `effective` multiplied."""
        if self.frozen or self.grid is None:
            return
        with torch.no_grad():
            weight = self.raw if self.mask is None else self.raw * self.mask
            self.integers = self.grid.integers(weight)
            self.steps = self.grid.steps(weight).detach().clone()
        self.grid, self.mask = None, None
        self.register_parameter("weight", None)

    def frozen_weight_bits(self) -> int:
        """Bits of the grid that holds the integers."""
        assert self.integers is not None
        return max(2, int(self.integers.abs().max()).bit_length() + 1) if self.integers.numel() else 2

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        self._dense = None
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call]


class Linear(Shaped, nn.Linear):
    """torch.nn.Linear."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        nn.Linear.__init__(self, *args, **kwargs)
        self.add_parts()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.linear(self.seen(x), self.effective(), self.bias)


class Conv1d(Shaped, nn.Conv1d):
    """torch.nn.Conv1d."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        nn.Conv1d.__init__(self, *args, **kwargs)
        self.add_parts()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._conv_forward(self.seen(x), self.effective(), self.bias)  # type: ignore[no-any-return]


class Conv2d(Shaped, nn.Conv2d):
    """torch.nn.Conv2d."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        nn.Conv2d.__init__(self, *args, **kwargs)
        self.add_parts()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._conv_forward(self.seen(x), self.effective(), self.bias)  # type: ignore[no-any-return]


class Conv3d(Shaped, nn.Conv3d):
    """torch.nn.Conv3d."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        nn.Conv3d.__init__(self, *args, **kwargs)
        self.add_parts()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._conv_forward(self.seen(x), self.effective(), self.bias)  # type: ignore[no-any-return]


class ConvTranspose1d(Shaped, nn.ConvTranspose1d):
    """torch.nn.ConvTranspose1d; steps lie along the outputs of a group."""

    axis = 1

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        nn.ConvTranspose1d.__init__(self, *args, **kwargs)
        self.add_parts()

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        padding: Any = self.padding
        sizes = (self.stride, padding, self.output_padding, self.groups, self.dilation)
        return functional.conv_transpose1d(self.seen(x), self.effective(), self.bias, *sizes)


class ConvTranspose2d(Shaped, nn.ConvTranspose2d):
    """torch.nn.ConvTranspose2d; steps lie along the outputs of a group."""

    axis = 1

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        nn.ConvTranspose2d.__init__(self, *args, **kwargs)
        self.add_parts()

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        padding: Any = self.padding
        sizes = (self.stride, padding, self.output_padding, self.groups, self.dilation)
        return functional.conv_transpose2d(self.seen(x), self.effective(), self.bias, *sizes)


class Embedding(Shaped, nn.Embedding):  # type: ignore[misc]
    """torch.nn.Embedding; its input is never quantised. Steps lie along the features."""

    axis = 1

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        nn.Embedding.__init__(self, *args, **kwargs)
        self.add_parts()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.embedding(x, self.effective(), self.padding_idx)


class Recurrent(nn.Module):
    """torch's LSTM, GRU and RNN as functions of (x, h0) or (x, h0, c0), with the parameters and names that torch gives them.

    `kind` is one of GATES. `grids` holds a WeightGrid for a matrix by its name. Frozen, a matrix is None and
    `integers_NAME`, `steps_NAME` are there. Outputs are those of torch.lstm (three) or torch.gru (two).
    """

    def __init__(
        self, kind: str, input_size: int, hidden_size: int, num_layers: int, bias: bool, dropout: float,
        bidirectional: bool, batch_first: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        self.kind, self.input_size, self.hidden_size, self.num_layers = kind, input_size, hidden_size, num_layers
        self.bias, self.dropout, self.bidirectional, self.batch_first = bias, dropout, bidirectional, batch_first
        self.grids = nn.ModuleDict()
        self.input_grid: ActivationGrid | None = None
        rows = GATES[kind] * hidden_size
        for layer in range(num_layers):
            wide = input_size if layer == 0 else hidden_size * (1 + bidirectional)
            for end in [f"_l{layer}", f"_l{layer}_reverse"][: 1 + bidirectional]:
                self.register_parameter(f"weight_ih{end}", nn.Parameter(torch.empty(rows, wide)))
                self.register_parameter(f"weight_hh{end}", nn.Parameter(torch.empty(rows, hidden_size)))
                for name in (f"bias_ih{end}", f"bias_hh{end}") if bias else ():
                    self.register_parameter(name, nn.Parameter(torch.empty(rows)))
        self.names = [name for name, _ in self.named_parameters()]

    @property
    def frozen(self) -> bool:
        return any(getattr(self, name) is None for name in self.names)

    @property
    def matrix_names(self) -> list[str]:
        return [name for name in self.names if name.startswith("weight")]

    def effective(self, name: str) -> torch.Tensor:
        """A matrix or bias as it multiplies."""
        value = getattr(self, name)
        if value is None:
            steps = getattr(self, f"steps_{name}")
            return getattr(self, f"integers_{name}").to(steps.dtype) * steps  # type: ignore[no-any-return]
        return self.grids[name](value) if name in self.grids else value  # type: ignore[no-any-return]

    def forward(self, x: torch.Tensor, *states: torch.Tensor) -> tuple[torch.Tensor, ...]:
        seen = x if self.input_grid is None else self.input_grid(x)
        state = list(states) if self.kind == "lstm" else states[0]
        return getattr(torch, self.kind)(  # type: ignore[no-any-return]
            seen, state, [self.effective(name) for name in self.names], self.bias, self.num_layers, self.dropout,
            self.training, self.bidirectional, self.batch_first,
        )  # fmt: skip

    def freeze(self) -> None:
        """Matrices with a grid become integers and steps."""
        for name, grid in list(self.grids.items()):
            assert isinstance(grid, WeightGrid)
            weight = getattr(self, name).detach()
            self.register_buffer(f"integers_{name}", grid.integers(weight))
            self.register_buffer(f"steps_{name}", grid.steps(weight).detach().clone())
            setattr(self, name, None)
        self.grids = nn.ModuleDict()


WEIGHTED: Final = (Linear, Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, Embedding)
"""Layers with one weight."""

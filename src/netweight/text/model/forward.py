"""The forward pass over rows of positions: from tokens to residuals, from residuals to logits."""

from __future__ import annotations

from math import isqrt
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from . import attention, rows
from .cache import Layer, State
from .linear import Int16, Linear, Matrix
from .network import Block, Network, Norm
from .pool import Threads
from .tables import EXP_STEPS, LOG2_E

Int32 = NDArray[np.int32]
Residuals = NDArray[np.int64]
_UNTURNED: Final = np.zeros((0, 0), np.float32)
_HEAD_ROWS: Final = 64  # logits are worked out for so many rows at once: what the products hand over stays small


class Forward:
    """A network, the kernel of its products, and threads for what can be done side by side."""

    def __init__(self, network: Network, linear: Linear, threads: Threads) -> None:
        self._network, self._linear, self._threads = network, linear, threads

    def run(self, state: State, tokens: Int32) -> Residuals:
        """Takes tokens (int32 [batch, n]) into the cache; their last residuals: int64 [batch * n, width] in Q24."""
        count = tokens.shape[1]
        x = np.empty((tokens.size, state.config.width), np.int64)
        embedding = self._network.embedding
        args = (embedding.values, embedding.scales, self._network.positions, state.count, count)
        rows.embed(tokens.reshape(-1), *args, x)
        for block, layer in zip(self._network.blocks, state.layers, strict=True):
            self._attend(state, block, layer, count, x)
            self._feed_forward(state, block, x)
        state.count += count
        return x

    def logits(self, state: State, x: Residuals, at: int, out: Int32) -> None:
        """Q12 logits of residuals int64 [batch * n, width], into the columns from `at` of out (int32 [batch, n, V])."""
        head = self._network.head
        count = len(x) // state.batch
        for first in range(0, len(x), _HEAD_ROWS):
            tile = x[first : first + _HEAD_ROWS]
            normal, scales = self._normalise(state, tile, self._network.norm, head.limit)
            rows.to_logits(self._times(normal, head), scales, head.scales, first, count, at, out)

    def _normalise(self, state: State, x: Residuals, norm: Norm, limit: int) -> tuple[Int16, Any]:
        out, scales = np.empty(x.shape, np.int16), np.empty(len(x), np.float64)
        fixed = (norm.gain, norm.bias, state.config.epsilon, state.config.centred, limit)
        self._threads.over(lambda s: rows.normalise(x[s], *fixed, out[s], scales[s]), len(x))
        return out, scales

    def _times(self, x: Int16, matrix: Matrix) -> Int32:
        return self._linear.apply(x, matrix, self._threads.over)

    def _attend(self, state: State, block: Block, layer: Layer, count: int, x: Residuals) -> None:
        config, net = state.config, self._network
        normal, scales = self._normalise(state, x, block.before_attention, block.qkv.matrix.limit)
        acc = self._times(normal, block.qkv.matrix)
        product = (acc, scales, block.qkv.matrix.scales, block.qkv.bias)
        turns = (net.cosines, net.sines, state.count)
        q = np.empty((state.batch, count, config.heads, config.head_size), np.int16)
        q_scales = np.empty(q.shape[:3], np.float32)
        rows.make_queries(*product, *turns, _score_unit(config.head_size), q, q_scales)
        key_at = config.heads * config.head_size
        rows.store_keys(*product, *turns, key_at, layer.k, layer.k_scales)
        value_at = key_at + config.kv_heads * config.head_size
        rows.store_values(*product, _UNTURNED, state.count, value_at, layer.v, layer.v_scales, layer.v_most)
        seen = np.empty(q.shape, np.float64)
        self._look(q, q_scales, layer, state.count, seen)
        self._add(seen.reshape(len(x), -1), block.out.matrix, block.out.bias, x)

    def _look(self, q: Int16, q_scales: NDArray[np.float32], layer: Layer, start: int, out: Any) -> None:
        batch, count = q.shape[:2]
        heads = layer.k.shape[1]
        if count >= attention.DIRECT_ROWS:
            tasks = [(b, h) for b in range(batch) for h in range(heads)]
            self._threads.map(lambda task: attention.attend_blocks(q, q_scales, layer, start, task, out), tasks)
            return
        cache = (layer.k, layer.k_scales, layer.v, layer.v_scales, layer.v_most)
        self._threads.map(
            lambda b: attention.attend_direct(q, q_scales, *cache, start, b * heads, (b + 1) * heads, out), range(batch)
        )

    def _add(self, y: NDArray[np.float64], matrix: Matrix, bias: NDArray[np.float64], x: Residuals) -> None:
        out, scales = np.empty(y.shape, np.int16), np.empty(len(y), np.float64)
        rows.quantise(y, matrix.limit, out, scales)
        rows.add_residual(self._times(out, matrix), scales, matrix.scales, bias, x)

    def _feed_forward(self, state: State, block: Block, x: Residuals) -> None:
        up, down = block.up, block.down
        normal, scales = self._normalise(state, x, block.before_hidden, up.matrix.limit)
        acc = self._times(normal, up.matrix)
        out, out_scales = np.empty((len(x), state.config.hidden), np.int16), np.empty(len(x), np.float64)
        fixed = (up.matrix.scales, up.bias, state.config.gated, down.matrix.limit)
        self._threads.over(lambda s: rows.gate(acc[s], scales[s], *fixed, out[s], out_scales[s]), len(x))
        rows.add_residual(self._times(out, down.matrix), out_scales, down.matrix.scales, down.bias, x)


def _score_unit(head_size: int) -> float:
    """1 / sqrt(head_size) in steps of the exponential's table."""
    root = isqrt(head_size << 80) / (1 << 40)
    return EXP_STEPS * LOG2_E / root

"""Labels of channels and what ties them.

An *atom* is one row or column of a parameter (or one element of a parameter used directly). A *label array* tells which atom
each index of a value belongs to: int64, as many axes as the value, of size 1 along axes that it doesn't depend on, and NONE
where nothing can be removed. Atoms that must go together are tied; those that must stay are kept.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64]

NONE: Final = -1


class Atoms:
    """A growing set of atoms with ties."""

    def __init__(self) -> None:
        self.count = 0
        self._ties: list[tuple[Labels, Labels]] = []
        self._kept: list[Labels] = []
        self.blocks: list[Labels] = []

    def fresh(self, count: int) -> Labels:
        """New atoms, int64 [count]."""
        self.count += count
        return np.arange(self.count - count, self.count)

    def tie(self, a: Labels, b: Labels) -> None:
        """Elementwise; both broadcast, and where either is NONE nothing is tied."""
        a, b = np.broadcast_arrays(a, b)
        real = (a != NONE) & (b != NONE) & (a != b)
        if real.any():
            self._ties.append((a[real], b[real]))

    def keep(self, a: Labels) -> None:
        """These can't be removed."""
        if (a != NONE).any():
            self._kept.append(np.unique(a[a != NONE]))

    def fix(self, labels: Labels, axes: tuple[int, ...]) -> Labels:
        """Nothing can be removed along these axes; what is left of the labels, of size 1 there."""
        axes = tuple(a for a in axes if labels.shape[a] > 1)
        if not axes:
            return labels
        first = labels[tuple(slice(0, 1) if a in axes else slice(None) for a in range(labels.ndim))]
        self.tie(labels, first)
        if all(n == 1 for n in first.shape):
            self.keep(labels)
            return np.full(first.shape, NONE)
        return first

    def keep_shape(self, labels: Labels) -> Labels:
        """A label array as it may be used: one that depends on no axis keeps its atom. Notes those of several axes."""
        varying = sum(n > 1 for n in labels.shape)
        if varying == 0:
            self.keep(labels)
            return np.full(labels.shape, NONE)
        if varying > 1 and (labels != NONE).any():
            self.blocks.append(labels)
        return labels

    def solved(self) -> tuple[Labels, NDArray[np.bool_]]:
        """(group of each atom: its lowest atom; whether the group of each atom is kept)."""
        parent = self._components()
        for block in reversed(self.blocks):
            parent = self._settle(block, parent)
        kept = np.zeros(self.count, bool)
        for atoms in self._kept:
            kept[parent[atoms]] = True
        return parent, kept[parent]

    def _settle(self, block: Labels, parent: Labels) -> Labels:
        """Tie so that removing a group shrinks a value along one axis only: the one that leaves most groups."""
        if (block == NONE).any():
            self.keep(block)
            return parent
        groups = parent[block]
        ties = []
        for axis in range(block.ndim):
            if block.shape[axis] > 1:
                others = tuple(a for a in range(block.ndim) if a != axis)
                lowest = groups.min(axis=others, keepdims=True)
                ties.append((np.unique(_merged(groups, lowest)).size, -axis, lowest))
        _, _, lowest = max(ties, key=lambda t: t[:2])
        spread = np.broadcast_to(lowest, groups.shape)
        if np.array_equal(spread, groups):
            return parent
        self._ties.append((groups.ravel(), spread.ravel()))
        return self._components()

    def _components(self) -> Labels:
        if not self._ties:
            return np.arange(self.count)
        a = np.concatenate([x for x, _ in self._ties])
        b = np.concatenate([y for _, y in self._ties])
        pairs = np.unique(np.stack([np.minimum(a, b), np.maximum(a, b)]), axis=1)
        self._ties = [(pairs[0], pairs[1])]
        return _joined(self.count, pairs[0], pairs[1])


def _joined(count: int, a: Labels, b: Labels) -> Labels:
    """The lowest atom of each connected component, by hooking and pointer jumping."""
    parent = np.arange(count)
    while True:
        low, high = np.minimum(parent[a], parent[b]), np.maximum(parent[a], parent[b])
        if np.array_equal(low, high):
            return parent
        np.minimum.at(parent, high, low)
        while not np.array_equal(parent, parent[parent]):
            parent = parent[parent]


def _merged(groups: Labels, lowest: Labels) -> Labels:
    """The groups of `groups` if each of its elements were tied to `lowest` (broadcast)."""
    names, inverse = np.unique(groups, return_inverse=True)
    targets = np.searchsorted(names, np.broadcast_to(lowest, groups.shape).ravel())
    return _joined(names.size, inverse.ravel(), targets)[inverse.ravel()]


def compressed(full: Labels) -> Labels:
    """A label array of the value's own shape, of size 1 along axes that it doesn't depend on."""
    for axis in range(full.ndim):
        first = full.take([0], axis=axis) if full.shape[axis] else full
        if full.shape[axis] > 1 and (full == first).all():
            full = first
    return full

"""The sender's choices for a block of units: alphabet, classes of columns, stride and first weights, each by its price on a sample."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .alphabet import FLOAT, GRID, PATH, Alphabet
from .canonical import Owned
from .unit_forms import PRESETS, Part, rounded_weights
from .urn import Ints
from .urn_walk import CLASSES

Array = NDArray[Any]

_SAMPLE: Final = 1 << 18  # numbers that choices are made on
_OWN_BITS: Final = 56.0  # of weights of a tensor's own
_CLASS_BITS: Final = 2.0  # of a column's class, about
_LEAST_COLUMNS: Final = 16
_CANDIDATES: Final = 2
_FARTHEST: Final = 1 << 10
_CLEAR: Final = 3.0  # standard errors


def chosen(owned: Owned, alphabet: Alphabet, keys: Ints) -> Part:
    """How to predict keys [units, columns] of one tensor."""
    rows = max(1, min(len(keys), _SAMPLE // max(1, keys.shape[1])))
    sample = keys[np.linspace(0, len(keys) - 1, rows).astype(np.int64)]
    share = len(keys) / rows
    plain = Part(owned, alphabet)
    best, price = plain, _price(plain, sample) * share
    if alphabet.signs:
        part = replace(plain, plain_signs=True)
        best, price = min((best, price), (part, _price(part, sample) * share), key=lambda found: found[1])
    for part in _classed(best, sample):
        own = _price(part, sample) * share + _CLASS_BITS * keys.shape[1]
        best, price = min((best, price), (part, own), key=lambda found: found[1])
    for stride in strides(alphabet, sample):
        part = replace(best, stride=stride)
        own = _price(part, sample) * share + 8
        best, price = min((best, price), (part, own), key=lambda found: found[1])
    if best.stride and best.plain_signs:
        part = replace(best, plain_signs=False)
        best, price = min((best, price), (part, _price(part, sample) * share), key=lambda found: found[1])
    base = best
    for weights in range(1, len(PRESETS)):
        part = replace(base, weights=weights)
        best, price = min((best, price), (part, _price(part, sample) * share), key=lambda found: found[1])
    learnt = replace(base, weights=_learnt(best, sample))
    return min((best, price), (learnt, _price(learnt, sample) * share + _OWN_BITS), key=lambda found: found[1])[0]


def _price(part: Part, keys: Ints) -> float:
    """Bits of all records, a bound."""
    urn = part.urn(keys.shape[1])
    return sum(urn.add(part.alphabet.split(row)) for row in keys)


def _learnt(part: Part, keys: Ints) -> Ints:
    urn = part.urn(keys.shape[1])
    for row in keys:
        urn.learn(part.alphabet.split(row))
    return rounded_weights(urn.mean_weights)


def _sizes(alphabet: Alphabet, keys: Ints) -> NDArray[np.float64]:
    """float64 like `keys`: log2 of sizes, about."""
    if alphabet.kind == FLOAT:
        return np.asarray(-alphabet.levels[alphabet.split(keys)[0]] / 2, np.float64)
    return np.asarray(np.log2(1.0 + (keys >> 1)), np.float64)


def _classed(part: Part, keys: Ints) -> Iterator[Part]:
    """The part with its columns in classes of their mean size."""
    columns = keys.shape[1]
    if columns >= _LEAST_COLUMNS and len(keys) > 1 and part.alphabet.groups is None:
        means = _sizes(part.alphabet, keys).mean(axis=0)
        spread = 4 if part.alphabet.kind == FLOAT else 8
        classes = np.rint(spread * (means - np.median(means))).astype(np.int64) + CLASSES // 2
        if classes.min() < classes.max():
            yield replace(part, classes=np.clip(classes, 0, CLASSES - 1))


def strides(alphabet: Alphabet, keys: Ints) -> list[int]:
    """Distances at which sizes of columns are most alike, beyond the neighbours: rows of images, kernels."""
    columns = keys.shape[1]
    if columns < _LEAST_COLUMNS or alphabet.kind not in (FLOAT, GRID, PATH):
        return []
    sizes = _sizes(alphabet, keys)
    sizes -= sizes.mean(axis=1, keepdims=True)
    scale = float(np.square(sizes).mean())
    if not scale:
        return []
    found = {}
    for s in range(3, min(columns // 2, _FARTHEST) + 1):
        if columns % s == 0:
            found[s] = float((sizes[:, s:] * sizes[:, :-s]).mean()) / scale
    noise = _CLEAR / np.sqrt(keys.size)
    return [s for s in sorted(found, key=lambda s: -found[s]) if found[s] > noise][:_CANDIDATES]


def cheapest(owned: Owned, alphabets: Sequence[tuple[Alphabet, Ints]]) -> tuple[Part, Ints]:
    """Of alphabets with the keys that they give, the cheaper one with its choices."""
    made = [(chosen(owned, alphabet, keys), keys) for alphabet, keys in alphabets]
    if len(made) == 1:
        return made[0]
    return min(made, key=lambda found: _price(found[0], found[1][: 1 + _SAMPLE // max(1, found[1].shape[1])]))

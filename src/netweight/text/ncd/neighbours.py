"""k nearest neighbours with an explicit rule for ties: references that are equally far are in random order.

That is, the k nearest are drawn fairly where more than enough are equally far, and labels with equally many votes have
equal chances. `chances` gives the probability of each label exactly, so accuracy under random tie-breaking is an
expectation and not one draw (and not, as in npc_gzip with k = 2, right whenever any of the tied labels is).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import comb
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_NOTHING: Final = {(0, 0): 1}


def chances(distances: Floats, labels: NDArray[np.int64], classes: int, k: int = 1) -> Floats:
    """P(label) for each row of distances [queries, references]: float64 [queries, classes].

    labels: int64 [references], in range(classes). References at an infinite distance are never neighbours; a query
    without any has equal chances for all classes.
    """
    return np.array([_row(row, labels, classes, k) for row in distances]).reshape(-1, classes)


def _row(row: Floats, labels: NDArray[np.int64], classes: int, k: int) -> Floats:
    near = np.isfinite(row)
    k = min(k, int(near.sum()))
    if k == 0:
        return np.full(classes, 1 / classes)
    edge = np.partition(row, k - 1)[k - 1]
    sure = np.bincount(labels[row < edge], minlength=classes)
    tied = np.bincount(labels[row == edge], minlength=classes)
    drawn = k - int(sure.sum())
    if k == 1:
        alone: Floats = tied / tied.sum()
        return alone
    wins = np.array([_wins(c, sure, tied, drawn) for c in range(classes)])
    chance: Floats = wins / wins.sum()
    return chance


def _wins(label: int, sure: NDArray[np.int64], tied: NDArray[np.int64], drawn: int) -> float:
    """Ways to draw among the tied references in which `label` has the most votes, shared ones divided."""
    others = [c for c in range(len(sure)) if c != label and sure[c] + tied[c]]
    total = 0.0
    for own in range(min(int(tied[label]), drawn) + 1):
        votes = int(sure[label]) + own
        if votes == 0:
            continue
        ways = _ways(others, sure, tied, drawn - own, votes)
        total += comb(int(tied[label]), own) * sum(
            count / (1 + equal) for (used, equal), count in ways.items() if used == drawn - own
        )
    return total


def _ways(
    others: Sequence[int], sure: NDArray[np.int64], tied: NDArray[np.int64], drawn: int, votes: int
) -> dict[tuple[int, int], int]:
    """Ways to draw up to `drawn` references of other labels, none with more than `votes` votes, by (drawn, equal labels)."""
    ways = dict(_NOTHING)
    for c in others:
        following: dict[tuple[int, int], int] = {}
        for (used, equal), count in ways.items():
            for more in range(min(int(tied[c]), drawn - used, votes - int(sure[c])) + 1):
                key = used + more, equal + (sure[c] + more == votes)
                following[key] = following.get(key, 0) + count * comb(int(tied[c]), more)
        ways = following
    return ways


def expected_accuracy(chance: Floats, truth: NDArray[np.int64]) -> Floats:
    """P(right) for each query: chance [queries, classes], truth int64 [queries], -1 for a label that isn't a class."""
    right = chance[np.arange(len(truth)), truth]
    return np.where(truth < 0, 0.0, right)

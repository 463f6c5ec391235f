"""The next token of one text, coded under a language model that learns what the text is like (numba kernels, integers).

A step: the model's logits and a learnt bias make masses (softmax.py); features boost the likely ones (features.py); a few
candidates, from the text before and the model's two best, are asked for in order of their mass (questions.py); a token
that is none of them is coded by its share of the remaining masses. Then all of it learns. The same kernel encodes and
decodes: the coder says which.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ...entropy.range_coder import DECODING, narrow, target
from . import softmax
from .features import FEATURES, MOST_ACTIVE, boost, find_active, find_features, learn_features
from .history import MOST, History, append, candidates, make_history
from .questions import Questions, ask, make_questions

BIAS_RATE: Final = 12000
"""Of the bias, in Q16 nats."""
_LISTED: Final = MOST + 2

_kernel: Any = njit(nogil=True, cache=True, error_model="numpy")


class TokenModel(NamedTuple):
    """What one text has taught, and room to work. V is the vocabulary."""

    history: History
    questions: Questions
    table: NDArray[np.int32]
    """Weights of features, Q16 nats."""
    bias: NDArray[np.int32]
    """[V], Q16 nats."""
    mass: NDArray[np.int64]
    """[V]"""
    features: NDArray[np.int64]
    active: NDArray[np.int64]
    listed: NDArray[np.int64]
    """[3, candidates]: tokens, the orders that they were seen at, their masses while these are set aside."""
    done: NDArray[np.int64]
    """[1]: tokens so far."""


def make_token_model(vocabulary: int, length: int) -> TokenModel:
    """For a text of at most `length` tokens; takes some 100 bytes a token and 12 an entry of the vocabulary."""
    slots = 1 << max(10, min(22, (64 * length).bit_length()))
    return TokenModel(
        make_history(length),
        make_questions(length),
        np.zeros(slots, np.int32),
        np.zeros(vocabulary, np.int32),
        np.zeros(vocabulary, np.int64),
        np.zeros(FEATURES, np.int64),
        np.zeros(MOST_ACTIVE, np.int64),
        np.zeros((3, _LISTED), np.int64),
        np.zeros(1, np.int64),
    )


@_kernel
def _list(history, count, best, second, listed):  # type: ignore[no-untyped-def]
    """Candidates from the text and the model; (how many, longest match)."""
    found, seen = listed[0], listed[1]
    n, longest = candidates(history, count, found[:MOST], seen)
    for token in (best, second):
        j = 0
        while j < n and found[j] != token:
            j += 1
        if j == n:
            found[n], seen[n] = token, 0
            n += 1
    return n, longest


@_kernel
def _sort(mass, listed, n):  # type: ignore[no-untyped-def]
    """The candidates by falling mass, equal ones in the order that they were found in."""
    found, seen = listed[0], listed[1]
    for i in range(1, n):
        token, flags, j = found[i], seen[i], i
        while j > 0 and mass[found[j - 1]] < mass[token]:
            found[j], seen[j] = found[j - 1], seen[j - 1]
            j -= 1
        found[j], seen[j] = token, flags


@_kernel
def _code_rest(coder, buffer, mass, total, token):  # type: ignore[no-untyped-def]
    """Code a token by its share of the masses that are left."""
    start, t = np.int64(0), np.int64(0)
    if coder[DECODING]:
        wanted = target(coder, total)
        while start + mass[t] <= wanted:
            start += mass[t]
            t += 1
    else:
        while t < token:
            start += mass[t]
            t += 1
    narrow(coder, buffer, start, mass[t], total)
    return t


@_kernel
def _code(model, coder, buffer, total, n, longest, best, token):  # type: ignore[no-untyped-def]
    """Ask for the candidates, then code what is none of them; the token. The masses are what they were before."""
    history, questions, mass, listed = model.history, model.questions, model.mass, model.listed
    found, seen, aside = listed[0], listed[1], listed[2]
    answer, rest, asked = np.int64(-1), total, 0
    while asked < n and answer < 0:
        candidate = found[asked]
        part = mass[candidate]
        yes = np.int64(1)  # the only token that is left needs no question
        if part < rest:
            yes = ask(
                questions, coder, buffer, history.hashes, candidate, part, rest, seen[asked], longest, asked,
                candidate == best, np.int64(token == candidate),
            )  # fmt: skip
        aside[asked] = part
        asked += 1
        if yes:
            answer = candidate
        else:
            rest -= part
            mass[candidate] = 0
    if answer < 0:
        answer = _code_rest(coder, buffer, mass, rest, token)
    for j in range(asked):
        mass[found[j]] = aside[j]
    return answer


@_kernel
def code_tokens(model, coder, buffer, logits, shift, tokens):  # type: ignore[no-untyped-def]
    """Code `tokens` (int32 [n]) under `logits` (int32 [n, V], 16 - shift fractional bits), or decode and fill them."""
    history, mass, bias, listed = model.history, model.mass, model.bias, model.listed
    for i in range(tokens.size):
        count = model.done[0]
        total, best = softmax.masses(logits[i], bias, shift, softmax.UNIT_SCALE, mass)
        second = softmax.second(mass, best)
        n, longest = _list(history, count, best, second, listed)
        find_features(history.hashes, best, second, model.features)
        active = find_active(mass, total, listed[0], n, model.active)
        total = boost(model.table, model.features, mass, total, model.active, active)
        _sort(mass, listed, n)
        token = _code(model, coder, buffer, total, n, longest, best, np.int64(tokens[i]))
        learn_features(model.table, model.features, mass, total, model.active, active, token)
        softmax.learn_bias(mass, total, bias, token, BIAS_RATE)
        append(history, count, token)
        model.done[0] = count + 1
        tokens[i] = token

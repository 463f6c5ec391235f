"""Relative entropy coding: a sample of the posterior named by its number among samples of the prior that both can draw.

The receiver needs the prior and a seed, not the posterior. Weights go in blocks of at most `LIMIT` bits of KL divergence; the
block's number is drawn from 2^BITS candidates with weights posterior / prior (minimal random coding: Havasi et al.,
ICLR 2019, algorithm 1). Candidates are popped, as exact integers, from a message of pseudo-random words; one table
serves all blocks. What it costs over the KL divergence is `BITS` - KL a block and the block's length. A weight that is known
too well for so few candidates goes by its cell under the prior, at more bits.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ...entropy.codes import Code, Map, Symbols, Uniform
from ...entropy.normal import POINT, Normals
from ...entropy.stack import Stack
from ...errors import FormatError
from ...wire import Reader, Writer
from .gaussians import CELLS_PER_SIGMA, Posterior, prior_code, weights_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BITS: Final = 16
LIMIT: Final = 14.0
ALONE: Final = 0  # the length that says: one weight, by its cell
LONGEST: Final = 32


@lru_cache(maxsize=1)
def candidates(seed: int, longest: int = LONGEST) -> Ints:
    """Int64 [2^BITS, longest], read-only: samples of the prior in cells, the same on every machine; its columns don't
    depend on how many there are.
    """
    count = longest << BITS
    raw = np.random.PCG64(seed).random_raw((LONGEST << BITS) // 2 + 16)  # 32 random bits a sample: more than it takes
    stack = Stack.from_bytes(raw[::-1].astype("<u8").tobytes() + (1 << 48).to_bytes(7, "little"))
    normals = Normals(count, 0, CELLS_PER_SIGMA << POINT)  # without a floor: it would draw outliers
    table = np.ascontiguousarray(normals.pop(stack).reshape(longest, 1 << BITS).T)
    table.flags.writeable = False  # it is shared
    return table


def blocks(posterior: Posterior) -> list[int]:
    """Lengths of consecutive blocks of at most `LIMIT` bits, `ALONE` for a weight with more than that."""
    found: list[int] = []
    total = math.inf  # begin a block
    for bits in posterior.divergences():
        if bits > LIMIT:
            found.append(ALONE)
            total = math.inf  # begin a block
        elif total + bits > LIMIT or found[-1] == LONGEST:
            found.append(1)
            total = bits
        else:
            found[-1] += 1
            total += bits
    return found


def _choose(table: Floats, means: Floats, widths: Floats, random: np.random.Generator) -> int:
    """A row of `table` (float64 [rows, n], in sigmas), drawn in proportion to posterior over prior (Gumbel's way)."""
    z = (table - means) / widths
    log_ratio = (0.5 * table * table - 0.5 * z * z).sum(axis=1)
    return int((log_ratio + random.gumbel(size=len(table))).argmax())


def choose(posterior: Posterior, seed: int, draw: int = 0) -> tuple[list[int], list[int]]:
    """(lengths, numbers) of the blocks, the number of a weight `ALONE` being its cell; `draw` seeds the sender's own choices,
    which the receiver needn't know.
    """
    lengths, numbers, at = blocks(posterior), [], 0
    table = candidates(seed, max(lengths, default=0)) / CELLS_PER_SIGMA
    random = np.random.Generator(np.random.PCG64(draw))
    for length in lengths:
        own = slice(at, at + (length or 1))
        means, widths = posterior.means[own] / posterior.sigma, posterior.widths[own] / posterior.sigma
        if length == ALONE:
            numbers.append(round(float(random.normal(means[0], widths[0])) * CELLS_PER_SIGMA))
        else:
            numbers.append(_choose(table[:, :length], means, widths, random))
        at = own.stop
    return lengths, numbers


def _length_code(seen: Ints) -> Symbols:
    """The next length, 0 .. LONGEST, by how often each was `seen` (int64 [LONGEST + 1]) and a little for those never seen."""
    shares = 8 * seen + 1
    frequencies = 1 + shares * ((1 << 16) - seen.size) // int(shares.sum())
    frequencies[int(frequencies.argmax())] += (1 << 16) - int(frequencies.sum())
    return Symbols(frequencies[None, :], np.zeros(1, np.int64))


def _number_code(length: int) -> Code[int]:
    """The number of a block of that length."""
    if length == ALONE:
        return Map(lambda cell: np.array([cell]), lambda cells: int(cells[0]), prior_code(1))
    return Uniform(1 << BITS)


def encode(lengths: list[int], numbers: list[int]) -> bytes:
    """Blocks varint | stack: of each block its length, then its number."""
    seen, codes = np.zeros(LONGEST + 1, np.int64), []
    for length in lengths:
        codes.append(_length_code(seen))
        seen[length] += 1
    stack = Stack()
    for code, length, number in zip(reversed(codes), reversed(lengths), reversed(numbers), strict=True):
        _number_code(length).push(stack, number)
        code.push(stack, np.array([length]))
    return Writer().varint(len(lengths)).raw(stack.to_bytes()).bytes()


def decode(data: bytes, seed: int, sigma: float) -> Floats:
    """The weights, float64 [n]. Raises FormatError."""
    source = Reader(data, "relative entropy code")
    count = source.varint(limit=len(data))  # a block takes more than a byte
    stack = Stack.from_bytes(source.raw(source.remaining))
    seen = np.zeros(LONGEST + 1, np.int64)
    blocks_found = []
    for _ in range(count):
        length = int(_length_code(seen).pop(stack)[0])
        blocks_found.append((length, _number_code(length).pop(stack)))
        seen[length] += 1
    if stack != Stack():
        raise FormatError("relative entropy code: more in the message than weights")
    table = candidates(seed, max((length for length, _ in blocks_found), default=0))
    parts = [np.array([number]) if length == ALONE else table[number, :length] for length, number in blocks_found]
    cells = np.concatenate(parts) if parts else np.zeros(0, np.int64)
    return weights_of(cells, sigma)

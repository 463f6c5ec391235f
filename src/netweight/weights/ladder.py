"""The ladder: what one checkpoint weighs under every code we have, and the order-0 bound beside it.

Every row's bytes were decoded again and compared (see bench.py); the bound is a figure without bytes.
"""

from __future__ import annotations

import errno
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from ..errors import NotFoundError, OutputError, UnsupportedError
from ..registry import names
from .archive.container import is_archive
from .archive.inputs import Inputs, open_inputs
from .bench import PREFIX, Bench, PathLike, Progress, Row
from .inspection import Inspected, inspected, survey_inputs
from .methods import EFFORTS
from .survey import Counts, FileSurvey, entropy_bits, exponent_type

GENERAL: Final = ("raw", "zip", "gzip", "bzip2", "xz", "zstd", "brotli", "png")


@dataclass(frozen=True)
class Histogram:
    """How often each exponent occurs: `counts[k]` weights have the biased exponent `first + k`.

    `bias` is the type's; `entropy` is in bits per exponent.
    """

    label: str
    dtype: str
    elements: int
    entropy: float
    first: int
    bias: int
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Weighing:
    """What a checkpoint weighs. `rows` are sorted, lightest first, rows without bytes last; `bound_bits` has no bytes.

    `layers` tells each tensor's part of the archive that `layers_code` made, in file order.
    """

    name: str
    formats: tuple[str, ...]
    original_bytes: int
    elements: int
    dtypes: Mapping[str, int]
    problems: tuple[str, ...]
    bound_bits: float
    rows: tuple[Row, ...]
    layers: tuple[Inspected, ...]
    layers_code: str
    histograms: tuple[Histogram, ...]

    @property
    def best(self) -> Row | None:
        """The lightest row that isn't the file itself."""
        return next((r for r in self.rows if r.bytes is not None and r.code != "raw"), None)

    def bits_per_weight(self, nbytes: float | None) -> float | None:
        return None if nbytes is None or not self.elements else 8 * nbytes / self.elements

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the figures of the ladder and of each layer."""
        rows = [
            asdict(r) | {"lossless": r.bytes is not None, "bits_per_weight": self.bits_per_weight(r.bytes)}
            for r in self.rows
        ]
        bound = {"bits": self.bound_bits, "bits_per_weight": self.bits_per_weight(self.bound_bits / 8)}
        return asdict(self) | {"rows": rows, "bound": bound, "dtypes": dict(self.dtypes)}


def chosen_codes(codecs: Iterable[str] = (), efforts: Iterable[str] = ()) -> list[str]:
    """The ladder's rows: the general `codecs` (default: all) and netweight's `efforts` (default: all).

    Raises NotFoundError for a codec that isn't known.
    """
    general, own = list(dict.fromkeys(codecs)) or list(GENERAL), list(dict.fromkeys(efforts)) or list(EFFORTS)
    known = names()
    for code in general:
        if code not in known:
            raise NotFoundError(f"no codec {code!r}; known are {', '.join(known)}")
    return list(dict.fromkeys([*general, *(PREFIX + e for e in own)]))


def weigh_file(
    path: PathLike,
    *,
    codes: Iterable[str] | None = None,
    threads: int | None = None,
    limit_seconds: float | None = None,
    progress: Progress | None = None,
) -> Weighing:
    """Weigh a file, a folder or the shards that an index names ("-" is standard input) under `codes` (default: all).

    `limit_seconds` ends a row that takes longer to encode or decode; the row then says so and has no bytes.
    Raises InputError and its kin, and GuaranteeError if a code gives other bytes back.
    """
    with open_inputs(path) as inputs, _workspace() as folder:
        for file in inputs.files:
            if is_archive(file.source):
                raise UnsupportedError(f"{file.source.name}: is an archive of netweight's; inspect it instead")
        tell = progress or _silent
        surveys = survey_inputs(inputs, lambda done, total: tell("reading", done, total))
        bench = Bench(inputs, path, folder, threads, limit_seconds, tell)
        rows = [bench.row(code) for code in (codes or chosen_codes())]
        inputs.check_unchanged()
        return _weighing(inputs, surveys, rows, bench)


def _silent(_label: str, _done: int, _total: int) -> None:
    """No progress wanted."""


@contextmanager
def _workspace() -> Iterator[Path]:
    """A temporary folder; says so when the disk behind it is full."""
    try:
        with tempfile.TemporaryDirectory(prefix="netweight-") as folder:
            yield Path(folder)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        place = tempfile.gettempdir()
        raise OutputError(f"{place}: no space left for the coded copies; set TMPDIR to a roomier folder") from None


def _weighing(inputs: Inputs, surveys: list[FileSurvey], rows: list[Row], bench: Bench) -> Weighing:
    made = [r for r in rows if r.code in bench.layers]
    chosen = min(made, key=lambda r: r.bytes or 0).code if made else ""
    bounds = {(s.path, t.name): t.bound_bits for s in surveys for t in s.tensors}
    dtypes: Counter[str] = Counter()
    for s in surveys:
        for t in s.tensors:
            dtypes[t.dtype] += t.elements
    return Weighing(
        name=inputs.name,
        formats=tuple(dict.fromkeys(s.format for s in surveys)),
        original_bytes=inputs.size,
        elements=sum(s.elements for s in surveys),
        dtypes=dict(dtypes),
        problems=tuple(f"{s.path}: {s.problem}" for s in surveys if s.problem),
        bound_bits=sum(s.bound_bits for s in surveys),
        rows=tuple(sorted(rows, key=lambda r: (r.bytes is None, r.bytes or 0, r.code))),
        layers=tuple(inspected(t, bounds) for t in bench.layers.get(chosen, ())),
        layers_code=chosen,
        histograms=tuple(histograms(surveys)),
    )


def histograms(surveys: list[FileSurvey], largest: int = 6) -> Iterator[Histogram]:
    """Exponents of each dtype as a whole, the commonest first, then of the `largest` tensors."""
    tensors = [t for s in surveys for t in s.tensors if t.exponents is not None]
    weights: Counter[str] = Counter()
    for t in tensors:
        weights[t.dtype] += t.elements
    for name, _ in weights.most_common():
        own = [t.exponents for t in tensors if t.dtype == name and t.exponents is not None]
        yield _histogram(f"all {name} tensors", name, np.sum(own, axis=0))
    if len(tensors) > 1:
        for t in sorted(tensors, key=lambda t: -t.elements)[:largest]:
            assert t.exponents is not None
            yield _histogram(t.name, t.dtype, t.exponents)


def _histogram(label: str, dtype: str, counts: Counts) -> Histogram:
    kind = exponent_type(dtype)
    assert kind is not None
    seen = np.flatnonzero(counts)
    first, last = (int(seen[0]), int(seen[-1])) if seen.size else (0, 0)
    total = int(counts.sum())
    entropy = entropy_bits(counts) / total if total else 0.0
    bias = (1 << (kind.exponent - 1)) - 1
    return Histogram(label, dtype, total, entropy, first, bias, tuple(int(c) for c in counts[first : last + 1]))

"""The lossy ladder: what the matrices of a checkpoint weigh under every code we have, all at the same error.

Every float tensor of two axes or more and 1,024 weights or more is coded by itself at `rel_mse`, decoded by a codec that
the registry builds afresh, and its error measured. A row counts, for each code, its id and config once and for each
matrix the length of its payload (a varint) and the payload. Everything else in the file (vectors, integers, headers) is
coded losslessly once, decoded and compared; it is the same for every row and not in it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from math import log10
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...codec import Codec, measure_error
from ...errors import GuaranteeError, NotFoundError, UnsupportedError
from ...frame import config_text, parse_config
from ...registry import create, names
from ...spec import Spec
from ...wire import Reader, Writer
from ..archive.container import is_archive
from ..archive.inputs import InputFile, Inputs, open_inputs
from ..bench import PathLike, Progress, Row
from ..lossless import Balanced
from .bounds import shannon_lower_bound
from .matrices import Matrix, matrices_of, remainder
from .values import floats_of, squares

PREFIX: Final = "netweight.lossy."


@dataclass(frozen=True)
class Rung:
    """One code of the ladder: a codec's id, its config without the error, and what people call the setting."""

    code: str
    setting: str = ""
    config: dict[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        return f"{self.code.removeprefix(PREFIX)} {self.setting}".rstrip()

    def codec(self, rel_mse: float) -> Codec:
        return create(self.code, {"rel_mse": rel_mse, **self.config})


def _rung(name: str, setting: str = "", **config: Any) -> Rung:
    return Rung(PREFIX + name, setting, config)


RUNGS: Final = (
    _rung("rtn", "packed", coder="packed"),
    _rung("rtn"),
    _rung("uniform", "order 0", coder="order0"),
    _rung("uniform"),
    *(_rung("kmeans", c, coder=c) for c in ("packed", "png", "zip", "gzip", "bzip2", "xz", "zstd", "brotli")),
    _rung("kmeans", "order 0", coder="order0"),
    _rung("kmeans"),
    _rung("kmeans", "entropy-constrained", design="ecsq"),
    _rung("product", "of 2", dim=2),
    _rung("product", "of 4", dim=4),
    _rung("residual", "scalar", dim=1, centroids=8),
    _rung("residual", "of 4", dim=4),
    _rung("pruned"),
    _rung("pruned", "k-means", quantiser="lloyd"),
    _rung("pruned", "entropy-constrained", quantiser="ecsq"),
)
"""Other people's ways; every other codec whose id begins with PREFIX joins with its default config."""


@dataclass(frozen=True)
class LossyRow(Row):
    """One code. `bytes` were decoded again; `rel_mse` is the error found, over all matrices together.

    `exact` matrices came back bit for bit, because the code couldn't hold the error (or had no need to err).
    """

    rel_mse: float | None = None
    exact: int = 0

    @property
    def label(self) -> str:
        return Rung(self.code, self.setting).label

    @property
    def decibels(self) -> float | None:
        """10 log10 of the error; None without one."""
        return 10 * log10(self.rel_mse) if self.rel_mse else None


@dataclass(frozen=True)
class LossyWeighing:
    """What the matrices of a checkpoint weigh at `rel_mse`. `rows` are sorted, lightest first, rows without bytes last.

    `weights`, `matrices` and `matrix_bytes` are what the rows are about; `rest_bytes` of the file's other bytes, which
    are coded losslessly in `rest_coded_bytes`. `bound_bits` is the Shannon lower bound of all matrices, each by itself.
    """

    name: str
    formats: tuple[str, ...]
    problems: tuple[str, ...]
    rel_mse: float
    matrices: int
    weights: int
    matrix_bytes: int
    rest_bytes: int
    rest_coded_bytes: int
    bound_bits: float
    rows: tuple[LossyRow, ...]

    @property
    def best(self) -> LossyRow | None:
        return next((r for r in self.rows if r.bytes is not None), None)

    def bits_per_weight(self, nbytes: float | None) -> float | None:
        return None if nbytes is None or not self.weights else 8 * nbytes / self.weights

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        rows = [
            asdict(r) | {"label": r.label, "bits_per_weight": self.bits_per_weight(r.bytes), "decibels": r.decibels}
            for r in self.rows
        ]
        bound = {"bits": self.bound_bits, "bits_per_weight": self.bits_per_weight(self.bound_bits / 8)}
        return asdict(self) | {"rows": rows, "bound": bound}


def chosen_rungs(codecs: Iterable[str] = ()) -> list[Rung]:
    """The rungs that `codecs` name, by id ("netweight.lossy.kmeans", "kmeans") or label ("kmeans png"); default: all.

    Raises NotFoundError for a name that none has.
    """
    known = {r.code for r in RUNGS}
    rungs = [*RUNGS, *(Rung(n) for n in names() if n.startswith(PREFIX) and n not in known)]
    wanted = list(dict.fromkeys(codecs))
    if not wanted:
        return rungs
    for name in wanted:
        if not any(_called(r, name) for r in rungs):
            labels = ", ".join(r.label for r in rungs)
            raise NotFoundError(f"no lossy code {name!r}; known are {labels}, and each first word alone")
    return [r for r in rungs if any(_called(r, name) for name in wanted)]


def _called(rung: Rung, name: str) -> bool:
    return name in (rung.code, rung.code.removeprefix(PREFIX), rung.label)


def weigh_lossy(
    path: PathLike,
    rel_mse: float,
    *,
    rungs: Iterable[Rung] | None = None,
    limit_seconds: float | None = None,
    progress: Progress | None = None,
) -> LossyWeighing:
    """Weigh the float matrices of a file, a folder or shards ("-" is standard input) at `rel_mse` under each of `rungs`.

    `limit_seconds` ends a row that has taken longer. Raises InputError and its kin; GuaranteeError if a code errs more
    than it promises, or what should come back bit for bit doesn't.
    """
    with open_inputs(path) as inputs:
        for file in inputs.files:
            if is_archive(file.source):
                raise UnsupportedError(f"{file.source.name}: is an archive of netweight's; inspect it instead")
        bench = _LossyBench(inputs, rel_mse, limit_seconds, progress or (lambda _label, _done, _total: None))
        rows = [bench.row(rung) for rung in (chosen_rungs() if rungs is None else rungs)]
        weighing = bench.weighing(rows)
        inputs.check_unchanged()
        return weighing


class _LossyBench:
    """Runs codes over the matrices of one input, one matrix at a time."""

    def __init__(self, inputs: Inputs, rel_mse: float, limit: float | None, tell: Progress) -> None:
        self.inputs, self.rel_mse, self.limit, self.tell = inputs, rel_mse, limit, tell
        self.matrices = [m for f in inputs.files for m in matrices_of(f)]
        self.nbytes = sum(m.spec.nbytes for m in self.matrices)

    def row(self, rung: Rung) -> LossyRow:
        """Encode, decode and measure every matrix. Raises GuaranteeError."""
        codec = rung.codec(self.rel_mse)
        _warm(codec)
        head = len(Writer().text(codec.id).text(config_text(codec)))
        row = LossyRow(rung.code, rung.setting, head, 0.0, 0.0)
        noise = energy = 0.0
        done = 0
        for matrix in self.matrices:
            self.tell(rung.label, done, self.nbytes)
            if self.limit is not None and (row.encode_seconds or 0) + (row.decode_seconds or 0) > self.limit:
                return LossyRow(rung.code, rung.setting, problem=f"stopped after {self.limit:g} s")
            data = matrix.read()
            part, decoded = _measured(codec, matrix, data)
            row = _sum(row, part)
            n, e = _noise(data, decoded, matrix.spec)
            noise, energy, done = noise + n, energy + e, done + data.size
        return replace(row, rel_mse=noise / energy if energy else 0.0)

    def weighing(self, rows: list[LossyRow]) -> LossyWeighing:
        """With the bound and the rest of the input."""
        rest, coded = self._rest()
        layouts = [(f, f.layout) for f in self.inputs.files]
        return LossyWeighing(
            name=self.inputs.name,
            formats=tuple(dict.fromkeys(layout.format for _, layout in layouts)),
            problems=tuple(f"{f.path}: {layout.problem}" for f, layout in layouts if layout.problem),
            rel_mse=self.rel_mse,
            matrices=len(self.matrices),
            weights=sum(m.spec.count for m in self.matrices),
            matrix_bytes=self.nbytes,
            rest_bytes=rest,
            rest_coded_bytes=coded,
            bound_bits=sum(self._bounds()),
            rows=tuple(sorted(rows, key=lambda r: (r.bytes is None, r.bytes or 0, r.label))),
        )

    def _bounds(self) -> Iterator[float]:
        done = 0
        for matrix in self.matrices:
            self.tell("bound", done, self.nbytes)
            values = floats_of(matrix.read(), matrix.spec)
            yield 0.0 if values is None else shannon_lower_bound(values, self.rel_mse) * values.size
            done += matrix.spec.nbytes

    def _rest(self) -> tuple[int, int]:
        """(bytes, bytes coded) of all that isn't in a matrix. Raises GuaranteeError."""
        return _added(_rest_of(f) for f in self.inputs.files)


def _rest_of(file: InputFile) -> tuple[int, int]:
    return _added(_lossless(data, spec) for data, spec in remainder(file))


def _added(pairs: Iterable[tuple[int, int]]) -> tuple[int, int]:
    first = second = 0
    for a, b in pairs:
        first, second = first + a, second + b
    return first, second


def _lossless(data: NDArray[np.uint8], spec: Spec) -> tuple[int, int]:
    payload = Balanced().encode(data, spec)
    if not np.array_equal(Balanced().decode(payload, spec), data):
        raise GuaranteeError("netweight.balanced gave other bytes back; please report this")
    return spec.nbytes, len(Writer().blob(payload))


def _measured(codec: Codec, matrix: Matrix, data: NDArray[np.uint8]) -> tuple[LossyRow, NDArray[np.uint8]]:
    """What one matrix weighs, and its decoded copy. Raises GuaranteeError."""
    start = time.perf_counter()
    message = Writer().blob(codec.encode(data, matrix.spec)).bytes()
    middle = time.perf_counter()
    receiver = create(codec.id, parse_config(config_text(codec)))
    decoded = receiver.decode(Reader(message, matrix.name).blob(), matrix.spec)
    end = time.perf_counter()
    error = measure_error(data, decoded, matrix.spec)
    if not codec.guarantee.holds(error):
        raise GuaranteeError(f"{matrix.name}: {codec!r} decoded with an error of {error.rel_mse}; please report this")
    return LossyRow(codec.id, "", len(message), middle - start, end - middle, exact=int(error.identical)), decoded


def _sum(a: LossyRow, b: LossyRow) -> LossyRow:
    return replace(
        a,
        bytes=(a.bytes or 0) + (b.bytes or 0),
        encode_seconds=(a.encode_seconds or 0) + (b.encode_seconds or 0),
        decode_seconds=(a.decode_seconds or 0) + (b.decode_seconds or 0),
        exact=a.exact + b.exact,
    )


def _noise(data: NDArray[np.uint8], decoded: NDArray[np.uint8], spec: Spec) -> tuple[float, float]:
    """(||x - y||^2, ||x||^2); nothing for a matrix that came back as it was because it isn't finite."""
    x, y = floats_of(data, spec), floats_of(decoded, spec)
    if x is None or y is None:
        return 0.0, 0.0
    return squares(x.astype(np.float64) - y), squares(x)


def _warm(codec: Codec) -> None:
    """Compile or load what a first call needs, so that it isn't timed."""
    values = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    spec = Spec("F32", (values.shape,))
    codec.decode(codec.encode(values.reshape(-1).view(np.uint8), spec), spec)

"""The ladder of a text: what it weighs under every code we have. Each row's bytes were decoded again and compared."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from ...codec import receiver_of
from ...errors import GuaranteeError, InputError, MissingExtraError
from ...registry import create
from ...source import BytesSource
from ...spec import Spec
from . import rank_blocks, ranks
from .encoder import cut
from .meter import Meter
from .model_block import Model
from .reader import TextFile
from .settings import EFFORTS
from .spelling import looks_like_text
from .writer import compress_stream

MOST_BYTES: Final = 1 << 28
GENERAL: Final = {"gzip": 9, "bzip2": 9, "xz": 9, "zstd": 19, "brotli": 11}
BYTES_CODE, MODEL_CODE, RANKS = "netweight bytes", "netweight text", "ranks"
_PPMD_ORDER, _PPMD_MEMORY = 6, 1 << 24
Progress = Callable[[str, int, int], None]
"""progress(what is being done, bytes done, bytes in all)."""


@dataclass(frozen=True)
class TextRow:
    """One code. `bytes` were decoded and found equal; None if there are none, and then `problem` says why.

    `receiver` is what a decoder needs beside them, `with_model` their length and the model's together.
    """

    code: str
    setting: str = ""
    bytes: int | None = None
    with_model: int | None = None
    receiver: str = ""
    encode_seconds: float | None = None
    decode_seconds: float | None = None
    problem: str = ""

    @property
    def label(self) -> str:
        """What people read."""
        return f"{self.code} {self.setting}".rstrip()


@dataclass(frozen=True)
class TextWeighing:
    """What a text weighs. `rows` are sorted, lightest first, rows without bytes last. `model_bytes` is None without one."""

    name: str
    original_bytes: int
    model: str
    model_bytes: int | None
    rows: tuple[TextRow, ...]

    def bits_per_byte(self, nbytes: int | None) -> float | None:
        return None if nbytes is None or not self.original_bytes else 8 * nbytes / self.original_bytes

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        rates = [
            {"bits_per_byte": self.bits_per_byte(r.bytes), "bits_per_byte_with_model": self.bits_per_byte(r.with_model)}
            for r in self.rows
        ]
        return asdict(self) | {"rows": [asdict(r) | rate for r, rate in zip(self.rows, rates, strict=True)]}


def weigh_text(
    data: bytes,
    name: str,
    *,
    model: Model | None = None,
    model_bytes: int | None = None,
    effort: str = "balanced",
    progress: Progress | None = None,
) -> TextWeighing:
    """Weigh a text under general codes, the byte model and, with a model, rank codes and the model itself.

    Raises InputError for a text of more than 256 MiB, GuaranteeError if a code gives other bytes back.
    """
    if len(data) > MOST_BYTES:
        raise InputError(f"{name}: {len(data)} bytes are too many to weigh in memory; weigh a part of it")
    bench = _Bench(data, effort, progress or _silent)
    rows = [bench.general(code, level) for code, level in GENERAL.items()]
    rows += [bench.ppmd(), bench.bytewise()]
    if model is not None:
        rows += [*bench.rank_rows(model), bench.modelled(model)]
    rows = [_with_model(row, model_bytes) for row in rows]
    ordered = tuple(sorted(rows, key=lambda r: (r.bytes is None, r.bytes or 0, r.label)))
    told = "" if model is None else f"{model.name} {model.digest.hex()}"
    return TextWeighing(name, len(data), told, model_bytes if model is not None else None, ordered)


def _silent(_label: str, _done: int, _total: int) -> None:
    """No progress wanted."""


def _with_model(row: TextRow, model_bytes: int | None) -> TextRow:
    if row.bytes is None or not row.receiver or model_bytes is None:
        return row
    return TextRow(**(asdict(row) | {"with_model": row.bytes + model_bytes}))


class _Bench:
    """Runs codes over one text."""

    def __init__(self, data: bytes, effort: str, tell: Progress) -> None:
        self._data, self._effort, self._tell = data, effort, tell

    def general(self, code: str, level: int) -> TextRow:
        """A code of the registry."""
        codec, array = create(code, {"level": level}), np.frombuffer(self._data, np.uint8)
        spec = Spec.raw(array.size)
        assert not receiver_of(codec)
        return self._row(
            code, str(level), lambda _: codec.encode(array, spec), lambda p, _: codec.decode(p, spec).tobytes()
        )

    def ppmd(self) -> TextRow:
        """PPMd variant I, as 7-Zip's ZIP has it."""
        try:
            import pyppmd
        except ImportError:
            return TextRow("ppmd", str(_PPMD_ORDER), problem=str(MissingExtraError("pyppmd", "ncd")))

        def encode(_: Meter) -> bytes:
            coder = pyppmd.Ppmd8Encoder(_PPMD_ORDER, _PPMD_MEMORY)
            return bytes(coder.encode(self._data) + coder.flush())

        def decode(payload: bytes, _: Meter) -> bytes:
            coder = pyppmd.Ppmd8Decoder(_PPMD_ORDER, _PPMD_MEMORY)
            return bytes(coder.decode(payload, len(self._data)))

        return self._row("ppmd", str(_PPMD_ORDER), encode, decode)

    def bytewise(self) -> TextRow:
        """Netweight's file without a language model."""
        return self._file(BYTES_CODE, "", None)

    def modelled(self, model: Model) -> TextRow:
        """Netweight's file with one."""
        return self._file(MODEL_CODE, self._effort, model)

    def rank_rows(self, model: Model) -> Iterator[TextRow]:
        """The ranks are worked out once, and so is what they decode to if all codes give back the same ranks."""
        if not looks_like_text(self._data):
            return
        effort = EFFORTS[self._effort]
        window, blocks = effort.window.within(model.context), list(cut(self._data, effort.block_bytes))
        start = time.perf_counter()
        ranked = rank_blocks.ranked(model, window, blocks, self._meter("ranks: encoding").add)
        middle = time.perf_counter()
        if ranked is None:
            return
        payloads = {back_end: rank_blocks.encode(ranked, back_end) for back_end in ranks.BACK_ENDS}
        first = ranks.BACK_ENDS[0]
        share = self._meter("ranks: decoding").add
        self._check(RANKS, rank_blocks.decode(model, window, payloads[first], first, share))
        end = time.perf_counter()
        for back_end, payload in payloads.items():
            if not rank_blocks.same(payload, back_end, payloads[first], first):
                raise GuaranteeError(f"{RANKS} {back_end} gave other ranks back; please report this")
            yield TextRow(RANKS, back_end, len(payload), None, _told(model), middle - start, end - middle)

    def _file(self, code: str, setting: str, model: Model | None) -> TextRow:
        def encode(meter: Meter) -> bytes:
            parts: list[bytes] = []
            compress_stream([self._data], parts.append, model=model, effort=self._effort, progress=meter.add_bytes)
            return b"".join(parts)

        def decode(payload: bytes, meter: Meter) -> bytes:
            def needed() -> Model:
                assert model is not None
                return model

            file = TextFile(BytesSource(payload, code), needed)
            return b"".join(file.pieces(progress=meter.add_bytes))

        return self._row(code, setting, encode, decode, "" if model is None else _told(model))

    def _row(
        self,
        code: str,
        setting: str,
        encode: Callable[[Meter], bytes],
        decode: Callable[[bytes, Meter], bytes],
        receiver: str = "",
    ) -> TextRow:
        label = f"{code} {setting}".rstrip()
        start = time.perf_counter()
        payload = encode(self._meter(f"{label}: encoding"))
        middle = time.perf_counter()
        decoded = decode(payload, self._meter(f"{label}: decoding"))
        end = time.perf_counter()
        self._check(label, decoded)
        return TextRow(code, setting, len(payload), None, receiver, middle - start, end - middle)

    def _check(self, label: str, decoded: bytes) -> None:
        if decoded != self._data:
            raise GuaranteeError(f"{label} gave other bytes back; please report this")

    def _meter(self, label: str) -> Meter:
        done, total = 0, len(self._data)

        def tell(count: int) -> None:
            nonlocal done
            done += count
            self._tell(label, min(done, total), total)

        return Meter(total, tell)


def _told(model: Model) -> str:
    return f"the model {model.name}"

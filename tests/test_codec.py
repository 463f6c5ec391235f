"""weigh, Receipt and Guarantee: sizes are of bytes that were decoded, and a codec that lies is caught."""
# ruff: noqa: ARG002  toy codecs need not look at all they are given

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import pytest

from netweight import frame, tensors
from netweight.codec import LOSSLESS, ConfigCodec, Error, Guarantee, measure_error, receiver_of, weigh
from netweight.entropy.general import Gzip, Raw, Zstd
from netweight.errors import GuaranteeError
from netweight.spec import Spec

INFINITE = Error(False, float("inf"), float("inf"), float("inf"))


class Toy(ConfigCodec):
    """Honest, and not in the registry."""

    id = "toy"
    guarantee = LOSSLESS

    def encode(self, data: Any, spec: Spec) -> bytes:
        return bytes(data)

    def decode(self, payload: Any, spec: Spec) -> Any:
        return np.frombuffer(payload, np.uint8)


class Flips(Toy):
    def decode(self, payload: Any, spec: Spec) -> Any:
        out = super().decode(payload, spec).copy()
        out[-1] ^= 1
        return out


class Short(Toy):
    guarantee = Guarantee("none")

    def decode(self, payload: Any, spec: Spec) -> Any:
        return super().decode(payload, spec)[:-1]


class Shaped(Short):
    def decode(self, payload: Any, spec: Spec) -> Any:
        return np.frombuffer(payload, np.uint8).reshape(1, -1)


class Spoils(Toy):
    """Makes its input easy to code by changing it."""

    def encode(self, data: Any, spec: Spec) -> bytes:
        data[:] = 0
        return bytes(data)


class Remembers(Raw):
    """Sends nothing and takes the answer from the sender's memory."""

    def encode(self, data: Any, spec: Spec) -> bytes:
        self.kept = data.copy()
        return b""

    def decode(self, payload: Any, spec: Spec) -> Any:
        return self.kept


class Halves(Toy):
    """Drops the low half of each float32; promises `guarantee`."""

    def __init__(self, guarantee: Guarantee) -> None:
        self.guarantee = guarantee

    def encode(self, data: Any, spec: Spec) -> bytes:
        return bytes(data.reshape(-1, 4)[:, 2:])

    def decode(self, payload: Any, spec: Spec) -> Any:
        out = np.zeros((spec.count, 4), np.uint8)
        out[:, 2:] = np.frombuffer(payload, np.uint8).reshape(-1, 2)
        return out.reshape(-1)


class Informed(Toy):
    def receiver(self) -> dict[str, str]:
        return {"base": "ab12"}


@pytest.fixture
def weights() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(30, 20)).astype(np.float32)


def test_receipt_says_what_was_measured(weights: np.ndarray) -> None:
    receipt = weigh(Gzip(), weights, bound_bits=123.0)
    blob = frame.pack(Gzip(), *tensors.to_bytes(weights))
    assert (receipt.codec, receipt.guarantee) == ("gzip", "lossless")
    assert (receipt.original_bytes, receipt.elements, receipt.bytes) == (2400, 600, len(blob))
    assert receipt.sha256 == hashlib.sha256(blob).hexdigest()
    assert receipt.error == Error(identical=True)
    assert receipt.bits_per_weight == 8 * len(blob) / 600
    assert receipt.ratio == 2400 / len(blob)
    assert receipt.saved_percent == 100 * (1 - len(blob) / 2400)
    assert receipt.encode_seconds >= 0 <= receipt.decode_seconds
    assert receipt.bound_bits == 123.0
    told = json.loads(json.dumps(receipt.to_dict()))
    assert told["bits_per_weight"] == receipt.bits_per_weight
    assert told["error"] == {"identical": True, "max_abs": 0.0, "mse": 0.0, "rel_mse": 0.0}


@pytest.mark.parametrize("thing", [b"", np.zeros((0, 3), np.float32), [], np.zeros((3, 0, 2))])
def test_nothing_weighs_its_frame(thing: Any) -> None:
    receipt = weigh(Raw(), thing)
    assert receipt.bytes > 0
    assert (receipt.original_bytes, receipt.elements) == (0, 0)
    assert receipt.bits_per_weight == receipt.saved_percent == receipt.ratio == 0


def test_unregistered_codecs_and_informed_receivers(weights: np.ndarray) -> None:
    assert weigh(Toy(), weights).receiver == receiver_of(Toy()) == {}
    assert weigh(Informed(), weights).receiver == {"base": "ab12"}


@pytest.mark.parametrize(
    ("codec", "why"),
    [(Flips(), "promised"), (Short(), "shape"), (Shaped(), "shape"), (Spoils(), "altered")],
    ids=lambda v: type(v).__name__,
)
def test_liars_are_caught(codec: Any, why: str, weights: np.ndarray) -> None:
    with pytest.raises(GuaranteeError, match=why):
        weigh(codec, weights)


def test_what_the_sender_remembers_does_not_reach_the_receiver(weights: np.ndarray) -> None:
    with pytest.raises(Exception, match="0 bytes, 2400 were expected"):
        weigh(Remembers(), weights)


def test_guarantees_are_checked(weights: np.ndarray) -> None:
    error = weigh(Halves(Guarantee("none")), weights).error
    assert 0 < error.rel_mse < 2.0**-14
    for kind, measured in (("max_error", error.max_abs), ("mse", error.mse)):
        assert weigh(Halves(Guarantee(kind, measured)), weights).error == error
        with pytest.raises(GuaranteeError):
            weigh(Halves(Guarantee(kind, measured * 0.999)), weights)
    with pytest.raises(GuaranteeError):
        weigh(Halves(LOSSLESS), weights)


def error(name: str, x: Any, y: Any, kind: Any = np.uint8) -> Error:
    a, b = (np.array(v, kind).reshape(-1).view(np.uint8) for v in (x, y))
    return measure_error(a, b, Spec(name, ((a.size * 8 // {"F4": 4}.get(name, np.dtype(kind).itemsize * 8),),)))


@pytest.mark.parametrize(
    ("name", "kind", "x", "y", "max_abs", "mse", "rel_mse"),
    [
        ("F32", np.float32, [3, 4], [3, 3], 1, 0.5, 1 / 25),
        ("F64", np.float64, [0.0, 0.0], [0.0, -0.0], 0, 0, 0),
        ("F64", np.float64, [0.0], [2.0], 2, 4, np.inf),
        ("F64", np.float64, [1e200, 0], [0, 0], 1e200, np.inf, 1),
        ("F64", np.float64, [1e-200, 1e-200], [1e-200, 0], 1e-200, 0, 0.5),
        ("F64", np.float64, [np.nan, np.inf, 1], [np.nan, np.inf, 2], 1, 1 / 1, 1),
        ("I8", np.int8, [-128], [127], 255, 255**2, (255 / 128) ** 2),
        ("I64", np.int64, [2**62], [2**62 + 1], 1, 1, 2.0**-124),
        ("I64", np.int64, [-(2**63)], [2**63 - 1], 2.0**64, 2.0**128, 4),
        ("U64", np.uint64, [0, 2**64 - 1], [2**64 - 1, 2**64 - 1], 2.0**64, 2.0**127, 1),
        ("BOOL", np.uint8, [1, 0], [2, 0], 1, 0.5, 1),
        ("F4", np.uint8, [0x12, 0x10], [0x11, 0x10], 1, 0.5, 1 / (18**2 + 16**2)),
    ],
)
def test_errors_by_hand(name: str, kind: Any, x: Any, y: Any, max_abs: float, mse: float, rel_mse: float) -> None:
    found = error(name, x, y, kind)
    assert not found.identical
    assert (found.max_abs, found.mse, found.rel_mse) == pytest.approx((max_abs, mse, rel_mse), rel=1e-12)


def test_both_parts_of_complex_numbers_count() -> None:
    x, y = np.array([1 + 2j]), np.array([1 + 4j])
    found = measure_error(x.view(np.uint8), y.view(np.uint8), Spec("C128", ((1,),)))
    assert (found.max_abs, found.mse, found.rel_mse) == pytest.approx((2, 2, 4 / 5))


@pytest.mark.parametrize(
    ("x", "y"),
    [([1.0], [np.nan]), ([np.nan], [1.0]), ([np.inf], [-np.inf]), ([np.nan], [np.inf]), ([1.7e308], [-1.7e308])],
)
def test_errors_that_are_infinite(x: list[float], y: list[float]) -> None:
    assert error("F64", x, y, np.float64) == INFINITE
    assert not Guarantee("max_error", 1e308).holds(INFINITE)
    assert not Guarantee("mse", 1e308).holds(INFINITE)


def test_nan_payloads_differ_in_bits_but_not_in_value() -> None:
    bits = np.array([0x7FC00001, 0x7F800001, 0xFFC00000], "<u4")
    other = np.array([0x7FC00002, 0x7FC00000, 0x7FC00000], "<u4")
    found = measure_error(bits.view(np.uint8), other.view(np.uint8), Spec("F32", ((3,),)))
    assert found == Error(identical=False)
    assert not LOSSLESS.holds(found)


@pytest.mark.parametrize("spec", [Spec("BF16", ((),)), Spec("F16", ((1, 1),)), Spec("F8_E4M3", ((1,), (1,)))])
def test_any_shape_can_be_compared(spec: Spec) -> None:
    one, two = np.array([0, 0x3C], np.uint8), np.array([0, 0x3D], np.uint8)
    found = measure_error(one, two, spec)
    assert 0 < found.max_abs < 1
    assert measure_error(one, one.copy(), spec).identical


def test_equality_hash_and_repr_come_from_the_config() -> None:
    assert Zstd(3) == Zstd(3) != Zstd(4)
    assert Zstd(9) != Gzip(9)
    assert Gzip(9) != "Gzip(level=9)"
    assert len({Zstd(3), Zstd(3), Zstd(4), Gzip(9), Raw()}) == 4
    assert (repr(Zstd(3)), repr(Raw())) == ("Zstd(level=3)", "Raw()")

"""Dtypes and shapes."""

from __future__ import annotations

import math

import pytest

from netweight.errors import FormatError, UnsupportedError
from netweight.spec import DTYPE_BY_NUMBER, DTYPES, MAX_ELEMENTS, Spec, dtype, element_count


def test_numbers_of_dtypes_are_pinned() -> None:
    names = (
        "U8 I8 U16 I16 U32 I32 U64 I64 BOOL F64 F32 F16 BF16 F8_E4M3 F8_E5M2 F8_E8M0 F8_E4M3FNUZ F8_E5M2FNUZ C64 C128"
        " F4 F6_E2M3 F6_E3M2"
    )
    assert {d.number: name for name, d in DTYPES.items()} == dict(enumerate(names.split()))
    assert [d.name for d in DTYPE_BY_NUMBER.values()] == names.split()


@pytest.mark.parametrize("name", DTYPES)
def test_fields_fill_the_word(name: str) -> None:
    d = dtype(name)
    if d.kind == "float":
        assert d.sign + d.exponent + d.mantissa == d.bits == d.word
    else:
        assert d.sign == d.exponent == d.mantissa == 0
        assert d.word == {"complex": d.bits // 2, "packed": 8}.get(d.kind, d.bits)


def test_unknown_dtype_names_the_known_ones() -> None:
    with pytest.raises(UnsupportedError, match=r"'F7'.*BF16"):
        dtype("F7")


@pytest.mark.parametrize(
    ("spec", "count", "nbytes", "matrices"),
    [
        (Spec.raw(5), 5, 5, ((1, 5),)),
        (Spec("F32", ()), 0, 0, ()),
        (Spec("F32", ((),)), 1, 4, ((1, 1),)),
        (Spec("BF16", ((3, 4, 5), (7,))), 67, 134, ((3, 20), (1, 7))),
        (Spec("F64", ((0, 4), (4, 0))), 0, 0, ((1, 0), (1, 0))),
        (Spec("F4", ((3,), (3,))), 6, 4, ((1, 3), (1, 3))),
        (Spec("F6_E3M2", ((5,),)), 5, 4, ((1, 5),)),
        (Spec("C128", ((2, 2),)), 4, 64, ((2, 2),)),
    ],
)
def test_counts(spec: Spec, count: int, nbytes: int, matrices: tuple[tuple[int, int], ...]) -> None:
    assert (spec.count, spec.nbytes, spec.matrices()) == (count, nbytes, matrices)
    assert sum(math.prod(m) for m in spec.matrices()) == count


@pytest.mark.parametrize(
    "shape", [(-1,), (2, -3), (1,) * 65, (MAX_ELEMENTS + 1,), (1 << 40, 1 << 40), (0, 1 << 62), (1 << 62, 0, 1 << 62)]
)
def test_impossible_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(FormatError, match="impossible"):
        element_count(shape)
    with pytest.raises(FormatError, match="impossible"):
        _ = Spec("U8", (shape,)).nbytes


def test_impossible_sums() -> None:
    assert Spec("C128", ((MAX_ELEMENTS,),)).nbytes == 1 << 62
    with pytest.raises(FormatError, match="impossible"):
        _ = Spec("C128", ((MAX_ELEMENTS,), (1,))).nbytes

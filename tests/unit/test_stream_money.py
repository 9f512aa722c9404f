"""Money keeps every ten-thousandth on its way through NumPy."""

from decimal import Decimal

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from streaming.money import from_units, to_units
from streaming.schemas import MONEY

UNITS = st.integers(-(10**18) + 1, 10**18 - 1)
AMOUNTS = st.lists(st.none() | UNITS, max_size=20)


def column(units: list[int | None]) -> pa.Array:
    scaled = [None if u is None else Decimal(u).scaleb(-4) for u in units]
    return pa.array(scaled, MONEY)


@given(AMOUNTS)
def test_decimals_become_ten_thousandths_and_null_zero(units: list[int | None]) -> None:
    assert to_units(column(units)).tolist() == [u or 0 for u in units]


@given(AMOUNTS, st.data())
def test_slices_and_chunks_are_read_where_they_are(
    units: list[int | None], data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, len(units)))
    length = data.draw(st.integers(0, len(units) - start))
    wanted = [u or 0 for u in units[start : start + length]]
    assert to_units(column(units).slice(start, length)).tolist() == wanted
    chunks = pa.chunked_array([column(units[:start]), column(units[start:])], MONEY)
    assert to_units(chunks).tolist() == [u or 0 for u in units]
    assert to_units(chunks.slice(start, length)).tolist() == wanted


@given(st.lists(UNITS, max_size=20))
def test_ten_thousandths_become_the_same_decimals(units: list[int]) -> None:
    array = from_units(np.array(units, dtype=np.int64))
    array.validate(full=True)
    assert array.equals(column(list(units)))


def test_result_can_be_written_to() -> None:
    units = to_units(column([1, 2]))
    units += 1
    assert units.tolist() == [2, 3]

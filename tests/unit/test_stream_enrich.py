"""Local dates and costs of facts."""

from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from streaming.enrich import Dimensions, enriched
from tests.builders import judged, moved, sold, visited

DIMENSIONS = Dimensions(
    products=pa.array(["costed", "by margin", "free"]),
    names={"costed": "Milk"},
    margins=np.array([0.9, 0.4, 0.0]),
    unit_costs=np.array([12_500, -1, 0]),
    time_zones={"ny": "America/New_York", "tokyo": "Asia/Tokyo", "utc": "UTC"},
)


@pytest.mark.parametrize(
    ("store", "moment", "day"),
    [
        ("ny", "2017-11-20T04:59:59.999", "2017-11-19"),
        ("ny", "2017-11-20T05:00:00", "2017-11-20"),
        ("ny", "2017-07-04T03:59:59", "2017-07-03"),  # daylight saving: four hours
        ("ny", "2017-07-04T04:00:00", "2017-07-04"),
        ("tokyo", "2017-12-31T14:59:59", "2017-12-31"),
        ("tokyo", "2017-12-31T15:00:00", "2018-01-01"),
        ("utc", "2017-11-20T23:59:59.999", "2017-11-20"),
        ("unknown", "2017-11-20T00:00:00", "2017-11-20"),
    ],
)
def test_date_is_the_stores_own(store: str, moment: str, day: str) -> None:
    at = datetime.fromisoformat(moment).replace(tzinfo=UTC)
    noon = datetime(2020, 6, 1, 12, tzinfo=UTC)
    rows = judged(
        sold(0, store_id=store, event_time=at),
        *(sold(i, store_id=s, event_time=noon) for i, s in enumerate(("ny", "tokyo", "x"), 1)),
    )
    dates = enriched(rows, DIMENSIONS)["date_key"].to_pylist()
    assert dates == [date.fromisoformat(day), *[date(2020, 6, 1)] * 3]


@pytest.mark.parametrize(
    ("product", "quantity", "revenue", "cost"),
    [
        ("costed", 2, "3.58", "2.5"),
        ("costed", -2, "-3.58", "-2.5"),
        ("costed", 0, "0.5", "0"),
        ("by margin", 2, "3.58", "2.148"),
        ("by margin", -1, "-0.0001", "-0.0001"),
        ("free", 5, "10", "0"),
        ("unknown", 2, "1", "0.75"),
    ],
)
def test_cost_is_unit_cost_else_what_the_margin_leaves(
    product: str, quantity: int, revenue: str, cost: str
) -> None:
    line = sold(0, product_id=product, quantity=quantity, revenue=Decimal(revenue))
    (row,) = enriched(judged(line), DIMENSIONS).to_pylist()
    assert row["cost"] == Decimal(cost)
    assert row["profit"] == Decimal(revenue) - Decimal(cost)


def test_events_without_money_or_product_cost_nothing() -> None:
    rows = enriched(judged(moved(0), visited(0)), DIMENSIONS).to_pylist()
    assert [(row["cost"], row["profit"]) for row in rows] == [(0, 0), (0, 0)]


def test_empty_dimensions_know_nothing_and_harm_nothing() -> None:
    nothing = Dimensions.empty()
    rows = judged(sold(0, revenue=Decimal(4)))
    assert len(nothing.unknown(rows["product_id"]))
    assert enriched(rows, nothing)["cost"].to_pylist() == [Decimal(3)]
    assert enriched(judged(), nothing).num_rows == 0


def test_unknown_products_are_named_once() -> None:
    assert not len(DIMENSIONS.unknown(judged(sold(0, product_id="free"))["product_id"]))
    assert not len(DIMENSIONS.unknown(judged(visited(0))["product_id"]))
    sales = judged(*(sold(n, product_id=name) for n, name in enumerate(("free", "new", "new"))))
    assert DIMENSIONS.unknown(sales["product_id"]).to_pylist() == ["new"]
    assert not len(DIMENSIONS.unknown(judged()["product_id"]))

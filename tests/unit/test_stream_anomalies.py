"""What stands out from its product's own history is marked."""

from decimal import Decimal

import numpy as np
import pyarrow as pa

from streaming.anomalies import MIN_LINES, History, find_anomalies
from tests.builders import AT, SALES_ID, judged, sold


def lines(count: int, *, product: str = "milk", quantity: int = 1, price: str = "2") -> pa.Table:
    money = Decimal(price)
    return judged(
        *(
            sold(
                i,
                product_id=product,
                quantity=quantity,
                unit_price=money,
                revenue=money * quantity,
            )
            for i in range(count)
        )
    )


def marks(found: pa.Table) -> list[tuple[str, str, float]]:
    columns = ("product_id", "kind", "value")
    return [tuple(row[name] for name in columns) for row in found.to_pylist()]


def test_fuel_line_is_marked_without_any_history() -> None:
    found = find_anomalies(lines(1, product="fuel", quantity=89_638, price="0.001"), History())
    assert marks(found) == [("fuel", "quantity_outlier", 89_638.0)]
    (row,) = found.to_pylist()
    assert (row["topic_id"], row["partition"], row["offset"]) == (SALES_ID, 0, 0)
    assert (row["store_id"], row["event_time"], row["expected"]) == ("304", AT, 500.0)
    assert row["detail"] == "quantity 89638 is above 500, what this product's history allows"


def test_line_of_great_value_is_marked_without_any_history() -> None:
    found = find_anomalies(lines(1, price="2000.01"), History())
    assert marks(found) == [
        ("milk", "amount_outlier", 2000.01),
        ("milk", "price_outlier", 2000.01),
    ]


def test_ordinary_lines_and_returns_are_not_marked() -> None:
    history = History()
    for _ in range(3):
        assert find_anomalies(lines(MIN_LINES), history).num_rows == 0
    assert find_anomalies(lines(1, quantity=2), history).num_rows == 0
    assert find_anomalies(lines(1, quantity=-400), history).num_rows == 0
    assert find_anomalies(lines(1, quantity=0), history).num_rows == 0


def test_products_own_history_judges_once_it_is_long_enough() -> None:
    history = History()
    find_anomalies(lines(MIN_LINES - 1), history)
    assert find_anomalies(lines(1, quantity=60), history).num_rows == 0
    history = History()
    find_anomalies(lines(MIN_LINES), history)
    assert marks(find_anomalies(lines(1, quantity=60), history)) == [
        ("milk", "quantity_outlier", 60.0),
        ("milk", "amount_outlier", 120.0),
    ]
    assert find_anomalies(lines(1, product="beer", quantity=60), history).num_rows == 0


def test_price_far_above_its_history_is_marked() -> None:
    history = History()
    find_anomalies(lines(MIN_LINES), history)
    assert ("milk", "price_outlier", 90.0) in marks(find_anomalies(lines(1, price="90"), history))


def test_history_is_of_the_lines_before_not_of_the_batch_itself() -> None:
    history = History()
    assert find_anomalies(lines(MIN_LINES, quantity=400), history).num_rows == 0
    assert history.sums[0, 0] == MIN_LINES


def test_history_grows_with_every_batch_and_product() -> None:
    history = History()
    for number in range(40):
        find_anomalies(lines(2, product=f"p{number % 25}", quantity=3, price="1.5"), history)
    assert len(history.products) == 25
    rows = history.rows(pa.array([f"p{number}" for number in range(25)]))
    assert history.sums[rows, 0].tolist() == [4.0] * 15 + [2.0] * 10
    each = [np.log1p(3), np.log1p(3) ** 2, np.log1p(4.5), np.log1p(4.5) ** 2]
    each += [np.log1p(1.5), np.log1p(1.5) ** 2]
    np.testing.assert_allclose(history.sums[rows[0]], [4.0, *(4 * x for x in each)])


def test_nothing_found_has_the_columns_of_the_table() -> None:
    found = find_anomalies(lines(1), History())
    marked = find_anomalies(lines(1, quantity=9000), History())
    assert found.schema == marked.schema

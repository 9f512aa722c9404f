"""Which orders are on their way, and who delivers nothing."""

import numpy as np

from tillstream.learning.exposure import DAY_MS, HOUR_MS
from tillstream.learning.orders import Orders

NOW = 1_000 * DAY_MS


def ints(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def test_an_order_is_on_its_way_until_a_delivery_near_its_time() -> None:
    expected = ints(NOW + DAY_MS, NOW + HOUR_MS, NOW - DAY_MS, NOW - DAY_MS, NOW - 8 * DAY_MS)
    delivered = ints(NOW - HOUR_MS, NOW - HOUR_MS, NOW - 2 * DAY_MS, NOW - DAY_MS, 0)
    found = Orders(np.zeros(5, np.int64), expected, delivered).missing(NOW)
    # Tomorrow's, not the one that came an hour early; late, fulfilled, and long given up.
    assert found.tolist() == [True, False, True, False, False]


def test_a_supplier_is_held_up_when_most_of_what_fell_due_stayed_away() -> None:
    due = np.repeat(ints(NOW - 6 * HOUR_MS, NOW - 30 * HOUR_MS), 3)
    never, came = np.zeros(6, np.int64), due.copy()
    half = np.where(np.arange(6) < 3, 0, due)
    orders = Orders(
        np.repeat(ints(0, 1, 2), 6), np.tile(due, 3), np.concatenate([never, came, half])
    )
    assert orders.held_up_ms(NOW, suppliers=4).tolist() == [30 * HOUR_MS, 0, 0, 0]


def test_few_orders_do_not_make_a_strike() -> None:
    orders = Orders(ints(0, 0), ints(NOW - HOUR_MS, NOW - HOUR_MS), ints(0, 0))
    assert orders.held_up_ms(NOW, suppliers=1).tolist() == [0]

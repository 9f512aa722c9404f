"""Which orders are on their way, and who delivers nothing."""

import numpy as np
import pytest

from tillstream.learning.exposure import DAY_MS, HOUR_MS
from tillstream.learning.orders import Orders, held_up_longer_ms

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


def test_an_order_late_before_the_others_says_nothing_of_how_long_all_have_been() -> None:
    """One from three days ago was late on its own; its supplier delivered yesterday morning."""
    due = ints(-74, -38, -14, -14, -14, -14, -14) * HOUR_MS + NOW
    came = np.where(due == NOW - 38 * HOUR_MS, due, 0)
    orders = Orders(np.zeros(7, dtype=np.int64), due, came)
    assert orders.missing(NOW).tolist() == [True, False, True, True, True, True, True]
    assert orders.held_up_ms(NOW, suppliers=1).tolist() == [DAY_MS]
    assert orders.held_up_ms(NOW + DAY_MS // 2, suppliers=1).tolist() == [26 * HOUR_MS]


def test_how_long_it_goes_on_is_exponential_with_a_mean_nobody_knows() -> None:
    """The median, by drawing means and holding on to those whose hold-up lasted two days."""
    held_ms = np.array([2, 10, 2]) * DAY_MS
    draw = np.random.default_rng(1)
    lasted = draw.exponential(np.exp(draw.uniform(0.0, np.log(14.0), 1_000_000)))
    longer = [np.median(lasted[lasted > days] - days) for days in (2, 10, 2)]
    found = held_up_longer_ms(held_ms, [0.9, 0.5, 0.1])
    assert found[1] / DAY_MS == pytest.approx(longer, rel=0.03)
    assert (np.diff(found, axis=0) > 0).all()

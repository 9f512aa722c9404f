"""How a store replenishes."""

import pytest

from simulators.policy import (
    ReplenishmentPolicy,
    opening_stock,
    policy_for,
    review_period_days,
    review_weekdays,
    supplier_lead_time_days,
)


@pytest.mark.parametrize(
    ("position", "ordered"), [(10, 0), (11, 0), (9, 6), (4, 6), (3, 12), (0, 12), (-1, 12)]
)
def test_orders_the_fewest_packs_that_reach_the_level(position: int, ordered: int) -> None:
    policy = ReplenishmentPolicy(order_up_to=10, pack_units=6, lead_time_days=2)
    assert policy.order(position) == ordered


def test_the_level_covers_review_and_lead_time_with_its_safety_stock() -> None:
    # Mean 4 × (3 + 2) = 20, deviation sqrt(2 × 20) = 6.32, level 20 + 1.2816 × 6.32 = 28.1.
    policy = policy_for(daily_units=4, dispersion=2, review_days=3, lead_time_days=2, pack_units=12)
    assert policy == ReplenishmentPolicy(order_up_to=29, pack_units=12, lead_time_days=2)


def test_the_slowest_product_still_has_a_place_on_the_shelf() -> None:
    policy = policy_for(
        daily_units=0.0001, dispersion=1, review_days=2, lead_time_days=1, pack_units=4
    )
    assert policy.order_up_to == 1


def test_opening_stock_of_a_slow_product_is_spread_over_one_pack() -> None:
    policy = ReplenishmentPolicy(order_up_to=1, pack_units=4, lead_time_days=1)
    stock = [
        opening_stock(
            policy, daily_units=0.0001, review_days=2, identity=(1, product, "2017-11-20")
        )
        for product in range(4_000)
    ]
    assert set(stock) <= {0, 1, 2, 3, 4}
    for units in (1, 2, 3, 4):
        assert 900 < stock.count(units) < 1_100


def test_opening_stock_is_less_by_what_sold_since_the_last_review() -> None:
    policy = ReplenishmentPolicy(order_up_to=50, pack_units=1, lead_time_days=1)
    stock = [
        opening_stock(policy, daily_units=10, review_days=2, identity=(7, product, "2017-11-20"))
        for product in range(2_000)
    ]
    mean = sum(stock) / len(stock)
    variance = sum((units - mean) ** 2 for units in stock) / len(stock)
    assert mean == pytest.approx(30, abs=0.5)
    assert variance == pytest.approx(20, rel=0.15)


def test_opening_stock_depends_on_its_identity_alone() -> None:
    policy = ReplenishmentPolicy(order_up_to=3, pack_units=12, lead_time_days=1)

    def draws(start: str) -> list[int]:
        return [
            opening_stock(policy, daily_units=0.1, review_days=2, identity=(1, product, start))
            for product in range(50)
        ]

    assert draws("2017-11-20") == draws("2017-11-20")
    assert draws("2017-11-20") != draws("2017-11-21")
    assert draws("2017-11-20")[:6] == [11, 4, 8, 6, 10, 14]


def test_stores_and_suppliers_keep_different_plans() -> None:
    assert {review_weekdays(store) for store in range(100)} == {
        (0, 2, 4),
        (1, 3, 5),
        (0, 3),
        (1, 4),
        (2, 5),
    }
    assert {review_period_days(store) for store in range(100)} == {7 / 3, 3.5}
    assert {supplier_lead_time_days(supplier) for supplier in range(100)} == {1, 2, 3}

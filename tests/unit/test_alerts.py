"""When an alert opens, changes and ends; and how it says so."""

from dataclasses import replace
from decimal import Decimal

import pytest

from streaming.alerts import Item, Reading, Transition, explain, transitions
from tillstream.settings import RiskSettings

RULES = RiskSettings(open_above=0.60, resolve_below=0.30, update_step=0.15)
READING = Reading(
    store_id="304",
    product_id="milk",
    product_name="Milk 1 l",
    risk=0.7,
    on_hand=6,
    daily_units=4.2,
    lead_time_days=2.0,
    empty_p50_days=1.4,
    expected_lost_margin=Decimal("3.10"),
    at_ms=1_000,
)


def follow(*readings: Reading) -> list[Transition]:
    """Every step caused by readings that come one after another."""
    active: dict[Item, Transition] = {}
    steps: list[Transition] = []
    for reading in readings:
        for step in transitions([reading], active, RULES):
            steps.append(step)
            if step.state == "resolved":
                del active[step.reading.item]
            else:
                active[step.reading.item] = step
    return steps


def risks(*values: float, on_hand: int = 6) -> list[tuple[str, int]]:
    readings = (replace(READING, risk=value, on_hand=on_hand) for value in values)
    return [(step.state, step.version) for step in follow(*readings)]


def test_alert_opens_at_its_threshold() -> None:
    assert risks(0.59) == []
    assert risks(0.60) == [("opened", 1)]


def test_alert_is_updated_when_risk_moves_a_step_either_way() -> None:
    assert risks(0.7, 0.84, 0.56) == [("opened", 1)]
    assert risks(0.7, 0.86) == [("opened", 1), ("updated", 2)]
    assert risks(0.7, 0.54) == [("opened", 1), ("updated", 2)]


def test_small_steps_add_up_to_an_update() -> None:
    assert risks(0.70, 0.78, 0.86, 0.94) == [("opened", 1), ("updated", 2)]


def test_alert_is_resolved_at_its_lower_threshold_and_may_open_again() -> None:
    assert risks(0.7, 0.31) == [("opened", 1), ("updated", 2)]
    assert risks(0.7, 0.30) == [("opened", 1), ("resolved", 2)]
    assert risks(0.7, 0.1, 0.5, 0.9) == [("opened", 1), ("resolved", 2), ("opened", 1)]


def test_risk_that_hovers_around_a_threshold_makes_one_alert() -> None:
    assert risks(*[0.61, 0.58] * 20) == [("opened", 1)]
    assert risks(0.61, *[0.45, 0.32] * 20) == [("opened", 1), ("updated", 2)]


def test_shelf_that_empties_is_told_however_high_the_risk_was() -> None:
    full, empty = replace(READING, risk=0.95, on_hand=1), replace(READING, risk=1.0, on_hand=0)
    assert [step.state for step in follow(full, empty)] == ["opened", "updated"]
    assert [step.state for step in follow(full, empty, empty)] == ["opened", "updated"]


def test_steps_of_one_alert_share_its_id_and_opening_time() -> None:
    first, second, third = follow(
        READING,
        replace(READING, risk=0.9, at_ms=2_000),
        replace(READING, risk=0.1, at_ms=3_000),
    )
    assert first.alert_id == second.alert_id == third.alert_id
    assert [step.opened_at_ms for step in (first, second, third)] == [1_000] * 3
    assert [step.reading.at_ms for step in (first, second, third)] == [1_000, 2_000, 3_000]


def test_alerts_that_follow_each_other_are_different_ones() -> None:
    steps = follow(READING, replace(READING, risk=0.1), READING)
    assert steps[0].alert_id == steps[1].alert_id != steps[2].alert_id


def test_items_are_alerted_apart() -> None:
    readings = [READING, replace(READING, store_id="305"), replace(READING, product_id="beer")]
    steps = transitions(readings, {}, RULES)
    assert [step.reading.item for step in steps] == [r.item for r in readings]
    assert len({step.alert_id for step in steps}) == 3


def test_same_readings_again_cause_nothing() -> None:
    readings = [READING, replace(READING, store_id="305", risk=0.99, on_hand=0)]
    steps = transitions(readings, {}, RULES)
    active = {step.reading.item: step for step in steps}
    assert transitions(readings, active, RULES) == []


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {},
            "Milk 1 l at store 304 has 6 left and sells about 4.2 a day: 70% likely to run out "
            "before an order placed now arrives in 2.0 days (expected empty in 1.4 days).",
        ),
        (
            {"on_hand": 0, "daily_units": 0.5},
            "Milk 1 l at store 304 is sold out; it sells about 3.5 a week, and "
            "an order placed now arrives in 2.0 days.",
        ),
        (
            {"on_hand": -3, "daily_units": 0.1, "lead_time_days": 14.0},
            "Milk 1 l at store 304 is sold out; it sells about 3.0 a month, and "
            "an order placed now arrives in 14 days.",
        ),
        (
            {"risk": 0.996, "lead_time_days": 0.5, "empty_p50_days": 0.01},
            "Milk 1 l at store 304 has 6 left and sells about 4.2 a day: 100% likely to run out "
            "before an order placed now arrives in 12 h (expected empty in 1 h).",
        ),
    ],
)
def test_explanation_is_one_plain_sentence(changes: dict[str, float], sentence: str) -> None:
    assert explain(replace(READING, **changes)) == sentence  # type: ignore[arg-type]

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


def follow(*readings: Reading, rules: RiskSettings = RULES) -> list[Transition]:
    """Every step caused by readings that come one after another."""
    active: dict[Item, Transition] = {}
    steps: list[Transition] = []
    for reading in readings:
        for step in transitions([reading], active, rules):
            steps.append(step)
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
    assert risks(0.7, 0.1, 0.5, 0.9) == [("opened", 1), ("resolved", 2), ("opened", 3)]


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


HOUR_MS = 3_600_000


@pytest.mark.parametrize(
    ("gap_ms", "alerts"), [(1, 1), (6 * HOUR_MS, 1), (6 * HOUR_MS + 1, 2), (90 * HOUR_MS, 2)]
)
def test_risk_that_comes_back_within_the_cooldown_is_the_same_alert(
    gap_ms: int, alerts: int
) -> None:
    gone = replace(READING, risk=0.1, at_ms=2_000)
    steps = follow(READING, gone, replace(READING, at_ms=2_000 + gap_ms))
    assert [step.state for step in steps] == ["opened", "resolved", "opened"]
    assert len({step.alert_id for step in steps}) == alerts
    assert steps[-1].version == (3 if alerts == 1 else 1)
    assert steps[-1].opened_at_ms == (1_000 if alerts == 1 else 2_000 + gap_ms)


def test_flapping_input_makes_one_alert() -> None:
    """The shelf is empty and full again every ten minutes, for two days."""
    flaps = (
        replace(READING, risk=0.99 if n % 2 else 0.01, at_ms=n * 600_000, on_hand=n % 2)
        for n in range(2 * 24 * 6)
    )
    assert len({step.alert_id for step in follow(*flaps)}) == 1


def test_nobody_is_woken_for_what_is_not_sold() -> None:
    gone = replace(READING, not_sold="the product is discontinued (since 2017-11-01)")
    assert follow(gone) == []
    opened, resolved = follow(READING, gone, gone)
    assert (opened.state, resolved.state) == ("opened", "resolved")
    assert resolved.explanation == (
        "Milk 1 l at store 304 needs no restocking: the product is discontinued (since 2017-11-01)."
    )


@pytest.mark.parametrize(
    ("margin", "low_confidence", "severity"),
    [
        ("20", False, "critical"),
        ("19.9999", False, "high"),
        ("5", False, "high"),
        ("1", False, "medium"),
        ("0.9999", False, "low"),
        ("20", True, "high"),
        ("0", True, "low"),
    ],
)
def test_severity_is_what_it_costs_and_less_for_a_guess(
    margin: str, low_confidence: bool, severity: str
) -> None:
    reading = replace(READING, expected_lost_margin=Decimal(margin), low_confidence=low_confidence)
    assert [step.severity for step in follow(reading)] == [severity]


def test_alert_that_gets_graver_is_told_and_one_that_gets_milder_is_not() -> None:
    costs = [Decimal("0.5"), Decimal(6), Decimal(2), Decimal(19), Decimal(20)]
    steps = follow(*(replace(READING, expected_lost_margin=cost) for cost in costs))
    assert [step.severity for step in steps] == ["low", "high", "critical"]


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

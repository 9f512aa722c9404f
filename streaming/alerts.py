"""Restock alerts: when one opens, changes and ends, and the sentence that says why."""

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from tillstream.settings import RiskSettings

Item = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Reading:
    """What the risk model says of one store and product now. `at_ms` is stream time."""

    store_id: str
    product_id: str
    product_name: str
    risk: float
    on_hand: int
    daily_units: float
    lead_time_days: float
    empty_p50_days: float
    expected_lost_margin: Decimal
    at_ms: int

    @property
    def item(self) -> Item:
        return self.store_id, self.product_id


@dataclass(frozen=True, slots=True)
class Transition:
    """One step of one alert; (alert_id, version) is its identity."""

    alert_id: str
    version: int
    state: str
    opened_at_ms: int
    explanation: str
    reading: Reading


def transitions(
    readings: Iterable[Reading], active: Mapping[Item, Transition], rules: RiskSettings
) -> list[Transition]:
    """The steps that `readings` cause, given the newest step of each alert that is not resolved.

    Opening needs a higher risk than staying open (hysteresis), so a risk that hovers around one
    threshold makes one alert. Feeding the same readings again after the steps were stored causes
    nothing.
    """
    steps = []
    for reading in readings:
        current = active.get(reading.item)
        if current is None:
            if reading.risk >= rules.open_above:
                steps.append(_opened(reading))
        elif reading.risk <= rules.resolve_below:
            steps.append(_next(current, reading, "resolved"))
        elif _worth_telling(current.reading, reading, rules):
            steps.append(_next(current, reading, "updated"))
    return steps


def _worth_telling(before: Reading, now: Reading, rules: RiskSettings) -> bool:
    emptied = before.on_hand > 0 >= now.on_hand
    return emptied or abs(now.risk - before.risk) >= rules.update_step


def _opened(reading: Reading) -> Transition:
    return Transition(str(uuid.uuid4()), 1, "opened", reading.at_ms, explain(reading), reading)


def _next(current: Transition, reading: Reading, state: str) -> Transition:
    return Transition(
        current.alert_id,
        current.version + 1,
        state,
        current.opened_at_ms,
        explain(reading),
        reading,
    )


def explain(reading: Reading) -> str:
    """One sentence for someone who knows shops, not statistics."""
    what = f"{reading.product_name} at store {reading.store_id}"
    selling = f"sells about {pace(reading.daily_units)}"
    supply = f"an order placed now arrives in {_days(reading.lead_time_days)}"
    if reading.on_hand <= 0:
        return f"{what} is sold out; it {selling}, and {supply}."
    return (
        f"{what} has {reading.on_hand} left and {selling}: {reading.risk:.0%} likely to run out "
        f"before {supply} (expected empty in {_days(reading.empty_p50_days)})."
    )


def pace(daily_units: float) -> str:
    """Units a day, a week or a month, whichever reads best."""
    if daily_units >= 1:
        return f"{daily_units:.1f} a day"
    if daily_units >= 1 / 7:
        return f"{daily_units * 7:.1f} a week"
    return f"{daily_units * 30:.1f} a month"


def _days(days: float) -> str:
    if days < 1:
        return f"{max(round(days * 24), 1)} h"
    return f"{days:.1f} days" if days < 10 else f"{days:.0f} days"

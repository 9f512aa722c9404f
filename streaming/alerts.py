"""Restock alerts: when one opens, changes and ends, and the sentence that says why."""

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from tillstream.alerting.alert import Severity
from tillstream.alerting.severity import is_graver, severity_of
from tillstream.settings import RiskSettings

Item = tuple[str, str]
_HOUR_MS = 3_600_000


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
    days_of_cover: float = 0.0
    low_confidence: bool = False
    region: str = ""
    category: str = ""
    supplier_id: str = ""
    supplier_name: str = ""
    # The supplier delivers nothing of late.
    held_up: bool = False
    # Why nobody should be woken for it; empty for what is sold.
    not_sold: str = ""

    @property
    def item(self) -> Item:
        return self.store_id, self.product_id


@dataclass(frozen=True, slots=True)
class Transition:
    """One step of one alert; (alert_id, version) is its identity. Alerts with one cause share an
    `incident_id`."""

    alert_id: str
    version: int
    state: str
    opened_at_ms: int
    explanation: str
    reading: Reading
    severity: Severity = Severity.LOW
    incident_id: str = ""


def transitions(
    readings: Iterable[Reading], active: Mapping[Item, Transition], rules: RiskSettings
) -> list[Transition]:
    """The steps that `readings` cause, given the newest step of each alert that is not resolved, or
    was resolved within the cooldown.

    Opening needs a higher risk than staying open (hysteresis), so a risk that hovers around one
    threshold makes one alert. One that comes back within the cooldown is the same alert again, so a
    risk that jumps across both makes one, too. Feeding the same readings again after the steps
    were stored causes nothing.
    """
    steps = []
    for reading in readings:
        current = active.get(reading.item)
        if current is None or current.state == "resolved":
            if reading.risk >= rules.open_above and not reading.not_sold:
                steps.append(_opened(reading, current, rules))
        elif reading.risk <= rules.resolve_below or reading.not_sold:
            steps.append(_told(current, reading, "resolved", rules))
        elif _worth_telling(current, reading, rules):
            steps.append(_told(current, reading, "updated", rules))
    return steps


def is_cooling(step: Transition, at_ms: int, rules: RiskSettings) -> bool:
    """Whether an alert that ended with this step would go on, should the risk come back now."""
    return at_ms - step.reading.at_ms <= rules.cooldown_hours * _HOUR_MS


def _worth_telling(before: Transition, now: Reading, rules: RiskSettings) -> bool:
    emptied = before.reading.on_hand > 0 >= now.on_hand
    moved = abs(now.risk - before.reading.risk) >= rules.update_step
    return emptied or moved or is_graver(_severity(now, rules), before.severity)


def _opened(reading: Reading, before: Transition | None, rules: RiskSettings) -> Transition:
    if before is not None and is_cooling(before, reading.at_ms, rules):
        # The incident that it was part of may be over.
        return replace(_told(before, reading, "opened", rules), incident_id="")
    return Transition(
        str(uuid.uuid4()),
        1,
        "opened",
        reading.at_ms,
        explain(reading),
        reading,
        _severity(reading, rules),
    )


def _told(current: Transition, reading: Reading, state: str, rules: RiskSettings) -> Transition:
    return replace(next_step(current, reading, state), severity=_severity(reading, rules))


def next_step(current: Transition, reading: Reading, state: str) -> Transition:
    return replace(
        current,
        version=current.version + 1,
        state=state,
        explanation=explain(reading),
        reading=reading,
    )


def _severity(reading: Reading, rules: RiskSettings) -> Severity:
    return severity_of(
        reading.expected_lost_margin,
        low_confidence=reading.low_confidence,
        thresholds=(rules.critical_margin, rules.high_margin, rules.medium_margin),
    )


def explain(reading: Reading) -> str:
    """One sentence for someone who knows shops, not statistics."""
    what = f"{reading.product_name} at store {reading.store_id}"
    if reading.not_sold:
        return f"{what} needs no restocking: {reading.not_sold}."
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

"""What `tillstream alerts` understands and shows."""

import io
from dataclasses import replace
from decimal import Decimal

import pytest
from rich.console import Console

from tests.alerting import HOUR_MS, MINUTE_MS, OPENED, T0_MS, detection, logged
from tillstream.alerting.alert import AlertView, Place, Severity
from tillstream.alerting.fold import fold
from tillstream.cli.alerts_desk import filter_of, snoozed_until_ms
from tillstream.cli.alerts_view import list_view, why_lines
from tillstream.errors import ConfigError

VIEW = fold([OPENED], [logged(0, "acknowledge")]).view


def shown(alerts: list[AlertView], *, width: int, grouped: bool = True) -> str:
    console = Console(file=io.StringIO(), width=width)
    now_ms = T0_MS + 5 * MINUTE_MS
    console.print(list_view(alerts, rows=20, grouped=grouped, now_ms=now_ms, width=width))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("for_", "until", "ahead_ms"),
    [
        ("30m", None, 30 * MINUTE_MS),
        ("2h", None, 2 * HOUR_MS),
        ("1d", None, 24 * HOUR_MS),
        (None, "2026-11-18T12:06:40Z", HOUR_MS),
        (None, "2026-11-18T13:06:40+01:00", HOUR_MS),
    ],
)
def test_snooze_is_given_as_a_time_or_a_moment(
    for_: str | None, until: str | None, ahead_ms: int
) -> None:
    assert snoozed_until_ms(for_, until, now_ms=T0_MS) == T0_MS + ahead_ms


@pytest.mark.parametrize(
    ("for_", "until", "said"),
    [
        (None, None, "snooze needs --for or --until"),
        ("2h", "2026-11-18T12:06Z", "snooze needs --for or --until"),
        ("2 hours", None, "--for 2 hours: not a time"),
        (None, "tomorrow", "--until tomorrow: not a moment"),
        (None, "2026-11-18T12:06", "--until 2026-11-18T12:06: in which time zone?"),
    ],
)
def test_snooze_that_is_not_understood_is_told_with_an_example(
    for_: str | None, until: str | None, said: str
) -> None:
    with pytest.raises(ConfigError, match=said.replace("?", r"\?")) as told:
        snoozed_until_ms(for_, until, now_ms=T0_MS)
    assert "--for 2h" in str(told.value.hint)


def test_list_shows_whole_ids_and_states_in_a_narrow_terminal() -> None:
    lines = shown([VIEW], width=80).splitlines()
    assert lines[0].split() == ["id", "severity", "state", "risk", "at", "stake", "what"]
    assert lines[1].startswith("alert-1  medium    acknowledged by kim   70%      7.50  Milk 1 l")
    assert lines[2] == "1 alerts, 1 live"
    assert max(len(line.rstrip()) for line in lines) <= 80


def test_items_of_an_incident_are_one_line_unless_they_are_asked_for() -> None:
    items = [
        replace(VIEW, alert_id=f"alert-{n}", store_id=f"s-{n % 3}", incident_id="strike-1")
        for n in range(30)
    ]
    dear = replace(VIEW, alert_id="dear", expected_lost_margin=Decimal(300))
    lines = shown([*items, dear], width=130).splitlines()
    assert lines[1].startswith("dear")
    assert "30 items of supplier Mill in 3 stores" in lines[2]
    assert "225.00" in lines[2]
    assert lines[3] == "31 alerts, 31 live"
    assert len(shown(items, width=130, grouped=False).splitlines()) == 22


def test_nothing_to_do_is_said() -> None:
    assert shown([], width=80).startswith("No alert: every shelf that is watched is safe")


def test_story_tells_who_was_refused_and_where_it_is_recorded() -> None:
    place = Place("retail-restock-alerts", "", 0, 17)
    steps = fold(
        [replace(OPENED, place=place), detection(2, risk=0.9, on_hand=0)],
        [logged(0, "acknowledge", seen=1, based_on=0), logged(1, "escalate", "lee", based_on=0)],
    ).steps
    text = "\n".join(why_lines(VIEW, steps))
    assert "opened: risk 70%, 6 on hand [dim]retail-restock-alerts:0:17[/]" in text
    assert "kim: acknowledge [dim]retail-alert-actions:0:0[/]" in text
    assert "lee: escalate [red]refused: kim acknowledged it first, at 2026-11-18" in text
    assert "updated: risk 90%, 0 on hand" in text


def test_filter_takes_what_is_at_least_as_grave() -> None:
    wanted = filter_of("live", "high", None)
    graves = [replace(VIEW, severity=severity) for severity in Severity]
    assert [wanted(view) for view in graves] == [True, True, False, False]
    assert not filter_of("live", "low", "another")(VIEW)
    assert filter_of("acknowledged", "low", "304")(VIEW)
    with pytest.raises(ConfigError, match="--state lost: no such state"):
        filter_of("lost", "low", None)

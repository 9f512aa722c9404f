"""What the commands of `tillstream alerts` share: ids, filters, and sending an action."""

import getpass
import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import typer

from tillstream.cli.alerts_view import as_document, decision_document, decision_line
from tillstream.cli.output import console, emit_json
from tillstream.errors import ConfigError
from tillstream.settings import Settings

if TYPE_CHECKING:  # the Kafka and warehouse libraries would slow down every other command's start
    from tillstream.alerting.alert import AlertView
    from tillstream.alerting.desk import Desk

REFUSED = 1
EVERY_S = 1.0
STATES = ("live", "open", "acknowledged", "snoozed", "escalated", "resolved", "all")
SEVERITIES = ("critical", "high", "medium", "low")
_SHORTEST_PREFIX = 4
_UNIT = {"m": "minutes", "h": "hours", "d": "days"}


def snoozed_until_ms(for_: str | None, until: str | None, *, now_ms: int) -> int:
    """The end of a snooze as given, either way. Raises ConfigError saying how to give it."""
    hint = "for example --for 2h, or --until 2026-11-23T06:00Z"
    if (for_ is None) == (until is None):
        raise ConfigError("snooze needs --for or --until", hint=hint)
    if for_ is not None:
        match = re.fullmatch(r"(\d{1,5})([mhd])", for_)
        if not match:
            raise ConfigError(f"--for {for_}: not a time", hint=hint)
        return now_ms + int(timedelta(**{_UNIT[match[2]]: int(match[1])}).total_seconds()) * 1000
    try:
        moment = datetime.fromisoformat(until or "")
    except ValueError as exc:
        raise ConfigError(f"--until {until}: not a moment", hint=hint) from exc
    if moment.tzinfo is None:
        raise ConfigError(f"--until {until}: in which time zone?", hint=hint)
    return int(moment.timestamp() * 1000)


def act(
    ctx: typer.Context,
    ids: list[str],
    kind: str,
    who: str | None,
    *,
    as_json: bool,
    **said: Any,
) -> None:
    from tillstream.alerting.actions import new_action

    actor = who or getpass.getuser()
    with open_desk(ctx) as desk:
        actions = []
        for view in _views(desk, ids):
            if kind == "undo":
                said["undoes"] = view.last_change.action_id if view.last_change else "none"
            actions.append(
                new_action(
                    view.alert_id,
                    kind,
                    actor=actor,
                    at_ms=now_ms(),
                    based_on=view.revision,
                    seen=view.version,
                    **said,
                )
            )
        decisions = desk.act_many(actions)
    if as_json:
        emit_json([decision_document(one) for one in decisions])
    else:
        for one in decisions:
            console.print(decision_line(one), soft_wrap=True)
    if not all(one.accepted for one in decisions):
        raise typer.Exit(REFUSED)


def _views(desk: "Desk", ids: list[str]) -> "list[AlertView]":
    """The alerts named, each once; an incident names all of its live ones."""
    views: dict[str, AlertView] = {}
    for given in ids:
        found = resolve_id(desk, given)
        alone = desk.alert(found)
        for view in desk.members(found) if alone is None else [alone]:
            views[view.alert_id] = view
    return list(views.values())


def resolve_id(desk: "Desk", given: str) -> str:
    """The one alert or incident whose id begins so. Raises ConfigError when it is none or many."""
    known = {one.alert_id for one in desk.alerts()}
    known |= {one.incident_id for one in desk.incidents()}
    if given in known or desk.alert(given) is not None:
        return given
    found = sorted(one for one in known if one.startswith(given))
    hint = "`tillstream alerts list` shows those there are"
    if len(given) < _SHORTEST_PREFIX or not found:
        raise ConfigError(f"there is no alert {given}", hint=hint)
    if len(found) > 1:
        raise ConfigError(f"{given} may be {found[0]} or {found[1]}", hint="give more of the id")
    return found[0]


def filter_of(state: str, severity: str, store: str | None) -> "Callable[[AlertView], bool]":
    if state not in STATES:
        raise ConfigError(f"--state {state}: no such state", hint=f"one of {', '.join(STATES)}")
    if severity not in SEVERITIES:
        raise ConfigError(
            f"--severity {severity}: no such severity", hint=f"one of {', '.join(SEVERITIES)}"
        )
    grave = SEVERITIES[: SEVERITIES.index(severity) + 1]

    def wanted(view: "AlertView") -> bool:
        in_state = state == "all" or view.state == state or (state == "live" and view.is_live)
        return in_state and view.severity in grave and store in (None, view.store_id)

    return wanted


def stream_changes(desk: "Desk", wanted: "Callable[[AlertView], bool]") -> None:
    while True:
        for alert_id in sorted(desk.refresh()):
            view = desk.alert(alert_id)
            if view is not None and wanted(view):
                sys.stdout.write(json.dumps(as_document(view), default=str) + "\n")
        sys.stdout.flush()
        time.sleep(EVERY_S)


@contextmanager
def open_desk(ctx: typer.Context) -> "Iterator[Desk]":
    from tillstream.alerting.desk import Desk

    settings: Settings = ctx.obj
    with Desk(settings) as desk:
        yield desk


def now_ms() -> int:
    return int(datetime.now(UTC).timestamp() * 1000)

"""`tillstream alerts`: who must act, and acting on it, from a terminal or a script."""

import getpass
import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tillstream.cli.alerts_view import (
    as_document,
    decision_document,
    decision_line,
    list_view,
    why_lines,
)
from tillstream.cli.output import console, emit_json
from tillstream.errors import ConfigError
from tillstream.settings import Settings

if TYPE_CHECKING:  # the Kafka and warehouse libraries would slow down every other command's start
    from rich.console import RenderableType

    from tillstream.alerting.actions import Kind
    from tillstream.alerting.alert import AlertView
    from tillstream.alerting.desk import Desk

REFUSED = 1
_SHORTEST_PREFIX = 4
_EVERY_S = 1.0
_STATES = ("live", "open", "acknowledged", "snoozed", "escalated", "resolved", "all")
_SEVERITIES = ("critical", "high", "medium", "low")
_UNIT = {"m": "minutes", "h": "hours", "d": "days"}

Ids = Annotated[
    list[str], typer.Argument(help="Ids of alerts or incidents, or how they begin.", metavar="ID…")
]
Actor = Annotated[
    str | None, typer.Option("--as", help="Who does it; you, unless told.", metavar="NAME")
]
Comment = Annotated[str | None, typer.Option("--comment", "-m", help="A word to it.")]
AsJson = Annotated[bool, typer.Option("--json", help="For scripts.")]
Store = Annotated[str | None, typer.Option(help="Only this store's.")]
StateOption = Annotated[str, typer.Option(help=f"One of {', '.join(_STATES)}.")]
SeverityOption = Annotated[str, typer.Option(help=f"At least this: {', '.join(_SEVERITIES)}.")]
Incident = Annotated[str | None, typer.Option(help="The items of this incident.", metavar="ID")]
Rows = Annotated[int, typer.Option("-n", "--rows", min=1, help="How many.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(
        help="Restock alerts: see them, act on them, and why they are what they are."
    )
    group.command(
        "list",
        epilog="Examples: tillstream alerts list --severity high"
        " · tillstream alerts list --state all --json | jq '.alerts[].explanation'",
    )(list_alerts)
    group.command(epilog="Example: tillstream alerts watch --store 424")(watch)
    group.command(epilog="Example: tillstream alerts ack 3f2a")(ack)
    group.command(epilog="Example: tillstream alerts assign 3f2a --to lee")(assign)
    group.command(epilog="Example: tillstream alerts snooze 3f2a --for 2h")(snooze)
    group.command(epilog="Example: tillstream alerts escalate 3f2a -m 'no answer'")(escalate)
    group.command(epilog="Example: tillstream alerts resolve 3f2a -m 'ordered by phone'")(resolve)
    group.command(epilog="Example: tillstream alerts reopen 3f2a")(reopen)
    group.command(epilog="Example: tillstream alerts comment 3f2a -m 'truck is at the dock'")(
        comment
    )
    group.command(epilog="Example: tillstream alerts undo 3f2a")(undo)
    group.command(epilog="Example: tillstream alerts why 3f2a")(why)
    app.add_typer(group, name="alerts", no_args_is_help=True)


def list_alerts(
    ctx: typer.Context,
    state: StateOption = "live",
    severity: SeverityOption = "low",
    store: Store = None,
    incident: Incident = None,
    rows: Rows = 20,
    as_json: AsJson = False,
) -> None:
    """List alerts, the most expensive first. Items with one cause are one line, an incident."""
    wanted = _filter(state, severity, store)
    with _desk(ctx) as desk:
        alerts = [one for one in desk.alerts() if wanted(one)]
        if incident:
            incident_id = _resolve(desk, incident)
            alerts = [one for one in alerts if one.incident_id == incident_id]
    if as_json:
        emit_json({"total": len(alerts), "alerts": [as_document(one) for one in alerts[:rows]]})
        return
    console.print(_view(alerts, rows, grouped=incident is None))


def watch(
    ctx: typer.Context,
    state: StateOption = "live",
    severity: SeverityOption = "low",
    store: Store = None,
    rows: Rows = 20,
    as_json: AsJson = False,
) -> None:
    """Keep listing, until Ctrl-C. With --json: one line for each alert that changes, as it does."""
    from rich.live import Live

    wanted = _filter(state, severity, store)
    with _desk(ctx) as desk:
        if as_json:
            _stream_changes(desk, wanted)

        def table() -> Any:
            alerts = [one for one in desk.alerts() if wanted(one)]
            return _view(alerts, rows, grouped=True)

        with Live(table(), console=console, auto_refresh=False) as live:
            while True:
                time.sleep(_EVERY_S)
                desk.refresh()
                live.update(table(), refresh=True)


def ack(ctx: typer.Context, ids: Ids, who: Actor = None, as_json: AsJson = False) -> None:
    """Say that you have it: nobody is paged for it any more."""
    _act(ctx, ids, "acknowledge", who, as_json=as_json)


def assign(
    ctx: typer.Context,
    ids: Ids,
    to: Annotated[str, typer.Option(help="Whose it is from now on.", metavar="NAME")],
    who: Actor = None,
    said: Comment = None,
    as_json: AsJson = False,
) -> None:
    """Give it to somebody. That does not acknowledge it: they do."""
    _act(ctx, ids, "assign", who, as_json=as_json, assignee=to, comment=said)


def snooze(
    ctx: typer.Context,
    ids: Ids,
    for_: Annotated[
        str | None, typer.Option("--for", help="How long: 30m, 2h, 1d.", metavar="TIME")
    ] = None,
    until: Annotated[
        str | None, typer.Option(help="Or until when: 2026-11-23T06:00Z.", metavar="MOMENT")
    ] = None,
    who: Actor = None,
    said: Comment = None,
    as_json: AsJson = False,
) -> None:
    """Put it aside for a while; it comes back earlier when it gets worse."""
    until_ms = snoozed_until_ms(for_, until, now_ms=_now_ms())
    _act(ctx, ids, "snooze", who, as_json=as_json, until_ms=until_ms, comment=said)


def escalate(
    ctx: typer.Context,
    ids: Ids,
    level: Annotated[
        int | None, typer.Option(min=1, help="To which level; the next, unless told.")
    ] = None,
    who: Actor = None,
    said: Comment = None,
    as_json: AsJson = False,
) -> None:
    """Call for those who come after you."""
    _act(ctx, ids, "escalate", who, as_json=as_json, level=level, comment=said)


def resolve(
    ctx: typer.Context,
    ids: Ids,
    reason: Annotated[str, typer.Option("--reason", "-m", help="What was done, or why not.")],
    who: Actor = None,
    as_json: AsJson = False,
) -> None:
    """End it with a reason. It stays ended, whatever the shelf does, until it is safe again."""
    _act(ctx, ids, "resolve", who, as_json=as_json, comment=reason)


def reopen(
    ctx: typer.Context, ids: Ids, who: Actor = None, said: Comment = None, as_json: AsJson = False
) -> None:
    """Make it open again, as if nobody had touched it."""
    _act(ctx, ids, "reopen", who, as_json=as_json, comment=said)


def comment(
    ctx: typer.Context,
    ids: Ids,
    text: Annotated[str, typer.Option("--text", "-m", help="What you want to say.")],
    who: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Write something down beside it."""
    _act(ctx, ids, "comment", who, as_json=as_json, comment=text)


def undo(ctx: typer.Context, ids: Ids, who: Actor = None, as_json: AsJson = False) -> None:
    """Take the newest change back: the alert is what it was before."""
    _act(ctx, ids, "undo", who, as_json=as_json)


def why(
    ctx: typer.Context,
    alert_id: Annotated[str, typer.Argument(help="An alert's id, or how it begins.")],
    as_json: AsJson = False,
) -> None:
    """Tell one alert's story: what was found and who did what, each with its place in Kafka."""
    with _desk(ctx) as desk:
        found = _resolve(desk, alert_id)
        view, steps = desk.alert(found), desk.history(found)
    if view is None:
        raise ConfigError(f"{alert_id} is an incident", hint="ask about one of its items")
    if as_json:
        emit_json({"alert": as_document(view), "steps": [as_document(one) for one in steps]})
        return
    for line in why_lines(view, steps):
        console.print(line, soft_wrap=True)


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


def _view(alerts: "list[AlertView]", rows: int, *, grouped: bool) -> "RenderableType":
    width = console.width
    return list_view(alerts, rows=rows, grouped=grouped, now_ms=_now_ms(), width=width)


def _act(
    ctx: typer.Context,
    ids: list[str],
    kind: "Kind | str",
    who: str | None,
    *,
    as_json: bool,
    **said: Any,
) -> None:
    from tillstream.alerting.actions import new_action

    actor = who or getpass.getuser()
    with _desk(ctx) as desk:
        actions = []
        for view in _views(desk, ids):
            if kind == "undo":
                said["undoes"] = view.last_change.action_id if view.last_change else "none"
            actions.append(
                new_action(
                    view.alert_id,
                    kind,
                    actor=actor,
                    at_ms=_now_ms(),
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
        found = _resolve(desk, given)
        alone = desk.alert(found)
        for view in desk.members(found) if alone is None else [alone]:
            views[view.alert_id] = view
    return list(views.values())


def _resolve(desk: "Desk", given: str) -> str:
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


def _filter(state: str, severity: str, store: str | None) -> "Callable[[AlertView], bool]":
    if state not in _STATES:
        raise ConfigError(f"--state {state}: no such state", hint=f"one of {', '.join(_STATES)}")
    if severity not in _SEVERITIES:
        raise ConfigError(
            f"--severity {severity}: no such severity", hint=f"one of {', '.join(_SEVERITIES)}"
        )
    grave = _SEVERITIES[: _SEVERITIES.index(severity) + 1]

    def wanted(view: "AlertView") -> bool:
        in_state = state == "all" or view.state == state or (state == "live" and view.is_live)
        return in_state and view.severity in grave and store in (None, view.store_id)

    return wanted


def _stream_changes(desk: "Desk", wanted: "Callable[[AlertView], bool]") -> None:
    while True:
        for alert_id in sorted(desk.refresh()):
            view = desk.alert(alert_id)
            if view is not None and wanted(view):
                sys.stdout.write(json.dumps(as_document(view), default=str) + "\n")
        sys.stdout.flush()
        time.sleep(_EVERY_S)


@contextmanager
def _desk(ctx: typer.Context) -> "Iterator[Desk]":
    from tillstream.alerting.desk import Desk

    settings: Settings = ctx.obj
    with Desk(settings) as desk:
        yield desk


def _now_ms() -> int:
    return int(datetime.now(UTC).timestamp() * 1000)

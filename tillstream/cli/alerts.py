"""`tillstream alerts`: who must act, and acting on it, from a terminal or a script."""

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tillstream.cli.alerts_desk import (
    EVERY_S,
    SEVERITIES,
    STATES,
    act,
    filter_of,
    now_ms,
    open_desk,
    resolve_id,
    snoozed_until_ms,
    stream_changes,
)
from tillstream.cli.alerts_view import as_document, list_view, why_lines
from tillstream.cli.output import console, emit_json
from tillstream.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from tillstream.alerting.alert import AlertView

Ids = Annotated[
    list[str], typer.Argument(help="Ids of alerts or incidents, or how they begin.", metavar="ID…")
]
Actor = Annotated[
    str | None, typer.Option("--as", help="Who does it; you, unless told.", metavar="NAME")
]
Comment = Annotated[str | None, typer.Option("--comment", "-m", help="A word to it.")]
AsJson = Annotated[bool, typer.Option("--json", help="For scripts.")]
Store = Annotated[str | None, typer.Option(help="Only this store's.")]
StateOption = Annotated[str, typer.Option(help=f"One of {', '.join(STATES)}.")]
SeverityOption = Annotated[str, typer.Option(help=f"At least this: {', '.join(SEVERITIES)}.")]
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
    wanted = filter_of(state, severity, store)
    with open_desk(ctx) as desk:
        alerts = [one for one in desk.alerts() if wanted(one)]
        if incident:
            incident_id = resolve_id(desk, incident)
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

    wanted = filter_of(state, severity, store)
    with open_desk(ctx) as desk:
        if as_json:
            stream_changes(desk, wanted)

        def table() -> Any:
            alerts = [one for one in desk.alerts() if wanted(one)]
            return _view(alerts, rows, grouped=True)

        with Live(table(), console=console, auto_refresh=False) as live:
            while True:
                time.sleep(EVERY_S)
                desk.refresh()
                live.update(table(), refresh=True)


def ack(ctx: typer.Context, ids: Ids, who: Actor = None, as_json: AsJson = False) -> None:
    """Say that you have it: nobody is paged for it any more."""
    act(ctx, ids, "acknowledge", who, as_json=as_json)


def assign(
    ctx: typer.Context,
    ids: Ids,
    to: Annotated[str, typer.Option(help="Whose it is from now on.", metavar="NAME")],
    who: Actor = None,
    said: Comment = None,
    as_json: AsJson = False,
) -> None:
    """Give it to somebody. That does not acknowledge it: they do."""
    act(ctx, ids, "assign", who, as_json=as_json, assignee=to, comment=said)


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
    until_ms = snoozed_until_ms(for_, until, now_ms=now_ms())
    act(ctx, ids, "snooze", who, as_json=as_json, until_ms=until_ms, comment=said)


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
    act(ctx, ids, "escalate", who, as_json=as_json, level=level, comment=said)


def resolve(
    ctx: typer.Context,
    ids: Ids,
    reason: Annotated[str, typer.Option("--reason", "-m", help="What was done, or why not.")],
    who: Actor = None,
    as_json: AsJson = False,
) -> None:
    """End it with a reason. It stays ended, whatever the shelf does, until it is safe again."""
    act(ctx, ids, "resolve", who, as_json=as_json, comment=reason)


def reopen(
    ctx: typer.Context, ids: Ids, who: Actor = None, said: Comment = None, as_json: AsJson = False
) -> None:
    """Make it open again, as if nobody had touched it."""
    act(ctx, ids, "reopen", who, as_json=as_json, comment=said)


def comment(
    ctx: typer.Context,
    ids: Ids,
    text: Annotated[str, typer.Option("--text", "-m", help="What you want to say.")],
    who: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Write something down beside it."""
    act(ctx, ids, "comment", who, as_json=as_json, comment=text)


def undo(ctx: typer.Context, ids: Ids, who: Actor = None, as_json: AsJson = False) -> None:
    """Take the newest change back: the alert is what it was before."""
    act(ctx, ids, "undo", who, as_json=as_json)


def why(
    ctx: typer.Context,
    alert_id: Annotated[str, typer.Argument(help="An alert's id, or how it begins.")],
    as_json: AsJson = False,
) -> None:
    """Tell one alert's story: what was found and who did what, each with its place in Kafka."""
    with open_desk(ctx) as desk:
        found = resolve_id(desk, alert_id)
        view, steps = desk.alert(found), desk.history(found)
    if view is None:
        raise ConfigError(f"{alert_id} is an incident", hint="ask about one of its items")
    if as_json:
        emit_json({"alert": as_document(view), "steps": [as_document(one) for one in steps]})
        return
    for line in why_lines(view, steps):
        console.print(line, soft_wrap=True)


def _view(alerts: "list[AlertView]", rows: int, *, grouped: bool) -> "RenderableType":
    width = console.width
    return list_view(alerts, rows=rows, grouped=grouped, now_ms=now_ms(), width=width)

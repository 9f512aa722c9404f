"""How alerts look in a terminal, and as JSON."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from rich.console import Group, JustifyMethod, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from tillstream.alerting.alert import AlertView, Decision, Step
    from tillstream.alerting.incidents import Incident

_COLOUR = {"critical": "bold red", "high": "red", "medium": "yellow", "low": "dim"}
_SHORT_ID = 8
# Name, side, and how wide a terminal must be to show it.
_COLUMNS: tuple[tuple[str, JustifyMethod, int], ...] = (
    ("id", "left", 0),
    ("severity", "left", 0),
    ("state", "left", 0),
    ("risk", "right", 0),
    ("on hand", "right", 100),
    ("empty in", "right", 120),
    ("at stake", "right", 0),
    ("age", "right", 110),
    ("what", "left", 0),
)
_HOUR_S = 3600


def as_document(of: Any) -> dict[str, Any]:
    """A view or a step with all its fields; names of columns, times in milliseconds."""
    return {key: value for key, value in asdict(of).items() if value is not None}


def decision_document(decision: "Decision") -> dict[str, Any]:
    view = decision.view
    return {
        "alert_id": decision.action.alert_id,
        "action_id": decision.action.action_id,
        "action": decision.action.kind,
        "accepted": decision.accepted,
        "reason": decision.reason,
        "state": view.state if view else None,
        "revision": view.revision if view else None,
        "owner": view.owner if view else None,
    }


def decision_line(decision: "Decision") -> str:
    view, action = decision.view, decision.action
    what = f"{action.alert_id[:_SHORT_ID]} {_item(view) if view else ''}"
    if not decision.accepted:
        return f"[red]refused[/] {what}: {escape(decision.reason)}"
    now = _state(view, int(datetime.now(UTC).timestamp() * 1000)) if view else ""
    return f"[green]{escape(action.kind)}[/] {what}: now {now}"


def list_view(
    alerts: "Sequence[AlertView]", *, rows: int, grouped: bool, now_ms: int, width: int
) -> RenderableType:
    """The most expensive first; with `grouped`, an incident is one row. `width` in characters."""
    from tillstream.alerting.incidents import incidents

    groups = incidents(alerts) if grouped else []
    in_groups = {alert_id for one in groups for alert_id in one.alert_ids}
    lines: list[tuple[Decimal, tuple[str, ...]]] = [
        (one.expected_lost_margin, _incident_row(one, now_ms)) for one in groups
    ]
    lines += [
        (one.expected_lost_margin, _alert_row(one, now_ms))
        for one in alerts
        if one.alert_id not in in_groups
    ]
    if not lines:
        return "No alert: every shelf that is watched is safe, as far as we know."
    lines.sort(key=lambda line: -line[0])
    table = _table([row for _, row in lines[:rows]], width=width)
    live = sum(one.is_live for one in alerts)
    more = f", {rows} of {len(lines)} lines shown" if len(lines) > rows else ""
    return Group(table, f"[dim]{len(alerts):,} alerts, {live:,} live{more}[/]")


def _table(rows: Sequence[tuple[str, ...]], *, width: int) -> Table:
    """What is the least needed goes where it is narrow; the last column takes what is left."""
    table = Table(box=None, header_style="dim", pad_edge=False, expand=True)
    kept = [n for n, (_, _, needs) in enumerate(_COLUMNS) if width >= needs]
    for number in kept[:-1]:
        name, justify, _ = _COLUMNS[number]
        cells = [Text.from_markup(row[number]).cell_len for row in rows]
        table.add_column(name, justify=justify, no_wrap=True, width=max(len(name), *cells))
    table.add_column(_COLUMNS[-1][0], no_wrap=True, overflow="ellipsis", ratio=1)
    for row in rows:
        table.add_row(*(row[number] for number in kept))
    return table


def why_lines(view: "AlertView", steps: "Iterable[Step]") -> Iterator[str]:
    """The story of an alert, oldest first."""
    colour = _COLOUR[view.severity]
    yield f"[bold]{escape(view.product_name)}[/] at store {escape(view.store_id)}"
    sure = ", from defaults where data is missing" if view.low_confidence else ""
    yield f"  [{colour}]{view.severity}[/], {view.expected_lost_margin:.2f} at stake{sure}"
    yield f"  {escape(view.explanation)}"
    if view.incident_id:
        supplier = view.supplier_name or view.supplier_id
        yield f"  part of incident {view.incident_id[:_SHORT_ID]}: supplier {escape(supplier)}"
    for step in steps:
        where = f" [dim]{step.place}[/]" if step.place else ""
        at = f"{datetime.fromtimestamp(step.at_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}"
        yield f"  [dim]{at}[/]  {_what_happened(step)}{where}"


def _what_happened(step: "Step") -> str:
    if step.detection is not None:
        found = step.detection
        note = f"; {step.note}" if step.note else ""
        return f"{found.state}: risk {found.risk:.0%}, {found.on_hand} on hand{note}"
    action = step.action
    if action is None:
        return ""
    details = [action.comment, action.assignee and f"to {action.assignee}"]
    if action.until_ms is not None:
        details.append(f"until {_moment(action.until_ms)}")
    said = "; ".join(escape(one) for one in details if one)
    who = f"{escape(action.actor)}: {escape(action.kind)}" + (f" ({said})" if said else "")
    return who if step.accepted else f"{who} [red]refused: {escape(step.reason)}[/]"


def _alert_row(view: "AlertView", now_ms: int) -> tuple[str, ...]:
    colour = _COLOUR[view.severity]
    return (
        view.alert_id[:_SHORT_ID],
        f"[{colour}]{view.severity}[/]",
        _state(view, now_ms),
        f"{view.risk:.0%}",
        str(view.on_hand),
        _span(view.empty_p50_days * 24 * _HOUR_S) if view.on_hand > 0 else "empty",
        f"{view.expected_lost_margin:.2f}",
        _span((now_ms - view.since_ms) / 1000),
        _item(view),
    )


def _incident_row(incident: "Incident", now_ms: int) -> tuple[str, ...]:
    supplier = incident.supplier_name or incident.supplier_id
    stores = len(incident.store_ids)
    return (
        incident.incident_id[:_SHORT_ID],
        f"[{_COLOUR[incident.severity]}]{incident.severity}[/]",
        "incident",
        "",
        "",
        "",
        f"{incident.expected_lost_margin:.2f}",
        _span((now_ms - incident.since_ms) / 1000),
        f"[bold]{len(incident.alert_ids)} items of supplier {escape(supplier)}[/]"
        f" in {stores} store{'' if stores == 1 else 's'}",
    )


def _item(view: "AlertView") -> str:
    return f"{escape(view.product_name)} [dim]at store[/] {escape(view.store_id)}"


def _state(view: "AlertView", now_ms: int) -> str:
    if view.state == "snoozed" and view.snoozed_until_ms:
        return f"snoozed, {_span((view.snoozed_until_ms - now_ms) / 1000)} left"
    level = f" to level {view.escalation_level}" if view.state == "escalated" else ""
    by = view.resolved_by if view.state == "resolved" else view.owner
    verb = "by" if view.state in ("acknowledged", "resolved") else "owner"
    return f"{view.state}{level}" + (f" [dim]{verb}[/] {escape(by)}" if by else "")


def _span(seconds: float) -> str:
    if seconds < _HOUR_S:
        return f"{max(seconds, 0) / 60:.0f} min"
    if seconds < 48 * _HOUR_S:
        return f"{seconds / _HOUR_S:.0f} h"
    return f"{seconds / _HOUR_S / 24:.0f} days"


def _moment(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M} UTC"

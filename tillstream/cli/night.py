"""`tillstream night run | backfill | status` and `lineage`: the nights without Airflow."""

from contextlib import closing
from dataclasses import asdict
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from tillstream.cli.output import console, emit_json
from tillstream.errors import ConfigError
from tillstream.settings import Settings

if TYPE_CHECKING:
    from orchestration.journal import StepReport

_WRONG = 5

Json = Annotated[bool, typer.Option("--json", help="For scripts.")]
NoClose = Annotated[
    bool,
    typer.Option(
        "--no-close",
        help="Leave out the first step: neither wait for the stream nor verify. Needs no Kafka.",
    ),
]


def register(app: typer.Typer) -> None:
    group = typer.Typer(
        help="Roll a day up, check it, put it in service, correct earlier days, report, learn.",
        no_args_is_help=True,
    )
    group.command(
        epilog="Examples: tillstream night run --date 2017-11-20 · "
        "tillstream night run --date 2026-03-10 --no-close --json"
    )(run)
    group.command(epilog="Example: tillstream night backfill --from 2017-11-20 --to 2017-11-26")(
        backfill
    )
    group.command(epilog="Examples: tillstream night status · tillstream night status --json")(
        status
    )
    app.add_typer(group, name="night")
    app.command(epilog="Examples: tillstream lineage rollup_weekly · tillstream lineage bi --json")(
        lineage
    )


def run(
    ctx: typer.Context,
    day: Annotated[str, typer.Option("--date", metavar="DATE", help="The stores' own date.")],
    no_close: NoClose = False,
    closed: Annotated[
        bool, typer.Option("--closed", help="No sale is right: the chain was closed that day.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Do one day's night: close, check, transform, load, correct, report, learn.

    The day must be over in every store. Doing it again changes nothing, unless events came late.
    When a critical check fails, nothing is replaced: what was in service stays, and the command
    exits 5.
    """
    from orchestration.day import parse_day
    from orchestration.night import run_night

    chosen = parse_day(day)
    if closed:
        _require_no_sales(ctx.obj, chosen)
    skip = (*_skipped(no_close), *(("check",) if closed else ()))
    reports = run_night(ctx.obj, chosen, skip=skip, on_step=lambda one: _show(one, as_json))
    if as_json:
        emit_json({"date": chosen, "steps": [asdict(one) for one in reports]})


def backfill(
    ctx: typer.Context,
    first: Annotated[str, typer.Option("--from", metavar="DATE", help="The first day.")],
    last: Annotated[str, typer.Option("--to", metavar="DATE", help="The last day, included.")],
    no_close: NoClose = False,
    as_json: Json = False,
) -> None:
    """Do the nights of several days. The stream is waited for and verified once, for the last day;
    earlier days are corrected once; the report, and what is learned, are those of the last day."""
    from orchestration.day import days_between, parse_day
    from orchestration.night import run_nights

    days = days_between(parse_day(first, option="--from"), parse_day(last, option="--to"))
    reports = run_nights(
        ctx.obj, days, skip=_skipped(no_close), on_step=lambda one: _show(one, as_json)
    )
    if as_json:
        emit_json({"days": days, "steps": [asdict(one) for one in reports]})


def status(ctx: typer.Context, as_json: Json = False) -> None:
    """Show which days are in service, their quality, and what is wrong; exits 5 if something is."""
    from clickhouse.client import connect
    from orchestration.status import night_status

    settings: Settings = ctx.obj
    with closing(connect(settings.warehouse)) as client:
        found = night_status(client)
    if as_json:
        emit_json(asdict(found))
    else:
        _show_days(found.days)
        for alert in found.alerts:
            console.print(
                f"[bold red]✗[/] {alert['date_key']} {alert['step']}: {escape(alert['message'])}",
                soft_wrap=True,
            )
            console.print(f"  [bold]try:[/] {escape(alert['hint'])}", soft_wrap=True)
    raise typer.Exit(_WRONG if found.alerts else 0)


def lineage(
    table: Annotated[str, typer.Argument(help="A table, view or topic.")],
    as_json: Json = False,
) -> None:
    """Print what a table is made from, up to the topics."""
    from orchestration.lineage import graph, upstream

    if table not in graph():
        near = ", ".join(sorted(name for name in graph() if name.startswith(table[:4])))
        raise ConfigError(
            f"there is no table {table!r}", hint=f"perhaps one of: {near}" if near else None
        )
    found = upstream(table)
    if as_json:
        emit_json([{"depth": depth, "name": name} for depth, name in found])
        return
    for depth, name in found:
        console.print(f"{'  ' * depth}{name}")


def _require_no_sales(settings: Settings, day: date) -> None:
    from clickhouse.client import connect
    from orchestration.rollups import day_totals

    with closing(connect(settings.warehouse)) as client:
        lines = day_totals(client, day).sale_lines
    if lines:
        raise ConfigError(f"--closed: {day} has {lines:,} sale lines", hint="leave --closed out")


def _skipped(no_close: bool) -> tuple[str, ...]:
    return ("close",) if no_close else ()


def _show(report: "StepReport", as_json: bool) -> None:
    if as_json or report.state == "running":
        return
    console.print(
        f"[green]✓[/] {report.step:<10}{report.seconds:>8.1f} s   {escape(report.detail)}",
        soft_wrap=True,
    )


def _show_days(days: list[dict[str, Any]]) -> None:
    table = Table(box=None, header_style="dim", pad_edge=False)
    for heading in ("day", "sale lines", "units", "revenue", "quality", "because of", "loaded at"):
        table.add_column(heading, justify="right" if heading in _NUMBERS else "left")
    for one in days:
        score = "–" if one["score"] is None else f"{one['score']:.1f}"
        table.add_row(
            str(one["date_key"]),
            f"{one['sale_lines']:,}",
            f"{one['units']:,}",
            f"{one['revenue']:,.2f}",
            score,
            one["reason"],
            f"{one['loaded_at']:%Y-%m-%d %H:%M}",
        )
    console.print(table if days else "no day is in service yet")


_NUMBERS = {"sale lines", "units", "revenue", "quality"}

"""`tillstream bench query`: dashboards while the stream is at work."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from tillstream.bench.dashboards import QueryRun
from tillstream.cli.bench_session import Json, Runs, Warmup, measure_runs, wiring
from tillstream.cli.bench_view import add_figure, add_usage, runs_table


def register(group: typer.Typer) -> None:
    group.command(
        epilog="Examples: tillstream bench query --users 100 --rows 50000000 · tillstream bench"
        " query --users 20 --rows 1000000 --runs 1 --json"
    )(query)


def query(
    ctx: typer.Context,
    users: Annotated[int, typer.Option(help="People with a dashboard open.", min=1)] = 100,
    rows: Annotated[
        int, typer.Option(help="Sales of the last 120 days to fill in first.", min=120)
    ] = 50_000_000,
    seconds: Annotated[float, typer.Option(help="How long they look.", min=5)] = 120,
    warmup: Warmup = 90,
    stream_rate: Annotated[
        float, typer.Option(help="Events a second that the stream takes meanwhile.", min=100)
    ] = 2_000,
    tables: Annotated[
        bool, typer.Option("--tables", help="Ask the tables instead of the bi_* views.")
    ] = False,
    runs: Runs = 3,
    as_json: Json = False,
) -> None:
    """Measure ten panels of the dashboards, each refreshed once a minute by every user.

    The past is made by the engine itself, in the tables that the stream fills. The panels are those
    of a head office, a store manager and an analyst; each user has a store of their own and asks
    for all ten at once. Before, one user alone asks for one after another. A run counts when no
    panel fails and the stream stores everything. Exits 5 when one does not count.
    """
    from tillstream.bench.dashboards import measure_queries
    from tillstream.bench.panels import PANELS
    from tillstream.reports.load import SETTINGS, load_panels

    measure_runs(
        ctx.obj,
        lambda own, on_phase: measure_queries(
            own,
            wiring(),
            users=users,
            rows=rows,
            stream_rate=stream_rate,
            warmup_s=warmup,
            seconds=seconds,
            panels=(lambda _: PANELS) if tables else load_panels,
            options={} if tables else SETTINGS,
            on_phase=on_phase,
        ),
        runs=runs,
        table=query_table,
        tell=asdict,
        as_json=as_json,
    )


def query_table(runs: Sequence[QueryRun]) -> Table:
    """Only runs that count are in the figures."""
    clean = [run for run in runs if run.clean]
    first = runs[0]
    table = runs_table(
        runs,
        f"{first.users} users, {first.rows:,} sales, {first.stream_rate:,.0f} events/s meanwhile, "
        f"{first.seconds:.0f} s",
    )
    for name in ("p50", "p95", "p99", "max"):
        values = [getattr(run.all_ms, name) for run in clean]
        add_figure(table, f"all panels {name}", values, "{:,.0f}", "ms")
    table.add_section()
    for panel in clean[0].panel_ms if clean else ():
        found = [run.panel_ms[panel] for run in clean if panel in run.panel_ms]
        add_figure(table, f"{panel} p95", [one.p95 for one in found], "{:,.0f}", "ms")
    table.add_section()
    for panel in clean[0].alone_ms if clean else ():
        found = [run.alone_ms[panel] for run in clean if panel in run.alone_ms]
        add_figure(table, f"alone: {panel} p50", [one.p50 for one in found], "{:,.0f}", "ms")
    table.add_section()
    add_figure(table, "queries", [run.queries for run in clean], "{:,.0f}", "")
    add_figure(table, "largest lag", [run.max_lag for run in clean], "{:,.0f}", "events")
    add_figure(table, "filling took", [run.fill_s for run in clean], "{:,.0f}", "s")
    peak = [run.peak_mib for run in clean]
    add_figure(table, "all parts, peak memory", peak, "{:,.0f}", "MiB")
    add_usage(table, [run.usage for run in clean])
    return table

"""`tillstream bench query`: dashboards while the stream is at work."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from tillstream.bench.dashboards import QueryRun
from tillstream.bench.spread import spread
from tillstream.cli.bench_session import (
    Json,
    Runs,
    finish,
    numbered,
    progress,
    this_machine,
    wiring,
)
from tillstream.cli.bench_view import add_spread, spread_table
from tillstream.settings import Settings


def register(group: typer.Typer) -> None:
    group.command(
        epilog="Examples: tillstream bench query --users 100 --rows 50000000 · tillstream bench"
        " query --users 20 --rows 1000000 --runs 1 --json"
    )(query)


def query(
    ctx: typer.Context,
    users: Annotated[int, typer.Option(help="People with a dashboard open.", min=1)] = 100,
    rows: Annotated[
        int, typer.Option(help="Sales of the last 90 days to fill in first.", min=90)
    ] = 50_000_000,
    seconds: Annotated[float, typer.Option(help="How long they look.", min=5)] = 120,
    warmup: Annotated[
        float, typer.Option(help="Seconds of load before, from the first batch on.", min=1)
    ] = 30,
    stream_rate: Annotated[
        float, typer.Option(help="Events a second that the stream takes meanwhile.", min=100)
    ] = 2_000,
    runs: Runs = 3,
    as_json: Json = False,
) -> None:
    """Measure ten dashboard panels, each refreshed once a minute by every user.

    The past is made by the engine itself, in the tables that the stream fills. The panels are those
    of a head office, a store manager and an analyst; each user has a store of their own and asks
    for all ten at once. A run counts when no panel fails and the stream stores everything. Exits 5
    when one does not count.
    """
    from tillstream.bench.dashboards import measure_queries
    from tillstream.bench.scratch import scratch_home, scratch_settings

    settings: Settings = ctx.obj
    machine = this_machine(as_json)
    found: list[QueryRun] = []
    with progress(as_json) as show:
        for number in range(1, runs + 1):
            with scratch_home("tillstream-bench-") as home:
                found.append(
                    measure_queries(
                        scratch_settings(settings, home),
                        wiring(),
                        users=users,
                        rows=rows,
                        stream_rate=stream_rate,
                        warmup_s=warmup,
                        seconds=seconds,
                        on_phase=numbered(show, f"run {number} of {runs}"),
                    )
                )
    finish(machine, found, [asdict(run) for run in found], query_table(found), as_json=as_json)


def query_table(runs: Sequence[QueryRun]) -> Table:
    """Only runs that count are in the figures."""
    clean = [run for run in runs if run.clean]
    first = runs[0]
    table = spread_table(
        f"{first.users} users, {first.rows:,} sales, {first.stream_rate:,.0f} events/s meanwhile, "
        f"{first.seconds:.0f} s; {len(clean)} of {len(runs)} runs count; load average before each: "
        + " ".join(f"{run.load_average:g}" for run in runs)
    )
    for name in ("p50", "p95", "p99", "max"):
        values = spread([getattr(run.all_ms, name) for run in clean])
        add_spread(table, f"all panels {name}", values, "{:,.0f}", "ms")
    table.add_section()
    for panel in clean[0].panel_ms if clean else ():
        found = [run.panel_ms[panel] for run in clean if panel in run.panel_ms]
        add_spread(table, f"{panel} p95", spread([one.p95 for one in found]), "{:,.0f}", "ms")
    table.add_section()
    add_spread(table, "queries", spread([run.queries for run in clean]), "{:,.0f}", "")
    add_spread(table, "largest lag", spread([run.max_lag for run in clean]), "{:,.0f}", "events")
    add_spread(table, "filling took", spread([run.fill_s for run in clean]), "{:,.0f}", "s")
    peak = spread([run.peak_mib for run in clean])
    add_spread(table, "all parts, peak memory", peak, "{:,.0f}", "MiB")
    for service in clean[0].usage if clean else ():
        used = [run.usage[service] for run in clean]
        add_spread(table, f"{service} CPU", spread([one.cpu_s for one in used]), "{:,.1f}", "s")
    return table

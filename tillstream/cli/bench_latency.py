"""`tillstream bench latency | outage`: the platform under a steady load."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from tillstream.bench.latency import LatencyRun
from tillstream.bench.outage import OutageRun
from tillstream.cli.bench_session import Json, Runs, Warmup, measure_runs, wiring
from tillstream.cli.bench_view import add_figure, add_usage, runs_table

_Rate = Annotated[float, typer.Option(help="Events a second, probes included.", min=100)]


def register(group: typer.Typer) -> None:
    group.command(
        epilog="Examples: tillstream bench latency --rate 8333 --seconds 60 · tillstream bench"
        " latency --seconds 3600 --runs 1 --series soak.jsonl"
    )(latency)
    group.command(
        epilog="Examples: tillstream bench outage --minutes 10 · tillstream bench outage"
        " --minutes 0 --runs 3 --json"
    )(outage)


def latency(
    ctx: typer.Context,
    rate: _Rate = 8_333,
    seconds: Annotated[float, typer.Option(help="How long to measure.", min=10)] = 60,
    warmup: Warmup = 30,
    runs: Runs = 3,
    series: Annotated[
        Path | None,
        typer.Option(help="Append a JSON line for every ten seconds: rate, lag, latency, memory."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure the time from an event's timestamp until what follows from it can be queried.

    The whole platform runs in a new folder. Generators send half sales, half stock movements of
    1,000 stores, each with the time it is sent at. Twenty times a second a probe empties a shelf.
    The engine itself notes the moment at which the probe's fact, window, risk and alert are
    inserted; they can be queried a few milliseconds later, when the insert returns. A run counts
    only when `verify` is clean and no probe is missing. Exits 5 when one does not count.
    """
    from tillstream.bench.latency import measure_latency

    measure_runs(
        ctx.obj,
        lambda own, on_phase: measure_latency(
            own,
            wiring(),
            rate=rate,
            seconds=seconds,
            warmup_s=warmup,
            series=series,
            on_phase=on_phase,
        ),
        runs=runs,
        table=latency_table,
        tell=asdict,
        as_json=as_json,
    )


def outage(
    ctx: typer.Context,
    rate: _Rate = 8_333,
    minutes: Annotated[float, typer.Option(help="How long the stream is down.", min=0)] = 10,
    warmup: Warmup = 30,
    runs: Runs = 1,
    as_json: Json = False,
) -> None:
    """Kill the stream under load, start it again after a while, and measure until it has caught up.

    Seconds count from the start command: to the first new row, and until no more waits in Kafka
    than did in the ten seconds before the kill. The load never stops. A run counts only when
    `verify` is clean at the end. Exits 5 when one does not.
    """
    from tillstream.bench.outage import measure_outage

    measure_runs(
        ctx.obj,
        lambda own, on_phase: measure_outage(
            own,
            wiring(),
            rate=rate,
            warmup_s=warmup,
            down_s=minutes * 60,
            on_phase=on_phase,
        ),
        runs=runs,
        table=outage_table,
        tell=asdict,
        as_json=as_json,
    )


def latency_table(runs: Sequence[LatencyRun]) -> Table:
    """Only clean runs are in the figures."""
    clean = [run for run in runs if run.clean]
    table = runs_table(runs, f"{runs[0].asked_rate:,.0f} events/s for {runs[0].seconds:.0f} s")
    for kind in clean[0].latency_ms if clean else ():
        for name in ("p50", "p95", "p99", "max"):
            values = [getattr(run.latency_ms[kind], name) for run in clean]
            add_figure(table, f"{kind} {name}", values, "{:,.0f}", "ms")
    table.add_section()
    add_figure(table, "events sent", [run.rate for run in clean], "{:,.0f}", "/s")
    add_figure(table, "batches", [run.batches_per_s for run in clean], "{:,.2f}", "/s")
    add_figure(table, "largest lag", [run.max_lag for run in clean], "{:,.0f}", "events")
    add_figure(table, "probes", [run.probes for run in clean], "{:,.0f}", "")
    add_figure(table, "generators", [run.generator_cores for run in clean], "{:,.2f}", "cores")
    peak = [run.peak_mib for run in clean]
    add_figure(table, "all parts, peak memory", peak, "{:,.0f}", "MiB")
    table.add_section()
    add_usage(table, [run.usage for run in clean])
    return table


def outage_table(runs: Sequence[OutageRun]) -> Table:
    """Only clean runs are in the figures."""
    clean = [run for run in runs if run.clean]
    table = runs_table(runs, f"down for {runs[0].down_s:.0f} s at {runs[0].rate:,.0f} events/s")
    usual = [run.usual_lag for run in clean]
    add_figure(table, "waiting before the kill, at most", usual, "{:,.0f}", "")
    add_figure(table, "waiting at the start", [run.lag for run in clean], "{:,.0f}", "")
    add_figure(table, "first new row", [run.first_row_s for run in clean], "{:.1f}", "s")
    add_figure(table, "zero lag", [run.zero_lag_s for run in clean], "{:.1f}", "s")
    rate = [run.catch_up_per_s for run in clean]
    add_figure(table, "events stored meanwhile", rate, "{:,.0f}", "/s")
    peak = [run.peak_mib for run in clean]
    add_figure(table, "all parts, peak memory", peak, "{:,.0f}", "MiB")
    return table

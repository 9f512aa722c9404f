"""`tillstream bench latency | outage`: the platform under a steady load."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from tillstream.bench.latency import LatencyRun
from tillstream.bench.outage import OutageRun
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
    warmup: Annotated[
        float, typer.Option(help="Seconds of load before, from the first batch on.", min=1)
    ] = 30,
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
    Its fact, window, risk and alert are looked for every 100 ms, so figures are too high by half of
    that on average, never too low. A run counts only when `verify` is clean and no probe is
    missing. Exits 5 when one does not count.
    """
    from tillstream.bench.latency import measure_latency
    from tillstream.bench.scratch import scratch_home, scratch_settings

    settings: Settings = ctx.obj
    machine = this_machine(as_json)
    found: list[LatencyRun] = []
    with progress(as_json) as show:
        for number in range(1, runs + 1):
            with scratch_home("tillstream-bench-") as home:
                found.append(
                    measure_latency(
                        scratch_settings(settings, home),
                        wiring(),
                        rate=rate,
                        seconds=seconds,
                        warmup_s=warmup,
                        series=series,
                        on_phase=numbered(show, f"run {number} of {runs}"),
                    )
                )
    finish(machine, found, [asdict(run) for run in found], latency_table(found), as_json=as_json)


def outage(
    ctx: typer.Context,
    rate: _Rate = 8_333,
    minutes: Annotated[float, typer.Option(help="How long the stream is down.", min=0)] = 10,
    warmup: Annotated[
        float, typer.Option(help="Seconds of load before, from the first batch on.", min=1)
    ] = 30,
    runs: Runs = 1,
    as_json: Json = False,
) -> None:
    """Kill the stream under load, start it again after a while, and measure until it has caught up.

    Seconds count from the start command: to the first new row, and until no more waits in Kafka
    than did in the ten seconds before the kill. The load never stops. A run counts only when
    `verify` is clean at the end. Exits 5 when one does not.
    """
    from tillstream.bench.outage import measure_outage
    from tillstream.bench.scratch import scratch_home, scratch_settings

    settings: Settings = ctx.obj
    machine = this_machine(as_json)
    found: list[OutageRun] = []
    with progress(as_json) as show:
        for number in range(1, runs + 1):
            with scratch_home("tillstream-bench-") as home:
                found.append(
                    measure_outage(
                        scratch_settings(settings, home),
                        wiring(),
                        rate=rate,
                        warmup_s=warmup,
                        down_s=minutes * 60,
                        on_phase=numbered(show, f"run {number} of {runs}"),
                    )
                )
    finish(machine, found, [asdict(run) for run in found], outage_table(found), as_json=as_json)


def latency_table(runs: Sequence[LatencyRun]) -> Table:
    """Only clean runs are in the figures."""
    clean = [run for run in runs if run.clean]
    table = spread_table(
        f"{runs[0].asked_rate:,.0f} events/s for {runs[0].seconds:.0f} s; {len(clean)} of "
        f"{len(runs)} runs count; load average before each: "
        + " ".join(f"{run.load_average:g}" for run in runs)
    )
    for kind in clean[0].latency_ms if clean else ():
        for name in ("p50", "p95", "p99", "max"):
            values = [getattr(run.latency_ms[kind], name) for run in clean]
            add_spread(table, f"{kind} {name}", spread(values), "{:,.0f}", "ms")
    table.add_section()
    figures = (
        ("events sent", [run.rate for run in clean], "/s"),
        ("batches", [run.batches_per_s for run in clean], "/s"),
        ("largest lag", [float(run.max_lag) for run in clean], "events"),
        ("probes", [float(run.probes) for run in clean], ""),
        ("a look takes (p50)", [run.look_ms.p50 for run in clean], "ms"),
        ("generators", [run.generator_cores for run in clean], "cores"),
        ("all parts, peak memory", [run.peak_mib for run in clean], "MiB"),
    )
    for name, numbers, unit in figures:
        shape = "{:,.2f}" if unit in ("cores", "ms") or name == "batches" else "{:,.0f}"
        add_spread(table, name, spread(numbers), shape, unit)
    table.add_section()
    for service in clean[0].usage if clean else ():
        used = [run.usage[service] for run in clean]
        peak = spread([one.peak_mib for one in used])
        add_spread(table, f"{service} peak memory ({used[0].memory})", peak, "{:,.0f}", "MiB")
        add_spread(table, f"{service} CPU", spread([one.cpu_s for one in used]), "{:,.1f}", "s")
    return table


def outage_table(runs: Sequence[OutageRun]) -> Table:
    """Only clean runs are in the figures."""
    clean = [run for run in runs if run.clean]
    table = spread_table(
        f"down for {runs[0].down_s:.0f} s at {runs[0].rate:,.0f} events/s; {len(clean)} of "
        f"{len(runs)} runs count; load average before each: "
        + " ".join(f"{run.load_average:g}" for run in runs)
    )
    usual = spread([run.usual_lag for run in clean])
    add_spread(table, "waiting before the kill, at most", usual, "{:,.0f}", "")
    add_spread(table, "waiting at the start", spread([run.lag for run in clean]), "{:,.0f}", "")
    first = spread([run.first_row_s for run in clean])
    add_spread(table, "first new row", first, "{:.1f}", "s")
    add_spread(table, "zero lag", spread([run.zero_lag_s for run in clean]), "{:.1f}", "s")
    rate = spread([run.catch_up_per_s for run in clean])
    add_spread(table, "events stored meanwhile", rate, "{:,.0f}", "/s")
    peak = spread([run.peak_mib for run in clean])
    add_spread(table, "all parts, peak memory", peak, "{:,.0f}", "MiB")
    return table

"""`tillstream bench pipeline`: how fast waiting events are drained."""

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.table import Table

from tillstream.bench.pipeline import PipelineRun
from tillstream.bench.spread import spread
from tillstream.bench.traffic import Traffic
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
from tillstream.cli.output import console
from tillstream.settings import Settings


def register(group: typer.Typer) -> None:
    group.command(
        epilog="Examples: tillstream bench pipeline · tillstream bench pipeline --workload sales"
        " --events 1000000 --runs 3 --json"
    )(pipeline)


def pipeline(
    ctx: typer.Context,
    events: Annotated[int, typer.Option(help="Events waiting in Kafka.", min=10_000)] = 1_000_000,
    workload: Annotated[
        Traffic,
        typer.Option(
            help="full: half sales, half stock movements, 0.5 % sent twice, everything on. "
            "sales: sale lines with keys as spread out as can be, facts and windows alone."
        ),
    ] = Traffic.FULL,
    warmup_batches: Annotated[
        int, typer.Option(help="First batches that are no part of `steady`.", min=1)
    ] = 1,
    runs: Runs = 3,
    keep: Annotated[bool, typer.Option(help="Leave each run's folder, services stopped.")] = False,
    as_json: Json = False,
) -> None:
    """Fill Kafka with made-up events, then start the stream and measure until all is stored.

    Each run starts Kafka and ClickHouse in a new folder, publishes everything, and only then starts
    the stream as `tillstream up` does. `steady` is the rate between the commit of the first batch
    and the last commit. A run counts only when `verify` and the row counts agree with what was
    sent. Exits 5 when one does not.
    """
    from tillstream.bench.pipeline import measure_drain, stream_settings
    from tillstream.bench.scratch import scratch_home, scratch_settings

    settings: Settings = ctx.obj
    machine = this_machine(as_json)
    found: list[PipelineRun] = []
    with progress(as_json) as show:
        for number in range(1, runs + 1):
            with scratch_home("tillstream-bench-", keep=keep) as home:
                own = scratch_settings(settings, home, **stream_settings(workload))
                found.append(
                    measure_drain(
                        own,
                        wiring(),
                        traffic=workload,
                        events=events,
                        warmup_batches=warmup_batches,
                        on_phase=numbered(show, f"run {number} of {runs}"),
                    )
                )
            if keep and not as_json:
                console.print(f"[dim]run {number}: {home}[/]")
    told = [run.as_dict() for run in found]
    finish(machine, found, told, pipeline_table(found), as_json=as_json)


def pipeline_table(runs: Sequence[PipelineRun]) -> Table:
    """Only clean runs are in the figures."""
    clean = [run for run in runs if run.clean]
    loads = " ".join(f"{run.load_average:g}" for run in runs)
    table = spread_table(
        f"{runs[0].traffic}: {runs[0].events:,} events; {len(clean)} of {len(runs)} runs count; "
        f"load average before each: {loads}"
    )
    rates = (
        ("steady", [run.steady_per_s for run in clean]),
        ("with start-up", [run.with_start_per_s for run in clean]),
        ("with start-up, every sink", [run.every_sink_per_s for run in clean]),
        ("published before", [run.publish_per_s for run in clean]),
    )
    for name, values in rates:
        add_spread(table, name, spread(values), "{:,.0f}", "/s")
    seconds = (
        ("first commit", [run.first_commit_s for run in clean]),
        ("warehouse holds everything", [run.live_s for run in clean]),
        ("lake holds everything", [run.lake_s for run in clean]),
        ("every touched shelf scored", [run.risk_s for run in clean]),
        ("verify", [run.verify_s for run in clean]),
    )
    for name, values in seconds:
        add_spread(table, name, spread(values), "{:.1f}", "s")
    table.add_section()
    for service in clean[0].usage if clean else ():
        used = [run.usage[service] for run in clean]
        add_spread(table, f"{service} CPU", spread([one.cpu_s for one in used]), "{:.1f}", "s")
        peak = spread([one.peak_mib for one in used])
        add_spread(table, f"{service} peak memory ({used[0].memory})", peak, "{:,.0f}", "MiB")
    table.add_section()
    add_spread(table, "batches measured", spread([run.batches for run in clean]), "{:.0f}", "")
    sizes = spread([run.mean_batch_events for run in clean])
    add_spread(table, "mean batch: events", sizes, "{:,.0f}", "")
    took = spread([run.mean_batch_s for run in clean])
    add_spread(table, "mean batch: from commit to commit", took, "{:.3f}", "s")
    for step in dict.fromkeys(step for run in clean for step in run.step_s):
        mean = spread([run.step_s.get(step) for run in clean])
        add_spread(table, f"mean batch: {step}", mean, "{:.3f}", "s")
    for name in dict.fromkeys(name for run in clean for name in run.spark_ms):
        phase = spread([run.spark_ms.get(name) for run in clean])
        add_spread(table, f"mean batch: Spark's {name}", phase, "{:,.0f}", "ms")
    return table

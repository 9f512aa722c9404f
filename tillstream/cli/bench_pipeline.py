"""`tillstream bench pipeline`: how fast waiting events are drained."""

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.table import Table

from tillstream.bench.pipeline import PipelineRun
from tillstream.bench.traffic import Traffic
from tillstream.cli.bench_session import Json, Runs, measure_runs, wiring
from tillstream.cli.bench_view import add_figure, add_means, add_usage, runs_table


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
    score: Annotated[
        bool, typer.Option(help="full: score risk meanwhile, or not, to see what that costs.")
    ] = True,
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

    if workload is Traffic.SALES and not score:
        raise typer.BadParameter("nothing of sales is scored anyway", param_hint="--no-score")
    measure_runs(
        ctx.obj,
        lambda own, on_phase: measure_drain(
            own,
            wiring(),
            traffic=workload,
            events=events,
            warmup_batches=warmup_batches,
            on_phase=on_phase,
        ),
        runs=runs,
        table=pipeline_table,
        tell=PipelineRun.as_dict,
        as_json=as_json,
        keep=keep,
        **stream_settings(workload, scores=score),
    )


def pipeline_table(runs: Sequence[PipelineRun]) -> Table:
    """Only clean runs are in the figures."""
    clean = [run for run in runs if run.clean]
    way = "" if runs[0].scored or runs[0].traffic is Traffic.SALES else ", no risk"
    table = runs_table(runs, f"{runs[0].traffic}{way}: {runs[0].events:,} events")
    rates = (
        ("steady", [run.steady_per_s for run in clean]),
        ("with start-up", [run.with_start_per_s for run in clean]),
        ("with start-up, every sink", [run.every_sink_per_s for run in clean]),
        ("published before", [run.publish_per_s for run in clean]),
    )
    for name, values in rates:
        add_figure(table, name, values, "{:,.0f}", "/s")
    seconds = (
        ("first commit", [run.first_commit_s for run in clean]),
        ("warehouse holds everything", [run.live_s for run in clean]),
        ("lake holds everything", [run.lake_s for run in clean]),
        ("every touched shelf scored", [run.risk_s for run in clean]),
        ("verify", [run.verify_s for run in clean]),
    )
    for name, values in seconds:
        add_figure(table, name, values, "{:.1f}", "s")
    table.add_section()
    add_usage(table, [run.usage for run in clean])
    table.add_section()
    add_figure(table, "batches measured", [run.batches for run in clean], "{:.0f}", "")
    sizes = [run.mean_batch_events for run in clean]
    add_figure(table, "mean batch: events", sizes, "{:,.0f}", "")
    took = [run.mean_batch_s for run in clean]
    add_figure(table, "mean batch: from commit to commit", took, "{:.3f}", "s")
    add_means(table, "mean batch: {}", [run.step_s for run in clean], "{:.3f}", "s")
    add_means(table, "mean batch: Spark's {}", [run.spark_ms for run in clean], "{:,.0f}", "ms")
    return table

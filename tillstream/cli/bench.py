"""`tillstream bench`: how fast the platform is on this machine."""

from dataclasses import asdict
from datetime import date
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from tillstream.bench.ways import Way, Workload
from tillstream.cli import bench_latency, bench_pipeline, bench_query, bench_score
from tillstream.cli.bench_session import (
    DAMAGED,
    Json,
    Runs,
    measure_runs,
    progress,
    provision,
    this_machine,
)
from tillstream.cli.output import console, emit_json
from tillstream.errors import ConfigError
from tillstream.settings import Settings

if TYPE_CHECKING:
    from tillstream.bench.week import Wiring
    from tillstream.cli.bench_session import OnPhase

# Often enough to wait for; the usual half minute would hide how long archiving takes.
_LAKE_TRIGGER_S = 5.0


def register(app: typer.Typer) -> None:
    group = typer.Typer(
        help="Measure this machine. Without a command: `week`.", invoke_without_command=True
    )

    @group.callback()
    def _bench(ctx: typer.Context) -> None:
        if ctx.invoked_subcommand is None:
            _measure_weeks(ctx.obj, start="2017-11-20", days=7, runs=3, as_json=False)

    group.command(epilog="Examples: tillstream bench week · tillstream bench week --runs 1 --json")(
        week
    )
    group.command(
        epilog="Examples: tillstream bench windows · tillstream bench windows --workload skewed"
        " --way partials --way state-memory"
    )(windows)
    bench_pipeline.register(group)
    bench_latency.register(group)
    bench_query.register(group)
    bench_score.register(group)
    app.add_typer(group, name="bench")


def week(
    ctx: typer.Context,
    start: Annotated[
        str, typer.Option("--from", help="First recorded day.", metavar="DATE")
    ] = "2017-11-20",
    days: Annotated[int, typer.Option(help="How many recorded days.", min=1)] = 7,
    runs: Runs = 3,
    as_json: Json = False,
) -> None:
    """Replay a recorded week of all stores at full speed, and measure until all of it is stored.

    Each run starts Kafka, ClickHouse and Spark in a new folder, which is removed afterwards. The
    clock runs from the first event published until warehouse and lake hold every one; starting is
    told apart. A run counts only when `verify` finds nothing wrong. Exits 5 when a run does not.
    """
    _measure_weeks(ctx.obj, start=start, days=days, runs=runs, as_json=as_json)


def windows(
    ctx: typer.Context,
    events: Annotated[int, typer.Option(help="Sale lines of each workload.", min=1_000)] = 300_000,
    batch: Annotated[int, typer.Option(help="Records a batch, at most.", min=500)] = 50_000,
    way: Annotated[list[Way] | None, typer.Option(help="Only this one; repeatable.")] = None,
    workload: Annotated[
        list[Workload] | None, typer.Option(help="Only this one; repeatable.")
    ] = None,
    runs: Runs = 3,
    as_json: Json = False,
) -> None:
    """Compare ways to keep 5-minute windows: partial sums, a materialized view, Spark state.

    The same sale lines, in Kafka, are drained by Spark into ClickHouse each way; every window is
    compared with sums made from the lines before they were sent. Two workloads: keys spread so
    that almost every line has a window of its own (hard on state), and shops where few products
    make most of the sales. Exits 5 when a window is wrong.
    """
    from tillstream.bench.windows import measure_windows
    from tillstream.cli.bench_view import windows_tables

    machine = this_machine(as_json)
    with progress(as_json) as show:
        found = measure_windows(
            ctx.obj,
            events=events,
            batch=batch,
            runs=runs,
            provision=provision,
            workloads=workload or list(Workload),
            ways=way or list(Way),
            on_phase=show,
        )
    correct = all(run.correct for run in found)
    if as_json:
        told = [asdict(run) | run.rates() for run in found]
        emit_json({"machine": asdict(machine), "correct": correct, "runs": told})
    else:
        for table in windows_tables(found):
            console.print(table)
    raise typer.Exit(0 if correct else DAMAGED)


def _measure_weeks(
    settings: Settings, *, start: str, days: int, runs: int, as_json: bool
) -> NoReturn:
    from tillstream.bench.week import WeekRun, measure_week
    from tillstream.cli.bench_view import week_table
    from tillstream.cli.replay import plan_replay

    wiring = _wiring()
    first = _day(start)

    def measure(own: Settings, on_phase: "OnPhase") -> WeekRun:
        inputs = plan_replay(own, start=first, days=days)
        return measure_week(own, inputs, wiring, on_phase=on_phase)

    measure_runs(
        settings,
        measure,
        runs=runs,
        table=week_table,
        tell=WeekRun.as_dict,
        as_json=as_json,
        lake_trigger_s=_LAKE_TRIGGER_S,
    )


def _wiring() -> "Wiring":
    from tillstream.bench.week import Wiring
    from tillstream.cli.audit import open_parts
    from tillstream.cli.replay import load_replay_dimensions, publish_replay

    return Wiring(
        provision=provision,
        load_dimensions=load_replay_dimensions,
        publish=lambda settings, inputs, ledger, follow: publish_replay(
            settings, inputs, ledger_path=ledger, on_progress=follow
        ),
        open_parts=open_parts,
    )


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as exc:
        raise ConfigError(
            f"--from must be a date, got {text!r}", hint="for example --from 2017-11-20"
        ) from exc

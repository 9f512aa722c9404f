"""`tillstream simulate`: a chain of stores with a hidden truth, published as it happens."""

import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.live import Live
from rich.text import Text

from tillstream.cli.output import INTERRUPTED, console, emit_json, errors, minute
from tillstream.clock import SystemClock
from tillstream.errors import ConfigError, ServiceError
from tillstream.settings import Settings

if TYPE_CHECKING:  # loading numpy, Arrow and Kafka takes a second that --help need not wait for
    from simulators.world.fleet import RunReport
    from simulators.world.scenario import Scenario
    from simulators.world.world import World
    from tillstream.history.run import HistoryReport

_MINUTES = {"s": 1 / 60, "m": 1.0, "h": 60.0, "d": 1440.0}


def register(app: typer.Typer) -> None:
    app.command()(simulate)


def simulate(
    ctx: typer.Context,
    scenario: Annotated[
        str, typer.Option(help="A bundled scenario's name, or a YAML file")
    ] = "quiet-tuesday",
    stores: Annotated[int | None, typer.Option(help="How many stores")] = None,
    products: Annotated[int | None, typer.Option(help="How many products")] = None,
    rate: Annotated[float | None, typer.Option(help="Events a minute and store")] = None,
    start: Annotated[
        str | None,
        typer.Option(
            help="First moment, UTC, or now [default: the scenario's]", metavar="TIME|now"
        ),
    ] = None,
    duration: Annotated[
        str | None, typer.Option(help="Simulated time: 90s, 10m, 6h, 3d", metavar="TIME")
    ] = None,
    speed: Annotated[
        str | None,
        typer.Option(help="Simulated seconds per second, from 1, or max", metavar="max|N"),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Another number is another chain")] = None,
    faults: Annotated[
        str | None, typer.Option(help="none, light or storm", metavar="LEVEL")
    ] = None,
    processes: Annotated[int, typer.Option(min=1, help="Processes that share the stores")] = 1,
    history: Annotated[
        str | None,
        typer.Option(
            help="Write so many days of past, such as 120d, straight to lake and warehouse",
            metavar="DAYS",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of ledger and truth [default: in <home>/runs]")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the events as JSON lines; send nothing")
    ] = False,
    list_: Annotated[bool, typer.Option("--list", help="Name the bundled scenarios")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON")] = False,
) -> None:
    """Publish the sales, stock movements, prices and visits of a made-up chain of stores.

    What truly lies on its shelves differs from what its books say, as in life. What was really
    asked for, and every fault on the way, is written beside the ledger, where the pipeline does not
    look. The same scenario and seed give the same events, whatever the number of processes.

    \b
    Examples:
      tillstream simulate --dry-run | head         look at the events
      tillstream simulate --speed 600              a quiet day, ten minutes a second
      tillstream simulate --scenario black-friday --faults storm
      tillstream simulate --scenario load-1000x500 --duration 10m
      tillstream simulate --history 120d --start now
    """
    from simulators.world.scenario import bundled, load_scenario

    settings: Settings = ctx.obj
    if list_:
        _list_scenarios(bundled())
        return
    chosen = load_scenario(
        scenario,
        stores=stores,
        products=products,
        rate=rate,
        minutes=None if duration is None else minutes_of(duration),
        seed=seed,
        faults=faults,
    )
    chosen = _at_speed(_from(chosen, start), speed)
    now_ms = SystemClock().now_ms()
    if history is not None:
        _write_history(settings, chosen, days_of(history), now_ms=now_ms, out=out, as_json=as_json)
        return
    start_ms = chosen.start_ms(now_ms)
    if dry_run:
        _print_events(settings, chosen, start_ms)
        return
    folder = out or default_folder(settings.home, chosen.name, now_ms=now_ms)
    _publish(settings, chosen, start_ms, folder, processes=processes, as_json=as_json)


def minutes_of(text: str) -> float:
    """Minutes of a length of time such as 90s, 10m, 6h or 3d. Raises ConfigError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text.strip())
    if found is None or float(found[1]) == 0:
        raise ConfigError(
            f"--duration must be a number and s, m, h or d, got {text!r}",
            hint="for example --duration 10m",
        )
    return float(found[1]) * _MINUTES[found[2]]


def days_of(text: str) -> int:
    """Whole days of 120d. Raises ConfigError."""
    found = re.fullmatch(r"(\d{1,4})d?", text.strip())
    if found is None or not 1 <= int(found[1]) <= 1100:
        raise ConfigError(
            f"--history must be 1d to 1100d, got {text!r}", hint="for example --history 120d"
        )
    return int(found[1])


def default_folder(home: Path, name: str, *, now_ms: int) -> Path:
    """`<home>/runs/<scenario>-<UTC stamp>`."""
    stamp = datetime.fromtimestamp(now_ms / 1000, tz=UTC).strftime("%Y%m%dT%H%M%S%fZ")
    return home / "runs" / f"{name}-{stamp}"


def load_world_dimensions(settings: Settings, world: "World") -> None:
    """Products, stores, suppliers and prior demand of a chain, into the warehouse."""
    from clickhouse.client import connect
    from clickhouse.dimensions import load_dimensions
    from simulators.world.dimensions import dimensions

    with closing(connect(settings.warehouse)) as client:
        load_dimensions(client, dimensions(world))


def _from(scenario: "Scenario", start: str | None) -> "Scenario":
    from simulators.world.scenario import FIRST_YEAR, LAST_YEAR

    if start is None:
        return scenario
    if start == "now":
        return scenario.model_copy(update={"start": None})
    try:
        moment = datetime.fromisoformat(start)
    except ValueError as exc:
        raise ConfigError(
            f"--start must be a time or now, got {start!r}", hint="for example --start 2026-03-10"
        ) from exc
    if not FIRST_YEAR <= moment.year <= LAST_YEAR:
        raise ConfigError(f"--start must lie in the years {FIRST_YEAR} to {LAST_YEAR}")
    return scenario.model_copy(update={"start": moment})


def _at_speed(scenario: "Scenario", speed: str | None) -> "Scenario":
    from simulators.pacing import parse_speed

    if speed is None:
        return scenario
    return scenario.model_copy(update={"speed": parse_speed(speed)})


def _publish(
    settings: Settings,
    scenario: "Scenario",
    start_ms: int,
    folder: Path,
    *,
    processes: int,
    as_json: bool,
) -> None:
    from simulators.world.fleet import Fleet
    from simulators.world.world import make_world

    errors.print(f"ledger and truth in {folder}", soft_wrap=True)
    load_world_dimensions(settings, make_world(scenario, start_ms=start_ms))
    with (
        Fleet(settings, scenario, start_ms, folder, processes=processes) as fleet,
        _progress(scenario.minutes, start_ms) as on_progress,
    ):
        report = fleet.run(on_progress)
    if as_json:
        emit_json({**asdict(report), "complete": report.complete, "folder": str(folder)})
    else:
        _print_report(report)
    if report.interrupted:
        raise typer.Exit(INTERRUPTED)
    if not report.complete:
        raise ServiceError(
            f"Kafka did not acknowledge {report.attempted - report.acknowledged:,} of "
            f"{report.attempted:,} events",
            hint=f"the ledgers in {folder} say what arrived",
        )


@contextmanager
def _progress(minutes: float, start_ms: int) -> "Iterator[Callable[[RunReport], None]]":
    """One line on standard error that follows the run."""
    with Live(Text("starting"), console=errors, refresh_per_second=5, transient=True) as live:

        def show(report: "RunReport") -> None:
            if report.trouble:
                live.update(Text(report.trouble, style="yellow"))
                return
            if report.event_time_ms is None:
                live.update(Text("stocking the shelves"))
                return
            done = (report.event_time_ms - start_ms) / (minutes * 60_000)
            rate = report.acknowledged / max(report.elapsed_s, 0.001)
            late = f" · {report.behind_s:.1f} s late" if report.behind_s > 1 else ""
            live.update(
                Text(
                    f"{minute(report.event_time_ms)}  {min(done, 1):4.0%}  "
                    f"{report.acknowledged:,} events · {rate:,.0f}/s · "
                    f"{report.faults:,} faults{late}"
                )
            )

        yield show


def _print_report(report: "RunReport") -> None:
    state = "[yellow]interrupted[/]" if report.interrupted else "[green]done[/]"
    rate = report.acknowledged / max(report.elapsed_s, 0.001)
    console.print(
        f"{state}: {report.attempted:,} events sent, {report.acknowledged:,} acknowledged, "
        f"{report.faults:,} of them faulty, in {report.elapsed_s:.1f} s ({rate:,.0f}/s)"
    )
    for topic, count in report.by_topic.items():
        console.print(f"  {topic:<28}{count:>10,}")


def _print_events(settings: Settings, scenario: "Scenario", start_ms: int) -> None:
    """As they would be published, in the order they would be."""
    from simulators.world.preview import preview
    from tillstream.contracts.catalogue import load_catalogue

    key = settings.customer_key.get_secret_value().encode()
    try:
        for row in preview(scenario, start_ms, load_catalogue(settings.registry), key):
            sys.stdout.write(json.dumps(row, default=str) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever reads has seen enough. Python would complain once more on its way out.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _list_scenarios(names: list[str]) -> None:
    from simulators.world.scenario import load_scenario

    for name in names:
        one = load_scenario(name)
        console.print(
            f"[bold]{name}[/] v{one.version}: {one.description} {one.stores:,} stores, "
            f"{one.products:,} products, {one.rate:g} events a minute and store, "
            f"{one.minutes / 60:g} h"
        )


def _write_history(
    settings: Settings,
    scenario: "Scenario",
    days: int,
    *,
    now_ms: int,
    out: Path | None,
    as_json: bool,
) -> None:
    from clickhouse.client import connect
    from lake.client import connect as connect_lake
    from simulators.world.fleet import prepare_folder
    from tillstream.contracts.catalogue import load_catalogue
    from tillstream.contracts.identity import required_key
    from tillstream.history.run import history_world, run_name, write_history
    from tillstream.history.writer import HistoryWriter

    key = required_key(settings.customer_key.get_secret_value().encode())
    world = history_world(scenario, days=days, end_ms=scenario.start_ms(now_ms))
    folder = out or default_folder(settings.home, f"history-{run_name(world)}", now_ms=now_ms)
    catalogue = load_catalogue(settings.registry)
    load_world_dimensions(settings, world)
    with (
        closing(connect(settings.warehouse)) as client,
        closing(
            HistoryWriter(
                client, connect_lake(settings.lake, url=settings.lake_url), run_name(world)
            )
        ) as writer,
        Live(Text("stocking the shelves"), console=errors, transient=True) as live,
    ):
        prepare_folder(folder)
        errors.print(f"{writer.topic_id}, truth in {folder}", soft_wrap=True)
        report = write_history(
            world,
            catalogue,
            writer,
            customer_key=key,
            folder=folder,
            on_progress=lambda so_far: live.update(_history_line(so_far)),
        )
    if as_json:
        emit_json({**asdict(report), "topic_id": writer.topic_id, "folder": str(folder)})
    else:
        console.print(f"[green]done[/]: {_history_line(report)}")


def _history_line(report: "HistoryReport") -> Text:
    return Text(
        f"{report.days} of {report.days_total} days · {report.sale_lines:,} sale lines, "
        f"{report.events:,} events in all, {report.written:,} new · {report.elapsed_s:.0f} s"
    )

"""`tillstream replay`: recorded sales, published as if they happened now."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import asdict, replace
from datetime import UTC, date, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from tillstream.cli.output import INTERRUPTED, console, emit_json, errors, minute
from tillstream.clock import Clock, SystemClock
from tillstream.contracts.identity import pseudonym, required_key
from tillstream.errors import ConfigError, ServiceError
from tillstream.settings import Settings

if TYPE_CHECKING:  # loading pandas and Kafka takes a second that --help need not wait for
    from producers.publisher import Publisher
    from simulators.plan import ReplayInputs
    from simulators.run import ReplayProgress, ReplayReport


class Shift(StrEnum):
    RECORDED = "recorded"
    NOW = "now"


def plan_replay(
    settings: Settings,
    *,
    start: date,
    days: int,
    stores: str | None = None,
    shift: Shift = Shift.RECORDED,
    clock: Clock | None = None,
) -> "ReplayInputs":
    """Everything a replay needs, from what a user typed. Raises ConfigError naming what is allowed
    for a range outside the data set or an unknown store."""
    from simulators.complete_journey import check_range
    from simulators.plan import ReplayPlan, choose_stores, prepare, shift_to_end_at

    check_range(start, days)
    plan = ReplayPlan(start, days)
    if shift is Shift.NOW:
        now_ms = (clock or SystemClock()).now_ms()
        plan = replace(plan, shift_ms=shift_to_end_at(plan.end_ms, now_ms))
    chosen = choose_stores(stores, plan, cache=settings.cache)
    return prepare(replace(plan, stores=chosen), cache=settings.cache)


def load_replay_dimensions(settings: Settings, inputs: "ReplayInputs") -> None:
    """Products, stores, suppliers and demand before the replay, into the warehouse."""
    from clickhouse.client import connect
    from clickhouse.dimensions import load_dimensions
    from simulators.dimensions import dimensions

    with closing(connect(settings.warehouse)) as client:
        load_dimensions(client, dimensions(inputs.demand, cache=settings.cache))


def publish_replay(
    settings: Settings,
    inputs: "ReplayInputs",
    *,
    ledger_path: Path,
    speed: float | None = None,
    on_progress: "Callable[[ReplayProgress], None]" = lambda _: None,
) -> "ReplayReport":
    """Publish to the configured Kafka, with a new ledger. `speed` None is as fast as it goes.

    Raises ConfigError without a key for customers, ServiceError when the broker is missing or does
    not answer in time; the ledger then holds what was attempted and what was acknowledged.
    """
    from producers.kafka_publisher import KafkaPublisher
    from simulators.ledger import Ledger
    from simulators.pacing import Pacer
    from simulators.run import run_replay
    from tillstream.contracts.catalogue import load_catalogue
    from tillstream.contracts.codec import Codec
    from tillstream.telemetry.clients import producer_metrics

    codec = Codec(load_catalogue(settings.registry))
    key = required_key(settings.customer_key.get_secret_value().encode())
    with ExitStack() as stack:
        publisher = KafkaPublisher(settings.kafka, codec, customer_key=key)
        stack.callback(_close, publisher)
        ledger = stack.enter_context(Ledger.create(ledger_path))
        # Closed before the ledger, which so holds what comes back to the very end.
        stack.callback(_close, publisher)
        stack.enter_context(producer_metrics(settings, publisher))
        return run_replay(inputs, publisher, ledger, pacer=Pacer(speed), on_progress=on_progress)


def _close(publisher: "Publisher") -> None:
    """The replay has already said what was not delivered; closing would say it again."""
    with suppress(ServiceError):
        publisher.close()


def default_ledger_path(home: Path, *, start: date, days: int, now_ms: int) -> Path:
    """`<home>/ledgers/replay-<start>-<days>d-<UTC stamp>.jsonl`."""
    stamp = datetime.fromtimestamp(now_ms / 1000, tz=UTC).strftime("%Y%m%dT%H%M%S%fZ")
    return home / "ledgers" / f"replay-{start}-{days}d-{stamp}.jsonl"


def replay(
    ctx: typer.Context,
    start: Annotated[
        str, typer.Option("--from", help="First day, UTC: 2017-01-01 to 2018-01-01", metavar="DATE")
    ] = "2017-11-20",
    days: Annotated[int, typer.Option(help="How many days")] = 7,
    speed: Annotated[
        str, typer.Option(help="Event seconds per second, from 1, or max", metavar="max|N")
    ] = "max",
    shift: Annotated[
        Shift, typer.Option(help="Event times as recorded, or moved so that the range ends now")
    ] = Shift.RECORDED,
    stores: Annotated[
        str | None,
        typer.Option(help="20 = the 20 busiest; 330,406 = these two; 330, = this one; default all"),
    ] = None,
    ledger: Annotated[
        Path | None, typer.Option(help="File of every event id sent [default: in <home>/ledgers]")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the events as JSON lines; send nothing")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON")] = False,
) -> None:
    """Publish recorded sales, with the stock movements and price changes that belong to them.

    The sales are the Complete Journey data set: 2,469 households of a grocery chain in 2017,
    simulated by its publisher from real shopping patterns. The same arguments send the same events;
    sent twice, the platform counts them once.

    \b
    Examples:
      tillstream replay --days 1                   a day, as fast as it goes
      tillstream replay --days 7 --speed 3600      an hour each second
      tillstream replay --days 7 --shift now       the week ends now
      tillstream replay --stores 5 --dry-run       look at the events
    """
    from simulators.pacing import parse_speed

    settings: Settings = ctx.obj
    pace = parse_speed(speed)
    inputs = plan_replay(settings, start=_date(start), days=days, stores=stores, shift=shift)
    if dry_run:
        _print_events(inputs, settings)
        return
    now_ms = SystemClock().now_ms()
    path = ledger or default_ledger_path(
        settings.home, start=inputs.plan.start, days=days, now_ms=now_ms
    )
    load_replay_dimensions(settings, inputs)
    errors.print(f"ledger {path}", soft_wrap=True)
    with replay_progress() as on_progress:
        report = publish_replay(
            settings, inputs, ledger_path=path, speed=pace, on_progress=on_progress
        )
    if as_json:
        emit_json({**asdict(report), "complete": report.complete, "ledger": str(path)})
    else:
        print_report(report)
    if report.interrupted:
        raise typer.Exit(INTERRUPTED)
    if not report.complete:
        raise ServiceError(
            f"Kafka did not acknowledge {report.published - report.acknowledged:,} of "
            f"{report.published:,} events: {report.first_failure}",
            hint=f"replay the same range again: ids stay the same; {path} says what arrived",
        )


@contextmanager
def replay_progress() -> "Iterator[Callable[[ReplayProgress], None]]":
    """A progress bar on standard error while a replay runs; gives its `on_progress`."""
    bar = Progress(
        TextColumn("[bold]{task.fields[reached]}[/]"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[events]:,} events · {task.fields[rate]:,}/s ·"),
        TimeRemainingColumn(),
        console=errors,
    )
    task = bar.add_task("", total=None, reached="starting", events=0, rate=0)

    def show(progress: "ReplayProgress") -> None:
        reached = progress.event_time_ms
        bar.update(
            task,
            completed=progress.steps_done,
            total=progress.steps_total,
            reached="starting" if reached is None else minute(reached),
            events=progress.published,
            rate=round(progress.published / max(progress.elapsed_s, 0.001)),
        )

    with bar:
        yield show


def print_report(report: "ReplayReport") -> None:
    """What was sent, in a few lines."""
    state = "[yellow]interrupted[/]" if report.interrupted else "[green]done[/]"
    rate = report.published / max(report.elapsed_s, 0.001)
    console.print(
        f"{state}: {report.published:,} events sent, {report.acknowledged:,} acknowledged "
        f"in {report.elapsed_s:.1f} s ({rate:,.0f}/s)"
    )
    for topic, count in report.by_topic.items():
        console.print(f"  {topic:<28}{count:>10,}")
    if report.first_event_ms is not None and report.last_event_ms is not None:
        console.print(
            f"  event time {minute(report.first_event_ms)} to {minute(report.last_event_ms)} UTC"
        )


def register(app: typer.Typer) -> None:
    app.command()(replay)


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as exc:
        raise ConfigError(
            f"--from must be a date, got {text!r}", hint="for example --from 2017-11-20"
        ) from exc


def _print_events(inputs: "ReplayInputs", settings: Settings) -> None:
    """As they would be published: customers as pseudonyms, or left out when there is no key."""
    from simulators.replay import events

    key = settings.customer_key.get_secret_value().encode()
    for topic, record in events(inputs):
        shown: dict[str, Any] = dict(record)
        if shown.get("customer_id") is not None:
            shown["customer_id"] = pseudonym(key, shown["customer_id"]) if key else None
        sys.stdout.write(json.dumps({"topic": topic, "event": shown}, default=str) + "\n")

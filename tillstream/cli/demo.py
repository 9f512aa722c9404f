"""`tillstream demo`: the whole platform on recorded sales, start to proof."""

import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.live import Live

from tillstream.cli.audit import open_parts, show_audit
from tillstream.cli.demo_night import nights_match
from tillstream.cli.demo_view import DemoView, Snapshot
from tillstream.cli.output import console, mark
from tillstream.cli.replay import load_replay_dimensions, plan_replay, publish_replay
from tillstream.cli.stack_view import StepView
from tillstream.cli.warehouse import provision_services
from tillstream.devstack.stack import Stack
from tillstream.errors import ConfigError, TillstreamError
from tillstream.settings import Settings, StreamSettings, load_settings

if TYPE_CHECKING:
    from clickhouse.client import Client
    from simulators.plan import ReplayInputs, ReplayPlan
    from simulators.run import ReplayProgress

_DAMAGED = 5
_LOOK_S = 0.5
_CATCH_UP_S = 180.0
# Something to watch, yet over soon: a recorded week in about 40 seconds.
_DEMO_SPEED = 15_000.0


def register(app: typer.Typer) -> None:
    app.command(epilog="Examples: tillstream demo · tillstream demo --days 2 --keep")(demo)


def demo(
    ctx: typer.Context,
    start: Annotated[str, typer.Option("--from", help="First day.", metavar="DATE")] = "2017-11-20",
    days: Annotated[int, typer.Option(help="How many recorded days.", min=1)] = 7,
    speed: Annotated[
        float, typer.Option(help="Event seconds per second; 0 is as fast as it goes.", min=0)
    ] = _DEMO_SPEED,
    keep: Annotated[bool, typer.Option("--keep", help="Leave it running afterwards.")] = False,
    with_night: Annotated[
        bool, typer.Option("--with-night", help="End with the nightly run of every day.")
    ] = False,
) -> None:
    """Watch a grocery chain of 2017 come alive, and see proof that not one event was lost.

    Starts Kafka, ClickHouse and Spark in a home of its own (<home>/demo, emptied first), replays
    recorded sales of all stores, shows shelves running out and alerts firing, and ends with
    `verify`. Exits 0 when everything agrees. With --with-night, each day is then rolled up as by
    night, and compared with pandas.
    """
    settings = _demo_settings(ctx.obj)
    first_day = _day(start)
    began = time.monotonic()
    Stack(settings).down()
    shutil.rmtree(settings.home, ignore_errors=True)
    console.print("[bold]tillstream[/]  from the till to the shelf\n")
    view = StepView()
    with ThreadPoolExecutor(max_workers=1) as background:
        # Reading the data set takes seconds that starting the services need not wait for.
        inputs = background.submit(plan_replay, settings, start=first_day, days=days)
        with Live(view, console=console, refresh_per_second=12):
            ready = Stack(settings, report=view.report).up(provision=provision_services)
    try:
        clean = _run(ready, inputs.result(), speed=speed or None, with_night=with_night)
    finally:
        if keep:
            console.print(f"still running: try  tillstream --home {settings.home} status")
        else:
            Stack(settings).down()
    console.print(f"[dim]{time.monotonic() - began:.0f} s in all[/]")
    raise typer.Exit(0 if clean else _DAMAGED)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as exc:
        raise ConfigError(f"--from {text!r} is not a date like 2017-11-20") from exc


def _demo_settings(settings: Settings) -> Settings:
    """The same settings in a home of its own; the lake is written often enough to wait for."""
    stream = StreamSettings(**{**settings.stream.model_dump(), "lake_trigger_s": 5.0})
    return load_settings(home=settings.home / "demo", cache=settings.cache, stream=stream)


@dataclass(slots=True)
class _Replay:
    """The replay on a thread of its own, so that the screen can follow."""

    progress: "ReplayProgress | None" = None
    error: BaseException | None = None
    done: threading.Event = field(default_factory=threading.Event)

    def run(
        self, settings: Settings, inputs: "ReplayInputs", ledger: Path, speed: float | None
    ) -> None:
        try:
            publish_replay(
                settings, inputs, ledger_path=ledger, speed=speed, on_progress=self._follow
            )
        except BaseException as exc:
            self.error = exc
        finally:
            self.done.set()

    def _follow(self, progress: "ReplayProgress") -> None:
        self.progress = progress


def _run(
    settings: Settings, inputs: "ReplayInputs", *, speed: float | None, with_night: bool
) -> bool:
    from clickhouse.client import connect
    from simulators.ledger import read_ledgers
    from tillstream.audit.verify import progress, verify, wait_until_caught_up

    load_replay_dimensions(settings, inputs)
    ledger = settings.home / "ledgers" / "demo.jsonl"
    replay = _Replay()
    thread = threading.Thread(
        target=replay.run, args=(settings, inputs, ledger, speed), daemon=True
    )
    view = DemoView(started=time.monotonic())
    with open_parts(settings) as parts, closing(connect(settings.warehouse)) as client:
        with Live(view, console=console, refresh_per_second=8):
            thread.start()
            deadline: float | None = None
            while True:
                behind = progress(parts)
                view.show(replay.progress, _snapshot(client), behind.behind, behind.lake_behind)
                if replay.done.is_set():
                    if behind.caught_up:
                        break
                    deadline = deadline or time.monotonic() + _CATCH_UP_S
                    if time.monotonic() > deadline:
                        break
                time.sleep(_LOOK_S)
        thread.join()
        if replay.error is not None:
            if isinstance(replay.error, TillstreamError):
                raise replay.error
            raise RuntimeError("the replay stopped") from replay.error
        wait_until_caught_up(parts, timeout_s=_CATCH_UP_S)
        console.print("\n[bold]verify[/]  every offset, window, shelf and ledger entry\n")
        audit = verify(parts, ledger=read_ledgers([ledger]))
        show_audit(audit)
        clean = audit.clean and _matches_the_data_set(client, inputs.plan)
        if clean and with_night:
            clean = nights_match(settings, client, inputs.plan)
        return clean


def _snapshot(client: "Client") -> Snapshot:
    from clickhouse.queries import select

    totals = select(
        client,
        "SELECT (SELECT count() FROM fact_sales) AS lines,"
        " (SELECT toFloat64(sum(revenue)) FROM fact_sales) AS revenue,"
        " (SELECT uniqExact(store_id) FROM fact_sales) AS stores,"
        " (SELECT count() FROM velocity_5m) AS windows,"
        " (SELECT count() FROM current_stock) AS shelves,"
        " (SELECT countIf(on_hand <= 0) FROM current_stock) AS empty,"
        " (SELECT count() FROM restock_alerts WHERE state != 'resolved') AS open_alerts,"
        " (SELECT count() FROM restock_alerts WHERE state = 'resolved') AS resolved,"
        " (SELECT count() FROM anomalies FINAL) AS anomalies",
    ).to_pylist()[0]
    newest = select(
        client,
        "SELECT toString(state) AS state, risk, explanation, formatDateTime(at, '%a %H:%i') AS at,"
        " toFloat64(expected_lost_margin) AS margin FROM restock_alert_history"
        " ORDER BY restock_alert_history.at DESC, expected_lost_margin DESC LIMIT 5",
    ).to_pylist()
    risky = select(
        client,
        "SELECT toString(r.store_id) AS store, p.product_name AS product, r.on_hand AS on_hand,"
        " r.risk AS risk, r.daily_units AS daily_units, r.empty_p50_days AS empty_days"
        " FROM stockout_risk AS r FINAL LEFT JOIN (SELECT product_id, product_name FROM dim_product"
        " FINAL) AS p ON p.product_id = r.product_id WHERE r.on_hand > 0"
        " ORDER BY r.expected_lost_margin DESC LIMIT 5",
    ).to_pylist()
    return Snapshot(totals, newest, risky)


def _matches_the_data_set(client: "Client", plan: "ReplayPlan") -> bool:
    """Window by window, against pandas on the data set itself."""
    from clickhouse.queries import select
    from simulators.complete_journey import expected_windows

    expected = expected_windows(plan.start, plan.days)
    stored = select(
        client,
        "SELECT toString(store_id) AS store_id, product_id, toUnixTimestamp(window_start) AS at,"
        " units, toDecimal64(revenue, 2) AS revenue, lines FROM velocity_5m",
    ).to_pandas()
    keys = ["store_id", "product_id", "at"]
    expected = expected.assign(at=expected["window_start"].map(lambda t: int(t.timestamp())))
    both = expected.merge(stored, on=keys, how="outer", suffixes=("", "_stored"), indicator=True)
    differ = both[
        (both["_merge"] != "both")
        | (both["units"] != both["units_stored"])
        | (both["revenue"] != both["revenue_stored"])
        | (both["lines"] != both["lines_stored"])
    ]
    console.print(
        f"{mark(differ.empty)} data set   {len(expected):>12,} windows computed from it by pandas: "
        f"{int(expected['units'].sum()):,} units, {expected['revenue'].sum():,} revenue, "
        f"{int(expected['lines'].sum()):,} lines; {len(differ)} differ"
    )
    return differ.empty

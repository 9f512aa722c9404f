"""The live view: figures out of metrics, what is said of each part, and the application."""

import asyncio
import math
import threading
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from rich.console import Console, RenderableType
from textual.pilot import Pilot

from tests.fixtures.warehouse import free_port
from tillstream.settings import KafkaSettings, WarehouseSettings
from tillstream.telemetry.batch import BatchSeen
from tillstream.telemetry.endpoint import metrics_endpoint
from tillstream.telemetry.lag import Lag
from tillstream.telemetry.stream import StreamMetrics
from tillstream.watching.app import Arrived, HelpScreen, Sources, WatchApp
from tillstream.watching.panels import lag_figure, rate_figure, seconds_text, steps_table
from tillstream.watching.poller import Poller
from tillstream.watching.readings import (
    Alert,
    KafkaReading,
    QueryReading,
    Risk,
    StreamReading,
    WarehouseReading,
    health,
)
from tillstream.watching.scrape import Labels, Scrape, quantile, rate
from tillstream.watching.sources import StreamSource, WarehouseSource, read_kafka, reading_of

LIVE = QueryReading(running=True, lag=2310, catch_up_s=0.0, retries=0)
STREAM = StreamReading(
    queries={"live": LIVE, "lake": QueryReading(True, 104_233, 0.0, 0)},
    events_per_s=8333.4,
    p50_s=0.171,
    p99_s=0.402,
    batch_s=0.31,
    steps_s={"judge": 0.08, "facts": 0.12},
)
WAREHOUSE = WarehouseReading(
    version="26.5.1",
    took_s=0.04,
    open_alerts=143,
    risky_shelves=1204,
    risks=(Risk("304", "WHOLE MILK [1 GAL]", 3, 41.2, 0.7, 0.93, 77.5),),
    alerts=(Alert("Mon 17:40", "opened", "3 left, 41.2 sell a day"),),
)
KAFKA = KafkaReading("127.0.0.1:9092")


def shown(renderable: RenderableType) -> str:
    console = Console(width=80, force_terminal=False)
    with console.capture() as capture:
        console.print(renderable)
    return capture.get()


def scrape(registry: CollectorRegistry, at_s: float) -> Scrape:
    return Scrape.of(generate_latest(registry).decode(), at_s=at_s)


def test_figures_are_what_happened_between_two_looks() -> None:
    registry = CollectorRegistry()
    metrics = StreamMetrics(registry)

    def batch(counted: int, latency_s: float) -> None:
        seconds = {"judge": 0.1, "facts": 0.3}
        seen = BatchSeen("live", 1, 0.0, 0.4, (), {("sales", "counted"): counted}, {}, seconds)
        metrics.batch(replace(seen, latency_s=np.full(counted, latency_s)))

    metrics.query("live", "running")
    metrics.query("lake", "retrying")
    batch(1_000_000, 3000.0)  # long ago: must not be seen any more
    before = scrape(registry, 10.0)
    batch(300, 0.12)
    batch(100, 0.9)
    metrics.lag("live", {("sales", 0): 70, ("sales", 1): 30}, Lag(100, 10, 5, keeping_up=False))
    metrics.lag("lake", {("sales", 0): 9}, None)
    reading = reading_of(before, scrape(registry, 14.0), reasons={"lake": "no bucket"})

    assert reading.events_per_s == 100.0
    assert reading.p50_s == pytest.approx(0.1 + 0.05 * 200 / 300)
    assert reading.p99_s == pytest.approx(0.8 + 0.2 * 96 / 100)
    assert reading.batch_s == pytest.approx(0.4)
    assert reading.steps_s == {"judge": pytest.approx(0.1), "facts": pytest.approx(0.3)}
    assert reading.queries == {
        "live": QueryReading(running=True, lag=100, catch_up_s=math.inf, retries=0),
        "lake": QueryReading(False, 9, None, 1, "no bucket"),
    }


def test_the_first_look_knows_no_rates() -> None:
    registry = CollectorRegistry()
    StreamMetrics(registry).batch(BatchSeen("live", 1, 0.0, 0.1, (), {("sales", "counted"): 5}))
    only = scrape(registry, 1.0)
    reading = reading_of(only, only)
    assert (reading.events_per_s, reading.p99_s, reading.batch_s) == (None, None, None)


def test_a_counter_that_began_anew_counts_from_zero() -> None:
    before, after = (Scrape(at, {"n_total": {(): value}}) for at, value in ((0, 900), (2, 10)))
    assert rate(before, after, "n_total") == 5.0
    assert quantile(before, after, "n", 0.5) is None


def test_what_exceeds_every_bound_counts_as_the_highest() -> None:
    def look(at_s: float, below: float, everything: float) -> Scrape:
        buckets: dict[Labels, float] = {(("le", "1.0"),): below, (("le", "+Inf"),): everything}
        return Scrape(at_s, {"wait_bucket": buckets})

    assert quantile(look(0, 0, 0), look(1, 2, 8), "wait", 0.2) == pytest.approx(0.8)
    assert quantile(look(0, 0, 0), look(1, 2, 8), "wait", 0.5) == 1.0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((None, "–"), (0.0834, "83 ms"), (0.9996, "1.00 s"), (12.3, "12 s")),
        *((245, "4 min 05 s"), (7620, "2 h 07 min")),
    ],
)
def test_times_read_well(seconds: float | None, text: str) -> None:
    assert seconds_text(seconds) == text


def test_lag_is_shown_with_when_it_ends() -> None:
    def text(catch_up_s: float | None) -> str:
        return lag_figure(QueryReading(True, 12_000, catch_up_s, 0)).plain

    assert text(None) == "12,000"
    assert text(0.0) == "12,000   keeping up"
    assert text(125.0) == "12,000   caught up in 2 min 05 s"
    assert text(math.inf) == "12,000   falling behind"
    assert rate_figure(200.0, refused_per_s=20.0).plain == "200   20 refused"


def test_the_longest_step_has_the_longest_bar() -> None:
    lines = shown(steps_table(STREAM.steps_s)).splitlines()
    assert [line.split()[0] for line in lines] == ["facts", "judge"]
    assert [line.count("━") for line in lines] == [10, 7]


def test_each_part_says_what_is_wrong_with_it() -> None:
    assert [one.level for one in health(None, None, None)] == ["unknown"] * 4
    assert [one.level for one in health(KAFKA, WAREHOUSE, STREAM)] == ["good"] * 4
    stuck = StreamReading(
        queries={
            "live": QueryReading(False, 9, None, 3, "ClickHouse at 127.0.0.1:1 does not answer"),
            "lake": QueryReading(True, 500_000, 40.0, 0),
        }
    )
    told = health(KafkaReading("h:1", "h:1: refused"), WarehouseReading("gone"), stuck)
    assert [(one.part, one.level, one.words) for one in told] == [
        ("kafka", "bad", "unreachable: h:1: refused"),
        ("stream", "bad", "not running: ClickHouse at 127.0.0.1:1 does not answer"),
        ("warehouse", "bad", "unreachable: gone"),
        ("lake", "warn", "behind, 500,000 records to archive"),
    ]


def test_a_stream_out_of_sight_is_judged_by_what_it_commits() -> None:
    away = StreamReading(problem="does not answer at http://spark-1:9464/metrics")
    told = health(KAFKA, replace(WAREHOUSE, committed_ago_s=2.4), away)
    assert told[1].words.endswith("/metrics; newest commit 2 s ago")

    async def look(app: WatchApp, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "does not answer" in screen(app))
        await pilot.press("r")
        await until(pilot, lambda: "450   by its commits" in screen(app))

    watch(look, stream=lambda: away, warehouse=lambda: replace(WAREHOUSE, events_per_s=450.0))


def test_a_broker_that_only_the_stream_cannot_use_is_told() -> None:
    told = health(KAFKA, WAREHOUSE, replace(STREAM, kafka_up=False))
    assert told[0].level == "warn"
    assert "the stream fails" in told[0].words


def test_risk_that_lags_behind_facts_is_told() -> None:
    queries = {**STREAM.queries, "watch": QueryReading(True, 90_000, 30.0, 0)}
    told = health(KAFKA, WAREHOUSE, replace(STREAM, queries=queries))
    assert (told[1].level, told[1].words) == ("warn", "running; risk and alerts are behind")


def test_parts_that_are_away_are_readings_not_errors(tmp_path: Path) -> None:
    port = free_port()
    kafka = read_kafka(KafkaSettings(bootstrap=f"127.0.0.1:{port}"))
    assert kafka.problem == f"127.0.0.1:{port}: Connection refused"
    warehouse = WarehouseSource(WarehouseSettings(port=port)).read()
    assert (
        warehouse.problem == f"ClickHouse at 127.0.0.1:{port} does not answer: connection refused"
    )
    assert StreamSource(tmp_path).read().problem.startswith("not running here")
    url = f"http://127.0.0.1:{port}/metrics"
    assert StreamSource(tmp_path, url).read().problem.startswith(f"does not answer at {url}")


def test_the_stream_of_a_home_is_found_by_its_file(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    StreamMetrics(registry).query("live", "retrying")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "stream.json").write_text(
        '{"queries": {"live": {"state": "retrying", "reason": "no broker"}}}', encoding="utf-8"
    )
    with metrics_endpoint(tmp_path, "stream", host="127.0.0.1", port=0, registry=registry):
        reading = StreamSource(tmp_path).read()
    assert reading.queries["live"] == QueryReading(False, 0, None, 1, "no broker")


def watch(
    test: Callable[[WatchApp, Pilot[None]], Coroutine[None, None, None]],
    *,
    stream: Callable[[], StreamReading] = lambda: STREAM,
    warehouse: Callable[[], WarehouseReading] = lambda: WAREHOUSE,
) -> None:
    """Run `test` on the application in a terminal of 120 by 34."""

    async def run() -> None:
        app = WatchApp(Sources(lambda: KAFKA, stream, warehouse), where="/home/shop")
        async with app.run_test(size=(120, 34)) as pilot:
            await test(app, pilot)

    asyncio.run(run())


def screen(app: WatchApp) -> str:
    return "\n".join(
        "".join(segment.text for segment in strip)
        for strip in app.screen._compositor.render_strips()
    )


async def until(pilot: Pilot[None], condition: Callable[[], bool]) -> None:
    for _ in range(500):
        if condition():
            return
        await pilot.pause(0.02)
    raise AssertionError("not within 10 s")


def test_everything_is_on_the_screen() -> None:
    async def look(app: WatchApp, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "143 open" in screen(app) and "8,333" in screen(app))
        seen = screen(app)
        for text in (
            *("171 ms median", "402 ms p99", "2,310   keeping up", "WHOLE MILK [1 GAL]", "93%"),
            *("opened", "3 left, 41.2 sell a day", "1,204 at 60 % or more", "ClickHouse 26.5.1"),
            *("answers at 127.0.0.1:9092", "0.31 s a batch", "/home/shop", "● live", "facts"),
        ):
            assert text in seen, text

    watch(look)


def test_a_slow_part_does_not_hold_up_the_others_or_the_keys() -> None:
    release = threading.Event()

    def never() -> WarehouseReading:
        release.wait()
        return WAREHOUSE

    async def look(app: WatchApp, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "8,333" in screen(app))
        assert "asking …" in screen(app)
        await pilot.press("question_mark")
        assert isinstance(app.screen, HelpScreen)
        await pilot.press("escape")
        await pilot.press("p")
        assert "PAUSED" in screen(app)

    try:
        watch(look, warehouse=never)
    finally:
        release.set()


def test_pause_stops_asking_and_refresh_asks_once() -> None:
    asked: list[int] = []

    def stream() -> StreamReading:
        asked.append(1)
        return STREAM

    async def look(app: WatchApp, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: bool(asked))
        await pilot.press("p")
        await until(pilot, lambda: app.paused)
        before = len(asked)
        await pilot.press("r")
        await until(pilot, lambda: len(asked) > before)
        await pilot.press("p")
        await until(pilot, lambda: not app.paused)

    watch(look, stream=stream)


def test_what_was_known_stays_while_a_part_is_away() -> None:
    readings = iter([WAREHOUSE])

    def warehouse() -> WarehouseReading:
        return next(readings, WarehouseReading(problem="ClickHouse at h:1 does not answer"))

    async def look(app: WatchApp, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "143 open" in screen(app))
        await pilot.press("r")
        await until(pilot, lambda: "unreachable: ClickHouse at h:1" in screen(app))
        assert "WHOLE MILK" in screen(app)

    watch(look, warehouse=warehouse)


def test_a_paused_poller_asks_only_when_told_to() -> None:
    asked = threading.Semaphore(0)
    count: list[int] = []

    def read() -> None:
        count.append(1)
        asked.release()

    poller = Poller(read, every_s=0.001, name="test")
    poller.paused = True
    poller.start()
    for _ in range(4):  # the first time by itself
        assert asked.acquire(timeout=10)
        poller.refresh()
    assert asked.acquire(timeout=10)
    poller.stop()
    assert len(count) == 5


def test_what_arrives_while_the_screen_is_taken_down_does_no_harm() -> None:
    async def run() -> None:
        app = WatchApp(Sources(lambda: KAFKA, lambda: STREAM, lambda: WAREHOUSE), where="")
        async with app.run_test() as pilot:
            await app.query("#head, #tiles, #parts, #lists").remove()
            for reading in (KAFKA, STREAM, WAREHOUSE):
                app.post_message(Arrived(reading))
            await pilot.press("p")
            await until(pilot, lambda: app.paused)

    asyncio.run(run())


def test_q_quits() -> None:
    async def look(app: WatchApp, pilot: Pilot[None]) -> None:
        await pilot.press("q")
        await until(pilot, lambda: not app.is_running)

    watch(look)

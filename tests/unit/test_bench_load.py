"""What the benchmarks under load make, and what they compute from what they see."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import numpy as np
import pytest
from pydantic import SecretStr
from rich.console import Console

from tillstream.bench.batches import parse_progress
from tillstream.bench.commits import Curve, Point, Steady, steady
from tillstream.bench.dashboards import QueryRun, look_alone, look_at_dashboards
from tillstream.bench.history import DAYS, statements
from tillstream.bench.latency import LatencyRun, batches_between
from tillstream.bench.outage import OutageRun
from tillstream.bench.panels import Panel
from tillstream.bench.pipeline import PipelineRun, stream_settings
from tillstream.bench.probes import Kind, Percentiles, Probes, percentiles
from tillstream.bench.reading import Poller, Reader
from tillstream.bench.sales import SaleLines, expected_windows, make_lines
from tillstream.bench.traffic import (
    Chain,
    Counts,
    Message,
    Traffic,
    lines_for,
    opening_stock,
    share_of,
    shelf_count,
    window_count,
    window_start_ms,
)
from tillstream.bench.usage import Usage
from tillstream.bench.ways import Workload
from tillstream.cli.bench_latency import latency_table, outage_table
from tillstream.cli.bench_pipeline import pipeline_table
from tillstream.cli.bench_query import query_table
from tillstream.contracts.catalogue import load_catalogue
from tillstream.contracts.codec import Codec
from tillstream.contracts.topics import Topic
from tillstream.errors import ServiceError
from tillstream.settings import StreamSettings, WarehouseSettings

CODEC = Codec(load_catalogue())
START_MS = 1_700_000_000_000
USAGE = {"stream": Usage(20.0, 1_500.0, "PSS")}


def spread_lines(count: int) -> SaleLines:
    return make_lines(Workload.SPREAD, count, start_ms=START_MS)


def all_on_one_shelf(count: int) -> SaleLines:
    zeros = np.zeros(count, dtype=np.int64)
    return SaleLines(zeros, zeros, zeros + 3, zeros + 250, START_MS + zeros)


def decoded(messages: list[Message]) -> list[dict[str, Any]]:
    return [CODEC.decode(message.topic, message.value).record for message in messages]


# --- traffic


def test_the_same_lines_make_the_same_messages_however_they_are_shared() -> None:
    def made(shares: int) -> Counter[tuple[bytes, int, int]]:
        found: Counter[tuple[bytes, int, int]] = Counter()
        for share in range(shares):
            chain = Chain(CODEC, Traffic.SALES, share=share, shares=shares)
            messages = list(chain.messages(share_of(spread_lines(600), share, shares)))
            for message, sale in zip(messages, decoded(messages), strict=True):
                assert message.key.decode() == sale["store_id"]
                found[message.key, sale["timestamp"], sale["quantity"]] += 1
        return found

    assert made(1) == made(3)
    assert made(1).total() == 600


def test_no_identity_is_shared_by_two_events_of_any_share() -> None:
    identities: list[str] = []
    for share in range(2):
        chain = Chain(CODEC, Traffic.FULL, share=share, shares=2)
        messages = list(chain.messages(share_of(spread_lines(400), share, 2)))
        sent_twice = Counter(message.value for message in messages)
        records = decoded([m for m in messages if sent_twice[m.value] == 1])
        identities += [r.get("event_id") or r["inventory_id"] for r in records]
    assert len(set(identities)) == len(identities) > 780


def test_full_traffic_is_half_movements_and_half_a_percent_sent_twice() -> None:
    chain = Chain(CODEC, Traffic.FULL)
    messages = list(chain.messages(spread_lines(lines_for(Traffic.FULL, 10_000))))
    assert chain.counts == Counts(sales=4_975, movements=4_975, duplicates=49)
    assert len(messages) == chain.counts.total
    values = Counter(message.value for message in messages)
    assert sum(count - 1 for count in values.values()) == 49
    assert lines_for(Traffic.SALES, 10_000) == 10_000


def test_movements_lead_from_one_stock_to_the_next() -> None:
    chain = Chain(CODEC, Traffic.FULL)
    moved = [m for m in chain.messages(all_on_one_shelf(60)) if m.topic is Topic.INVENTORY]
    left = opening_stock(0, 0)
    for sequence, record in enumerate(decoded(moved), start=1):
        assert record["sequence"] == sequence
        assert record["new_quantity"] == left + record["quantity_change"] >= 0
        assert (record["reason"] == "delivery") == (record["quantity_change"] > 0)
        left = record["new_quantity"]
    assert {"sale", "delivery"} == {record["reason"] for record in decoded(moved)}


def test_about_one_shelf_in_a_hundred_is_nearly_empty() -> None:
    opening = [opening_stock(store, product) for store in range(50) for product in range(200)]
    scarce = sum(left <= 3 for left in opening)
    assert 50 <= scarce <= 200
    assert min(opening) >= 1


def test_a_probe_is_a_sale_and_the_movement_that_empties_the_shelf() -> None:
    chain = Chain(CODEC, Traffic.FULL)
    sale, movement = decoded(list(chain.emptied("Q001", "P00007", at_ms=START_MS)))
    assert (sale["store_id"], sale["quantity"], sale["timestamp"]) == ("Q001", 1, START_MS)
    assert (movement["product_id"], movement["new_quantity"]) == ("P00007", 0)
    assert chain.counts.total == 2


def test_windows_and_shelves_are_counted_as_a_group_by_would() -> None:
    lines = spread_lines(5_000)
    assert window_count(lines) == len(expected_windows(lines))
    pairs = set(zip(lines.store.tolist(), lines.product.tolist(), strict=True))
    assert shelf_count(lines) == len(pairs)


def test_traffic_begins_with_a_window_and_is_over_when_it_is_sent() -> None:
    for now_ms in (START_MS, START_MS + 123_456, START_MS + 299_999):
        start = window_start_ms(100_000, now_ms=now_ms)
        assert start % 300_000 == 0
        assert start + 100_000 <= now_ms < start + 400_000


# --- commits


def commit(partition: int, next_offset: int, at_us: int, topic: str = "a") -> dict[str, Any]:
    return {"topic_id": topic, "partition": partition, "next_offset": next_offset, "at_us": at_us}


def test_commits_add_up_over_partitions_and_known_ones_change_nothing() -> None:
    curve = Curve()
    first = [commit(0, 10, 1_000_000), commit(1, 5, 1_000_000), commit(0, 30, 2_500_000)]
    curve.add(first)
    curve.add([*first, commit(1, 7, 3_000_000), commit(0, 1, 3_000_000, topic="b")])
    assert curve.points == [Point(1.0, 15), Point(2.5, 35), Point(3.0, 38)]
    assert curve.records == 38
    assert Curve().records == 0


def test_steady_begins_at_the_commit_that_ends_the_warm_up() -> None:
    points = [Point(5.0, 100), Point(7.0, 250), Point(8.0, 400), Point(9.0, 550)]
    assert steady(points, warmup_batches=1) == Steady(450, 4.0)
    assert steady(points, warmup_batches=2) == Steady(300, 2.0)
    assert steady(points[:1], warmup_batches=1) is None
    assert steady(points, warmup_batches=4) is None


def test_batches_are_counted_and_averaged_between_two_moments() -> None:
    points = [Point(t, int(t * 10)) for t in (1.0, 1.5, 2.0, 3.0)]
    assert batches_between(points, 1.0, 3.0) == (3, 0.5)
    assert batches_between(points, 2.5, 4.0) == (1, None)


def test_sparks_own_account_of_a_batch_is_read_from_the_log() -> None:
    def line(query: str, batch: int, rows: int) -> str:
        told = {"batchId": batch, "numInputRows": rows, "durationMs": {"addBatch": 12}}
        return f"2026-11-21 10:00:00 INFO tillstream.stream {query} progress {json.dumps(told)}"

    log = [line("live", 1, 5), line("live", 2, 0), line("lake", 3, 5), "live progress: none"]
    assert parse_progress(log) == {1: {"addBatch": 12.0}}


def test_facts_and_windows_alone_are_measured_without_deduplication() -> None:
    assert stream_settings(Traffic.SALES) == {"deduplicate": False, "outputs": ()}
    assert not {"deduplicate", "outputs"} & set(stream_settings(Traffic.FULL))


def test_what_scoring_costs_is_measured_by_leaving_out_risk_and_alerts_alone() -> None:
    unscored = StreamSettings.model_validate(stream_settings(Traffic.FULL, scores=False))
    assert set(StreamSettings().outputs) - set(unscored.outputs) == {"risk", "alerts"}


# --- probes


def seen(kind: str, number: int, *, at_ms: int = 0, seen_ms: int = 0) -> dict[str, Any]:
    store, product = f"Q{number % 6:03}", f"P{number // 6:05}"
    times = {"at_ms": str(at_ms), "seen_ms": str(seen_ms)}
    return {"kind": kind, "store_id": store, "product_id": product, **times}


def test_latency_is_from_the_events_own_time_to_the_first_insert_of_what_follows() -> None:
    fact, window = seen("fact", 7, at_ms=1_000, seen_ms=1_400), seen("window", 7, seen_ms=1_300)
    again = seen("fact", 7, at_ms=1_000, seen_ms=8_000)  # inserted once more after a restart
    probes = Probes()
    probes.note([window], now_ms=2_000)  # before its fact is seen
    probes.note([fact], now_ms=3_000)
    probes.note([fact, window, again], now_ms=9_000)
    assert probes.latencies_ms(Kind.FACT, from_ms=0, to_ms=5_000) == [400]
    assert probes.latencies_ms(Kind.WINDOW, from_ms=1_000, to_ms=1_001) == [300]
    assert probes.latencies_ms(Kind.FACT, from_ms=1_001, to_ms=5_000) == []
    assert probes.latencies_ms(Kind.ALERT, from_ms=0, to_ms=5_000) == []


def test_probes_that_were_never_seen_are_missing() -> None:
    probes = Probes()
    for number in range(3):
        kinds = [kind for kind in Kind if (number, kind) != (1, Kind.ALERT)]
        probes.note([seen(kind, number, at_ms=1) for kind in kinds], now_ms=2)
    assert probes.missing(3) == {"alert": 1}
    assert not probes.complete(3)
    probes.note([seen("alert", 1)], now_ms=5)
    assert probes.missing(3) == {}
    assert probes.complete(3)


class _Asked:
    """Stands in for a Reader; keeps what is asked for."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows_now = rows
        self.floors: list[str] = []

    def rows(self, _sql: str, *, floor: str) -> list[dict[str, Any]]:
        self.floors.append(floor)
        return self.rows_now


def test_complete_probes_are_no_longer_asked_for() -> None:
    probes = Probes()
    asked = _Asked([seen(kind, number, at_ms=1) for kind in Kind for number in range(13)])
    probes.look(asked)  # type: ignore[arg-type]  # only `rows` is used
    probes.look(asked)  # type: ignore[arg-type]
    assert asked.floors == ["P00000", "P00002"]  # number 13 is of product 2


def test_a_probe_whose_fact_comes_late_is_still_looked_for_until_it_is_given_up() -> None:
    probes = Probes()
    rest = [seen(kind, number, at_ms=1) for kind in Kind for number in range(1, 6)]
    seen_ms = time.time_ns() // 1_000_000
    asked = _Asked([seen("fact", 0, at_ms=1, seen_ms=seen_ms), *rest])
    probes.look(asked)  # type: ignore[arg-type]
    probes.look(asked)  # type: ignore[arg-type]
    probes.note([], now_ms=seen_ms + 121_000)
    probes.look(asked)  # type: ignore[arg-type]
    assert asked.floors == ["P00000", "P00000", "P00001"]


def test_percentiles_are_those_of_all_latencies() -> None:
    assert percentiles(range(1, 101)) == Percentiles(100, 50.5, 95.0, 99.0, 100.0)
    assert percentiles([]) is None


# --- dashboards


@contextmanager
def answering(answer: Any) -> Iterator[WarehouseSettings]:
    """A server whose answer to each query is `answer(query)`: (status, body)."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            query = self.rfile.read(int(self.headers["Content-Length"])).decode()
            status, body = answer(query)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield WarehouseSettings(port=server.server_address[1], password=SecretStr("x"))
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_every_user_asks_every_panel_and_failures_are_kept_apart() -> None:
    panels = (Panel("one", "SELECT '{store}'"), Panel("bad", "FAIL {product}"))

    def answer(query: str) -> tuple[int, bytes]:
        return (500, b"no") if query.startswith("FAIL") else (200, b"1")

    with answering(answer) as warehouse:
        look = look_at_dashboards(warehouse, users=5, seconds=0.6, panels=lambda _: panels)
        found = asyncio.run(look)
    assert list(found.by_panel()) == ["one"]
    everything = found.all()
    assert everything is not None
    assert everything.count == 5
    assert len(found.errors) == 5
    assert all(error.startswith("bad: ") for error in found.errors)


def test_one_user_alone_asks_for_one_panel_after_another() -> None:
    under_way, asked = 0, []

    def answer(query: str) -> tuple[int, bytes]:
        nonlocal under_way
        under_way += 1
        asked.append((query, under_way))
        under_way -= 1
        return 200, b"1"

    panels = (Panel("one", "SELECT '{store}'"), Panel("two", "SELECT '{product}'"))
    with answering(answer) as warehouse:
        found = asyncio.run(look_alone(warehouse, lambda _: panels, times=3))
    assert {name: one.count for name, one in found.by_panel().items()} == {"one": 3, "two": 3}
    assert all(at_once == 1 for _, at_once in asked)
    assert len({query for query, _ in asked}) == 6


def test_a_reader_decodes_rows_and_passes_parameters_beside_the_query() -> None:
    with answering(lambda query: (200, b'{"n":1}\n{"n":2}\n')) as warehouse:
        reader = Reader(warehouse)
        assert reader.rows("SELECT n", floor="P1") == [{"n": 1}, {"n": 2}]
        reader.close()


def test_a_poller_tells_that_a_look_failed() -> None:
    with answering(lambda query: (500, b"Code: 60. no such table")) as warehouse:

        def look(reader: Reader) -> None:
            reader.rows("SELECT 1")

        poller = Poller(warehouse, look, period_s=0.01)
        with poller:
            pass
        with pytest.raises(ServiceError, match="no such table"):
            poller.check()


def test_the_past_is_filled_day_by_day() -> None:
    made = list(statements(100 * DAYS))
    sales = [one for one in made if one.startswith("INSERT INTO fact_sales")]
    assert len(sales) == DAYS
    assert all("numbers(100)" in one for one in sales)
    assert {one.split()[2] for one in made} == {
        "fact_sales",
        "event_index",
        "stream_commits",
        "velocity_5m_sums",
        "fact_inventory",
        "stockout_risk_history",
        "restock_alert_history",
    }


# --- tables


PIPELINE = PipelineRun(
    clean=True,
    traffic=Traffic.FULL,
    scored=True,
    load_average=0.4,
    events=1_000_000,
    windows=900_000,
    publish_per_s=60_000,
    first_commit_s=10.0,
    live_s=40.0,
    lake_s=50.0,
    risk_s=45.0,
    steady_events=900_000,
    steady_s=20.0,
    verify_s=5.0,
    batches=9,
    mean_batch_events=100_000,
    mean_batch_s=2.2,
    step_s={"decode": 1.5},
    spark_ms={"addBatch": 1_800.0},
    usage=USAGE,
)


def shown(table: object) -> str:
    console = Console(width=200)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def test_a_drain_tells_steady_and_every_sink_apart() -> None:
    told = PIPELINE.as_dict()
    assert told["steady_per_s"] == 45_000
    assert told["with_start_per_s"] == 25_000
    assert told["every_sink_per_s"] == 20_000
    assert replace(PIPELINE, lake_s=None).as_dict()["every_sink_per_s"] is None
    assert replace(PIPELINE, steady_s=None).as_dict()["steady_per_s"] is None


def test_a_drain_that_does_not_verify_is_in_no_figure() -> None:
    wrong = replace(PIPELINE, clean=False, steady_s=1.0, findings=("x",))
    table = shown(pipeline_table([PIPELINE, wrong]))
    assert "1 of 2 runs count" in table
    assert "45,000" in table
    assert "900,000" not in table
    assert "0 of 1 runs count" in shown(pipeline_table([wrong]))


def test_latency_outage_and_query_tables_hold_their_figures() -> None:
    one = Percentiles(1_200, 111.0, 222.0, 333.0, 444.0)
    latency = LatencyRun(
        clean=True,
        load_average=0.1,
        asked_rate=8_333.0,
        rate=8_332.0,
        seconds=60.0,
        probes=1_200,
        latency_ms={"fact": one},
        max_lag=5_000,
        batches_per_s=7.5,
        peak_mib=3_000.0,
        generator_cores=0.3,
        worst_tick_s=0.05,
        usage=USAGE,
    )
    table = shown(latency_table([latency]))
    assert "fact p99" in table
    assert "333" in table
    outage = OutageRun(
        clean=True,
        load_average=0.1,
        rate=1_000.0,
        down_s=60.0,
        usual_lag=2_000,
        lag=60_000,
        first_row_s=9.0,
        zero_lag_s=20.0,
        peak_mib=3_000.0,
    )
    assert outage.catch_up_per_s == 4_000.0
    assert "4,000" in shown(outage_table([outage]))
    query = QueryRun(
        clean=True,
        load_average=0.1,
        users=100,
        rows=50_000_000,
        stream_rate=2_000.0,
        seconds=60.0,
        fill_s=90.0,
        queries=1_000,
        all_ms=one,
        panel_ms={"store: open alerts": one},
        alone_ms={"store: open alerts": one},
        max_lag=10,
        peak_mib=4_000.0,
        usage=USAGE,
    )
    told = shown(query_table([query]))
    assert "store: open alerts p95" in told
    assert "alone: store: open alerts p50" in told

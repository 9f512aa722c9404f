"""Metrics: what is counted, how it is served and where it is found."""

import asyncio
import json
import math
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from tillstream.errors import ServiceError
from tillstream.telemetry.batch import BatchSeen
from tillstream.telemetry.clients import publisher_measured
from tillstream.telemetry.endpoint import Endpoint, announce, announced, metrics_endpoint
from tillstream.telemetry.front import FrontMetrics, Observed
from tillstream.telemetry.histogram import BulkHistogram
from tillstream.telemetry.lag import LagTrack
from tillstream.telemetry.stream import StreamMetrics


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def test_a_batch_is_counted_by_topic_outcome_reason_and_step(registry: CollectorRegistry) -> None:
    metrics = StreamMetrics(registry)
    seen = BatchSeen(
        query="live",
        batch_id=7,
        ended_at_s=1000.0,
        total_s=0.3,
        outcomes={("sales", "counted"): 90, ("sales", "duplicate"): 7, ("sales", "refused"): 3},
        reasons={"blank_key": 3},
        seconds={"facts": 0.2, "commit": 0.1},
        latency_s=np.array([0.1, 0.2, 4.0]),
    )
    metrics.batch(seen)
    metrics.batch(seen)

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"tillstream_stream_{name}", labels)

    assert value("records_total", query="live", topic="sales", outcome="counted") == 180
    assert value("records_total", query="live", topic="sales", outcome="duplicate") == 14
    assert value("quarantined_total", reason="blank_key") == 6
    assert value("batch_seconds_sum", query="live") == pytest.approx(0.6)
    assert value("step_seconds_count", query="live", step="facts") == 2
    assert value("step_seconds_sum", query="live", step="commit") == pytest.approx(0.2)
    assert value("latency_seconds_bucket", le="0.1") == 2
    assert value("latency_seconds_bucket", le="5.0") == 6
    assert value("latency_seconds_sum") == pytest.approx(8.6)
    assert value("last_commit_timestamp_seconds", query="live") == 1000.0


def test_bulk_histogram_puts_each_value_under_the_bound_it_reaches(
    registry: CollectorRegistry,
) -> None:
    histogram = BulkHistogram("wait_seconds", "Waiting.", buckets=(1.0, 2.0), registry=registry)
    histogram.observe(np.array([0.5, 1.0, 1.5, 2.0, 2.5]))
    histogram.observe(np.array([], dtype=np.float64))
    found = [registry.get_sample_value("wait_seconds_bucket", {"le": le}) for le in ("1.0", "2.0")]
    assert found == [2, 4]
    assert registry.get_sample_value("wait_seconds_bucket", {"le": "+Inf"}) == 5
    assert registry.get_sample_value("wait_seconds_count") == 5
    assert registry.get_sample_value("wait_seconds_sum") == 7.5


def test_a_query_that_is_tried_again_is_down_and_counted(registry: CollectorRegistry) -> None:
    metrics = StreamMetrics(registry)
    for state in ("running", "retrying", "retrying"):
        metrics.query("lake", state)
    labels = {"query": "lake"}
    assert registry.get_sample_value("tillstream_stream_running", labels) == 0
    assert registry.get_sample_value("tillstream_stream_retries_total", labels) == 2
    metrics.query("lake", "running")
    assert registry.get_sample_value("tillstream_stream_running", labels) == 1


def test_lag_says_when_nothing_will_wait() -> None:
    track = LagTrack(grace_s=5.0)
    assert track.look(0.0, end=100_000, stored=0) is None
    behind = track.look(10.0, end=110_000, stored=30_000)  # 1,000 arrive, 3,000 are stored a second
    assert behind is not None
    assert (behind.records, behind.arriving_per_s, behind.storing_per_s) == (80_000, 1000, 3000)
    assert behind.catch_up_s == 40.0

    growing = LagTrack()
    growing.look(0.0, end=50_000, stored=0)
    lag = growing.look(10.0, end=100_000, stored=10_000)
    assert lag is not None
    assert math.isinf(lag.catch_up_s)

    steady = LagTrack()
    steady.look(0.0, end=2_000, stored=0)
    lag = steady.look(10.0, end=82_000, stored=80_000)  # a batch's worth always waits
    assert lag is not None
    assert lag.catch_up_s == 0.0


def test_lag_of_a_stream_that_stands_still_is_not_zero() -> None:
    track = LagTrack()
    track.look(0.0, end=10, stored=0)
    soon = track.look(1.0, end=10, stored=0)
    assert soon is not None
    assert soon.catch_up_s == 0.0  # they may have come this very second
    later = track.look(6.0, end=10, stored=0)
    assert later is not None
    assert math.isinf(later.catch_up_s)


def test_a_query_that_stores_seldom_keeps_up_as_long_as_it_does() -> None:
    track = LagTrack(grace_s=75.0)
    said = []
    for second in range(0, 400, 2):
        stored = 1000 * (second // 30 * 30) if second < 200 else 180_000
        lag = track.look(float(second), end=1000 * second, stored=stored)
        said.append(0.0 if lag is None else lag.catch_up_s)
    at = {second: said[second // 2] for second in range(0, 400, 2)}
    assert [at[second] for second in (28, 58, 150, 198, 250)] == [0.0] * 5
    assert math.isinf(at[398])  # nothing was stored for 200 seconds


def test_a_burst_before_a_quiet_time_is_no_lag() -> None:
    track = LagTrack(grace_s=75.0)
    track.look(0.0, end=0, stored=0)
    for second in (10.0, 20.0, 40.0):
        lag = track.look(second, end=30_000, stored=0)
        assert lag is not None
        assert lag.catch_up_s == 0.0


def test_lag_starts_over_when_a_topic_was_created_again() -> None:
    track = LagTrack()
    track.look(0.0, end=1_000_000, stored=1_000_000)
    assert track.look(1.0, end=10, stored=1_000_000) is None
    lag = track.look(2.0, end=20, stored=1_000_020)
    assert lag is not None
    assert (lag.arriving_per_s, lag.storing_per_s) == (10, 20)


def test_metrics_are_served_and_found_until_the_end(
    registry: CollectorRegistry, tmp_path: Path
) -> None:
    StreamMetrics(registry).kafka({("sales", 0): 42})
    with metrics_endpoint(tmp_path, "stream", host="127.0.0.1", port=0, registry=registry) as it:
        page = httpx.get(it.url, trust_env=False).text
        assert announced(tmp_path) == [Endpoint("stream", it.address, os.getpid())]
        discovered = json.loads((tmp_path / "run/metrics/stream.json").read_text())
        assert discovered[0]["targets"] == [it.address]
        assert discovered[0]["labels"]["part"] == "stream"
        taken = int(it.address.rpartition(":")[2])
        with (
            pytest.raises(ServiceError, match=f"127.0.0.1:{taken}"),
            metrics_endpoint(tmp_path, "stream", host="127.0.0.1", port=taken, registry=registry),
        ):
            pass
    assert 'tillstream_kafka_end_offset{partition="0",topic="sales"} 42.0' in page
    assert "tillstream_kafka_up 1.0" in page
    assert announced(tmp_path) == []


def test_what_a_killed_producer_left_is_cleared_by_the_next(tmp_path: Path) -> None:
    announce(tmp_path, Endpoint("producer-1", "127.0.0.1:1", 2**22 + 1))
    announce(tmp_path, Endpoint("producer-3", "another-machine:1", 2**22 + 1))
    announce(tmp_path, Endpoint("stream", "127.0.0.1:2", 2**22 + 1))
    announce(tmp_path, Endpoint("producer-2", "127.0.0.1:3", os.getpid()))
    # A dead stream stays: Prometheus must notice that it does not answer.
    # So does a producer on another machine, whose processes nobody here can see.
    left = [one.part for one in announced(tmp_path)]
    assert left == ["producer-2", "producer-3", "stream"]
    (tmp_path / "run/metrics/other.json").write_text("{", encoding="utf-8")
    assert len(announced(tmp_path)) == 3


@dataclass(frozen=True, slots=True)
class _Stats:
    sent: int
    acknowledged: int
    failed: int
    rejected: Counter[tuple[str, str]]


@dataclass(slots=True)
class _Publisher:
    stats: _Stats


def test_a_publisher_is_asked_at_every_scrape(registry: CollectorRegistry) -> None:
    publisher = _Publisher(_Stats(10, 7, 1, Counter({("sales", "quantity"): 4})))
    with publisher_measured(publisher, registry):

        def events(outcome: str) -> float | None:
            return registry.get_sample_value(
                "tillstream_publisher_events_total", {"outcome": outcome}
            )

        assert [events(name) for name in ("sent", "acknowledged", "failed", "rejected")] == [
            *(10, 7, 1, 4)
        ]
        assert registry.get_sample_value("tillstream_publisher_queue") == 2
        publisher.stats = _Stats(10, 9, 1, Counter())
        assert registry.get_sample_value("tillstream_publisher_queue") == 0
    assert registry.get_sample_value("tillstream_publisher_queue") is None


async def _warehouse(request: Request) -> PlainTextResponse:
    sql = request.query_params.get("query", "") + (await request.body()).decode()
    if "oops" in sql:
        return PlainTextResponse("no", 500, {"X-ClickHouse-Exception-Code": "47"})
    return PlainTextResponse("x" * 1000)


def test_requests_are_counted_by_kind_and_error_code(registry: CollectorRegistry) -> None:
    app = Starlette(
        routes=[
            Route("/", _warehouse, methods=["GET", "POST"]),
            Route("/ping", lambda _: PlainTextResponse("Ok.\n")),
        ]
    )
    observed = Observed(app, FrontMetrics(registry))

    async def ask() -> str:
        transport = httpx.ASGITransport(app=observed)
        async with httpx.AsyncClient(transport=transport, base_url="http://warehouse") as client:
            await client.get("/ping")
            await client.post("/", content="SELECT 1")
            await client.post(
                "/", params={"query": "  insert into t format Arrow"}, content=b"\0" * 500
            )
            await client.post("/", params={"query": ""}, content="(select oops")
            await client.post("/", content=b"\x28\x7fcompressed")
            return (await client.get("/metrics")).text

    page = asyncio.run(ask())
    for kind, code in (("ping", 0), ("select", 0), ("insert", 0), ("select", 47), ("other", 0)):
        line = f'tillstream_warehouse_requests_total{{code="{code}",kind="{kind}"}} 1.0'
        assert line in page.splitlines()
    assert 'tillstream_warehouse_bytes_total{direction="in"} 532.0' in page
    assert 'tillstream_warehouse_bytes_total{direction="out"} 3006.0' in page
    assert "tillstream_warehouse_running_requests 0.0" in page
    assert 'tillstream_warehouse_request_seconds_count{kind="select"} 2.0' in page

"""Metrics of what this process asks of others: inserts, lake objects, publishing.

The counters belong to the process, as the library means it: whoever serves `/metrics` here serves
them too.
"""

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from tillstream.settings import Settings
from tillstream.telemetry.endpoint import metrics_endpoint
from tillstream.telemetry.stream import STEP_BUCKETS

_INSERTS = Histogram(
    "tillstream_insert_seconds",
    "Time of inserts into the warehouse that succeeded.",
    ["table"],
    buckets=STEP_BUCKETS,
)
_INSERTED_ROWS = Counter("tillstream_inserted_rows", "Rows inserted.", ["table"])
_INSERT_ERRORS = Counter("tillstream_insert_errors", "Inserts that failed.", ["table"])
_OBJECTS = Counter("tillstream_lake_objects", "Objects written to the lake.")
_OBJECT_BYTES = Counter("tillstream_lake_bytes", "Bytes written to the lake.")
_LAKE_ERRORS = Counter("tillstream_lake_write_errors", "Objects the lake did not take.")


@contextmanager
def insert_measured(table: str, rows: int) -> Iterator[None]:
    """Around one insert."""
    began = time.perf_counter()
    try:
        yield
    except Exception:
        _INSERT_ERRORS.labels(table).inc()
        raise
    _INSERTS.labels(table).observe(time.perf_counter() - began)
    _INSERTED_ROWS.labels(table).inc(rows)


@contextmanager
def lake_write_measured(size_bytes: int) -> Iterator[None]:
    """Around the writing of one object."""
    try:
        yield
    except Exception:
        _LAKE_ERRORS.inc()
        raise
    _OBJECTS.inc()
    _OBJECT_BYTES.inc(size_bytes)


class PublisherStats(Protocol):
    @property
    def sent(self) -> int: ...
    @property
    def acknowledged(self) -> int: ...
    @property
    def failed(self) -> int: ...
    @property
    def rejected(self) -> Mapping[Any, int]: ...


class Publisher(Protocol):
    @property
    def stats(self) -> PublisherStats: ...


@contextmanager
def publisher_measured(
    publisher: Publisher, registry: CollectorRegistry = REGISTRY
) -> Iterator[None]:
    """Tell of a publisher's counts until the end of the block. One a process."""
    collector = _PublisherCollector(publisher)
    registry.register(collector)
    try:
        yield
    finally:
        registry.unregister(collector)


@contextmanager
def producer_metrics(settings: Settings, publisher: Publisher) -> Iterator[None]:
    """Serve the metrics of a producing process until the end of the block, if a port is set."""
    telemetry = settings.telemetry
    if telemetry.producer_port is None:
        yield
        return
    part = f"producer-{os.getpid()}"
    with (
        publisher_measured(publisher),
        metrics_endpoint(settings.home, part, host=telemetry.host, port=telemetry.producer_port),
    ):
        yield


class _PublisherCollector(Collector):
    """Asks at every scrape: publishing itself is not slowed down."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    def collect(self) -> Iterable[CounterMetricFamily | GaugeMetricFamily]:
        stats = self._publisher.stats
        events = CounterMetricFamily(
            "tillstream_publisher_events", "Events by what became of them.", labels=["outcome"]
        )
        for outcome in ("sent", "acknowledged", "failed"):
            events.add_metric([outcome], getattr(stats, outcome))
        events.add_metric(["rejected"], sum(stats.rejected.values()))
        yield events
        yield GaugeMetricFamily(
            "tillstream_publisher_queue",
            "Events under way to the broker.",
            value=stats.sent - stats.acknowledged - stats.failed,
        )

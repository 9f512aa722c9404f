"""The metrics of the streaming process."""

import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

import psutil
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from tillstream.telemetry.batch import BatchSeen
from tillstream.telemetry.histogram import BulkHistogram
from tillstream.telemetry.lag import Lag

# Dense where the goals are (a fact within 0.3 s, an alert within 2 s), then up to an outage.
LATENCY_BUCKETS: Final = (
    *(0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.5, 2.0, 3.0, 5.0),
    *(10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 21600.0, 86400.0),
)
STEP_BUCKETS: Final = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)


class StreamMetrics:
    """Call these when something happened; each takes microseconds, whatever the batch's size."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self._registry = registry
        self._records = Counter(
            "tillstream_stream_records",
            "Records stored, by topic and outcome (counted, duplicate, refused; archived).",
            ["query", "topic", "outcome"],
            registry=registry,
        )
        self._quarantined = Counter(
            "tillstream_stream_quarantined",
            "Records put into quarantine, by reason.",
            ["reason"],
            registry=registry,
        )
        self._batches = Histogram(
            "tillstream_stream_batch_seconds",
            "Time of whole batches.",
            ["query"],
            buckets=STEP_BUCKETS,
            registry=registry,
        )
        self._steps = Histogram(
            "tillstream_stream_step_seconds",
            "Time of each step of a batch.",
            ["query", "step"],
            buckets=STEP_BUCKETS,
            registry=registry,
        )
        self._latency = BulkHistogram(
            "tillstream_stream_latency_seconds",
            "Time from the arrival of an event at the broker to its commit in the warehouse.",
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )
        self._committed_at = _gauge(
            registry,
            "stream_last_commit_timestamp_seconds",
            "When the last batch was committed.",
            "query",
        )
        self._running = _gauge(
            registry, "stream_running", "1 while the query runs, else 0.", "query"
        )
        self._retries = Counter(
            "tillstream_stream_retries",
            "Times the query failed and was started again.",
            ["query"],
            registry=registry,
        )
        self._lag = _gauge(
            registry,
            "stream_lag_records",
            "Records in Kafka not stored yet.",
            "query",
            "topic",
            "partition",
        )
        self._lag_s = _gauge(
            registry,
            "stream_catch_up_seconds",
            "Estimated time until nothing waits: 0 when keeping up, +Inf when the lag grows.",
            "query",
        )
        self._scores = Counter(
            "tillstream_stream_scores",
            "Shelves scored, by what a default stood in for (none: nothing did).",
            ["default"],
            registry=registry,
        )
        self._end = _gauge(
            registry, "kafka_end_offset", "End of each partition.", "topic", "partition"
        )
        self._kafka_up = _gauge(
            registry, "kafka_up", "1 when the broker answered the last question."
        )

    def batch(self, seen: BatchSeen) -> None:
        for (topic, outcome), count in seen.outcomes.items():
            self._records.labels(seen.query, topic, outcome).inc(count)
        for reason, count in seen.reasons.items():
            self._quarantined.labels(reason).inc(count)
        self._batches.labels(seen.query).observe(seen.total_s)
        for step, seconds in seen.seconds.items():
            self._steps.labels(seen.query, step).observe(seconds)
        if len(seen.latency_s):
            self._latency.observe(seen.latency_s)
        self._committed_at.labels(seen.query).set(seen.ended_at_s)

    def scored(self, counts: Mapping[str, int]) -> None:
        """`counts`: how many were `scored`, how many of them with `low_confidence`, and how many
        by each default."""
        self._scores.labels("none").inc(counts["scored"] - counts["low_confidence"])
        for name, count in counts.items():
            if name not in ("scored", "low_confidence"):
                self._scores.labels(name.replace(" ", "_")).inc(count)

    def query(self, name: str, state: str) -> None:
        """`state` as the supervisor says it: running, retrying, failed or stopped."""
        self._running.labels(name).set(state == "running")
        self._retries.labels(name).inc(state == "retrying")

    def lag(self, query: str, behind: Mapping[tuple[str, int], int], total: Lag | None) -> None:
        """`behind` is by (topic, partition); `total` None is not known yet."""
        for (topic, partition), records in behind.items():
            self._lag.labels(query, topic, str(partition)).set(records)
        self._lag_s.labels(query).set(math.nan if total is None else total.catch_up_s)

    def kafka(self, ends: Mapping[tuple[str, int], int] | None) -> None:
        """The end offset of every partition, or None when the broker does not answer."""
        self._kafka_up.set(ends is not None)
        for (topic, partition), end in (ends or {}).items():
            self._end.labels(topic, str(partition)).set(end)

    def holds(self, sizes: Callable[[], Mapping[str, int]]) -> None:
        """Ask `sizes` at every scrape how many entries of each kind are in memory."""
        self._registry.register(_State(sizes))

    def machine(self, folders: Mapping[str, Path]) -> None:
        """Tell of the space on the disks of these folders, and of this process's memory with its
        children's."""
        self._registry.register(_Machine(folders))


class _State(Collector):
    def __init__(self, sizes: Callable[[], Mapping[str, int]]) -> None:
        self._sizes = sizes

    def collect(self) -> Iterable[GaugeMetricFamily]:
        held = GaugeMetricFamily(
            "tillstream_stream_state_items", "Entries held in memory, by kind.", labels=["state"]
        )
        for kind, size in self._sizes().items():
            held.add_metric([kind], size)
        return (held,)


class _Machine(Collector):
    def __init__(self, folders: Mapping[str, Path]) -> None:
        self._folders = folders

    def collect(self) -> Iterable[GaugeMetricFamily]:
        free = GaugeMetricFamily(
            "tillstream_disk_free_bytes", "Free space, by what is stored there.", labels=["folder"]
        )
        size = GaugeMetricFamily(
            "tillstream_disk_size_bytes", "Size of the disk.", labels=["folder"]
        )
        for name, path in self._folders.items():
            try:
                usage = psutil.disk_usage(str(path))
            except OSError:
                continue  # not there yet
            free.add_metric([name], usage.free)
            size.add_metric([name], usage.total)
        memory = GaugeMetricFamily(
            "tillstream_memory_bytes", "Resident memory, by program.", labels=["program"]
        )
        for program, resident in resident_by_program(psutil.Process()).items():
            memory.add_metric([program], resident)
        return (free, size, memory)


def resident_by_program(root: psutil.Process) -> dict[str, int]:
    """Resident bytes of a process and its children, summed by program name."""
    found: dict[str, int] = {}
    for process in (root, *root.children(recursive=True)):
        try:
            name, resident = process.name().rstrip("0123456789."), process.memory_info().rss
        except psutil.NoSuchProcess:
            continue  # a worker that ended meanwhile
        found[name] = found.get(name, 0) + int(resident)
    return found


def _gauge(registry: CollectorRegistry, name: str, documentation: str, *labels: str) -> Gauge:
    return Gauge(f"tillstream_{name}", documentation, labels, registry=registry)

"""Letting others see the stream run: metrics, traces, lag."""

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from clickhouse.client import Client, connect
from clickhouse.queries import committed_cuts
from producers.topics import TopicInspector
from streaming.archiving import LAKE
from streaming.rows import LIVE
from streaming.sinks import BatchReport
from streaming.tally import Tally
from streaming.watch import WATCH
from tillstream.contracts.topics import SOURCE_TOPICS
from tillstream.errors import TillstreamError
from tillstream.settings import Settings
from tillstream.telemetry.batch import BatchSeen
from tillstream.telemetry.endpoint import metrics_endpoint
from tillstream.telemetry.lag import Lag, LagTrack
from tillstream.telemetry.stream import StreamMetrics
from tillstream.telemetry.traces import BatchTraces, batch_traces

_LOOK_S = 2.0
_LIVE_GRACE_S = 5.0
_WATCH_GRACE_S = 10.0
_ASK_TIMEOUT_S = 5.0
# Of the lake, written every `lake_trigger_s`: two of those may wait.
_LAKE_GRACE_FACTOR = 2.5

Behind = dict[tuple[str, int], int]
# What `tillstream status` shows of each query's lag.
OnLag = Callable[[dict[str, dict[str, Any]]], None]


class Observer:
    """Told of everything that happens; never in the way of it."""

    def __init__(self, metrics: StreamMetrics, traces: BatchTraces | None) -> None:
        self._metrics = metrics
        self._traces = traces

    def batch(self, query: str, report: BatchReport) -> None:
        """A batch was committed."""
        if not report.ranges:
            return
        seen = seen_in(query, report)
        self._metrics.batch(seen)
        if self._traces is not None:
            self._traces.batch(seen)

    def query(self, name: str, state: str, reason: str) -> None:
        """A query runs, is tried again, or has ended."""
        self._metrics.query(name, state)
        if self._traces is not None and state in ("retrying", "failed"):
            self._traces.failure(name, reason)

    def scored(self, counts: Mapping[str, int]) -> None:
        """Shelves were scored; how many of them on defaults."""
        self._metrics.scored(counts)

    def holds(self, sizes: Callable[[], Mapping[str, int]]) -> None:
        """`sizes` says how many entries of each kind are in memory."""
        self._metrics.holds(sizes)


def seen_in(query: str, report: BatchReport) -> BatchSeen:
    """A report in the words of metrics and traces. Of the lake only offsets are known."""
    if report.batch is not None:
        tally = Tally.of(report.batch, committed_at_s=report.ended_at_s)
    else:
        tally = Tally.archived(report.ranges)
    return BatchSeen(
        query=query,
        batch_id=report.batch_id,
        ended_at_s=report.ended_at_s,
        total_s=sum(report.seconds.values()),
        ranges=report.ranges,
        outcomes=tally.outcomes,
        reasons=tally.reasons,
        seconds=report.seconds,
        latency_s=tally.latency_s,
    )


@contextmanager
def observed(settings: Settings, *, on_lag: OnLag) -> Iterator[Observer]:
    """Serve metrics, send traces and look at lag, as configured, until the end of the block."""
    telemetry = settings.telemetry
    metrics = StreamMetrics()
    metrics.machine(_folders(settings))
    with ExitStack() as stack:
        if telemetry.metrics:
            stack.enter_context(
                metrics_endpoint(
                    settings.home, "stream", host=telemetry.host, port=telemetry.stream_port
                )
            )
        traces = batch_traces(telemetry.otlp_endpoint)
        if traces is not None:
            stack.callback(traces.close)
        watch = LagWatch(settings, metrics, queries=graces_s(settings), on_lag=on_lag)
        watch.start()
        stack.callback(watch.close)
        yield Observer(metrics, traces)


def graces_s(settings: Settings) -> dict[str, float]:
    """How long records may wait before a query is behind."""
    lake_s = settings.stream.lake_trigger_s * _LAKE_GRACE_FACTOR
    return {LIVE: _LIVE_GRACE_S, WATCH: _WATCH_GRACE_S, LAKE: lake_s}


def _folders(settings: Settings) -> dict[str, Path]:
    """What may fill up on this machine."""
    folders = {"home": settings.home}
    if settings.lake_url.startswith("file:"):
        folders["lake"] = Path(unquote(urlsplit(settings.lake_url).path))
    return folders


class LagWatch:
    """Compares Kafka's log ends with what is committed, every two seconds, on a thread and with
    connections of its own: a service that does not answer holds up nobody else."""

    def __init__(
        self,
        settings: Settings,
        metrics: StreamMetrics,
        *,
        queries: Mapping[str, float],
        on_lag: OnLag,
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._tracks = {name: LagTrack(grace_s=grace_s) for name, grace_s in queries.items()}
        self._on_lag = on_lag
        self._inspector: TopicInspector | None = None
        self._client: Client | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lag", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._ended.set()
        self._thread.join(timeout=_ASK_TIMEOUT_S)

    def _run(self) -> None:
        while not self._ended.is_set():
            self._look()
            self._ended.wait(_LOOK_S)
        self._forget_kafka()
        self._forget_warehouse()

    def _look(self) -> None:
        names = [topic.value for topic in SOURCE_TOPICS]
        try:
            if self._inspector is None:
                self._inspector = TopicInspector(self._settings.kafka, timeout_s=_ASK_TIMEOUT_S)
            ids = {topic: str(uid) for topic, uid in self._inspector.topic_ids(names).items()}
            ranges = self._inspector.offset_ranges(names)
        except (TillstreamError, OSError):
            self._metrics.kafka(None)
            self._forget_kafka()
            return
        self._metrics.kafka({place: end for place, (_, end) in ranges.items()})
        at_s = time.monotonic()
        try:
            if self._client is None:
                self._client = connect(self._settings.warehouse, timeout_s=_ASK_TIMEOUT_S)
            cuts = {name: committed_cuts(self._client, name) for name in self._tracks}
        except (TillstreamError, OSError):
            self._forget_warehouse()  # the lag is what it was; that nothing is stored is told by it
            return
        said = {}
        for name, track in self._tracks.items():
            committed = {(cut.topic_id, cut.partition): cut.next_offset for cut in cuts[name]}
            stored = {
                (topic, number): committed.get((ids.get(topic, ""), number), oldest)
                for (topic, number), (oldest, _) in ranges.items()
            }
            behind = {place: max(end - stored[place], 0) for place, (_, end) in ranges.items()}
            ends = sum(end for _, end in ranges.values())
            total = track.look(at_s, end=ends, stored=sum(stored.values()))
            self._metrics.lag(name, behind, total)
            if total is not None:
                said[name] = as_state(total)
        if said:
            self._on_lag(said)

    def _forget_kafka(self) -> None:
        inspector, self._inspector = self._inspector, None
        if inspector is not None:
            inspector.close()

    def _forget_warehouse(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()


def as_state(lag: Lag) -> dict[str, Any]:
    """For the state file. `catch_up_s` is 0 when the query keeps up, and null when it falls behind:
    JSON has no infinity."""
    catch_up_s = lag.catch_up_s
    return {
        "records": lag.records,
        "catch_up_s": None if math.isinf(catch_up_s) else round(catch_up_s, 1),
        "arriving_per_s": round(lag.arriving_per_s, 1),
        "storing_per_s": round(lag.storing_per_s, 1),
    }

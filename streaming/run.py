"""The streaming process: one Spark query, supervised, until told to stop."""

import json
import logging
import os
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from clickhouse.client import connect
from lake.client import connect as connect_lake
from lake.paths import RAW_PREFIX
from producers.kafka_publisher import KafkaPublisher
from producers.topics import TopicInspector
from streaming.anomalies import AnomalyMarks
from streaming.archiving import LAKE, Archiver
from streaming.executors import ExecutorDestination, fill_by_executors
from streaming.failures import why
from streaming.jobs import (
    BadShare,
    Destination,
    DriverDestination,
    KafkaJob,
    Source,
    fill_from_kafka,
    places,
    rules_of,
    source_schemas,
)
from streaming.known import KnownEvents
from streaming.observe import observed
from streaming.outbox import QuarantineOutbox
from streaming.rows import LIVE
from streaming.session import java_lives, spark_session, stop_session
from streaming.shelf_counts import ShelfCounts
from streaming.sinks import BatchReport, Follower, WarehouseSink
from streaming.supervise import Supervisor
from streaming.watch import StockWatch
from streaming.writer_lock import only_writer
from tillstream.contracts.catalogue import load_catalogue
from tillstream.contracts.codec import Codec
from tillstream.contracts.topics import SOURCE_TOPICS
from tillstream.errors import TillstreamError
from tillstream.settings import Settings
from tillstream.telemetry.batch import correlation, offsets
from tillstream.telemetry.clients import publisher_measured
from tillstream.telemetry.lineage import LineageLog, lake_folder, tables, topics
from tillstream.telemetry.logs import fields

# What a stream with all its outputs writes to the warehouse itself; feeds there make more of it.
OUTPUTS: Final = (
    *("fact_sales", "fact_inventory", "price_changes", "customer_events", "velocity_5m_sums"),
    *("duplicates", "quarantine", "event_index", "stream_commits", "anomalies"),
    *("stockout_risk_history", "restock_alert_history", "restock_alerts_published", "shelf_counts"),
)

log = logging.getLogger("tillstream.stream")


@dataclass(slots=True)
class StateFile:
    """What the stream is doing, for `tillstream status`: one small JSON file, replaced whole."""

    path: Path
    expected: Sequence[str]
    """The stream runs once each of these does."""
    state: dict[str, Any] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def update(self, **values: Any) -> None:
        with self._lock:
            self.state.update(values, updated_at=time.time())
            self.path.parent.mkdir(parents=True, exist_ok=True)
            temporary = self.path.with_suffix(".tmp")
            temporary.write_text(json.dumps(self.state), encoding="utf-8")
            temporary.replace(self.path)

    def query(self, name: str, state: str, reason: str) -> None:
        queries = {**self.state.get("queries", {}), name: {"state": state, "reason": reason}}
        running = all(queries.get(name, {}).get("state") == "running" for name in self.expected)
        self.update(queries=queries, state="running" if running else state)

    def scored(self, counts: Mapping[str, int]) -> None:
        """Since the start."""
        total = self.state.get("scores", dict.fromkeys(counts, 0))
        self.update(scores={name: total[name] + count for name, count in counts.items()})

    def batch(self, report: BatchReport) -> None:
        totals = self.state.get("totals", {"counted": 0, "duplicates": 0, "refused": 0})
        for name in totals:
            totals[name] += getattr(report, name)
        last = {
            name: getattr(report, name)
            for name in ("batch_id", "counted", "duplicates", "refused", "seconds")
        }
        self.update(totals=totals, last_batch=last)


def run_stream(settings: Settings, *, jars: Sequence[Path]) -> None:
    """Run until SIGTERM or SIGINT. Raises IntegrityError when the stream must not go on."""
    expected = (LIVE, LAKE) if "lake" in settings.stream.outputs else (LIVE,)
    state = StateFile(settings.home / "run" / "stream.json", expected)
    with only_writer(settings.home, settings.warehouse.database):
        try:
            _run(settings, state, jars=jars)
        except TillstreamError as exc:
            state.update(state="failed", reason=why(exc))
            raise


def _run(settings: Settings, state: StateFile, *, jars: Sequence[Path]) -> None:
    state.update(pid=os.getpid(), state="starting", queries={}, started_at=time.time())
    stream = settings.stream
    scratch = settings.home / "spark"
    with ExitStack() as stack:
        observer = stack.enter_context(observed(settings, on_lag=lambda lag: state.update(lag=lag)))
        # Before Spark, which takes its time: a wrong setting is told within a second or two.
        client = stack.enter_context(closing(connect(settings.warehouse)))
        inspector = TopicInspector(settings.kafka)
        stack.callback(inspector.close)
        spark = spark_session(
            master=stream.master,
            jars=jars,
            scratch=scratch,
            driver_memory=stream.driver_memory,
            java_options=stream.java_options,
            app_name="tillstream",
            json_log=settings.log.format == "json",
            spark_conf=stream.spark_conf,
        )
        stack.callback(stop_session, spark)
        catalogue = load_catalogue(settings.registry)
        key = settings.customer_key.get_secret_value().encode()
        publisher = stack.enter_context(
            KafkaPublisher(settings.kafka, Codec(catalogue), customer_key=key)
        )
        stack.enter_context(publisher_measured(publisher))
        by_executors = stream.sink == "executors"
        source = Source(settings.kafka, inspector, source_schemas(catalogue), rules_of(settings))

        def on_scored(counts: Mapping[str, int]) -> None:
            observer.scored(counts)
            state.scored(counts)

        watch = StockWatch(
            client,
            settings.risk,
            publisher if "alerts" in stream.outputs else None,
            background=True,
            on_scored=on_scored,
        )
        followers: dict[str, Follower] = {"anomalies": AnomalyMarks(client), "risk": watch}
        if "counts" in stream.outputs:  # it begins a thread of its own
            followers["counts"] = ShelfCounts(client)
        sink = WarehouseSink(
            client,
            deduplicate=stream.deduplicate,
            known=KnownEvents(client) if stream.deduplicate and not by_executors else None,
            followers=(
                QuarantineOutbox(publisher),
                *(follower for name, follower in followers.items() if name in stream.outputs),
            ),
        )
        stack.callback(sink.close)
        bad_share = BadShare(stream.bad_share_limit, stream.bad_share_min_events)

        def on_live(report: BatchReport) -> None:
            log_batch(LIVE, report)
            observer.batch(LIVE, report)
            state.batch(report)
            bad_share(report)

        def on_lake(report: BatchReport) -> None:
            log_batch(LAKE, report)
            observer.batch(LAKE, report)

        def on_state(query: str, now: str, reason: str) -> None:
            state.query(query, now, reason)
            observer.query(query, now, reason)

        archiver = None
        if "lake" in stream.outputs:
            lake = connect_lake(settings.lake, url=settings.lake_url)
            archiver = Archiver(
                client,
                lake,
                trigger_s=stream.lake_trigger_s,
                fill=(
                    fill_by_executors(spark, source, settings.lake, lake_url=settings.lake_url)
                    if by_executors
                    else fill_from_kafka(spark, source, lake)
                ),
                starting_at=lambda cuts: places(source, cuts, accept_loss=stream.accept_loss),
                on_report=on_lake,
                on_state=on_state,
            )
        observer.holds(
            lambda: {**watch.sizes, "to_archive": archiver.waiting_records if archiver else 0}
        )
        destination: Destination = (
            ExecutorDestination(
                settings, client, source, sink, archiver=archiver, on_report=on_live
            )
            if by_executors
            else DriverDestination(client, source, sink, archiver=archiver, on_report=on_live)
        )
        stack.callback(destination.close)
        live = KafkaJob(
            name=LIVE,
            spark=spark,
            source=source,
            scratch=scratch / "checkpoints",
            max_offsets=stream.max_offsets_per_trigger,
            destination=destination,
            trigger_s=stream.trigger_ms / 1000,
            accept_loss=stream.accept_loss,
        )
        supervisor = Supervisor([live], on_state=on_state, engine_lives=lambda: java_lives(spark))
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: supervisor.stop())
        lineage = LineageLog.of(settings)
        event = lineage.begin(
            "stream.live",
            run=uuid4(),
            reads=topics(settings, SOURCE_TOPICS),
            writes=(*tables(settings, OUTPUTS), lake_folder(settings, RAW_PREFIX)),
            streams=True,
        )
        supervisor.run()
        lineage.end(event, "FAIL" if supervisor.fatal else "COMPLETE")
    # Last of all: what is left to archive is told of until then.
    state.update(state="failed" if supervisor.fatal else "stopped")
    if supervisor.fatal:
        raise supervisor.fatal


def log_batch(query: str, report: BatchReport) -> None:
    steps = " ".join(f"{name}={seconds:.3f}s" for name, seconds in report.seconds.items())
    log.info(
        "%s batch %d: %d counted, %d duplicates, %d refused %s",
        query,
        report.batch_id,
        report.counted,
        report.duplicates,
        report.refused,
        steps,
        extra=fields(
            correlation=correlation(query, report.batch_id),
            offsets=[offsets(one) for one in report.ranges],
            counted=report.counted,
            duplicates=report.duplicates,
            refused=report.refused,
            seconds={name: round(seconds, 4) for name, seconds in report.seconds.items()},
        ),
    )

"""Reading each part for the live view. No call here raises because a part is away: a reading says
so instead, within a few seconds."""

import json
import math
import socket
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from clickhouse.client import Client, connect
from clickhouse.queries import select
from tillstream.errors import TillstreamError
from tillstream.settings import KafkaSettings, WarehouseSettings
from tillstream.telemetry.endpoint import announced
from tillstream.watching.readings import (
    Alert,
    KafkaReading,
    QueryReading,
    Risk,
    StreamReading,
    WarehouseReading,
)
from tillstream.watching.scrape import Scrape, means, quantile, rate

_TIMEOUT_S = 3.0
_RATE_WINDOW_S = 5.0
ROWS = 20
RISKY = 0.6


def read_kafka(kafka: KafkaSettings) -> KafkaReading:
    """Connect to the first bootstrap server that takes it."""
    problem = ""
    for address in kafka.bootstrap.split(","):
        host, _, port = address.strip().rpartition(":")
        began = time.monotonic()
        try:
            with socket.create_connection((host.strip("[]"), int(port)), timeout=_TIMEOUT_S):
                return KafkaReading(address, took_s=time.monotonic() - began)
        except (OSError, ValueError) as exc:
            problem = f"{address}: {getattr(exc, 'strerror', None) or exc}"
    return KafkaReading(kafka.bootstrap, problem)


class StreamSource:
    """The stream's metrics, at `url` or where the process of this home says; and, beside them, the
    reasons it gives in its state file when it is on this machine."""

    def __init__(self, home: Path, url: str | None = None) -> None:
        self._home = home
        self._url = url
        self._looks: deque[Scrape] = deque()
        self._pid = 0

    def read(self) -> StreamReading:
        url = self._url or self._announced()
        if url is None:
            return StreamReading(problem="not running here (start it with `tillstream up`)")
        try:
            # Never through a proxy that the environment names.
            page = httpx.get(url, timeout=_TIMEOUT_S, trust_env=False)
            page.raise_for_status()
            scrape = Scrape.of(page.text, at_s=time.monotonic())
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as exc:
            self._looks.clear()
            why = str(exc) or type(exc).__name__
            return StreamReading(problem=f"does not answer at {url}: {why}")
        self._looks.append(scrape)
        while len(self._looks) > 2 and scrape.at_s - self._looks[1].at_s >= _RATE_WINDOW_S:
            self._looks.popleft()
        return reading_of(self._looks[0], scrape, reasons=self._reasons())

    def _announced(self) -> str | None:
        for endpoint in announced(self._home):
            if endpoint.part == "stream":
                if endpoint.pid != self._pid:
                    self._pid = endpoint.pid
                    self._looks.clear()  # counters of another process
                return endpoint.url
        return None

    def _reasons(self) -> dict[str, str]:
        try:
            state = json.loads((self._home / "run" / "stream.json").read_text(encoding="utf-8"))
            return {name: str(one["reason"]) for name, one in state["queries"].items()}
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return {}


def reading_of(
    before: Scrape, now: Scrape, *, reasons: Mapping[str, str] | None = None
) -> StreamReading:
    """What two scrapes of the stream say."""
    running = now.by("tillstream_stream_running", "query")
    retries = now.by("tillstream_stream_retries_total", "query")
    lags = now.by("tillstream_stream_lag_records", "query")
    catch_up = now.by("tillstream_stream_catch_up_seconds", "query")
    latency = "tillstream_stream_latency_seconds"
    up = now.total("tillstream_kafka_up")
    return StreamReading(
        queries={
            name: QueryReading(
                # Risk runs within the live query, and has no state of its own.
                running=bool(running.get(name, running.get("live"))),
                lag=int(lags.get(name, 0)),
                catch_up_s=_known(catch_up.get(name)),
                retries=int(retries.get(name, 0)),
                reason=(reasons or {}).get(name, ""),
            )
            for name in ({*running, *lags} if running else ())
        },
        events_per_s=rate(before, now, "tillstream_stream_records_total", query="live"),
        refused_per_s=rate(before, now, "tillstream_stream_quarantined_total"),
        p50_s=quantile(before, now, latency, 0.5),
        p99_s=quantile(before, now, latency, 0.99),
        batch_s=means(before, now, "tillstream_stream_batch_seconds", "query").get("live"),
        steps_s=means(before, now, "tillstream_stream_step_seconds", "step", query="live"),
        kafka_up=None if up is None else bool(up),
        memory_bytes=int(now.total("tillstream_memory_bytes") or 0),
    )


def _known(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value


class WarehouseSource:
    """The warehouse over one connection, which is made anew after a failure."""

    def __init__(self, warehouse: WarehouseSettings) -> None:
        self._warehouse = warehouse
        self._client: Client | None = None
        self._before: tuple[float, int] | None = None

    def read(self) -> WarehouseReading:
        began = time.monotonic()
        try:
            if self._client is None:
                self._client = connect(self._warehouse, timeout_s=_TIMEOUT_S * 5)
            reading = _read(self._client)
        except (TillstreamError, OSError) as exc:
            self.close()
            return WarehouseReading(problem=str(exc).splitlines()[0])
        before, self._before = self._before, (began, reading["stored"])
        events_per_s = None
        if before is not None and before[1] <= reading["stored"]:
            events_per_s = (reading["stored"] - before[1]) / max(began - before[0], 0.001)
        took_s = time.monotonic() - began
        return WarehouseReading(took_s=took_s, events_per_s=events_per_s, **reading)

    def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()


def _read(client: Client) -> dict[str, Any]:
    commits = select(
        client,
        "SELECT sum(next_offset) AS stored, dateDiff('ms', max(committed_at), now64(3)) AS ago_ms,"
        " count() AS n FROM stream_commits FINAL WHERE query = 'live'",
    ).to_pylist()[0]
    counts = select(
        client,
        "SELECT (SELECT count() FROM restock_alerts WHERE state != 'resolved') AS open_alerts,"
        f" (SELECT countIf(risk >= {RISKY}) FROM stockout_risk FINAL) AS risky_shelves,"
        " (SELECT countIf(low_confidence != '') FROM stockout_risk FINAL) AS shelves_on_defaults",
    ).to_pylist()[0]
    name = (
        "LEFT JOIN (SELECT product_id, product_name FROM dim_product FINAL) AS p"
        " ON p.product_id = r.product_id"
    )
    risks = select(
        client,
        "SELECT toString(r.store_id) AS store,"
        " if(p.product_name = '', r.product_id, p.product_name) AS product, r.on_hand AS on_hand,"
        " r.daily_units AS daily_units, r.empty_p50_days AS empty_days, r.risk AS risk,"
        " toFloat64(r.expected_lost_margin) AS margin"
        " FROM (SELECT * FROM stockout_risk FINAL WHERE on_hand > 0"
        f" ORDER BY expected_lost_margin DESC LIMIT {ROWS}) AS r {name} ORDER BY margin DESC",
    )
    alerts = select(
        client,
        "SELECT formatDateTime(at, '%a %H:%i') AS at, toString(state) AS state,"
        " explanation FROM restock_alert_history"
        f" ORDER BY recorded_at DESC, expected_lost_margin DESC LIMIT {ROWS}",
    )
    return {
        "version": str(client.server_version),
        "stored": int(commits["stored"]),
        "committed_ago_s": commits["ago_ms"] / 1000 if commits["n"] else None,
        **counts,
        "risks": tuple(Risk(**row) for row in risks.to_pylist()),
        "alerts": tuple(Alert(**row) for row in alerts.to_pylist()),
    }

"""A platform that is watched: its metrics, log lines, traces and status agree with its tables."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from tests.fixtures.collector import Collector, collector
from tests.fixtures.platform import Platform, new_platform, wait_for
from tillstream.cli.main import app
from tillstream.devstack.process import log_file
from tillstream.telemetry.endpoint import announced
from tillstream.watching.scrape import Scrape
from tillstream.watching.sources import StreamSource

pytestmark = [pytest.mark.integration, pytest.mark.e2e]

RECORDS = "tillstream_stream_records_total"


@dataclass(frozen=True, slots=True)
class Watched:
    platform: Platform
    collector: Collector

    def scrape(self, part: str = "stream") -> Scrape:
        (endpoint,) = [one for one in announced(self.platform.home) if one.part == part]
        return Scrape.of(httpx.get(endpoint.url, trust_env=False).text, at_s=0.0)

    def log_lines(self) -> list[dict[str, Any]]:
        lines = log_file(self.platform.home, "stream").read_text(encoding="utf-8").splitlines()
        # Spark's launcher, a shell script, has words of its own.
        return [json.loads(line) for line in lines if not line.startswith("WARNING: Using incub")]


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """A recorded day of three stores, stored and archived."""
    with collector() as spans, pytest.MonkeyPatch.context() as environment:
        environment.setenv("TILLSTREAM_LOG__FORMAT", "json")
        endpoint = f"http://127.0.0.1:{spans.port}"
        environment.setenv("TILLSTREAM_TELEMETRY__OTLP_ENDPOINT", endpoint)
        platform = new_platform(tmp_path_factory.mktemp("watched"))
        try:
            platform.up()
            platform.replay(date(2017, 11, 20), 1, stores="3")
            platform.catch_up()
            yield Watched(platform, spans)
        finally:
            platform.down()
    assert [one.part for one in announced(platform.home)] == ["warehouse"]


def test_metrics_count_what_the_tables_hold(watched: Watched) -> None:
    with watched.platform.client() as client:
        sales, movements = (
            client.query(f"SELECT count() FROM {table}").result_rows[0][0]
            for table in ("fact_sales", "fact_inventory")
        )
    wait_for(
        lambda: (
            (watched.scrape().total(RECORDS, query="lake") or 0)
            == watched.scrape().total(RECORDS, query="live")
        ),
        timeout_s=60,
        what="the lake's records are counted",
    )
    scrape = watched.scrape()
    counted = scrape.by(RECORDS, "topic", query="live", outcome="counted")
    assert sales > 0
    assert counted["retail-sales-transactions"] == sales
    assert counted["retail-inventory-updates"] == movements
    everything = scrape.total(RECORDS, query="live")
    assert scrape.total("tillstream_stream_latency_seconds_count") == everything
    assert (scrape.total("tillstream_inserted_rows_total", table="fact_sales") or 0) == sales
    assert (scrape.total("tillstream_lake_bytes_total") or 0) > 0
    assert scrape.total("tillstream_stream_running", query="live") == 1
    assert (scrape.total("tillstream_stream_state_items", state="prices") or 0) > 0
    assert (scrape.total("tillstream_memory_bytes", program="java") or 0) > 1e8
    front = watched.scrape("warehouse")
    assert (front.total("tillstream_warehouse_requests_total", kind="insert", code="0") or 0) > 5


def test_a_coordinate_leads_from_the_log_to_the_trace(watched: Watched) -> None:
    batches = [line for line in watched.log_lines() if line.get("offsets")]
    live = {line["correlation"]: line for line in batches if line["correlation"].startswith("live")}
    assert live
    stored = sum(line["counted"] + line["duplicates"] + line["refused"] for line in live.values())
    assert stored == watched.scrape().total(RECORDS, query="live")

    def spans() -> dict[str, list[str]]:
        found = {}
        for span in watched.collector.spans:
            values = {one.key: one.value for one in span.attributes}
            if "tillstream.correlation" in values:
                offsets = values["tillstream.offsets"].array_value.values
                name = values["tillstream.correlation"].string_value
                found[name] = [one.string_value for one in offsets]
        return found

    wait_for(lambda: live.keys() <= spans().keys(), timeout_s=30, what="a span for every batch")
    for correlation, line in live.items():
        assert spans()[correlation] == line["offsets"]
    assert {"facts", "commit"} <= {span.name for span in watched.collector.spans}


def test_status_and_watch_say_that_it_keeps_up(watched: Watched) -> None:
    source = StreamSource(watched.platform.home)

    def keeps_up() -> bool:
        live = source.read().queries.get("live")
        return live is not None and (live.lag, live.catch_up_s, live.running) == (0, 0.0, True)

    wait_for(keeps_up, timeout_s=60, what="nothing waits")

    def status() -> dict[str, Any]:
        home = ["--home", str(watched.platform.home)]
        result = CliRunner().invoke(app, [*home, "status", "--json"])
        assert result.exit_code == 0, result.output
        (stream,) = [part for part in json.loads(result.output) if part["name"] == "stream"]
        return dict(stream["lag"]["live"])

    wait_for(lambda: status()["records"] == 0, timeout_s=60, what="status has heard of it")
    assert status()["catch_up_s"] == 0.0

"""Lineage events: what is in them, and where they go."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from uuid import uuid4

import pytest
from pydantic import SecretStr, ValidationError

from orchestration.lineage import WRITTEN
from streaming.run import OUTPUTS
from tillstream.contracts.topics import Topic
from tillstream.settings import TelemetrySettings, load_settings
from tillstream.telemetry.lineage import LineageLog, lake_folder, tables, topics


def lines(folder: Path) -> list[dict[str, Any]]:
    (file,) = folder.iterdir()
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_a_run_begins_and_ends_as_openlineage_has_it(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path)
    warehouse, kafka = settings.warehouse, settings.kafka
    log = LineageLog.of(settings)
    run = uuid4()
    event = log.begin(
        "stream.live",
        run=run,
        reads=topics(settings, [Topic.SALES]),
        writes=(*tables(settings, ["fact_sales"]), lake_folder(settings, "raw")),
        streams=True,
    )
    log.end(event, "COMPLETE")
    start, end = lines(tmp_path / "lineage")
    assert (start["eventType"], end["eventType"]) == ("START", "COMPLETE")
    assert start["run"]["runId"] == end["run"]["runId"] == str(run)
    assert start["inputs"] == [{"namespace": f"kafka://{kafka.bootstrap}", "name": Topic.SALES}]
    assert start["outputs"] == [
        {
            "namespace": f"clickhouse://{warehouse.host}:{warehouse.port}",
            "name": f"{warehouse.database}.fact_sales",
        },
        {"namespace": settings.lake_url, "name": "raw"},
    ]
    assert start["job"]["facets"]["jobType"]["processingType"] == "STREAMING"
    for name in ("eventTime", "producer", "schemaURL"):
        assert start[name]


def test_a_run_that_raises_has_failed(tmp_path: Path) -> None:
    log = LineageLog(tmp_path)
    with pytest.raises(ValueError, match="no"), log.run("night.load"):
        raise ValueError("no")
    with log.run("night.load"):
        pass
    found = lines(tmp_path)
    assert [one["eventType"] for one in found] == ["START", "FAIL", "START", "COMPLETE"]
    assert found[0]["run"]["runId"] != found[2]["run"]["runId"]


@contextmanager
def server(status: int) -> Iterator[tuple[str, list[tuple[str, str, dict[str, Any]]]]]:
    """What it was sent: path, authorization, event."""
    got: list[tuple[str, str, dict[str, Any]]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            got.append((self.path, self.headers.get("Authorization", ""), event))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = Thread(target=http.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}", got
        http.shutdown()
        thread.join()


@pytest.mark.parametrize("path", ["", "/", "/api/v1/lineage"])
def test_a_server_gets_the_same_events(tmp_path: Path, path: str) -> None:
    with server(201) as (url, got), LineageLog(tmp_path, url + path, SecretStr("k")).run("x"):
        pass
    assert [(where, who) for where, who, _ in got] == [("/api/v1/lineage", "Bearer k")] * 2
    assert [event for _, _, event in got] == lines(tmp_path)


def test_a_server_that_refuses_or_is_away_costs_its_events_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "tillstream.lineage"):
        with server(500) as (url, got), LineageLog(tmp_path, url).run("x"):
            pass
        with LineageLog(tmp_path, url).run("y"):
            pass
    assert len(got) == 2
    assert [one["job"]["name"] for one in lines(tmp_path)] == ["x", "x", "y", "y"]
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 4
    assert all(url in text for text in told)


def test_a_key_goes_nowhere_in_the_clear() -> None:
    with pytest.raises(ValidationError, match="lineage_api_key needs a lineage_url that begins"):
        TelemetrySettings(lineage_url="http://marquez:5000", lineage_api_key=SecretStr("k"))
    TelemetrySettings(lineage_url="https://marquez", lineage_api_key=SecretStr("k"))


def test_what_the_stream_writes_is_known_to_the_graph() -> None:
    assert set(OUTPUTS) <= set(WRITTEN)

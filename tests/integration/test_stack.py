"""`up` and `down` with the real broker and warehouse, and a stand-in for the stream job."""

import json
import socket
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest
import typer
from typer.testing import CliRunner

from tillstream.cli.stack import register
from tillstream.devstack import parts, process
from tillstream.devstack.kafka import answers
from tillstream.devstack.parts import SERVICES, Part, Service
from tillstream.devstack.stack import SERVING, Event, Stack
from tillstream.errors import ServiceError
from tillstream.settings import KafkaSettings, Settings, load_settings

pytestmark = pytest.mark.integration

JOB = """
import json, os, pathlib, sys, time
report = pathlib.Path(sys.argv[1], "run", "stream.json")
report.write_text(json.dumps({"pid": os.getpid(), "state": "running"}))
time.sleep(600)
"""


def start_job(settings: Settings) -> process.Managed:
    argv = [sys.executable, "-c", JOB, str(settings.home)]
    return process.start(Part.STREAM, argv, home=settings.home)


@pytest.fixture(autouse=True)
def _stand_in_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SERVICES, Part.STREAM, Service(start_job, parts.stream_runs, 20, 20))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One home for the module; tests leave it up or down as they like."""
    home = tmp_path_factory.mktemp("stack")
    yield home
    Stack(load_settings(home=home)).down()


def pids(home: Path) -> dict[str, int | None]:
    return {part.name: part.pid for part in Stack(load_settings(home=home)).status()}


def states(home: Path) -> dict[str, str]:
    return {part.name: part.state for part in Stack(load_settings(home=home)).status()}


def test_up_provisions_between_services_and_job_and_down_stops_in_reverse(home: Path) -> None:
    events: list[Event] = []
    provisioned: list[Settings] = []
    settings = Stack(load_settings(home=home), report=events.append).up(
        provision=provisioned.append
    )
    assert [event.step for event in events if event.phase == "ready" and event.step != "jars"] == [
        *("kafka", "warehouse", "provision", "stream")
    ]
    assert provisioned == [settings]
    assert settings == load_settings(home=home)
    assert states(home) == dict.fromkeys(("kafka", "warehouse", "stream"), "running")
    assert answers(settings.kafka.bootstrap)
    query = httpx.get(
        f"http://127.0.0.1:{settings.warehouse.port}/",
        params={"query": "SELECT 6 * 7"},
        auth=(settings.warehouse.user, settings.warehouse.password.get_secret_value()),
        trust_env=False,
    )
    assert query.text.strip() == "42"
    assert Stack(settings).down() == [Part.STREAM, Part.WAREHOUSE, Part.KAFKA]
    assert states(home) == dict.fromkeys(("kafka", "warehouse", "stream"), "stopped")
    assert not answers(settings.kafka.bootstrap)
    assert Stack(settings).down() == []


def test_next_up_keeps_endpoints_and_secrets_and_a_second_one_changes_nothing(home: Path) -> None:
    before = load_settings(home=home)
    assert Stack(before).up() == before
    running = pids(home)
    events: list[Event] = []
    Stack(load_settings(home=home), report=events.append).up()
    assert pids(home) == running
    assert {event.step: event.phase for event in events} == dict.fromkeys(
        ("kafka", "warehouse", "stream"), "already"
    )


def test_up_brings_back_only_what_was_killed(home: Path) -> None:
    settings = Stack(load_settings(home=home)).up()
    before = pids(home)
    broker = process.running(Part.KAFKA, home=home)
    assert broker is not None
    process.kill(broker)
    assert states(home) == {"kafka": "died", "warehouse": "running", "stream": "running"}
    assert Stack(settings).up() == settings
    after = pids(home)
    assert after["kafka"] != before["kafka"]
    assert (after["warehouse"], after["stream"]) == (before["warehouse"], before["stream"])


def test_restart_replaces_one_part_on_its_endpoint(home: Path) -> None:
    settings = Stack(load_settings(home=home)).up()
    before = pids(home)
    assert Stack(settings).restart(Part.WAREHOUSE) == settings
    after = pids(home)
    assert after["warehouse"] not in (None, before["warehouse"])
    assert (after["kafka"], after["stream"]) == (before["kafka"], before["stream"])


def test_a_new_endpoint_restarts_the_job_that_holds_the_old_one(home: Path) -> None:
    settings = Stack(load_settings(home=home)).up()
    before = pids(home)
    Stack(settings).down(parts=(Part.KAFKA,))
    with socket.socket() as thief:
        thief.bind(("127.0.0.1", int(settings.kafka.bootstrap.rpartition(":")[2])))
        thief.listen()
        moved = Stack(settings).up()
    assert moved.kafka.bootstrap != settings.kafka.bootstrap
    assert moved.warehouse == settings.warehouse
    after = pids(home)
    assert after["stream"] != before["stream"]
    assert after["warehouse"] == before["warehouse"]
    assert load_settings(home=home).kafka.bootstrap == moved.kafka.bootstrap


def test_cli_shows_what_runs_and_exits_accordingly(home: Path) -> None:
    Stack(load_settings(home=home)).up()
    app = typer.Typer()
    register(app)
    runner = CliRunner()

    def run(*argv: str) -> tuple[int, str]:
        result = runner.invoke(app, list(argv), obj=load_settings(home=home))
        return result.exit_code, result.output

    code, output = run("status", "--json")
    assert code == 0
    rows = {row["name"]: row for row in json.loads(output)}
    assert rows["kafka"]["endpoint"] == load_settings(home=home).kafka.bootstrap
    assert all(row["state"] == "running" and row["memory_mb"] > 0 for row in rows.values())
    assert "already running" in run("up")[1]
    code, output = run("logs", "kafka", "-n", "400")
    assert code == 0
    assert "Kafka Server started" in output
    code, output = run("doctor", "--json")
    levels = {check["name"]: check["level"] for check in json.loads(output)}
    assert levels["jars"] == levels["ports"] == levels["java"] == "ok"
    assert run("down")[0] == 0
    assert run("status")[0] == 1
    assert "nothing was running" in run("down")[1]


def test_configured_port_that_is_taken_is_refused_with_its_holder(tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        settings = load_settings(home=tmp_path, kafka=KafkaSettings(embedded_port=port))
        refusal = rf"kafka cannot listen on 127\.0\.0\.1:{port}: .*pid"
        try:
            with pytest.raises(ServiceError, match=refusal):
                Stack(settings).up(parts=SERVING)
            assert states(tmp_path) == dict.fromkeys(("kafka", "warehouse", "stream"), "stopped")
        finally:
            Stack(settings).down()


def test_two_ups_at_once_start_one_broker(tmp_path: Path) -> None:
    def up(_number: int) -> str:
        return Stack(load_settings(home=tmp_path)).up(parts=(Part.KAFKA,)).kafka.bootstrap

    try:
        with ThreadPoolExecutor(2) as pool:
            endpoints = set(pool.map(up, range(2)))
        assert len(endpoints) == 1
        brokers = [
            other.pid
            for other in psutil.process_iter(["cmdline"])
            if str(tmp_path / "kafka" / "server.properties") in (other.info["cmdline"] or [])
        ]
        assert brokers == [pids(tmp_path)["kafka"]]
    finally:
        Stack(load_settings(home=tmp_path)).down()


def test_job_that_dies_at_start_shows_its_log_and_leaves_services_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(settings: Settings) -> process.Managed:
        argv = [sys.executable, "-c", "raise SystemExit('no topics')"]
        return process.start(Part.STREAM, argv, home=settings.home)

    monkeypatch.setitem(SERVICES, Part.STREAM, Service(start, parts.stream_runs, 20, 20))
    try:
        with pytest.raises(ServiceError, match=r"(?s)stream ended while starting.*no topics"):
            Stack(load_settings(home=tmp_path)).up(parts=(Part.KAFKA, Part.STREAM))
        assert states(tmp_path)["kafka"] == "running"
        assert states(tmp_path)["stream"] == "stopped"
    finally:
        Stack(load_settings(home=tmp_path)).down()

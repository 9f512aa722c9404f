"""How each local service is started and asked for its health."""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import httpx

from tillstream.devstack import process
from tillstream.devstack.jars import kafka_classpath
from tillstream.devstack.java import find_java
from tillstream.devstack.kafka import Broker, answers
from tillstream.devstack.ports import LOOPBACK
from tillstream.devstack.stack_file import write_private
from tillstream.settings import Settings
from tillstream.telemetry.endpoint import Endpoint, announce


class Part(StrEnum):
    """The parts in starting order; they stop in the reverse one."""

    KAFKA = "kafka"
    WAREHOUSE = "warehouse"
    STREAM = "stream"


@dataclass(frozen=True, slots=True)
class Service:
    """Start one part, and tell whether the started one serves."""

    start: Callable[[Settings], process.Managed]
    healthy: Callable[[Settings, process.Managed], bool]
    start_timeout_s: float
    stop_timeout_s: float


def start_kafka(settings: Settings) -> process.Managed:
    broker = Broker(
        home=settings.home,
        data=settings.home / "kafka",
        port=int(settings.kafka.bootstrap.rpartition(":")[2]),
        java=find_java().executable,
        classpath=kafka_classpath(settings),
        heap_mb=settings.kafka.heap_mb,
        overlay=settings.kafka.embedded_properties,
    )
    return broker.start()


def start_warehouse(settings: Settings) -> process.Managed:
    warehouse = settings.warehouse
    # In a file, because anybody on the machine can read another's command line.
    password = settings.home / "run" / "warehouse.password"
    write_private(password, warehouse.password.get_secret_value())
    argv = _python("tillstream.devstack.warehouse.server")
    argv += ["--data", str(settings.home / "warehouse"), "--host", LOOPBACK]
    argv += ["--port", str(warehouse.port), "--user", warehouse.user]
    argv += ["--password-file", str(password)]
    argv += ["--memory-mb", str(warehouse.memory_mb)]
    argv += ["--guests", str(guests_file(settings))]
    argv += ["--audit", str(settings.home / "logs" / "guests.jsonl")]
    endpoint = f"{LOOPBACK}:{warehouse.port}"
    managed = process.start(Part.WAREHOUSE, argv, home=settings.home, endpoint=endpoint)
    announce(settings.home, Endpoint(Part.WAREHOUSE, endpoint, managed.pid))
    return managed


def guests_file(settings: Settings) -> Path:
    """Who may ask the local warehouse for some stores' figures: `tillstream access`."""
    return settings.home / "guests.json"


def start_stream(settings: Settings) -> process.Managed:
    env = os.environ | {
        "JAVA_HOME": str(find_java().home),
        "TILLSTREAM_CACHE": str(settings.cache),
        "TILLSTREAM_STREAM": settings.stream.model_dump_json(),
        "TILLSTREAM_TELEMETRY": settings.telemetry.model_dump_json(),
        "TILLSTREAM_LOG": settings.log.model_dump_json(),
    }
    if settings.stream.master.startswith("local"):
        env["SPARK_LOCAL_IP"] = LOOPBACK  # otherwise the driver listens on the machine's address
    argv = [*_python("tillstream.cli.main"), "--home", str(settings.home), "stream"]
    return process.start(Part.STREAM, argv, home=settings.home, env=env)


def _python(module: str) -> list[str]:
    # -P: a folder named like a library, where the user happens to stand, must not hide it.
    return [sys.executable, "-P", "-m", module]


def warehouse_answers(_settings: Settings, managed: process.Managed) -> bool:
    try:
        # Never through a proxy that the environment names.
        ping = httpx.get(f"http://{managed.endpoint}/ping", timeout=2.0, trust_env=False)
    except httpx.HTTPError:
        return False
    return ping.status_code == httpx.codes.OK


def stream_runs(settings: Settings, managed: process.Managed) -> bool:
    """The job reports itself in a file; one of an earlier run carries another pid."""
    report = _stream_report(settings)
    return (report.get("pid"), report.get("state")) == (managed.pid, "running")


def stream_trouble(settings: Settings) -> str:
    """What keeps the stream from running, in its own words; nothing when all is well."""
    report = _stream_report(settings)
    queries = report.get("queries", {}).items()
    troubles = [f"{name}: {one['reason']}" for name, one in queries if one.get("reason")]
    return "; ".join(troubles) or str(report.get("reason", ""))


def _stream_report(settings: Settings) -> dict[str, Any]:
    try:
        report = json.loads((settings.home / "run" / "stream.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return report if isinstance(report, dict) else {}


SERVICES: dict[Part, Service] = {
    Part.KAFKA: Service(start_kafka, lambda _settings, managed: answers(managed.endpoint), 60, 30),
    Part.WAREHOUSE: Service(start_warehouse, warehouse_answers, 60, 30),
    Part.STREAM: Service(start_stream, stream_runs, 120, 60),
}

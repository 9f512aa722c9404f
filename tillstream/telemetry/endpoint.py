"""`/metrics` of a process, and where others find it.

Each process that has metrics leaves `<home>/run/metrics/<part>.json`. The file is in the format of
Prometheus's file-based discovery, so a Prometheus on the same machine needs no list of ports.
"""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from tillstream.errors import ServiceError

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

_EVERYWHERE = ("0.0.0.0", "::")
_PID_LABEL = "__meta_tillstream_pid"  # Prometheus drops labels of this prefix after discovery


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a part's metrics are. `address` is host:port; the process may have died since."""

    part: str
    address: str
    pid: int

    @property
    def url(self) -> str:
        return f"http://{self.address}/metrics"


@contextmanager
def metrics_endpoint(
    home: Path, part: str, *, host: str, port: int, registry: "CollectorRegistry | None" = None
) -> Iterator[Endpoint]:
    """Serve the metrics of this process until the end of the block. Port 0 takes a free one.

    Raises ServiceError when the port is taken.
    """
    # Every command imports this module; few serve metrics.
    from prometheus_client import REGISTRY, start_http_server

    try:
        server, thread = start_http_server(port, addr=host, registry=registry or REGISTRY)
    except OSError as exc:
        raise ServiceError(
            f"cannot serve the metrics of {part} on {host}:{port}: {exc.strerror}",
            hint="choose another port in TILLSTREAM_TELEMETRY__STREAM_PORT or __PRODUCER_PORT "
            "(0 takes a free one), or set TILLSTREAM_TELEMETRY__METRICS=false",
        ) from exc
    # Who listens everywhere is found by name, as in a network of containers.
    reached_at = socket.gethostname() if host in _EVERYWHERE else host
    endpoint = Endpoint(part, f"{reached_at}:{server.server_port}", os.getpid())
    path = announce(home, endpoint)
    try:
        yield endpoint
    finally:
        path.unlink(missing_ok=True)
        server.shutdown()
        server.server_close()
        thread.join()


def announce(home: Path, endpoint: Endpoint) -> Path:
    """Tell others where the metrics are; the file to remove when they no longer are. Removes what
    producers left behind that were killed."""
    folder = _folder(home)
    folder.mkdir(parents=True, exist_ok=True)
    for old in announced(home):
        same_machine = _host(old) == _host(endpoint)
        if old.part.startswith("producer-") and same_machine and not psutil.pid_exists(old.pid):
            (folder / f"{old.part}.json").unlink(missing_ok=True)
    part = endpoint.part.partition("-")[0]
    labels = {"part": part, _PID_LABEL: str(endpoint.pid)}
    path = folder / f"{endpoint.part}.json"
    beside = path.with_suffix(f".{os.getpid()}")
    content = [{"targets": [endpoint.address], "labels": labels}]
    beside.write_text(json.dumps(content), encoding="utf-8")
    beside.replace(path)
    return path


def announced(home: Path) -> list[Endpoint]:
    """Every endpoint that a process of this home has told of, by part."""
    found = []
    for path in sorted(_folder(home).glob("*.json")):
        try:
            group = json.loads(path.read_text(encoding="utf-8"))[0]
            pid = int(group["labels"][_PID_LABEL])
            found.append(Endpoint(path.stem, group["targets"][0], pid))
        except (OSError, ValueError, LookupError, TypeError):
            continue  # somebody else's file, or one that was removed meanwhile
    return found


def _host(endpoint: Endpoint) -> str:
    return endpoint.address.rpartition(":")[0]


def _folder(home: Path) -> Path:
    return home / "run" / "metrics"

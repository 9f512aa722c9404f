"""The embedded warehouse as a process: `python -m tillstream.devstack.warehouse.server`.

It serves the ClickHouse engine over ClickHouse's HTTP interface to one user on one data folder,
and named queries to guests (`tillstream.devstack.warehouse.guests`). The user can do what the
process's own account can (the engine's `file` function reads any file the account can read), so it
listens on loopback unless told otherwise.
"""

import argparse
import logging
import os
import signal
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType

import uvicorn

from tillstream.errors import ConfigError, ServiceError, TillstreamError

_FINISH_S = 5
_CANCEL_S = 3
_KEEP_ALIVE_S = 600
_WRITES_AT_ONCE = 16


def serve(
    *,
    data: Path,
    host: str,
    port: int,
    user: str,
    password: str,
    memory_mb: int,
    concurrent_reads: int,
    max_queries: int,
    certificate: Path | None = None,
    key: Path | None = None,
    guests: Path | None = None,
    audit: Path | None = None,
) -> None:
    """Serve until SIGTERM or Ctrl-C. Running queries get 5 s to finish, then are cancelled.

    With a certificate it serves HTTPS. Port 0 takes a free one. Raises ServiceError when the port
    or the folder is taken.
    """
    # The engine reads its time zone from here, once.
    os.environ["TZ"] = "UTC"
    time.tzset()
    from tillstream.devstack.warehouse.admission import Admission
    from tillstream.devstack.warehouse.answer import HideCuts
    from tillstream.devstack.warehouse.app import Interface
    from tillstream.devstack.warehouse.engine import Engine
    from tillstream.devstack.warehouse.guests import Guests
    from tillstream.devstack.warehouse.request import Credentials
    from tillstream.telemetry.front import FrontMetrics, Observed

    listener = _bind(host, port)
    metrics = FrontMetrics()
    engine = Engine(
        data,
        memory_mb=memory_mb,
        tally=lambda outcome: metrics.damaged.labels(outcome).inc(),
    )
    # Turns limit what runs; a thread is also held by each answer that its caller still reads.
    workers = ThreadPoolExecutor(max_workers=max_queries, thread_name_prefix="query")
    interface = Interface(
        engine,
        credentials=Credentials(user, password),
        workers=workers,
        admission=Admission(
            reads_at_once=concurrent_reads, writes_at_once=_WRITES_AT_ONCE, at_most=max_queries
        ),
        guests=Guests(guests, audit),
    )
    logging.getLogger("uvicorn.error").addFilter(HideCuts())

    class Server(uvicorn.Server):
        """Queries that outlast the grace period are cancelled, so that their clients hear of it."""

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            timer = threading.Timer(_FINISH_S, engine.cancel_all)
            timer.daemon = True
            timer.start()
            super().handle_exit(sig, frame)

    server = Server(
        uvicorn.Config(
            Observed(interface.app(), metrics),
            log_level="warning",
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=_FINISH_S + _CANCEL_S,
            ssl_certfile=certificate,
            ssl_keyfile=key,
        )
    )
    bound = listener.getsockname()
    scheme = "https" if certificate else "http"
    print(f"ClickHouse {engine.version} on {scheme}://{bound[0]}:{bound[1]}, {data}", flush=True)
    # uvicorn raises the signal again once it has stopped serving; there is still work to do then.
    signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        server.run(sockets=[listener])
    finally:
        workers.shutdown(wait=False, cancel_futures=True)
        engine.cancel_all()
        workers.shutdown(wait=True)
        engine.close()


def _bind(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as exc:
        listener.close()
        raise ServiceError(
            f"cannot listen on {host}:{port}: {exc.strerror}",
            hint="stop what uses the port, or choose another with --port (0 takes a free one)",
        ) from exc
    return listener


def _password(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as exc:
        raise ConfigError(f"cannot read the password file {path}: {exc.strerror}") from exc


def main() -> int:
    parser = argparse.ArgumentParser(prog="warehouse", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of this warehouse's data")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=8123, help="0 takes a free one (%(default)s)")
    parser.add_argument("--user", default="default", help="the only user (%(default)s)")
    parser.add_argument("--password-file", type=Path, help="file holding that user's password")
    parser.add_argument(
        "--memory-mb", type=int, default=2048, help="limit of the engine (%(default)s)"
    )
    parser.add_argument(
        "--concurrent-reads",
        type=int,
        default=max(8, 2 * (os.cpu_count() or 1)),
        help="that run at once; others wait, inserts do not wait for them (%(default)s)",
    )
    parser.add_argument(
        "--max-queries", type=int, default=256, help="more than these are refused (%(default)s)"
    )
    parser.add_argument("--tls-certificate", type=Path, help="PEM file; serve HTTPS with it")
    parser.add_argument("--tls-key", type=Path, help="PEM file of the certificate's private key")
    parser.add_argument("--guests", type=Path, help="file of `tillstream access`")
    parser.add_argument("--audit", type=Path, help="file to write down what guests ask")
    args = parser.parse_args()
    try:
        serve(
            data=args.data.absolute(),
            host=args.host,
            port=args.port,
            user=args.user,
            password=_password(args.password_file),
            memory_mb=args.memory_mb,
            concurrent_reads=args.concurrent_reads,
            max_queries=args.max_queries,
            certificate=args.tls_certificate,
            key=args.tls_key,
            guests=args.guests,
            audit=args.audit,
        )
    except TillstreamError as exc:
        print(f"error: {exc}", file=sys.stderr)
        if exc.hint:
            print(f"try: {exc.hint}", file=sys.stderr)
        return exc.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())

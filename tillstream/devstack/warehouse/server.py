"""The embedded warehouse as a process: `python -m tillstream.devstack.warehouse.server`.

It serves the ClickHouse engine over ClickHouse's HTTP interface to one user on one data folder.
That user can do what the process's own account can (the engine's `file` function reads any file
the account can read), so it listens on loopback unless told otherwise.
"""

import argparse
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


def serve(
    *, data: Path, host: str, port: int, user: str, password: str, concurrent_queries: int
) -> None:
    """Serve until SIGTERM or Ctrl-C. Running queries get 5 s to finish, then are cancelled.

    Port 0 takes a free one. Raises ServiceError when the port or the folder is taken.
    """
    # The engine reads its time zone from here, once.
    os.environ["TZ"] = "UTC"
    time.tzset()
    from tillstream.devstack.warehouse.app import Interface
    from tillstream.devstack.warehouse.engine import Engine
    from tillstream.devstack.warehouse.request import Credentials

    listener = _bind(host, port)
    engine = Engine(data)
    workers = ThreadPoolExecutor(max_workers=concurrent_queries, thread_name_prefix="query")
    interface = Interface(engine, credentials=Credentials(user, password), workers=workers)

    class Server(uvicorn.Server):
        """Queries that outlast the grace period are cancelled, so that their clients hear of it."""

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            timer = threading.Timer(_FINISH_S, engine.cancel_all)
            timer.daemon = True
            timer.start()
            super().handle_exit(sig, frame)

    server = Server(
        uvicorn.Config(
            interface.app(),
            log_level="warning",
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=_FINISH_S + _CANCEL_S,
        )
    )
    bound = listener.getsockname()
    print(f"ClickHouse {engine.version} on http://{bound[0]}:{bound[1]}, {data}", flush=True)
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
        "--concurrent-queries", type=int, default=16, help="others wait (%(default)s)"
    )
    args = parser.parse_args()
    try:
        serve(
            data=args.data.absolute(),
            host=args.host,
            port=args.port,
            user=args.user,
            password=_password(args.password_file),
            concurrent_queries=args.concurrent_queries,
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

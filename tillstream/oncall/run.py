"""The pager's process: one per home, until SIGTERM or SIGINT."""

import fcntl
import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from tillstream.alerting.desk import Desk
from tillstream.clock import SystemClock
from tillstream.errors import ConfigError, ServiceError
from tillstream.oncall.pager import Pager
from tillstream.oncall.policy_watch import PolicyWatch
from tillstream.oncall.sight import Sight
from tillstream.oncall.status import status_file, status_of, stopped, write_status
from tillstream.oncall.store import Store
from tillstream.settings import Settings
from tillstream.telemetry.endpoint import metrics_endpoint
from tillstream.telemetry.pager import PagerMetrics

log = logging.getLogger("tillstream.oncall")

_EVERY_S = 1.0


def policy_path(settings: Settings) -> Path:
    return settings.home / "oncall.yaml"


def run_pager(settings: Settings, policy: Path) -> None:
    """Raises PolicyError when there is no policy that can be in force, ConfigError when another
    pager runs in this home, ServiceError when the outbox cannot be opened."""
    clock = SystemClock()
    folder = settings.home / "oncall"
    status = status_file(settings.home)
    stopping = threading.Event()
    with ExitStack() as stack:
        stack.enter_context(only_pager(settings.home))
        watch = PolicyWatch(policy, keep=folder / "in-force.yaml", environment=os.environ)
        store = stack.enter_context(Store(folder / "outbox.db"))
        metrics = PagerMetrics()
        if settings.telemetry.metrics:
            host = settings.telemetry.host
            stack.enter_context(metrics_endpoint(settings.home, "pager", host=host, port=0))
        sight = Sight(lambda: Desk(settings), clock)
        pager = stack.enter_context(
            closing(Pager(store, watch, sight, clock=clock, metrics=metrics))
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopping.set())
        log.info("the pager runs, with the policy %s", policy)
        while not stopping.is_set():
            try:
                pager.tick()
                state = status_of(pager, now_ms=clock.now_ms())
                write_status(status, state)
                pager.measure()
            except (ServiceError, OSError) as exc:
                log.error("%s; trying again", exc)
            except Exception:  # a fault must not leave everybody without a pager
                log.exception("this round failed; trying again")
            stopping.wait(_EVERY_S)
        log.info("stopping: pages under way are finished first")
    stopped(status, now_ms=clock.now_ms())


@contextmanager
def only_pager(home: Path) -> Iterator[None]:
    """Hold the pager's lock; the kernel drops it when the process dies. Two pagers would page
    everybody twice. Raises ConfigError when another process holds it."""
    path = home / "run" / "pager.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise ConfigError(
                f"another pager runs in {home}", hint="`tillstream oncall status` tells its pid"
            ) from exc
        yield

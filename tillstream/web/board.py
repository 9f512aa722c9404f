"""Every alert as it is now, kept in memory for all browsers at once."""

import asyncio
import logging
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from decimal import Decimal

from tillstream.alerting.actions import Action
from tillstream.alerting.alert import AlertView, Decision, Step
from tillstream.alerting.desk import Desk
from tillstream.alerting.incidents import Incident, incidents
from tillstream.errors import ServiceError, TillstreamError
from tillstream.web.people import Scope

log = logging.getLogger("tillstream.web")

_LOOK_EVERY_S = 0.5
_RETRY_S = 2.0
_FORGET_EVERY_S = 600.0

OpenDesk = Callable[[], AbstractContextManager[Desk]]


@dataclass(frozen=True, slots=True)
class Totals:
    """Of the alerts that somebody may see and that are not resolved."""

    live: int
    by_severity: dict[str, int]
    by_state: dict[str, int]
    expected_lost_margin: Decimal


class Board:
    """Follows a desk on a thread of its own. `version` grows with every look that found a change,
    and `epoch` is another one after every start: a browser that comes back with an old epoch must
    load everything again.

    While Kafka or the warehouse is away, what was known is shown, and `problem` says so.
    """

    def __init__(self, open_desk: OpenDesk) -> None:
        self._open_desk = open_desk
        self._desk: Desk | None = None
        self._alerts: dict[str, AlertView] = {}
        self._changed_at: dict[str, int] = {}
        self._ranked: tuple[int, list[AlertView]] = (0, [])
        self._own_changes: set[str] = set()
        self._guard = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._news = asyncio.Event()
        self.epoch = secrets.token_hex(4)
        self.version = 0
        self.problem = "the alerts are being read for the first time"

    def start(self) -> None:
        """Call it on the event loop that will `wait`."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="board", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        if self._thread:
            self._thread.join(timeout=10)

    def alerts(self, scope: Scope) -> list[AlertView]:
        """What `scope` may see, the most expensive first."""
        with self._guard:
            if self._ranked[0] != self.version:
                self._ranked = (self.version, sorted(self._alerts.values(), key=rank))
            ranked = self._ranked[1]
        return ranked if scope.stores is None else [a for a in ranked if scope.sees(a.store_id)]

    def alert(self, alert_id: str, scope: Scope) -> AlertView | None:
        view = self._alerts.get(alert_id)
        return view if view is not None and scope.sees(view.store_id) else None

    def changes(self, scope: Scope, since: int) -> list[AlertView]:
        """What `scope` may see of what changed after version `since`."""
        with self._guard:
            ids = [key for key, version in self._changed_at.items() if version > since]
            return [self._alerts[key] for key in ids if scope.sees(self._alerts[key].store_id)]

    def incidents(self, scope: Scope) -> list[Incident]:
        """Causes with more than one live alert in `scope`."""
        return [one for one in incidents(self.alerts(scope)) if len(one.alert_ids) > 1]

    def totals(self, scope: Scope) -> Totals:
        live = [view for view in self.alerts(scope) if view.is_live]
        return Totals(
            live=len(live),
            by_severity=dict(Counter(view.severity.value for view in live)),
            by_state=dict(Counter(view.state.value for view in live)),
            expected_lost_margin=sum((one.expected_lost_margin for one in live), Decimal(0)),
        )

    def history(self, alert_id: str) -> Sequence[Step]:
        return self._desk.history(alert_id) if self._desk else ()

    def act(self, actions: Sequence[Action]) -> list[Decision]:
        """What the log decides on each. Raises ServiceError when it cannot be reached."""
        desk = self._desk
        if desk is None:
            raise ServiceError(
                f"nothing can be done to alerts now: {self.problem}", hint="try again in a moment"
            )
        decisions = desk.act_many(actions)
        with self._guard:
            self._own_changes |= {one.action.alert_id for one in decisions}
        self._take(set())
        return decisions

    async def wait(self, version: int, timeout_s: float) -> None:
        """Until the board is newer than `version`, or the time is over."""
        news = self._news
        if self.version > version:
            return
        try:
            await asyncio.wait_for(news.wait(), timeout_s)
        except TimeoutError:
            return

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with self._open_desk() as desk:
                    self._desk = desk
                    self._take({view.alert_id for view in desk.alerts()})
                    self._tell("")
                    forget_at_s = time.monotonic() + _FORGET_EVERY_S
                    while not self._stop.wait(_LOOK_EVERY_S):
                        self._look(desk)
                        if time.monotonic() > forget_at_s:
                            self._forget({view.alert_id for view in desk.alerts()})
                            forget_at_s += _FORGET_EVERY_S
            except TillstreamError as exc:
                self._desk = None
                self._tell(str(exc).splitlines()[0])
                self._stop.wait(_RETRY_S)

    def _look(self, desk: Desk) -> None:
        began_s = time.monotonic()
        try:
            self._take(desk.refresh())
        except ServiceError as exc:
            # What the desk knows stays true; it follows again as soon as both answer.
            self._tell(str(exc).splitlines()[0])
            self._stop.wait(_RETRY_S)
            return
        self._tell("")
        if (took_s := time.monotonic() - began_s) > 2:
            log.warning("reading the alerts took %.1f s", took_s)

    def _take(self, changed: set[str]) -> None:
        desk = self._desk
        if desk is None:
            return
        with self._guard:
            changed = changed | self._own_changes
            self._own_changes = set()
        # The desk may be waiting for Kafka: nobody who reads should wait with it.
        found = [view for key in changed if (view := desk.alert(key)) is not None]
        with self._guard:
            news = [view for view in found if _is_news(view, self._alerts.get(view.alert_id))]
            if news:
                self.version += 1
            for view in news:
                self._alerts[view.alert_id] = view
                self._changed_at[view.alert_id] = self.version
        if news:
            self._wake()

    def _forget(self, remembered: set[str]) -> None:
        """Drop what the desk no longer remembers: it ended days ago."""
        with self._guard:
            for alert_id in self._alerts.keys() - remembered:
                del self._alerts[alert_id], self._changed_at[alert_id]
            self._ranked = (-1, [])

    def _tell(self, problem: str) -> None:
        if problem == self.problem:
            return
        if problem:
            log.warning("%s", problem)
        self.problem = problem
        self.version += 1
        self._wake()

    def _wake(self) -> None:
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._announce)

    def _announce(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()


def _is_news(view: AlertView, known: AlertView | None) -> bool:
    """Two threads may bring views of one alert: the older one must not win."""
    if known is None:
        return True
    newer = (view.version, view.revision) >= (known.version, known.revision)
    return newer and view != known


def rank(view: AlertView) -> tuple[Decimal, int, str]:
    """Sorts the most expensive first; of equals, the oldest."""
    return -view.expected_lost_margin, view.opened_at_ms, view.alert_id

"""Seeing the alerts: the desk, opened again when it was away, and what to page when it stays so."""

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Protocol

from tillstream.alerting.actions import Action
from tillstream.alerting.alert import AlertView, Decision
from tillstream.clock import Clock
from tillstream.errors import TillstreamError
from tillstream.oncall.subjects import Content, Status, Subject

log = logging.getLogger("tillstream.oncall")

BLIND_KEY = "tillstream/pager/blind"
# Restarts of Kafka or the warehouse take less.
BLIND_AFTER_MS = 5 * 60_000
_TRY_EVERY_MS = 3_000


class AlertDesk(Protocol):
    """What the pager needs of alerting.desk.Desk."""

    def refresh(self) -> set[str]: ...

    def alerts(self) -> list[AlertView]: ...

    def act_many(self, actions: Sequence[Action]) -> list[Decision]: ...


OpenDesk = Callable[[], AbstractContextManager[AlertDesk]]


class Sight:
    """`problem` says why the alerts cannot be seen; empty when they can."""

    def __init__(self, open_desk: OpenDesk, clock: Clock) -> None:
        self._open_desk = open_desk
        self._clock = clock
        self._opened = ExitStack()
        self._desk: AlertDesk | None = None
        self._try_ms = 0
        self.problem = "not looked yet"
        self._seen_ms = clock.now_ms()

    def look(self) -> list[AlertView] | None:
        """All alerts as they are now, None when they cannot be seen."""
        now_ms = self._clock.now_ms()
        if now_ms < self._try_ms:
            return None
        try:
            if self._desk is None:
                self._desk = self._opened.enter_context(self._open_desk())
            self._desk.refresh()
            alerts = self._desk.alerts()
        except Exception as exc:  # whatever it is: a pager that died of it would tell nobody
            self._lost(exc)
            return None
        if self.problem and self.problem != "not looked yet":
            log.info("the alerts can be seen again")
        self.problem, self._seen_ms = "", self._clock.now_ms()
        return alerts

    def act(self, actions: Sequence[Action]) -> list[Decision] | None:
        """What the log decided, None when it could not be asked."""
        if self._desk is None:
            return None
        try:
            return self._desk.act_many(actions)
        except Exception as exc:  # as above
            self._lost(exc)
            return None

    def blindness(self) -> Subject:
        """The pager's own trouble as something to page about."""
        blind_ms = self._clock.now_ms() - self._seen_ms
        firing = bool(self.problem) and blind_ms >= BLIND_AFTER_MS
        content = Content(
            summary=f"The pager has seen no alerts for {blind_ms // 60_000} minutes",
            source="tillstream oncall",
            severity="critical",
            opened_at_ms=self._seen_ms,
            details={"reason": self.problem},
            component="pager",
        )
        return Subject(
            key=BLIND_KEY,
            status=Status.FIRING if firing else Status.RESOLVED,
            severity="critical",
            content=content,
            alert_ids=(),
            note="" if firing else "the pager sees the alerts again",
        )

    def close(self) -> None:
        self._desk = None
        self._opened.close()

    def _lost(self, exc: Exception) -> None:
        said = (str(exc) or type(exc).__name__).splitlines()[0]
        if said != self.problem:
            foreseen = isinstance(exc, TillstreamError | OSError)
            log.warning("the alerts cannot be seen: %s", said, exc_info=None if foreseen else exc)
        self.problem = said
        self._try_ms = self._clock.now_ms() + _TRY_EVERY_MS

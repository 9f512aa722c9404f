"""Engine handles: a fresh one for each query, a kept one for a session that has state.

A handle is a whole ClickHouse session of its own (settings, current database, temporary tables)
and opens in 0.1 ms, so a fresh one per query is what keeps one query's settings from the next.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from chdb.state.sqlitelike import Connection

from tillstream.devstack.warehouse.errors import QueryError
from tillstream.devstack.warehouse.request import Session


@dataclass(slots=True)
class _Kept:
    busy: threading.Lock = field(default_factory=threading.Lock)
    handle: Connection | None = None
    expires_at_s: float = 0.0


class Sessions:
    """The live sessions. Safe to use from several threads."""

    def __init__(self, open_handle: Callable[[], Connection]) -> None:
        self._open = open_handle
        self._kept: dict[str, _Kept] = {}
        self._guard = threading.Lock()

    @contextmanager
    def fresh(self) -> Iterator[Connection]:
        handle = self._open()
        try:
            yield handle
        finally:
            handle.close()

    @contextmanager
    def lease(self, session: Session, *, keep: bool) -> Iterator[tuple[Connection, bool]]:
        """A handle and whether it outlives this query.

        `keep` starts keeping the session's state; before that every query has a fresh handle.
        A query that leaves a kept handle in doubt calls `forget`. Raises QueryError when the
        session runs another query, or must exist and does not.
        """
        kept = self._enter(session)
        try:
            if kept.handle is None and not keep:
                with self.fresh() as handle:
                    yield handle, False
                return
            if kept.handle is None:
                kept.handle = self._open()
            yield kept.handle, True
        finally:
            kept.expires_at_s = time.monotonic() + session.timeout_s
            kept.busy.release()

    def forget(self, session: Session) -> None:
        """Drop the state of a leased session."""
        kept = self._kept.get(session.id)
        if kept is not None and kept.handle is not None:
            handle, kept.handle = kept.handle, None
            handle.close()

    def close(self) -> None:
        with self._guard:
            for kept in self._kept.values():
                if kept.handle is not None:
                    kept.handle.close()
            self._kept.clear()

    def _enter(self, session: Session) -> _Kept:
        now = time.monotonic()
        with self._guard:
            self._sweep(now)
            kept = self._kept.get(session.id)
            if kept is None:
                if session.must_exist:
                    raise QueryError(372, f"Session {session.id} not found")
                kept = self._kept[session.id] = _Kept()
            if not kept.busy.acquire(blocking=False):
                raise QueryError(373, f"Session {session.id} is locked by a concurrent client")
            return kept

    def _sweep(self, now: float) -> None:
        for session_id, kept in list(self._kept.items()):
            if kept.expires_at_s < now and kept.busy.acquire(blocking=False):
                del self._kept[session_id]
                if kept.handle is not None:
                    kept.handle.close()
                kept.busy.release()

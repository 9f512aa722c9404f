"""Asking the warehouse from many threads at once, a few connections for all of them."""

import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, TypeVar

from clickhouse.client import Client, connect
from clickhouse.queries import select
from tillstream.errors import ServiceError
from tillstream.settings import WarehouseSettings

CONNECTIONS = 4
_TIMEOUT_S = 20.0
_WAIT_S = 10.0

T = TypeVar("T")
Row = dict[str, Any]


class Warehouse:
    """At most CONNECTIONS queries at a time; who comes later waits, and after ten seconds is told
    so. A connection that failed is made anew."""

    def __init__(self, settings: WarehouseSettings) -> None:
        self._settings = settings
        self._free: queue.LifoQueue[Client | None] = queue.LifoQueue()
        for _ in range(CONNECTIONS):
            self._free.put(None)

    def rows(self, sql: str, **parameters: Any) -> list[Row]:
        """Raises ServiceError."""
        return self.use(lambda client: select(client, sql, parameters=parameters).to_pylist())

    def row(self, sql: str, **parameters: Any) -> Row:
        """The only row of an aggregate."""
        return self.rows(sql, **parameters)[0]

    def use(self, work: Callable[[Client], T]) -> T:
        """Whatever `work` does with a connection, which is no longer its own afterwards."""
        try:
            client = self._free.get(timeout=_WAIT_S)
        except queue.Empty as exc:
            raise ServiceError(
                "the warehouse is busy: every connection of the console is waiting for it",
                hint="try again in a moment",
            ) from exc
        try:
            if client is None:
                client = connect(self._settings, timeout_s=_TIMEOUT_S)
            found = work(client)
        except ServiceError:
            if client is not None:
                client.close()
            self._free.put(None)
            raise
        except BaseException:
            self._free.put(client)
            raise
        self._free.put(client)
        return found

    def close(self) -> None:
        for _ in range(CONNECTIONS):
            with suppress(queue.Empty):
                client = self._free.get(timeout=_WAIT_S)
                if client is not None:
                    client.close()


class Remembered:
    """Answers that many people ask for are worked out once every `seconds`, by the first of them;
    the others wait for it."""

    def __init__(self, seconds: float, *, most: int = 64) -> None:
        self._seconds = seconds
        self._most = most
        self._kept: dict[str, tuple[float, Any]] = {}
        self._locks: dict[str, threading.Lock] = {}
        self._guard = threading.Lock()

    def get(self, key: str, work: Callable[[], T]) -> T:
        with self._guard:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            at_s, found = self._kept.get(key, (float("-inf"), None))
            if time.monotonic() - at_s > self._seconds:
                found = work()
                with self._guard:
                    if len(self._kept) >= self._most:
                        self._kept.pop(min(self._kept, key=lambda one: self._kept[one][0]))
                    self._kept[key] = (time.monotonic(), found)
        kept: T = found
        return kept


def in_scope(column: str = "store_id") -> str:
    """A condition that is true for the stores of a scope: give `every` and `stores` with it."""
    return f"({{every:Bool}} OR {column} IN {{stores:Array(String)}})"


def utc_ms(at: datetime) -> int:
    """Milliseconds since 1970; a time without a zone is UTC's."""
    return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)

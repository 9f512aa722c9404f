"""The pager's memory: cases, pages to send, and how its channels do. It survives kill -9.

One SQLite file in the home, with a write-ahead log that is synced to disk at every commit. Not
ClickHouse: a page must go out while the warehouse is away, and a case, its pages and what they
cancel have to be stored together or not at all.

The rule of delivery: a page is claimed before it is handed to a channel and noted after the channel
answered. It goes out again only when the answer is not known, because it never came or because the
process was killed before it was noted; then with the same page id and the same deduplication key.
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tillstream.errors import ServiceError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS cases (
    key TEXT PRIMARY KEY, rule TEXT NOT NULL, status TEXT NOT NULL, severity TEXT NOT NULL,
    round INTEGER NOT NULL, step INTEGER NOT NULL, due_ms INTEGER, opened_ms INTEGER NOT NULL,
    note TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS pages (
    page_id TEXT PRIMARY KEY, key TEXT NOT NULL, event TEXT NOT NULL, round INTEGER NOT NULL,
    step INTEGER NOT NULL, target TEXT NOT NULL, urgency INTEGER NOT NULL,
    content TEXT NOT NULL, note TEXT NOT NULL,
    reach TEXT NOT NULL, position INTEGER NOT NULL, channel TEXT NOT NULL,
    state TEXT NOT NULL, attempts INTEGER NOT NULL, due_ms INTEGER NOT NULL,
    created_ms INTEGER NOT NULL, sent_ms INTEGER, followed INTEGER NOT NULL, problem TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS pages_waiting ON pages (channel, urgency, created_ms)
    WHERE state = 'waiting';
CREATE INDEX IF NOT EXISTS pages_sent ON pages (channel, sent_ms) WHERE state = 'sent';
CREATE INDEX IF NOT EXISTS pages_of_case ON pages (key, state);
CREATE INDEX IF NOT EXISTS pages_to_follow ON pages (key)
    WHERE event = 'trigger' AND state = 'sent' AND followed < 2;
CREATE INDEX IF NOT EXISTS pages_given_up ON pages (key) WHERE state = 'given_up';
CREATE TABLE IF NOT EXISTS escalations (
    key TEXT NOT NULL, round INTEGER NOT NULL, level INTEGER NOT NULL, alert_ids TEXT NOT NULL,
    at_ms INTEGER NOT NULL, done INTEGER NOT NULL, PRIMARY KEY (key, round, level)
);
CREATE TABLE IF NOT EXISTS channels (
    name TEXT PRIMARY KEY, failures INTEGER NOT NULL, failing_since_ms INTEGER,
    dead INTEGER NOT NULL, retry_ms INTEGER NOT NULL, last_ok_ms INTEGER, problem TEXT NOT NULL
);
"""


class Store:
    """The file. Safe to use from several threads, by one process at a time."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        self._in_block = False
        try:
            self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.executescript(_SCHEMA)
        except sqlite3.Error as exc:
            raise ServiceError(f"the outbox {path} cannot be opened: {exc}") from exc

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._lock:
            self._db.close()

    def read(self, sql: str, *values: Any) -> list[Any]:
        """All rows. Raises ServiceError when the file cannot be read."""
        with self._lock:
            try:
                return self._db.execute(sql, values).fetchall()
            except sqlite3.Error as exc:
                raise ServiceError(f"the outbox cannot be read: {exc}") from exc

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """One transaction, on disk when the block ends, or undone when it raises. A block inside a
        block belongs to it. Raises ServiceError when the disk refuses."""
        with self._lock:
            if self._in_block:
                yield self._db
                return
            self._in_block = True
            try:
                self._db.execute("BEGIN IMMEDIATE")
                try:
                    yield self._db
                    self._db.execute("COMMIT")
                except BaseException:
                    # A full disk ends the transaction by itself.
                    if self._db.in_transaction:
                        self._db.execute("ROLLBACK")
                    raise
            except sqlite3.Error as exc:
                raise ServiceError(
                    f"the outbox cannot be written: {exc}", hint="look at the disk of the home"
                ) from exc
            finally:
                self._in_block = False

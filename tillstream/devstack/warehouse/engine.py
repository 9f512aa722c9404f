"""The ClickHouse engine in this process: one data folder, many queries at once."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

from chdb.state.sqlitelike import Connection

from tillstream.devstack.warehouse.config import write_config
from tillstream.devstack.warehouse.damage import Healer, Tally, damaged_part
from tillstream.devstack.warehouse.errors import QueryError, parse_engine_error
from tillstream.devstack.warehouse.handles import SpoiledHandle, borrowed, insert, prepare, text
from tillstream.devstack.warehouse.request import QueryRequest
from tillstream.devstack.warehouse.sessions import Sessions
from tillstream.devstack.warehouse.statement import quote_text
from tillstream.errors import ServiceError


@dataclass(frozen=True, slots=True)
class Reply:
    """A finished query. `body` is in `format`; both are None when there are no rows to return."""

    body: memoryview | None
    format: str | None
    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0
    written_bytes: int = 0
    result_rows: int = 0
    elapsed_ns: int = 0
    owner: Any = None
    """Keeps the memory behind `body` alive."""


class Engine:
    """Runs requests on one data folder. Every method may be called from any thread.

    Holds the folder's lock until `close`; the lock falls with the process, however it dies.
    """

    def __init__(
        self, folder: Path, *, memory_mb: int, tally: Tally = lambda outcome: None
    ) -> None:
        """`tally` counts damaged parts. Raises ServiceError when another process has the folder or
        the engine refuses it."""
        folder.mkdir(parents=True, exist_ok=True)
        self.spool = folder / "spool"
        self._lock = _lock_folder(folder)
        shutil.rmtree(self.spool, ignore_errors=True)
        self.spool.mkdir()
        self._path = str(folder / "engine")
        config = folder / "engine.xml"
        write_config(config, memory_mb=memory_mb)
        try:
            # The engine lives as long as its first handle; closing the last one ends it.
            self._root = Connection(f"{self._path}?config-file={quote(str(config))}")
            self.version = text(self._root, "SELECT version()")
        except RuntimeError as exc:
            self._lock.close()
            raise ServiceError(
                f"the ClickHouse engine cannot open {folder}: {parse_engine_error(str(exc))}",
                hint="free disk space, check the folder's owner, or use another folder",
            ) from exc
        self._sessions = Sessions(self._open)
        self._healer = Healer(self._ask, tally)
        self._healer.start()

    def run(self, request: QueryRequest, *, output: int | None = None) -> Reply:
        """Run one request to its end. Raises QueryError with ClickHouse's code.

        The rows of a SELECT go to the file descriptor `output` when there is one. A part that
        cannot be read is put aside; the query that met it fails all the same, since some of its
        answer may have been sent.
        """
        try:
            return self._run(request, output)
        except QueryError as exc:
            part = damaged_part(exc)
            if part is None:
                raise
            done = self._healer.heal(part)
            raise QueryError(exc.code, f"{exc}. Part {part.name}: {done}", name=exc.name) from exc

    def _run(self, request: QueryRequest, output: int | None) -> Reply:
        sql = request.sql if output is None else request.sql_into(output)
        with self._handle(request) as handle:
            try:
                if request.statement.insert_format is not None:
                    return _reply(insert(handle, request, self.spool), request)
                parameters = dict(request.parameters)
                result = handle.query(sql, request.default_format, params=parameters)
                return _reply(result, request)
            except RuntimeError as exc:
                raise parse_engine_error(str(exc)) from exc

    def cancel_read(self, query_id: str) -> None:
        """Ask the engine to stop a SELECT; it may already have ended. Writes go on."""
        self._kill(f"query_kind = 'Select' AND Settings['log_comment'] = {quote_text(query_id)}")

    def cancel_all(self) -> None:
        self._kill("1")

    def close(self) -> None:
        """Give the folder back. No query may be running."""
        self._healer.stop()
        self._sessions.close()
        self._root.close()
        self._lock.close()

    def _open(self) -> Connection:
        return Connection(self._path)

    def _ask(self, sql: str) -> str:
        with self._sessions.fresh() as handle:
            return text(handle, sql)

    def _kill(self, condition: str) -> None:
        with suppress(RuntimeError), self._sessions.fresh() as handle:
            handle.query(f"KILL QUERY WHERE {condition} ASYNC", "Null")

    @contextmanager
    def _handle(self, request: QueryRequest) -> Iterator[Connection]:
        if request.session is None:
            with self._sessions.fresh() as handle:
                prepare(handle, request, self.spool)
                yield handle
            return
        lease = self._sessions.lease(request.session, keep=request.statement.changes_session)
        with lease as (handle, kept):
            if not kept:
                prepare(handle, request, self.spool)
                yield handle
                return
            try:
                with borrowed(handle, request, self.spool):
                    yield handle
            except SpoiledHandle as exc:
                self._sessions.forget(request.session)
                raise QueryError(372, f"Session {request.session.id} was lost: {exc}") from exc


def _reply(result: Any, request: QueryRequest) -> Reply:
    returns_rows = request.statement.returns_rows
    view = result.get_memview()
    return Reply(
        body=view.view() if returns_rows and len(result) else None,
        format=request.output_format,
        read_rows=result.storage_rows_read() or result.rows_written(),
        read_bytes=result.storage_bytes_read() or result.bytes_written(),
        written_rows=result.rows_written(),
        written_bytes=result.bytes_written(),
        result_rows=result.rows_read() if returns_rows else result.rows_written(),
        elapsed_ns=int(result.elapsed() * 1e9),
        owner=(result, view),
    )


def _lock_folder(folder: Path) -> IO[str]:
    path = folder / "warehouse.lock"
    lock = path.open("a+", encoding="utf-8")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        lock.seek(0)
        owner = lock.read().strip() or "unknown"
        lock.close()
        raise ServiceError(
            f"{folder} is already served by another warehouse process (pid {owner})",
            hint="use that one, stop it first, or choose another data folder",
        ) from exc
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()
    return lock

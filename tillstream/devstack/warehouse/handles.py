"""Makes an engine handle a request's own: its database, external tables, settings, parameters."""

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, cast

from chdb.state.sqlitelike import Connection

from tillstream.devstack.warehouse.descriptors import infile
from tillstream.devstack.warehouse.errors import QueryError, parse_engine_error
from tillstream.devstack.warehouse.request import ExternalTable, QueryRequest
from tillstream.devstack.warehouse.statement import quote_name, quote_text

# What the embedded engine sets otherwise than a ClickHouse server.
_SERVER_DEFAULTS = {"implicit_select": "0", "allow_introspection_functions": "0"}

_IN_MEMORY_BYTES = 4 << 20


class SpoiledHandle(Exception):
    """A session's handle could not be put back as it was."""


def prepare(handle: Connection, request: QueryRequest, spool: Path) -> None:
    """Set up a fresh handle, which is thrown away afterwards. Raises QueryError."""
    settings = {
        **_SERVER_DEFAULTS,
        **_without_readonly(request),
        "log_comment": request.query_id,
    }
    readonly = request.settings.get("readonly", "0")
    if request.read_only and readonly == "0":
        readonly = "2"
    if readonly != "0":
        settings["readonly"] = readonly  # last: nothing can be set after it
    try:
        _apply(handle, request, settings, spool)
    except RuntimeError as exc:
        raise parse_engine_error(str(exc)) from exc


@contextmanager
def borrowed(handle: Connection, request: QueryRequest, spool: Path) -> Iterator[None]:
    """Set up a session's kept handle for one request and undo that afterwards.

    Raises QueryError, or SpoiledHandle when the handle must not be used again.
    """
    _check_read_only(handle, request)
    settings = _without_readonly(request)
    try:
        database = text(handle, "SELECT currentDatabase()")
        before = _changed_settings(handle, settings)
    except RuntimeError as exc:
        raise SpoiledHandle(str(exc)) from exc
    try:
        try:
            _apply(handle, request, settings, spool)
        except RuntimeError as exc:
            raise parse_engine_error(str(exc)) from exc
        yield
    finally:
        try:
            for table in request.tables:
                handle.query(f"DROP TEMPORARY TABLE IF EXISTS {quote_name(table.name)}", "Null")
            for name in settings:
                value = quote_text(before[name]) if name in before else "DEFAULT"
                with suppress(RuntimeError):  # an unknown setting was never set
                    handle.query(f"SET {name} = {value}", "Null")
            if request.database and not request.statement.changes_session:
                handle.query(f"USE {quote_name(database)}", "Null")
        except RuntimeError as exc:
            raise SpoiledHandle(str(exc)) from exc


def insert(handle: Connection, request: QueryRequest, spool: Path) -> Any:
    """Run an INSERT whose data came with it; returns the engine's result.

    The engine reads the data from a file, because its own streaming insert reports success when
    the write fails: a violated constraint or limit would lose the rows without a word.
    """
    return _load(
        handle,
        request.sql,
        request.settings_clause,
        data_format=request.statement.insert_format or "Values",
        data=request.data,
        spool=spool,
        parameters=request.parameters,
    )


def text(handle: Connection, sql: str) -> str:
    return bytes(handle.query(sql, "TSVRaw").bytes() or b"").decode().rstrip("\n")


def _check_read_only(handle: Connection, request: QueryRequest) -> None:
    """Refuse writes here: the engine would never let a handle leave read-only mode again."""
    if not request.read_only and request.settings.get("readonly", "0") == "0":
        return
    # Only the wrapped connection knows the class of a statement.
    kind = handle._conn.classify_query(request.sql)["query_class"]
    if kind.name != "READ_ONLY" and not request.statement.changes_session:
        raise QueryError(164, "default: Cannot execute query in readonly mode")


def _changed_settings(handle: Connection, settings: Mapping[str, str]) -> dict[str, str]:
    if not settings:
        return {}
    names = ", ".join(quote_text(name) for name in settings)
    rows = text(
        handle, f"SELECT name, value FROM system.settings WHERE changed AND name IN ({names})"
    )
    return dict(row.split("\t", 1) for row in rows.splitlines())


def _apply(
    handle: Connection, request: QueryRequest, settings: Mapping[str, str], spool: Path
) -> None:
    if request.database:
        handle.query(f"USE {quote_name(request.database)}", "Null")
    for table in request.tables:
        _create_external(handle, table, spool)
    for name in settings:
        if not name.replace("_", "a").replace(".", "a").isalnum():
            raise QueryError(115, f"Unknown setting '{name}'")
    if settings:
        pairs = ", ".join(f"{name} = {quote_text(value)}" for name, value in settings.items())
        handle.query(f"SET {pairs}", "Null")


def _create_external(handle: Connection, table: ExternalTable, spool: Path) -> None:
    name = quote_name(table.name)
    handle.query(f"CREATE TEMPORARY TABLE {name} ({table.structure}) ENGINE = Memory", "Null")
    if table.data:
        _load(
            handle,
            f"INSERT INTO {name}",
            "",
            data_format=table.format,
            data=(table.data,),
            spool=spool,
        )


def _load(
    handle: Connection,
    target: str,
    settings_clause: str,
    *,
    data_format: str,
    data: Iterable[bytes],
    spool: Path,
    parameters: Mapping[str, str] | None = None,
) -> Any:
    # A file without a name vanishes with the process and needs no escaping.
    with _unnamed(data, spool) as file:
        return handle.query(
            f"{target} {infile(file.fileno())}{settings_clause} FORMAT {data_format}",
            "Null",
            params=dict(parameters or {}),
        )


def _unnamed(data: Iterable[bytes], spool: Path) -> IO[bytes]:
    """`data` in memory if it is small, else in a file: small ones come by the dozen each second,
    and making a file costs more than filling it."""
    chunks = iter(data)
    file: IO[bytes] = os.fdopen(os.memfd_create("data"), "w+b")
    try:
        for chunk in chunks:
            file.write(chunk)
            if file.tell() > _IN_MEMORY_BYTES:
                file = _moved(file, spool)
                file.writelines(chunks)
        file.flush()
    except BaseException:
        file.close()
        raise
    return file


def _moved(file: IO[bytes], spool: Path) -> IO[bytes]:
    with file:
        file.seek(0)
        on_disk = cast(IO[bytes], tempfile.TemporaryFile(dir=spool))  # noqa: SIM115
        shutil.copyfileobj(file, on_disk)
        return on_disk


def _without_readonly(request: QueryRequest) -> dict[str, str]:
    return {name: value for name, value in request.settings.items() if name != "readonly"}

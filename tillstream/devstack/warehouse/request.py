"""One HTTP request as the warehouse understands it."""

import base64
import binascii
import hmac
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO

from tillstream.devstack.warehouse.blocks import decompress_blocks
from tillstream.devstack.warehouse.compression import choose_encoding, decompress
from tillstream.devstack.warehouse.descriptors import outfile
from tillstream.devstack.warehouse.errors import QueryError
from tillstream.devstack.warehouse.identity import with_own_ids
from tillstream.devstack.warehouse.statement import (
    Statement,
    is_insert,
    read_statement,
    split_types,
)

CHUNK_BYTES = 1 << 20
# Names in the URL that are not settings, as in ClickHouse's HTTPHandler.
_RESERVED = frozenset(
    {
        "query",
        "user",
        "password",
        "quota_key",
        "query_id",
        "database",
        "default_format",
        "compress",
        "decompress",
        "stacktrace",
        "role",
        "buffer_size",
        "wait_end_of_query",
        "session_id",
        "session_timeout",
        "session_check",
        "close_session",
        "client_protocol_version",
    }
)
_EXTERNAL_SUFFIXES = ("_format", "_types", "_structure")


@dataclass(frozen=True, slots=True)
class ExternalTable:
    """A temporary table that lives as long as its query. `structure` is SQL column definitions."""

    name: str
    structure: str
    format: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Session:
    id: str
    timeout_s: int
    must_exist: bool


@dataclass(frozen=True, slots=True)
class AnswerOptions:
    """How the caller wants its answer. `revision` is its protocol version, 0 when it names none."""

    whole: bool = False
    blocks: bool = False
    encoding: str | None = None
    revision: int = 0
    shows_progress: bool = False
    cancel_when_left: bool = False


@dataclass(frozen=True, slots=True)
class QueryRequest:
    """What to run. Of an INSERT with data, `sql` ends before its SETTINGS, `settings_clause` is
    those, and `data` yields its bytes, once."""

    sql: str
    settings_clause: str
    statement: Statement
    data: Iterator[bytes]
    query_id: str
    default_format: str
    database: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    tables: tuple[ExternalTable, ...] = ()
    session: Session | None = None
    read_only: bool = False
    answer: AnswerOptions = AnswerOptions()

    @property
    def output_format(self) -> str | None:
        """The format of the answer; None when there are no rows to return."""
        if not self.statement.returns_rows:
            return None
        return self.statement.output_format or self.default_format

    def sql_into(self, descriptor: int) -> str:
        """A SELECT that writes its rows to a file descriptor."""
        sql, at = self.sql.encode(), self.statement.format_start
        added = None if self.statement.output_format else self.default_format
        return sql[:at].decode() + outfile(descriptor, added) + sql[at:].decode()


@dataclass(frozen=True, slots=True)
class Credentials:
    user: str
    password: str

    def check(self, headers: Mapping[str, str], params: Mapping[str, str]) -> None:
        """Raise QueryError 516 unless the request carries this user and password."""
        user, password = given_credentials(headers, params)
        right = hmac.compare_digest(user.encode(), self.user.encode())
        right &= hmac.compare_digest(password.encode(), self.password.encode())
        if not right:
            raise QueryError(
                516,
                f"{user}: Authentication failed: password is incorrect, "
                "or there is no user with such name",
            )


def given_credentials(headers: Mapping[str, str], params: Mapping[str, str]) -> tuple[str, str]:
    """User and password of a request. Raises QueryError 516 for a header that is none."""
    if "x-clickhouse-user" in headers or "x-clickhouse-key" in headers:
        return headers.get("x-clickhouse-user", "default"), headers.get("x-clickhouse-key", "")
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            decoded = base64.b64decode(token.strip(), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError) as exc:
            raise QueryError(516, "Invalid HTTP basic authentication") from exc
        user, _, password = decoded.partition(":")
        return user or "default", password
    return params.get("user", "default"), params.get("password", "")


def build_request(
    *,
    method: str,
    headers: Mapping[str, str],
    params: Mapping[str, str],
    body: IO[bytes],
    files: Mapping[str, bytes],
) -> QueryRequest:
    """Combine URL, headers and body as ClickHouse does: the statement is the `query` parameter, a
    line break and the body, where data may follow an INSERT. Raises QueryError."""
    chunks = decompress(_read_chunks(body), headers.get("content-encoding", ""))
    if is_on(params.get("decompress")):
        chunks = decompress_blocks(chunks)
    default_format = (
        headers.get("x-clickhouse-format") or params.get("default_format") or "TabSeparated"
    )
    if not default_format.isidentifier():
        raise QueryError(73, f"Unknown format {default_format}")
    sql, clause, statement, data = _split(params.get("query", ""), chunks)
    translated = with_own_ids(sql, statement)
    if translated != sql:
        sql, statement = translated, read_statement(translated.encode())
    tables = tuple(_external_table(name, params, content) for name, content in files.items())
    settings = {
        name: value
        for name, value in params.items()
        if name not in _RESERVED
        and not name.startswith("param_")
        and not (files and name.endswith(_EXTERNAL_SUFFIXES))
    }
    return QueryRequest(
        sql=sql,
        settings_clause=clause,
        statement=statement,
        data=data,
        query_id=params["query_id"],
        default_format=default_format,
        database=headers.get("x-clickhouse-database") or params.get("database") or None,
        settings=settings,
        parameters={k[6:]: v for k, v in params.items() if k.startswith("param_")},
        tables=tables,
        session=_session(params),
        read_only=method != "POST",
        answer=_answer_options(headers, params),
    )


def is_on(value: str | None) -> bool:
    """A flag of the URL."""
    return value in ("1", "true")


def _answer_options(headers: Mapping[str, str], params: Mapping[str, str]) -> AnswerOptions:
    encoding = None
    if is_on(params.get("enable_http_compression", "1")):
        encoding = choose_encoding(headers.get("accept-encoding", ""))
    revision = params.get("client_protocol_version", "0")
    if not revision.isdigit():
        raise QueryError(6, f"Cannot parse client_protocol_version '{revision}'")
    return AnswerOptions(
        whole=is_on(params.get("wait_end_of_query")) or is_on(params.get("http_wait_end_of_query")),
        blocks=is_on(params.get("compress")),
        encoding=encoding,
        revision=int(revision),
        shows_progress=is_on(params.get("send_progress_in_http_headers")),
        cancel_when_left=is_on(params.get("cancel_http_readonly_queries_on_client_close")),
    )


def _read_chunks(body: IO[bytes]) -> Iterator[bytes]:
    body.seek(0)
    while chunk := body.read(CHUNK_BYTES):
        yield chunk


def _split(query: str, chunks: Iterator[bytes]) -> tuple[str, str, Statement, Iterator[bytes]]:
    head = f"{query}\n".encode() if query else b""
    # The statement of an INSERT must fit the first chunk; a gzip chunk may decode to very little.
    for chunk in chunks:
        head += chunk
        if len(head) >= CHUNK_BYTES:
            break
    if is_insert(head):
        statement = read_statement(head)
        if statement.data_start is not None:
            sql = _text(head[: statement.target_end])
            clause = _text(head[statement.target_end : statement.insert_end])
            return sql, clause, statement, _join(head[statement.data_start :], chunks)
    head += b"".join(chunks)
    return _text(head), "", read_statement(head), iter(())


def _join(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from rest


def _text(sql: bytes) -> str:
    try:
        return sql.decode()
    except UnicodeDecodeError as exc:
        raise QueryError(62, f"Syntax error: the query is not UTF-8: {exc}") from exc


def _external_table(name: str, params: Mapping[str, str], data: bytes) -> ExternalTable:
    structure = params.get(f"{name}_structure", "")
    if not structure:
        types = split_types(params.get(f"{name}_types", ""))
        structure = ", ".join(f"_{at} {kind}" for at, kind in enumerate(types, 1))
    if not structure:
        raise QueryError(
            36,
            "Neither structure nor types have not been provided for external table "
            f"{name}. Use fields {name}_structure or {name}_types to do so",
        )
    data_format = params.get(f"{name}_format") or "TabSeparated"
    return ExternalTable(name, structure, data_format, data)


def _session(params: Mapping[str, str]) -> Session | None:
    session_id = params.get("session_id")
    if not session_id:
        return None
    timeout = params.get("session_timeout", "60")
    if not timeout.isdigit() or int(timeout) > 3600:
        raise QueryError(374, f"Invalid session timeout: '{timeout}'")
    return Session(session_id, int(timeout), params.get("session_check", "0") == "1")

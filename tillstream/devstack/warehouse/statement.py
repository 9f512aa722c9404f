"""Reads just enough of a SQL text to serve it: what kind it is, its FORMAT, where data starts."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tillstream.devstack.warehouse.errors import QueryError

_TOKEN = re.compile(
    rb"""
    (?P<skip>\s++|--[^\n]*+|\#[\ !][^\n]*+|/\*.*?\*/)
  | (?P<quoted>'(?:[^'\\]++|\\.|'')*+'|"(?:[^"\\]++|\\.|"")*+"|`(?:[^`\\]++|\\.|``)*+`
      |(?P<heredoc>\$\w*\$).*?(?P=heredoc))
  | (?P<word>[A-Za-z_][\w$]*+)
  | (?P<mark>[();])
  | (?P<other>[^\s'"`$A-Za-z_();/\#-]++|.)
    """,
    re.VERBOSE | re.DOTALL,
)
# Statements that never return rows, so that their responses name no format.
_SILENT = frozenset(
    {
        b"ALTER",
        b"ATTACH",
        b"CREATE",
        b"DELETE",
        b"DETACH",
        b"DROP",
        b"EXCHANGE",
        b"GRANT",
        b"INSERT",
        b"OPTIMIZE",
        b"RENAME",
        b"REPLACE",
        b"REVOKE",
        b"SET",
        b"SYSTEM",
        b"TRUNCATE",
        b"UNDROP",
        b"UPDATE",
        b"USE",
    }
)
_BEFORE_TARGET = (b"INSERT", b"INTO", b"TABLE", b".")
_BEFORE_DATA = re.compile(rb"[ \t\f]*\r?\n?")


@dataclass(frozen=True, slots=True)
class Statement:
    """`data_start` is set for an INSERT whose data follows in the text, of `insert_format`.

    `insert_end` is where the statement without its FORMAT or VALUES ends, `target_end` where its
    SETTINGS start, if it has any. `output_format` is the FORMAT clause, if any, and `format_start`
    where it starts or would. `is_select` marks what can be sent while it runs, `changes_session`
    SET, USE and temporary tables.
    """

    returns_rows: bool
    is_select: bool = False
    is_kill: bool = False
    output_format: str | None = None
    format_start: int = 0
    insert_format: str | None = None
    target_end: int = 0
    insert_end: int = 0
    data_start: int | None = None
    changes_session: bool = False


@dataclass(frozen=True, slots=True)
class Token:
    kind: str
    text: bytes
    start: int
    end: int
    depth: int


def read_statement(sql: bytes) -> Statement:
    """Describe one statement. Raises QueryError for what the HTTP interface does not allow."""
    rest = tokens(sql)
    first = next((token for token in rest if token.text != b"("), None)
    if first is None:
        raise QueryError(62, "Syntax error: Empty query")
    verb = first.text.upper()
    if verb == b"INSERT":
        return _read_insert(sql, rest)
    changes_session = verb in (b"SET", b"USE")
    output_format = None
    before = beyond = b""
    name: bytes | None = None
    before_start = name_start = format_start = end = first.end
    ended = False
    for index, token in enumerate(rest):
        if ended:
            raise QueryError(
                62, f"Syntax error (Multi-statements are not allowed): failed at {token.start}"
            )
        word = token.text.upper()
        if index < 3 and verb in (b"CREATE", b"DROP") and word == b"TEMPORARY":
            changes_session = True
        if token.depth:
            before = beyond = b""
            end = token.end
            continue
        if token.text == b";":
            ended = True
        elif beyond == b"FORMAT" and name is not None and word == b"SETTINGS":
            output_format, name, format_start = name.decode(), None, name_start
        elif before == b"FORMAT" and token.kind == "word":
            name, name_start = token.text, before_start
        elif before == b"INTO" and word == b"OUTFILE":
            raise QueryError(358, "INTO OUTFILE is not allowed")
        else:
            name = None
        if not ended:
            before, beyond = word, before
            before_start, end = token.start, token.end
    if name is not None:
        output_format, format_start = name.decode(), name_start
    return Statement(
        returns_rows=verb not in _SILENT,
        is_select=verb in (b"SELECT", b"WITH"),
        is_kill=verb == b"KILL",
        output_format=output_format,
        format_start=end if output_format is None else format_start,
        changes_session=changes_session,
    )


def is_insert(sql: bytes) -> bool:
    first = next(tokens(sql), None)
    return first is not None and first.text.upper() == b"INSERT"


def _read_insert(sql: bytes, rest: Iterator[Token]) -> Statement:
    before: Token | None = None
    settings_at: int | None = None
    from_query = False
    for token in rest:
        word = token.text.upper()
        if before is not None and before.text.upper() == b"INPUT" and word == b"(" and from_query:
            raise QueryError(48, "INSERT ... SELECT FROM input() is not supported")
        if token.depth == 0 and before is not None and not from_query:
            previous = before.text.upper()
            if previous == b"FORMAT" and token.kind == "word":
                data = _BEFORE_DATA.match(sql, token.end)
                return Statement(
                    returns_rows=False,
                    insert_format=token.text.decode(),
                    target_end=before.start if settings_at is None else settings_at,
                    insert_end=before.start,
                    data_start=data.end() if data else token.end,
                )
            if word == b"VALUES" and previous not in _BEFORE_TARGET:
                return Statement(
                    returns_rows=False,
                    insert_format="Values",
                    target_end=token.start if settings_at is None else settings_at,
                    insert_end=token.start,
                    data_start=token.end,
                )
            if word == b"SETTINGS" and settings_at is None and previous not in _BEFORE_TARGET:
                settings_at = token.start
            if previous == b"FROM" and word == b"INFILE":
                raise QueryError(78, "Query has infile and was sent directly to the server")
        if word in (b"SELECT", b"WITH"):
            from_query = True
        before = token
    return Statement(returns_rows=False)


def tokens(sql: bytes) -> Iterator[Token]:
    """What a SQL text is made of, without white space and comments."""
    depth = 0
    for found in _TOKEN.finditer(sql):
        kind = found.lastgroup or "other"
        if kind == "skip":
            continue
        text = found.group()
        if text == b")":
            depth = max(depth - 1, 0)
        yield Token(kind, text, found.start(), found.end(), depth)
        if text == b"(":
            depth += 1


def split_types(types: str) -> list[str]:
    """`'UInt64, Array(Tuple(a String, b Int8))'` as its top-level parts."""
    parts, depth, start = [], 0, 0
    for at, char in enumerate(types):
        depth += (char == "(") - (char == ")")
        if char == "," and depth == 0:
            parts.append(types[start:at].strip())
            start = at + 1
    parts.append(types[start:].strip())
    return [part for part in parts if part]


def quote_name(name: str) -> str:
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def quote_text(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"

"""Engine failures as ClickHouse's HTTP interface reports them."""

import errno
import re

from tillstream.devstack.warehouse.descriptors import without_descriptors
from tillstream.errors import ServiceError

UNKNOWN_EXCEPTION = 1002
NOT_ENOUGH_SPACE = 243
CORRUPTED_DATA = 246

_NAMES = {
    36: "BAD_ARGUMENTS",
    40: "CHECKSUM_DOESNT_MATCH",
    48: "NOT_IMPLEMENTED",
    62: "SYNTAX_ERROR",
    73: "UNKNOWN_FORMAT",
    78: "UNKNOWN_TYPE_OF_QUERY",
    89: "UNKNOWN_COMPRESSION_METHOD",
    115: "UNKNOWN_SETTING",
    164: "READONLY",
    202: "TOO_MANY_SIMULTANEOUS_QUERIES",
    216: "QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING",
    NOT_ENOUGH_SPACE: "NOT_ENOUGH_SPACE",
    CORRUPTED_DATA: "CORRUPTED_DATA",
    271: "CANNOT_DECOMPRESS",
    358: "INTO_OUTFILE_NOT_ALLOWED",
    372: "SESSION_NOT_FOUND",
    373: "SESSION_IS_LOCKED",
    374: "INVALID_SESSION_TIMEOUT",
    394: "QUERY_WAS_CANCELLED",
    516: "AUTHENTICATION_FAILED",
    UNKNOWN_EXCEPTION: "UNKNOWN_EXCEPTION",
}

# ClickHouse's src/Server/HTTP/exceptionCodeToHTTPStatus.cpp, by number; all others answer 500.
_STATUS_CODES: dict[int, frozenset[int]] = {
    400: frozenset(
        {6, 8, 15, 25, 26, 27, 36, 37, 38, 41, 44, 53, 62, 72, 117, 123, 167, 168, 223}
        | {321, 376, 427, 441, 675, 676}
    ),
    401: frozenset({194}),
    403: frozenset({192, 193, 497, 512, 516}),
    404: frozenset({46, 47, 50, 56, 60, 63, 73, 78, 81, 115, 152, 336, 511}),
    408: frozenset({159}),
    411: frozenset({381}),
    413: frozenset({229}),
    415: frozenset({779}),
    501: frozenset({48}),
    503: frozenset({76, 209, 439}),
}

_CODE = re.compile(r"Code: (\d+)\. DB::Exception: ")
_TAIL = re.compile(r"\s*(?:\((?P<name>[A-Z][A-Z0-9_]+)\)|\(version [\d.]+[^)]*\)+)?\.?\s*\Z")


class QueryError(ServiceError):
    """A refused or failed query: ClickHouse's code, name and words."""

    def __init__(self, code: int, message: str, *, name: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.name = name or _NAMES.get(code, "UNKNOWN_EXCEPTION")

    @property
    def status(self) -> int:
        """The HTTP status a ClickHouse server answers with."""
        return http_status(self.code)

    def body(self, version: str) -> str:
        """The response text of a ClickHouse server of that version."""
        return (
            f"Code: {self.code}. DB::Exception: {self}. ({self.name}) "
            f"(version {version} (official build))\n"
        )


def http_status(code: int) -> int:
    for status, codes in _STATUS_CODES.items():
        if code in codes:
            return status
    return 500


def binding_error(exc: BaseException) -> QueryError:
    """What failed around the engine: a full disk, or a value that the binding cannot take."""
    if isinstance(exc, OSError) and exc.errno in (errno.ENOSPC, errno.EDQUOT):
        return QueryError(NOT_ENOUGH_SPACE, f"{exc.strerror}, needed for a request's data")
    return QueryError(UNKNOWN_EXCEPTION, f"{type(exc).__name__}: {exc}")


def parse_engine_error(text: str) -> QueryError:
    """Read the engine's words, which wrap and repeat the code and version in several ways."""
    found = _CODE.search(text)
    if found is None:
        return QueryError(UNKNOWN_EXCEPTION, text.strip() or "the engine gave no reason")
    code, message = int(found.group(1)), text[found.end() :]
    while message.startswith(found.group(0)):
        message = message[len(found.group(0)) :]
    message = without_descriptors(message)
    name = None
    while (tail := _TAIL.search(message)) is not None and tail.group(0):
        name = name or tail.group("name")
        message = message[: tail.start()]
    return QueryError(code, message, name=name)

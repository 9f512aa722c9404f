"""ClickHouse's response headers."""

import json

from tillstream.devstack.warehouse.engine import Reply
from tillstream.devstack.warehouse.request import QueryRequest

SERVER_NAME = "tillstream-embedded"
_TEXT = "text/plain; charset=UTF-8"
_BY_PREFIX = (
    ("JSONCompactEachRow", "application/x-ndjson; charset=UTF-8"),
    ("JSONStringsEachRow", "application/x-ndjson; charset=UTF-8"),
    ("JSONCompactStringsEachRow", "application/x-ndjson; charset=UTF-8"),
    ("JSONEachRow", "application/x-ndjson; charset=UTF-8"),
    ("JSONObjectEachRow", "application/json; charset=UTF-8"),
    ("JSON", "application/json; charset=UTF-8"),
    ("CSVWithNames", "text/csv; charset=UTF-8; header=present"),
    ("CSV", "text/csv; charset=UTF-8; header=absent"),
    ("TabSeparated", "text/tab-separated-values; charset=UTF-8"),
    ("TSV", "text/tab-separated-values; charset=UTF-8"),
    ("XML", "application/xml; charset=UTF-8"),
    ("Markdown", "text/markdown; charset=UTF-8"),
    ("Native", "application/octet-stream"),
    ("RowBinary", "application/octet-stream"),
    ("Arrow", "application/octet-stream"),
    ("Parquet", "application/octet-stream"),
    ("ORC", "application/octet-stream"),
    ("Avro", "application/octet-stream"),
    ("MsgPack", "application/octet-stream"),
    ("Protobuf", "application/octet-stream"),
)


def content_type(output_format: str | None) -> str:
    if output_format is None:
        return _TEXT
    return next((kind for name, kind in _BY_PREFIX if output_format.startswith(name)), _TEXT)


def identity_headers(query_id: str, timezone: str) -> dict[str, str]:
    return {
        "X-ClickHouse-Server-Display-Name": SERVER_NAME,
        "X-ClickHouse-Query-Id": query_id,
        "X-ClickHouse-Timezone": timezone,
    }


def answer_headers(
    request: QueryRequest, reply: Reply | None, *, tag: str, result_bytes: int
) -> dict[str, str]:
    """The headers of an answer, `result_bytes` long if the query has ended.

    The summary is exact then. While the query runs there are no figures to give.
    """
    output_format = request.output_format
    summary = _summary(reply or Reply(None, None), result_bytes if reply else 0)
    headers = {
        **identity_headers(request.query_id, request.settings.get("session_timezone") or "UTC"),
        "X-ClickHouse-Exception-Tag": tag,
        "Content-Type": content_type(output_format),
        "X-ClickHouse-Summary": summary,
    }
    if request.answer.shows_progress:
        headers["X-ClickHouse-Progress"] = summary
    if output_format is not None:
        headers["X-ClickHouse-Format"] = output_format
        if request.answer.encoding:
            headers["Content-Encoding"] = request.answer.encoding
    return headers


def _summary(reply: Reply, result_bytes: int) -> str:
    figures = {
        "read_rows": reply.read_rows,
        "read_bytes": reply.read_bytes,
        "written_rows": reply.written_rows,
        "written_bytes": reply.written_bytes,
        "total_rows_to_read": 0,
        "result_rows": reply.result_rows,
        "result_bytes": result_bytes,
        "elapsed_ns": reply.elapsed_ns,
    }
    return json.dumps({name: str(figure) for name, figure in figures.items()},
                      separators=(",", ":"))  # fmt: skip

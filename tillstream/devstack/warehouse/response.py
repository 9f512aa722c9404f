"""ClickHouse's response headers."""

import json

from tillstream.devstack.warehouse.engine import Reply

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


def reply_headers(reply: Reply) -> dict[str, str]:
    headers = {
        "Content-Type": content_type(reply.format),
        "X-ClickHouse-Summary": json.dumps(
            {
                "read_rows": str(reply.read_rows),
                "read_bytes": str(reply.read_bytes),
                "written_rows": str(reply.written_rows),
                "written_bytes": str(reply.written_bytes),
                "total_rows_to_read": "0",
                "result_rows": str(reply.result_rows),
                "result_bytes": str(len(reply.body) if reply.body is not None else 0),
                "elapsed_ns": str(reply.elapsed_ns),
            },
            separators=(",", ":"),
        ),
    }
    if reply.format is not None:
        headers["X-ClickHouse-Format"] = reply.format
    return headers

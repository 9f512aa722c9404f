"""Errors, credentials, encodings and request parts of ClickHouse's HTTP interface."""

import base64
import gzip
import io
import zlib
from collections.abc import Iterator

import lz4.frame
import pytest
import zstandard

from tillstream.devstack.warehouse.compression import choose_encoding, decompress, deflater
from tillstream.devstack.warehouse.errors import QueryError, http_status, parse_engine_error
from tillstream.devstack.warehouse.request import Credentials, QueryRequest, build_request

PLAIN = b"store\tproduct\n" * 5000


@pytest.mark.parametrize(
    ("text", "code", "name", "message"),
    [
        (
            "Code: 115. DB::Exception: Code: 115. DB::Exception: Unknown setting 'x'. "
            "(UNKNOWN_SETTING) (version 26.9.2.1). (UNKNOWN_SETTING)",
            115,
            "UNKNOWN_SETTING",
            "Unknown setting 'x'",
        ),
        (
            "Streaming insert finish failed: Code: 27. DB::Exception: Cannot parse input: (at row "
            "2)\n: While executing TSV. (CANNOT_PARSE_INPUT_ASSERTION_FAILED) (version 26.9.2.1)",
            27,
            "CANNOT_PARSE_INPUT_ASSERTION_FAILED",
            "Cannot parse input: (at row 2)\n: While executing TSV",
        ),
        ("something else", 1002, "UNKNOWN_EXCEPTION", "something else"),
    ],
)
def test_engine_words_become_one_code_name_and_message(
    text: str, code: int, name: str, message: str
) -> None:
    error = parse_engine_error(text)
    assert (error.code, error.name, str(error)) == (code, name, message)
    assert error.body("26.9.2.1") == (
        f"Code: {code}. DB::Exception: {message}. ({name}) (version 26.9.2.1 (official build))\n"
    )


@pytest.mark.parametrize(
    ("code", "status"),
    [(62, 400), (60, 404), (81, 404), (115, 404), (516, 403), (194, 401), (48, 501), (159, 408),
     (241, 500), (164, 500)],
)  # fmt: skip
def test_http_status_is_clickhouses_own(code: int, status: int) -> None:
    assert http_status(code) == status


def _basic(user: str, password: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.mark.parametrize(
    ("headers", "params", "right"),
    [
        ({"x-clickhouse-user": "u", "x-clickhouse-key": "p:ä"}, {}, True),
        (_basic("u", "p:ä"), {}, True),
        ({}, {"user": "u", "password": "p:ä"}, True),
        ({}, {}, False),
        (_basic("u", "wrong"), {"user": "u", "password": "p:ä"}, False),
        ({"authorization": "Basic ???"}, {}, False),
        ({"x-clickhouse-user": "u"}, {"password": "p:ä"}, False),
    ],
)
def test_credentials_by_header_basic_or_url(
    headers: dict[str, str], params: dict[str, str], right: bool
) -> None:
    credentials = Credentials("u", "p:ä")
    if right:
        credentials.check(headers, params)
        return
    with pytest.raises(QueryError) as refused:
        credentials.check(headers, params)
    assert refused.value.code == 516


def _pieces(data: bytes, size: int = 7) -> Iterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


ENCODED = {
    "gzip": gzip.compress(PLAIN),
    "deflate": zlib.compress(PLAIN),
    "lz4": bytes(lz4.frame.compress(PLAIN)),
    "zstd": zstandard.ZstdCompressor().compress(PLAIN),
    "": PLAIN,
}


@pytest.mark.parametrize("encoding", ENCODED)
def test_request_bodies_decode_in_any_pieces(encoding: str) -> None:
    assert b"".join(decompress(_pieces(ENCODED[encoding]), encoding)) == PLAIN


@pytest.mark.parametrize("encoding", ["gzip", "lz4", "zstd"])
def test_frames_that_follow_one_another_decode(encoding: str) -> None:
    assert b"".join(decompress(_pieces(ENCODED[encoding] * 2), encoding)) == PLAIN * 2


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "lz4", "zstd"])
def test_a_cut_or_broken_body_is_an_error(encoding: str) -> None:
    for data in (ENCODED[encoding][:-6], b"not compressed at all"):
        with pytest.raises(QueryError) as refused:
            list(decompress(_pieces(data), encoding))
        assert refused.value.code == 271


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "lz4", "zstd"])
def test_responses_encode_piecewise(encoding: str) -> None:
    pipe = deflater(encoding)
    encoded = b"".join([pipe.compress(piece) for piece in _pieces(PLAIN, 1000)] + [pipe.flush()])
    assert len(encoded) < len(PLAIN)
    assert b"".join(decompress([encoded], encoding)) == PLAIN


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [("", None), ("gzip, deflate", "gzip"), ("zstd,gzip;q=0", "zstd"), ("lz4,br,zstd", "lz4"),
     ("br", None)],
)  # fmt: skip
def test_response_encoding_follows_accept_encoding(accept: str, chosen: str | None) -> None:
    assert choose_encoding(accept) == chosen


def _request(
    params: dict[str, str], body: bytes = b"", *, method: str = "POST", **headers: str
) -> QueryRequest:
    return build_request(
        method=method,
        headers={name.replace("_", "-"): value for name, value in headers.items()},
        params={"query_id": "q", **params},
        body=io.BytesIO(body),
        files={},
    )


def test_query_and_body_are_joined_by_a_line_break() -> None:
    request = _request({"query": "INSERT INTO t FORMAT TSV"}, b"1\n2\n")
    assert (request.sql, b"".join(request.data)) == ("INSERT INTO t ", b"1\n2\n")
    assert _request({"query": "SELECT 1,"}, b"2").sql == "SELECT 1,\n2"


def test_settings_are_what_is_left_of_the_url() -> None:
    request = _request(
        {"query": "SELECT 1", "database": "d", "max_threads": "2", "param_x": "5", "quota_key": "k",
         "wait_end_of_query": "1", "client_protocol_version": "54405"},
    )  # fmt: skip
    assert request.settings == {"max_threads": "2"}
    assert request.parameters == {"x": "5"}
    assert request.database == "d"


def test_format_header_comes_before_default_format() -> None:
    params = {"query": "SELECT 1", "default_format": "CSV"}
    assert _request(params).default_format == "CSV"
    assert _request(params, x_clickhouse_format="JSON").default_format == "JSON"
    assert _request({"query": "SELECT 1"}).default_format == "TabSeparated"


def test_insert_statement_and_data_split_over_small_compressed_chunks() -> None:
    rows = b"".join(b"%d\n" % number for number in range(400_000))
    body = gzip.compress(b"INSERT INTO t FORMAT TSV\n" + rows)
    request = _request({}, body, content_encoding="gzip")
    assert request.sql == "INSERT INTO t "
    assert b"".join(request.data) == rows


def test_get_is_read_only() -> None:
    assert _request({"query": "SELECT 1"}, method="GET").read_only
    assert not _request({"query": "SELECT 1"}).read_only

"""Answers of any size, in any number, and what happens when they break off or are not read."""

from __future__ import annotations

import json
import socket
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import psutil
import pytest
from clickhouse_connect.driver.exceptions import StreamFailureError

from tests.integration.test_warehouse_http import code_of, connect, eventually, post

if TYPE_CHECKING:
    # At run time pytest must be the first to import it, or its asserts are not rewritten.
    from tests.fixtures.warehouse import WarehouseProcess

pytestmark = pytest.mark.integration
pytest_plugins = ["tests.fixtures.warehouse"]

FAILS_LATE = "SELECT throwIf(number = 3000000, 'too far') FROM numbers(5000000)"


def running(server: WarehouseProcess, query_id: str) -> bool:
    count = f"SELECT count() FROM system.processes WHERE query_id = '{query_id}'"
    return post(server, count).text != "0\n"


@contextmanager
def raw(server: WarehouseProcess, sql: str, **params: str) -> Iterator[socket.socket]:
    """A connection that sent its query and has read nothing yet."""
    with socket.create_connection((server.host, server.port), timeout=60) as connection:
        query = str(httpx.QueryParams(params))
        token = b64encode(f"{server.user}:{server.password}".encode()).decode()
        head = f"POST /?{query} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {token}\r\n"
        connection.sendall(f"{head}Content-Length: {len(sql)}\r\n\r\n{sql}".encode())
        yield connection


def read_all(connection: socket.socket) -> bytes:
    parts = []
    while part := connection.recv(1 << 20):
        parts.append(part)
    return b"".join(parts)


@pytest.fixture
def small_warehouse(tmp_path: Path) -> Iterator[WarehouseProcess]:
    """A warehouse of little memory that takes four queries."""
    from tests.fixtures.warehouse import WarehouseProcess

    small = WarehouseProcess(tmp_path, arguments=("--memory-mb", "700", "--max-queries", "4"))
    small.start()
    yield small
    small.kill()


# size --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["", "gzip", "zstd"])
@pytest.mark.parametrize("sql", [
    "SELECT number, toString(number) AS s FROM numbers(600000) ORDER BY number FORMAT JSON",
    "SELECT number % 3 n, count() FROM numbers(10) GROUP BY n WITH TOTALS ORDER BY n FORMAT JSON",
    "SELECT * FROM numbers(500000) FORMAT CSVWithNames SETTINGS max_block_size = 1000",
])  # fmt: skip
def test_a_streamed_answer_equals_a_held_one(
    warehouse_server: WarehouseProcess, sql: str, encoding: str
) -> None:
    def ask(wait: str) -> bytes:
        response = httpx.post(
            warehouse_server.url,
            params={"wait_end_of_query": wait, "output_format_write_statistics": "0"},
            content=sql,
            headers={"Accept-Encoding": encoding},
            auth=(warehouse_server.user, warehouse_server.password),
            timeout=60,
        )
        assert response.headers.get("Content-Encoding", "") == encoding
        return response.content

    streamed = ask("0")
    assert streamed == ask("1")
    assert streamed.endswith(b"}\n") == ("JSON" in sql)


def test_a_large_answer_takes_constant_memory_and_starts_early(
    own_warehouse: WarehouseProcess,
) -> None:
    process = psutil.Process(own_warehouse.pid)
    sql = "SELECT number FROM numbers(50000000) FORMAT RowBinary"
    before = peak = process.memory_info().rss
    size = 0
    with raw(own_warehouse, sql, query_id="large") as connection:
        connection.settimeout(60)
        while size < 50_000_000 * 8:
            part = connection.recv(1 << 22)
            assert part
            if not size:
                assert running(own_warehouse, "large")
            if size >> 24 != (size + len(part)) >> 24:
                peak = max(peak, process.memory_info().rss)
            size += len(part)
    assert peak - before < 150 << 20


def test_small_answers_have_exact_summaries(warehouse_server: WarehouseProcess) -> None:
    for wait in ("0", "1"):
        answer = post(warehouse_server, "SELECT number FROM numbers(1000) WHERE number % 2",
                      wait_end_of_query=wait, send_progress_in_http_headers="1")  # fmt: skip
        summary = json.loads(answer.headers["X-ClickHouse-Summary"])
        figures = [summary[key] for key in ("read_rows", "result_rows", "result_bytes")]
        assert figures == ["1000", "500", str(len(answer.text))]
        assert answer.headers["X-ClickHouse-Progress"] == answer.headers["X-ClickHouse-Summary"]


def test_a_held_answer_of_any_size_has_an_exact_summary(warehouse_server: WarehouseProcess) -> None:
    answer = post(warehouse_server, "SELECT number FROM numbers(400000)", wait_end_of_query="1")
    assert json.loads(answer.headers["X-ClickHouse-Summary"])["result_rows"] == "400000"
    assert answer.text.count("\n") == 400_000


# breaking off ------------------------------------------------------------------------------------


def test_an_answer_is_given_again_to_who_takes_one(warehouse_server: WarehouseProcess) -> None:
    sql = "SELECT generateUUIDv4() AS id, toString(number) FROM numbers(2000) FORMAT JSONEachRow"
    cached = {"use_query_cache": "1", "query_cache_ttl": "60"}
    assert "CACHE_USED_WITH_NONDETERMINISTIC" in post(warehouse_server, sql, **cached).text
    cached["query_cache_nondeterministic_function_handling"] = "save"
    first = post(warehouse_server, sql, **cached)
    again = post(warehouse_server, sql, **cached)
    assert again.text == first.text
    assert len(first.text.splitlines()) == 2000
    assert "Age" not in first.headers
    assert int(again.headers["Age"]) < 60
    assert again.headers["X-ClickHouse-Query-Id"] != first.headers["X-ClickHouse-Query-Id"]
    figures = [json.loads(answer.headers["X-ClickHouse-Summary"]) for answer in (first, again)]
    assert figures[0] == figures[1]
    assert figures[0]["result_rows"] == "2000"
    assert post(warehouse_server, sql).text != first.text
    slow = post(warehouse_server, sql, **cached, query_cache_min_query_duration="600000")
    assert slow.text != first.text
    refused = post(warehouse_server, sql, use_query_cache="1", query_cache_ttl="soon")
    assert refused.status_code >= 400


def test_an_error_amid_an_answer_is_told_and_the_connection_cut(
    warehouse_server: WarehouseProcess,
) -> None:
    with raw(warehouse_server, FAILS_LATE) as connection:
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 200")
    tag = answer.split(b"x-clickhouse-exception-tag: ")[1][:16]
    assert b"\r\n__exception__\r\n" + tag + b"\r\nCode: 395. DB::Exception: too far" in answer
    assert not answer.endswith(b"0\r\n\r\n")
    assert post(warehouse_server, "SELECT 1").text == "1\n"


@pytest.mark.parametrize("compress", [False, "gzip", "zstd"])
def test_clickhouse_connect_raises_an_error_amid_an_answer(
    warehouse_server: WarehouseProcess, compress: bool | str
) -> None:
    client = connect(warehouse_server, compress=compress)
    with pytest.raises(StreamFailureError, match="too far"):
        assert client.query(FAILS_LATE, settings={"wait_end_of_query": 0}).result_rows
    assert client.command("SELECT 1") == 1
    client.close()


def test_a_held_answer_that_fails_is_a_plain_error(warehouse_server: WarehouseProcess) -> None:
    answer = post(warehouse_server, FAILS_LATE, wait_end_of_query="1")
    assert code_of(answer) == (500, "395")
    assert "INTO OUTFILE" not in answer.text


def test_a_reader_that_leaves_ends_its_query(warehouse_server: WarehouseProcess) -> None:
    sql = "SELECT number FROM numbers(1000000000000) FORMAT RowBinary"
    with raw(warehouse_server, sql, query_id="left-amid") as connection:
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        assert running(warehouse_server, "left-amid")
    eventually(lambda: not running(warehouse_server, "left-amid"))


def test_kill_query_by_the_callers_id(warehouse_server: WarehouseProcess) -> None:
    endless_sql = "SELECT count() FROM numbers(1000000000000) WHERE sipHash64(number) = 7"
    with ThreadPoolExecutor(1) as pool:
        endless = pool.submit(post, warehouse_server, endless_sql, query_id="mine")
        eventually(lambda: running(warehouse_server, "mine"))
        shown = post(warehouse_server,
                     "SELECT query FROM system.processes WHERE query_id = 'mine'").text  # fmt: skip
        assert shown == f"{endless_sql}\n"
        assert code_of(post(warehouse_server, "SELECT 1", query_id="mine")) == (500, "216")
        assert post(warehouse_server, "KILL QUERY WHERE query_id = 'other' SYNC").text == ""
        assert "count()" in post(warehouse_server, "KILL QUERY WHERE query_id = 'mine' SYNC").text
        assert code_of(endless.result(20)) == (500, "394")
    assert post(warehouse_server, "SELECT 1", query_id="mine").text == "1\n"


# many --------------------------------------------------------------------------------------------


def test_slow_readers_block_nobody_and_get_everything(own_warehouse: WarehouseProcess) -> None:
    sql = "SELECT number FROM numbers(2000000) FORMAT RowBinary"
    process = psutil.Process(own_warehouse.pid)
    count = "SELECT count() FROM system.processes WHERE query LIKE '%RowBinary'"
    with ExitStack() as stack:
        slow = [stack.enter_context(raw(own_warehouse, sql)) for _ in range(30)]
        eventually(lambda: post(own_warehouse, count).text == "30\n", 60)
        for _ in range(5):
            assert post(own_warehouse, "SELECT sum(number) FROM numbers(10)").text == "45\n"
        assert process.memory_info().rss < 900 << 20
        got = 0
        while got < 16_000_000:
            got += len(slow[0].recv(1 << 20))
    eventually(lambda: post(own_warehouse, count).text == "0\n", 60)


def test_a_hundred_clients_at_once_are_answered_and_inserts_pass_them(
    own_warehouse: WarehouseProcess,
) -> None:
    post(own_warehouse, "CREATE TABLE seen (n UInt64) ENGINE = MergeTree ORDER BY n")
    post(own_warehouse, "INSERT INTO seen SELECT number FROM numbers(2000000)")

    def read(number: int) -> int:
        with httpx.Client(auth=(own_warehouse.user, own_warehouse.password), timeout=120) as user:
            sql = f"SELECT uniqExact(n * {number} % 1000003) FROM seen"
            return int(user.post(own_warehouse.url, content=sql).text)

    with ThreadPoolExecutor(100) as pool:
        answers = [pool.submit(read, number) for number in range(1, 101)]
        eventually(lambda: any(answer.done() for answer in answers), 60)
        for batch in range(3):
            rows = "".join(f"{row}\n" for row in range(batch * 1000, batch * 1000 + 1000))
            assert post(own_warehouse, rows, query="INSERT INTO seen FORMAT TSV").status_code == 200
        waiting_after_inserts = sum(not answer.done() for answer in answers)
        assert {answer.result() for answer in answers} == {1_000_003}
    assert waiting_after_inserts > 50


def test_more_queries_than_allowed_are_refused(small_warehouse: WarehouseProcess) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: post(small_warehouse, "SELECT sleep(3)"), range(8)))
    refused = [answer for answer in answers if answer.status_code != 200]
    assert refused
    assert {code_of(answer) for answer in refused} == {(500, "202")}
    assert len(answers) - len(refused) >= 4
    assert post(small_warehouse, "SELECT 1").text == "1\n"


def test_a_query_beyond_the_servers_memory_fails_and_the_server_lives(
    small_warehouse: WarehouseProcess,
) -> None:
    greedy = post(small_warehouse, "SELECT length(groupArray(number)) FROM numbers(300000000)")
    assert code_of(greedy) == (500, "241")
    assert post(small_warehouse, "SELECT 1").text == "1\n"

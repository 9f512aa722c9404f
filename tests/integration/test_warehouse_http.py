"""The embedded warehouse, spoken to as a ClickHouse server: by clickhouse-connect and raw HTTP."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import clickhouse_connect
import httpx
import lz4.frame
import pyarrow as pa
import pytest
import zstandard
from clickhouse_connect.driver.exceptions import DatabaseError
from clickhouse_connect.driver.external import ExternalData

if TYPE_CHECKING:
    # At run time pytest must be the first to import it, or its asserts are not rewritten.
    from tests.fixtures.warehouse import WarehouseProcess

pytestmark = pytest.mark.integration
pytest_plugins = ["tests.fixtures.warehouse"]

ONE_BLOCK = {"min_insert_block_size_rows": 10**9, "min_insert_block_size_bytes": 10**12}


def connect(server: WarehouseProcess, **options: Any) -> Any:
    return clickhouse_connect.get_client(
        host=server.host,
        port=server.port,
        **{"username": server.user, "password": server.password, **options},
    )


def post(server: WarehouseProcess, body: bytes | str = b"", **params: str) -> httpx.Response:
    return httpx.post(
        f"{server.url}/", params=params, content=body, auth=(server.user, server.password),
        timeout=60,
    )  # fmt: skip


def code_of(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.headers.get("X-ClickHouse-Exception-Code", "")


def eventually(condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


@pytest.fixture
def client(warehouse_server: WarehouseProcess) -> Iterator[Any]:
    """A client of an empty `shop` database."""
    admin = connect(warehouse_server)
    admin.command("CREATE DATABASE shop")
    shop = connect(warehouse_server, database="shop")
    yield shop
    shop.close()
    admin.command("DROP DATABASE shop SYNC")
    admin.close()


@pytest.fixture
def sales(client: Any) -> str:
    client.command(
        "CREATE TABLE sales (store_id UInt32, product String, amount Decimal(18, 2)) "
        "ENGINE = MergeTree ORDER BY (store_id, product) "
        "SETTINGS non_replicated_deduplication_window = 100"
    )
    return "sales"


def sales_table(rows: int) -> pa.Table:
    return pa.table(
        {
            "store_id": pa.array([row % 7 for row in range(rows)], pa.uint32()),
            "product": pa.array([f"p{row}" for row in range(rows)]),
            "amount": pa.array([Decimal(row) / 100 for row in range(rows)], pa.decimal128(18, 2)),
        }
    )


# clickhouse-connect ------------------------------------------------------------------------------


def test_client_sees_a_clickhouse_server_in_utc(client: Any) -> None:
    assert client.server_version.startswith("26.9")
    assert str(client.server_tz) == "UTC"
    # Brotli, when some other library has brought it along.
    assert client.compression.replace("br,", "") == "lz4,zstd,gzip,deflate"
    assert client.ping()
    assert client.command("SELECT currentDatabase()") == "shop"


@pytest.mark.parametrize("compress", [False, "lz4", "zstd", "gzip"])
def test_rows_travel_both_ways_under_every_compression(
    warehouse_server: WarehouseProcess, client: Any, sales: str, compress: bool | str
) -> None:
    other = connect(warehouse_server, database="shop", compress=compress)
    rows = [[1, "milk", Decimal("1.25")], [2, "bröd 🍞", Decimal("-0.01")]]
    summary = other.insert(sales, rows, column_names=["store_id", "product", "amount"])
    assert summary.written_rows == 2
    result = other.query("SELECT * FROM sales ORDER BY store_id")
    assert result.result_rows == [(1, "milk", Decimal("1.25")), (2, "bröd 🍞", Decimal("-0.01"))]
    assert result.column_names == ("store_id", "product", "amount")
    assert int(result.summary["read_rows"]) == 2
    other.close()


def test_arrow_pandas_raw_and_streams(client: Any, sales: str) -> None:
    table = sales_table(1000)
    assert client.insert_arrow(sales, table).written_rows == 1000
    order = "SELECT * FROM sales ORDER BY amount"
    fetched = client.query_arrow(order, use_strings=True)
    assert fetched.to_pylist() == table.to_pylist()
    assert fetched.schema.types == table.schema.types
    assert client.query_df(order)["product"].tolist() == table["product"].to_pylist()
    assert client.raw_query("SELECT sum(amount) FROM sales", fmt="CSV") == b"4995\n"
    with client.query_row_block_stream("SELECT number FROM numbers(300000)") as blocks:
        assert sum(row[0] for block in blocks for row in block) == 299_999 * 300_000 // 2
    client.raw_insert(sales, insert_block="9,x,1\n9,y,2\n", fmt="CSV")
    client.raw_insert(
        sales, insert_block=gzip.compress(b"9\tz\t3\n"), fmt="TSV", compression="gzip"
    )
    assert client.query("SELECT sum(amount) FROM sales WHERE store_id = 9").first_row == (6,)


def test_commands_return_values_or_summaries(client: Any, sales: str) -> None:
    assert client.command("SELECT 5 + 1") == 6
    assert client.command("SELECT product FROM sales") == ""
    assert client.command("EXISTS TABLE sales") == 1
    assert client.command("INSERT INTO sales VALUES (1, 'a;b', 2), (2, 'c', 3);").written_rows == 2
    assert client.command("SELECT count() FROM sales") == 2
    assert client.command("TRUNCATE TABLE sales").query_id()


def test_parameters_are_bound_by_the_engine(client: Any, sales: str) -> None:
    text = "it's a \\ tab\t and\nline {x:Int8}"
    row = client.query(
        "SELECT {text:String}, {ids:Array(UInt32)}, {at:DateTime}",
        parameters={"text": text, "ids": [1, 2], "at": "2017-11-20 08:00:00"},
    ).first_row
    assert row[:2] == (text, [1, 2])
    client.command("INSERT INTO sales VALUES (1, {p:String}, 1)", parameters={"p": text})
    assert client.command("SELECT product = {p:String} FROM sales", parameters={"p": text}) == 1
    with pytest.raises(DatabaseError) as missing:
        client.query("SELECT {nothing:UInt8}, {given:UInt8}", parameters={"given": 1})
    assert missing.value.code == 456


def test_settings_hold_for_their_query_only(client: Any) -> None:
    get = "SELECT getSetting('max_block_size'), getSetting('max_threads')"
    before = client.query(get).first_row
    assert client.query(get, settings={"max_block_size": 77}).first_row == (77, before[1])
    assert client.query(get).first_row == before
    refusals: list[tuple[dict[str, Any], int]] = [
        ({"max_result_rows": 10, "result_overflow_mode": "throw"}, 396),
        ({"max_memory_usage": 5_000_000}, 241),
        ({"max_execution_time": 0.01}, 159),
    ]
    for settings, code in refusals:
        with pytest.raises(DatabaseError) as refused:
            client.query(
                "SELECT number, groupArray(number) FROM numbers(1000000) GROUP BY number",
                settings=settings,
            )
        assert refused.value.code == code


@pytest.mark.parametrize("keys", [0, 3, 100_000])
def test_external_data_joins_one_query(client: Any, keys: int) -> None:
    data = b"".join(key.to_bytes(8, "little") for key in range(keys))
    external = ExternalData(file_name="keys", data=data, fmt="RowBinary", structure="k UInt64")
    question = "SELECT count() FROM numbers(50000) WHERE number IN (SELECT k FROM keys)"
    assert client.query(question, external_data=external).first_row == (min(keys, 50_000),)
    with pytest.raises(DatabaseError) as gone:
        client.query(question)
    assert gone.value.code == 60


def test_external_data_by_types_and_in_tsv_with_parameters(client: Any) -> None:
    external = ExternalData(file_name="a", data=b"1\tx\n2\ty\n", types=["UInt8", "String"])
    external.add_file(file_name="b.csv", data=b"2,9\n", fmt="CSV", structure="id UInt8, n UInt8")
    row = client.query(
        "SELECT a._2, b.n FROM a JOIN b ON a._1 = b.id WHERE a._1 = {id:UInt8}",
        external_data=external,
        parameters={"id": 2},
    ).first_row
    assert row == ("y", 9)


def test_form_encoded_queries(warehouse_server: WarehouseProcess, client: Any) -> None:
    form = connect(warehouse_server, database="shop", form_encode_query_params=True)
    wanted = list(range(50_000))
    row = form.query("SELECT length({ids:Array(UInt32)})", parameters={"ids": wanted}).first_row
    assert row == (50_000,)
    form.close()


def test_errors_carry_clickhouses_code_and_name(client: Any) -> None:
    with pytest.raises(DatabaseError) as unknown:
        client.query("SELECT * FROM nothing_here")
    assert (unknown.value.code, unknown.value.name) == (60, "UNKNOWN_TABLE")
    with pytest.raises(DatabaseError) as syntax:
        client.command("SELEC 1")
    assert syntax.value.code == 62


def test_wrong_password_is_refused(warehouse_server: WarehouseProcess) -> None:
    with pytest.raises(DatabaseError) as refused:
        connect(warehouse_server, password="wrong")
    assert refused.value.code == 516


def test_low_cardinality_and_nested_types(client: Any) -> None:
    row = client.query(
        "SELECT toLowCardinality('a'), [tuple(1, 'x')], map('k', 1.5), toNullable(NULL), "
        "toDateTime64('2017-11-20 08:00:00.123', 3, 'UTC'), toUUID('61f0c404-5cb3-11e7-907b-"
        "a6006ad3dba0'), toDecimal128('12.34', 4)"
    ).first_row
    assert row[:4] == ("a", [(1, "x")], {"k": 1.5}, None)
    assert row[4].isoformat() == "2017-11-20T08:00:00.123000"
    assert str(row[5]) == "61f0c404-5cb3-11e7-907b-a6006ad3dba0"
    assert row[6] == Decimal("12.34")


# sessions ----------------------------------------------------------------------------------------


def test_a_session_keeps_its_settings_and_temporary_tables(
    warehouse_server: WarehouseProcess,
) -> None:
    def ask(sql: str, **params: str) -> str:
        response = post(warehouse_server, sql, session_id="s1", **params)
        assert response.status_code == 200, response.text
        return response.text

    ask("CREATE TEMPORARY TABLE picked (id UInt8)")
    ask("INSERT INTO picked FORMAT TSV\n1\n2\n")
    ask("SET max_block_size = 11")
    assert ask("SELECT sum(id), getSetting('max_block_size') FROM picked") == "3\t11\n"
    per_query = ask("SELECT getSetting('max_block_size'), currentDatabase()",
                    max_block_size="12", database="system")  # fmt: skip
    assert per_query == "12\tsystem\n"
    assert ask("SELECT getSetting('max_block_size'), currentDatabase()") == "11\tdefault\n"
    assert code_of(post(warehouse_server, "DROP TABLE picked", session_id="s1", readonly="1")) == (
        500, "164",
    )  # fmt: skip
    assert ask("SELECT count() FROM picked", readonly="1") == "2\n"
    assert code_of(post(warehouse_server, "SELECT * FROM picked")) == (404, "60")
    assert code_of(post(warehouse_server, "SELECT nosuch", session_id="s1", nosuch="1")) == (
        404, "115",
    )  # fmt: skip
    assert ask("SELECT count() FROM picked") == "2\n"


def test_session_check_and_lock(warehouse_server: WarehouseProcess) -> None:
    assert code_of(post(warehouse_server, "SELECT 1", session_id="none", session_check="1")) == (
        500, "372",
    )  # fmt: skip
    with ThreadPoolExecutor(1) as other:
        slow = other.submit(post, warehouse_server, "SELECT sleep(2)", session_id="busy")
        running = "SELECT count() FROM system.processes WHERE query = 'SELECT sleep(2)'"
        while post(warehouse_server, running).text != "1\n":
            assert not slow.done(), slow.result().text
        assert code_of(post(warehouse_server, "SELECT 1", session_id="busy"))[1] == "373"
        assert slow.result().text == "0\n"


# raw HTTP ----------------------------------------------------------------------------------------


def test_health_needs_no_password(warehouse_server: WarehouseProcess) -> None:
    for path in ("/", "/ping", "/replicas_status"):
        response = httpx.get(warehouse_server.url + path)
        assert (response.status_code, response.text) == (200, "Ok.\n")
    assert httpx.get(warehouse_server.url + "/nothing").status_code == 404


def test_credentials_by_every_way_and_none(warehouse_server: WarehouseProcess) -> None:
    url, user, password = warehouse_server.url, warehouse_server.user, warehouse_server.password
    ways: list[dict[str, Any]] = [
        {"headers": {"X-ClickHouse-User": user, "X-ClickHouse-Key": password}},
        {"auth": (user, password)},
        {"params": {"query": "SELECT 1", "user": user, "password": password}},
    ]
    for way in ways:
        assert httpx.get(url, **{"params": {"query": "SELECT 1"}, **way}).text == "1\n"
    refused = httpx.get(url, params={"query": "SELECT 1"})
    assert code_of(refused) == (403, "516")
    assert "(AUTHENTICATION_FAILED)" in refused.text


def test_get_reads_and_post_writes(warehouse_server: WarehouseProcess) -> None:
    auth = (warehouse_server.user, warehouse_server.password)
    params = {"query": "CREATE TABLE made_by_get (a Int8) ENGINE = Memory"}
    refused = httpx.get(warehouse_server.url, params=params, auth=auth)
    assert code_of(refused) == (500, "164")
    assert post(warehouse_server, "EXISTS TABLE made_by_get").text == "0\n"


def test_formats_and_headers(warehouse_server: WarehouseProcess) -> None:
    plain = post(warehouse_server, "SELECT 1 AS x", query_id="my-id")
    assert plain.headers["X-ClickHouse-Format"] == "TabSeparated"
    assert plain.headers["Content-Type"] == "text/tab-separated-values; charset=UTF-8"
    assert plain.headers["X-ClickHouse-Query-Id"] == "my-id"
    assert plain.headers["X-ClickHouse-Timezone"] == "UTC"
    assert plain.headers["X-ClickHouse-Server-Display-Name"]
    chosen = post(warehouse_server, "SELECT 1 AS x FORMAT JSON", default_format="CSV")
    assert chosen.headers["Content-Type"] == "application/json; charset=UTF-8"
    assert chosen.json()["data"] == [{"x": 1}]
    assert post(warehouse_server, "SELECT 'a'", default_format="CSV").text == '"a"\n'
    made = post(warehouse_server, "CREATE TABLE IF NOT EXISTS h (a Int8) ENGINE = Memory")
    assert "X-ClickHouse-Format" not in made.headers
    written = post(warehouse_server, b"1\n2\n", query="INSERT INTO h FORMAT TSV")
    summary = json.loads(written.headers["X-ClickHouse-Summary"])
    assert (summary["written_rows"], written.content) == ("2", b"")
    assert int(summary["elapsed_ns"]) > 0


@pytest.mark.parametrize(
    ("sql", "params", "status", "code"),
    [
        ("SELEC 1", {}, 400, "62"),
        ("SELECT 1; SELECT 2", {}, 400, "62"),
        ("SELECT * FROM nothing", {}, 404, "60"),
        ("SELECT 1", {"database": "nothing"}, 404, "81"),
        ("SELECT 1", {"no_such_setting": "1"}, 404, "115"),
        ("SELECT 1", {"max_threads; DROP": "1"}, 404, "115"),
        ("SELECT 1", {"max_threads": "many"}, 400, "27"),
        ("SELECT 1 FORMAT Nothing", {}, 404, "73"),
        ("SELECT throwIf(1)", {}, 500, "395"),
        ("SELECT 1 /*" + "x" * 300 + "*/", {"max_query_size": "200"}, 400, "62"),
        ("SELECT 1 INTO OUTFILE 'x'", {}, 500, "358"),
    ],
)
def test_errors_have_clickhouses_status_and_code(
    warehouse_server: WarehouseProcess, sql: str, params: dict[str, str], status: int, code: str
) -> None:
    response = post(warehouse_server, sql, **params)
    assert code_of(response) == (status, code), response.text
    assert response.text.startswith(f"Code: {code}. DB::Exception: ")
    assert response.text.endswith("(version 26.9.2.1 (official build))\n")


@pytest.mark.parametrize("encoding", ["gzip", "lz4", "zstd"])
def test_compression_both_ways(warehouse_server: WarehouseProcess, encoding: str) -> None:
    encode: Callable[[bytes], bytes] = {
        "gzip": gzip.compress,
        "lz4": lz4.frame.compress,
        "zstd": zstandard.ZstdCompressor().compress,
    }[encoding]
    decode: Callable[[bytes], bytes] = {
        "gzip": gzip.decompress,
        "lz4": lz4.frame.decompress,
        "zstd": lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data),
    }[encoding]
    for rows in (10, 1_000_000):  # one sent whole, one sent in pieces
        with httpx.stream(
            "POST",
            warehouse_server.url,
            params={"enable_http_compression": "1"},
            content=encode(b"SELECT number FROM numbers(%d)" % rows),
            headers={"Content-Encoding": encoding, "Accept-Encoding": encoding},
            auth=(warehouse_server.user, warehouse_server.password),
        ) as response:
            assert response.headers["Content-Encoding"] == encoding
            data = decode(b"".join(response.iter_raw()))
        assert data == b"".join(b"%d\n" % number for number in range(rows))
    off = httpx.post(
        warehouse_server.url, params={"enable_http_compression": "0"}, content="SELECT 1",
        headers={"Accept-Encoding": encoding},
        auth=(warehouse_server.user, warehouse_server.password),
    )  # fmt: skip
    assert "Content-Encoding" not in off.headers


def test_large_chunked_body_is_spooled(
    warehouse_server: WarehouseProcess, client: Any, sales: str
) -> None:
    line = b"1\t" + b"x" * 1000 + b"\t1.50\n"

    def body() -> Iterator[bytes]:
        for _ in range(120):
            yield line * 1000

    response = httpx.post(
        warehouse_server.url,
        params={"query": "INSERT INTO shop.sales FORMAT TSV"},
        content=body(),
        auth=(warehouse_server.user, warehouse_server.password),
        timeout=120,
    )
    assert response.status_code == 200, response.text
    assert client.query("SELECT count(), sum(amount) FROM sales").first_row == (120_000, 180_000)
    assert list((warehouse_server.data / "spool").iterdir()) == []


def test_curl_talks_to_it(warehouse_server: WarehouseProcess, tmp_path: Path) -> None:
    config = tmp_path / "curl"
    config.write_text(f'user = "{warehouse_server.user}:{warehouse_server.password}"\n')
    answer = subprocess.run(
        ["curl", "-sS", "-K", str(config), warehouse_server.url, "-d", "SELECT 1+1"],
        capture_output=True, check=True,
    )  # fmt: skip
    assert answer.stdout == b"2\n"


# inserts -----------------------------------------------------------------------------------------


def test_a_token_is_written_once(client: Any, sales: str) -> None:
    client.command(
        "CREATE TABLE totals (n UInt64) ENGINE = SummingMergeTree ORDER BY tuple() "
        "SETTINGS non_replicated_deduplication_window = 100"
    )
    client.command("CREATE MATERIALIZED VIEW to_totals TO totals AS SELECT count() n FROM sales")
    settings = {
        **ONE_BLOCK,
        "insert_deduplication_token": "topic:0:0-99",
        "deduplicate_blocks_in_dependent_materialized_views": 1,
    }
    counts = "SELECT (SELECT count() FROM sales), (SELECT sum(n) FROM totals)"
    table = sales_table(100)
    client.insert_arrow(sales, table, settings=settings)
    client.insert_arrow(sales, table.take(list(reversed(range(100)))), settings=settings)
    assert client.query(counts).first_row == (100, 100)
    client.insert_arrow(sales, table, settings={**settings, "deduplicate_insert": "disable"})
    assert client.query(counts).first_row == (200, 200)
    client.insert_arrow(sales, table, settings={**settings, "insert_deduplication_token": "other"})
    assert client.query(counts).first_row == (300, 300)


@pytest.mark.parametrize("data_format", ["ArrowStream", "Native", "TSV"])
def test_one_insert_is_one_part_when_block_sizes_allow(client: Any, data_format: str) -> None:
    client.command("CREATE TABLE wide (id UInt64, text String) ENGINE = MergeTree ORDER BY id")
    client.command("SYSTEM STOP MERGES wide")
    made = client.raw_query(
        "SELECT number, repeat('x', 100) FROM numbers(1500000)", fmt=data_format
    )
    client.raw_insert("wide", insert_block=io.BytesIO(made), fmt=data_format, settings=ONE_BLOCK)
    parts = "SELECT count(), sum(rows) FROM system.parts WHERE table = 'wide' AND active"
    assert client.query(parts).first_row == (1, 1_500_000)
    client.command("TRUNCATE TABLE wide")
    client.raw_insert("wide", insert_block=io.BytesIO(made), fmt=data_format)
    assert client.query(parts).first_row[0] > 1, "the settings made no difference"


def test_a_failing_insert_leaves_nothing(client: Any, sales: str) -> None:
    rows = "".join(f"{row}\tp\t1\n" for row in range(200_000))
    for data in (rows + "not a number\n", rows[: len(rows) // 2 - 3] + "\t"):
        with pytest.raises(DatabaseError):
            client.raw_insert(sales, insert_block=data, fmt="TSV", settings=ONE_BLOCK)
    packed = lz4.frame.compress(rows.encode())[:-50]
    with pytest.raises(DatabaseError) as cut:
        client.raw_insert(sales, insert_block=packed, fmt="TSV", compression="lz4")
    assert cut.value.code == 271
    assert client.command("SELECT count() FROM sales") == 0


def test_max_partitions_per_insert_block_applies(client: Any) -> None:
    client.command("CREATE TABLE p (id UInt32) ENGINE = MergeTree PARTITION BY id ORDER BY id")
    rows = [[number] for number in range(150)]
    with pytest.raises(DatabaseError) as refused:
        client.insert("p", rows)
    assert refused.value.code == 252
    client.insert("p", rows, settings={"max_partitions_per_insert_block": 200})
    assert client.command("SELECT count() FROM p") == 150


# concurrency and life cycle ----------------------------------------------------------------------


def test_concurrent_inserts_lookups_and_failures_stay_apart(
    warehouse_server: WarehouseProcess, client: Any, sales: str
) -> None:
    def work(worker: int) -> int:
        own = connect(warehouse_server, database="shop")
        for turn in range(6):
            own.insert_arrow(sales, sales_table(500), settings={
                "insert_deduplication_token": f"{worker}-{turn}", **ONE_BLOCK})  # fmt: skip
            keys = "\n".join(str(worker * 1000 + key) for key in range(worker + 1)).encode()
            found = own.query(
                "SELECT count(), min(k), getSetting('max_block_size') FROM keys",
                external_data=ExternalData(file_name="keys", data=keys, structure="k UInt64"),
                settings={"max_block_size": 1000 + worker},
            ).first_row
            assert found == (worker + 1, worker * 1000, 1000 + worker)
            with pytest.raises(DatabaseError):
                own.query("SELECT * FROM keys")
        own.close()
        return worker

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == list(range(8))
    assert client.command("SELECT count() FROM sales") == 8 * 6 * 500


def test_long_queries_block_neither_ping_nor_others(warehouse_server: WarehouseProcess) -> None:
    with ThreadPoolExecutor(4) as pool:
        slow = [pool.submit(post, warehouse_server, "SELECT sleep(2)") for _ in range(4)]
        started = time.monotonic()
        assert warehouse_server.answers()
        assert post(warehouse_server, "SELECT 1").text == "1\n"
        assert time.monotonic() - started < 1.5
        assert [future.result().text for future in slow] == ["0\n"] * 4


def test_a_read_is_cancelled_when_its_client_leaves(warehouse_server: WarehouseProcess) -> None:
    running = "SELECT count() FROM system.processes WHERE query_id = 'left'"
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            warehouse_server.url,
            params={"cancel_http_readonly_queries_on_client_close": "1", "query_id": "left"},
            content="SELECT count() FROM numbers(1000000000000) WHERE sipHash64(number) = 12",
            auth=(warehouse_server.user, warehouse_server.password),
            timeout=0.7,
        )
    eventually(lambda: post(warehouse_server, running).text == "0\n")


def test_committed_rows_survive_kill_and_restart(own_warehouse: WarehouseProcess) -> None:
    client = connect(own_warehouse)
    client.command(
        "CREATE TABLE facts (n UInt64) ENGINE = MergeTree ORDER BY n "
        "SETTINGS non_replicated_deduplication_window = 1000"
    )
    committed: list[int] = []

    def insert_until_killed() -> None:
        for batch in range(100_000):
            data = "".join(f"{row}\n" for row in range(batch * 100, batch * 100 + 100))
            try:
                answer = post(own_warehouse, data, query="INSERT INTO facts FORMAT TSV",
                              insert_deduplication_token=str(batch))  # fmt: skip
            except httpx.TransportError:
                return
            assert answer.status_code == 200, answer.text
            committed.append(batch)

    writer = threading.Thread(target=insert_until_killed)
    writer.start()
    eventually(lambda: len(committed) >= 20)
    own_warehouse.kill()
    writer.join(30)
    own_warehouse.start()
    per_batch = "SELECT intDiv(n, 100) AS b, count() FROM facts GROUP BY b ORDER BY b"
    stored = dict(connect(own_warehouse).query(per_batch).result_rows)
    assert set(committed) <= set(stored) <= {*committed, len(committed)}
    assert set(stored.values()) == {100}
    retried = post(own_warehouse, "0\n", query="INSERT INTO facts FORMAT TSV",
                   insert_deduplication_token="0")  # fmt: skip
    assert retried.status_code == 200
    assert post(own_warehouse, "SELECT count() FROM facts WHERE n = 0").text == "1\n"


def test_sigterm_ends_it_within_seconds_and_cancels_what_runs(
    own_warehouse: WarehouseProcess,
) -> None:
    with ThreadPoolExecutor(1) as pool:
        endless = pool.submit(
            post, own_warehouse, "SELECT count() FROM numbers(1000000000000) WHERE number % 7 = 9"
        )
        eventually(
            lambda: post(own_warehouse, "SELECT count() FROM system.processes").text == "2\n"
        )
        started = time.monotonic()
        assert own_warehouse.stop() == 0
        assert time.monotonic() - started < 10
        assert code_of(endless.result(10)) == (500, "394")
    own_warehouse.start()
    assert post(own_warehouse, "SELECT 1").text == "1\n"


def test_a_running_insert_is_finished_before_sigterm_ends_it(
    own_warehouse: WarehouseProcess,
) -> None:
    post(own_warehouse, "CREATE TABLE slow (n UInt64) ENGINE = MergeTree ORDER BY n")
    with ThreadPoolExecutor(1) as pool:
        insert = pool.submit(
            post,
            own_warehouse,
            "INSERT INTO slow SELECT number + sleepEachRow(0.1) FROM numbers(10)",
        )
        eventually(
            lambda: post(own_warehouse, "SELECT count() FROM system.processes").text == "2\n"
        )
        assert own_warehouse.stop() == 0
        assert insert.result(10).status_code == 200
    own_warehouse.start()
    assert post(own_warehouse, "SELECT count() FROM slow").text == "10\n"


def test_second_process_on_a_folder_or_port_is_refused(
    own_warehouse: WarehouseProcess, tmp_path: Path
) -> None:
    command = own_warehouse.command()
    command[command.index("--port") + 1] = "0"
    second = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert second.returncode == 4
    assert second.stderr.splitlines()[0] == (
        f"error: {own_warehouse.data} is already served by another warehouse process "
        f"(pid {own_warehouse.pid})"
    )
    command = own_warehouse.command()
    command[command.index("--data") + 1] = str(tmp_path / "other")
    third = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert third.returncode == 4
    assert f"cannot listen on 127.0.0.1:{own_warehouse.port}" in third.stderr
    assert post(own_warehouse, "SELECT 1").text == "1\n"

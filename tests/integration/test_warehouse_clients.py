"""The very requests that clients make which nobody here wrote."""

from __future__ import annotations

import gzip
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
import sqlalchemy

from tests.integration.test_warehouse_http import code_of, post
from tillstream.devstack.warehouse.blocks import BlockDeflater, decompress_blocks

if TYPE_CHECKING:
    # At run time pytest must be the first to import it, or its asserts are not rewritten.
    from tests.fixtures.warehouse import WarehouseProcess

pytestmark = pytest.mark.integration
pytest_plugins = ["tests.fixtures.warehouse"]

BLOCK_INFO = b"\x01\x00\x02\xff\xff\xff\xff\x00"


def grafana(server: WarehouseProcess, sql: str) -> bytes:
    """What Grafana's plugin sends in HTTP mode: clickhouse-go with gzip and a protocol version."""
    response = httpx.post(
        f"http://{server.host}:{server.port}",
        params={"client_protocol_version": "54460", "database": "default",
                "default_format": "Native", "limit": "1000000", "max_execution_time": "60"},
        content=sql,
        headers={"Accept-Encoding": "gzip", "User-Agent": "grafana/12.0.0 clickhouse-go/2.40.3"},
        auth=(server.user, server.password),
    )  # fmt: skip
    assert response.status_code == 200, response.text
    assert response.headers["Content-Encoding"] == "gzip"
    return response.content


def test_grafana_shakes_hands_and_reads_framed_native(warehouse_server: WarehouseProcess) -> None:
    hello = grafana(warehouse_server, "SELECT displayName(), version(), revision(), timezone()")
    assert hello.startswith(BLOCK_INFO + b"\x04\x01\x0ddisplayName()\x06String\x00")
    assert hello.endswith(b"\x0atimezone()\x06String\x00\x03UTC")
    panel = grafana(
        warehouse_server,
        "SELECT toUInt16(number) AS n, [toLowCardinality('a')] AS tags FROM numbers(2)",
    )
    tags = b"\x04tags\x1dArray(LowCardinality(String))\x00"
    assert panel.startswith(BLOCK_INFO + b"\x02\x02\x01n\x06UInt16\x00\x00\x00\x01\x00" + tags)


@pytest.mark.parametrize("data_format", ["ODBCDriver2", "RowBinaryWithNamesAndTypes"])
def test_odbc_driver(warehouse_server: WarehouseProcess, data_format: str) -> None:
    response = httpx.post(
        f"{warehouse_server.url}/query",
        params={"database": "default", "default_format": data_format, "session_id": "odbc-1"},
        content="SELECT 7 AS `n`, 'x' AS `s`",
        headers={"User-Agent": "clickhouse-odbc/1.4.3 (Linux)", "Content-Type": "text/plain"},
        auth=(warehouse_server.user, warehouse_server.password),
    )
    assert response.headers["X-ClickHouse-Format"] == data_format, response.text
    if data_format == "ODBCDriver2":
        assert response.content.endswith(b"\x01\x00\x00\x007\x01\x00\x00\x00x")
    else:
        assert response.content == b"\x02\x01n\x01s\x05UInt8\x06String\x07\x01x"


def test_block_compression_both_ways(warehouse_server: WarehouseProcess) -> None:
    pytest.importorskip("clickhouse_cityhash")
    post(warehouse_server, "CREATE OR REPLACE TABLE packed (n UInt32) ENGINE = Memory")
    deflater = BlockDeflater()
    rows = "".join(f"{row}\n" for row in range(300_000)).encode()
    body = deflater.compress(rows) + deflater.flush()
    sent = post(warehouse_server, body, query="INSERT INTO packed FORMAT TSV", decompress="1")
    assert sent.status_code == 200, sent.text
    answer = post(warehouse_server, "SELECT n FROM packed ORDER BY n", compress="1")
    assert b"".join(decompress_blocks([answer.content])) == rows
    refused = post(warehouse_server, body[:-1], query="INSERT INTO packed FORMAT TSV",
                   decompress="1")  # fmt: skip
    assert code_of(refused) == (500, "271")


def test_http_driver_with_a_compressed_statement_and_json(
    warehouse_server: WarehouseProcess,
) -> None:
    response = httpx.post(
        warehouse_server.url,
        params={"database": "default", "enable_http_compression": "1"},
        content=gzip.compress(b"SELECT 1 AS a FORMAT JSONCompact"),
        headers={"Content-Encoding": "gzip", "X-ClickHouse-User": warehouse_server.user,
                 "X-ClickHouse-Key": warehouse_server.password},
    )  # fmt: skip
    assert response.json()["data"] == [[1]]


def test_curl_uploads_a_file_and_downloads_parquet(
    warehouse_server: WarehouseProcess, tmp_path: Path
) -> None:
    config = tmp_path / "curl"
    config.write_text(f'user = "{warehouse_server.user}:{warehouse_server.password}"\n')
    rows = tmp_path / "rows.csv"
    rows.write_text("1,milk\n2,bread\n")
    post(warehouse_server, "CREATE OR REPLACE TABLE up (id UInt8, name String) ENGINE = Memory")
    curl = ["curl", "-sS", "--fail", "-K", str(config)]
    subprocess.run(
        [*curl, f"{warehouse_server.url}/?query=INSERT%20INTO%20up%20FORMAT%20CSV", "-T",
         str(rows), "-X", "POST"], check=True,
    )  # fmt: skip
    answer = subprocess.run(
        [*curl, warehouse_server.url, "-d", "SELECT * FROM up ORDER BY id FORMAT Parquet"],
        capture_output=True, check=True,
    )  # fmt: skip
    assert (answer.stdout[:4], answer.stdout[-4:]) == (b"PAR1", b"PAR1")


def test_sqlalchemy(warehouse_server: WarehouseProcess) -> None:
    engine = sqlalchemy.create_engine(
        f"clickhousedb://{warehouse_server.user}:{warehouse_server.password}"
        f"@{warehouse_server.host}:{warehouse_server.port}/default"
    )
    with engine.connect() as connection:
        connection.execute(
            sqlalchemy.text(
                "CREATE OR REPLACE TABLE alchemy (id UInt32, name String) "
                "ENGINE = MergeTree ORDER BY id"
            )
        )
        table = sqlalchemy.Table("alchemy", sqlalchemy.MetaData(), autoload_with=engine)
        connection.execute(table.insert(), [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}])
        query = sqlalchemy.select(table.c.name).where(table.c.id > 1)
        assert connection.execute(query).scalars().all() == ["b"]
        assert "alchemy" in sqlalchemy.inspect(engine).get_table_names()
    engine.dispose()

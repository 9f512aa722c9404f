"""Parts of empty files, as a disk that fills during a merge leaves them: put aside, made good."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from clickhouse import damage
from clickhouse.client import Client
from clickhouse.damage import put_aside
from streaming import sinks
from streaming.sinks import WarehouseSink
from tests.builders import TOPIC_IDS, decoded, sold
from tests.fixtures.platform import wait_for
from tests.fixtures.warehouse import WarehouseProcess, own_client
from tests.integration.test_sink import ROWS, held, stored, write
from tillstream.audit.derived import check_stock, check_windows
from tillstream.devstack.warehouse import damage as front
from tillstream.devstack.warehouse.damage import DamagedPart, Healer
from tillstream.devstack.warehouse.engine import Engine
from tillstream.errors import ServiceError

pytestmark = pytest.mark.integration

_OTHERS = "SELECT query FROM system.processes WHERE query NOT LIKE '%processes%'"
_SUMS = "SELECT sum(units), sum(revenue), sum(lines) FROM velocity_5m_sums"


@pytest.fixture
def client(warehouse_server: WarehouseProcess) -> Iterator[Client]:
    with own_client(warehouse_server, "damaged") as client:
        yield client


def active_parts(client: Client, table: str) -> list[Path]:
    found = client.query(
        "SELECT path FROM system.parts WHERE active AND database = currentDatabase()"
        f" AND table = '{table}'"
    )
    return [Path(path) for (path,) in found.result_rows]


def emptied(part: Path) -> None:
    """What seed 9 of the chaos runs left: every file is there, nearly all are empty."""
    for file in part.rglob("*"):
        if file.is_file():
            os.truncate(file, 0)


def damaged(warehouse: WarehouseProcess, outcome: str) -> float:
    page = httpx.get(f"{warehouse.url}/metrics", trust_env=False).text
    wanted = f'tillstream_warehouse_damaged_parts_total{{outcome="{outcome}"}} '
    return sum(float(line.split()[-1]) for line in page.splitlines() if line.startswith(wanted))


def test_a_damaged_part_gives_way_to_those_it_was_merged_from(
    client: Client, warehouse_server: WarehouseProcess
) -> None:
    before = damaged(warehouse_server, "healed")
    for number in range(3):
        write(client, [sold(number)])
    sums = client.query(_SUMS).result_rows
    client.command("OPTIMIZE TABLE velocity_5m_sums FINAL")
    (merged,) = active_parts(client, "velocity_5m_sums")
    emptied(merged)

    with pytest.raises(Exception, match="put aside; the 3 parts it was merged from serve 3 rows"):
        client.query(_SUMS)
    assert client.query(_SUMS).result_rows == sums
    assert damaged(warehouse_server, "healed") == before + 1
    assert check_windows(client).clean
    # What reads and feeds the table has found it again.
    write(client, [sold(7)])
    assert check_windows(client).clean
    assert stored(client, "item_sales_daily", "sum(units)") == stored(
        client, "velocity_5m", "sum(units)"
    )


@pytest.mark.parametrize(
    "table", ["velocity_5m_sums", "item_sales_daily", "event_index", "current_stock_states"]
)
def test_rows_that_no_older_part_has_are_derived_again(client: Client, table: str) -> None:
    write(client, ROWS)
    facts = held(client)["fact_sales"].rows
    for part in active_parts(client, table):
        emptied(part)
    with pytest.raises(Exception, match="no older parts have all its rows"):
        client.query(f"SELECT * FROM {table}")
    assert {part.table for part in put_aside(client)} == {table}

    assert write(client, [sold(8)])[0].counted == 1
    assert put_aside(client) == []
    assert write(client, [sold(9, "sale-0-0")])[0].duplicates == 1
    assert held(client)["fact_sales"].rows == facts + 1
    assert check_windows(client).clean
    assert check_stock(client).clean
    days = stored(client, "item_sales_daily", "sum(units), sum(revenue)")
    assert days == stored(client, "fact_sales", "sum(quantity), sum(revenue)")


def test_a_running_stream_recovers_when_a_part_was_put_aside(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = WarehouseSink(client)
    try:
        sink.open()
        sink.write(decoded(*ROWS), TOPIC_IDS, batch_id=0)
        for part in active_parts(client, "velocity_5m_sums"):
            emptied(part)
        with pytest.raises(Exception, match="put aside"):
            client.query(_SUMS)
        monkeypatch.setattr(sinks, "_LOOK_EVERY_S", 0.0)
        sink._look_at_s = 0.0
        with pytest.raises(ServiceError, match="could not read a part of velocity_5m_sums"):
            sink.write(decoded(sold(8)), TOPIC_IDS, batch_id=1)
        sink.open()
        sink.write(decoded(sold(9)), TOPIC_IDS, batch_id=2)
    finally:
        sink.close()
    assert check_windows(client).clean


def test_windows_are_not_made_equal_to_facts_that_may_be_gone(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    write(client, ROWS)
    sums = client.query(_SUMS).result_rows
    for part in active_parts(client, "fact_sales"):
        emptied(part)
    with pytest.raises(Exception, match="no older parts have all its rows"):
        client.query("SELECT sum(quantity) FROM fact_sales")
    write(client, [sold(8)])
    assert "fact_sales" in caplog.text
    assert "tillstream verify" in caplog.text
    assert {part.table for part in put_aside(client)} == {"fact_sales"}
    assert client.query(_SUMS).result_rows[0][2] == sums[0][2] + 1


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    one = Engine(tmp_path, memory_mb=700)
    yield one
    one.close()


def test_an_empty_part_is_found_before_anybody_asks_for_it(engine: Engine) -> None:
    """Two looks: eight minutes after a merge there would be nothing to go back to."""
    outcomes: list[str] = []
    healer = Healer(engine._ask, outcomes.append)
    engine._ask("CREATE TABLE `odd ``name` (n UInt64) ENGINE = MergeTree ORDER BY n")
    for number in range(3):
        engine._ask(f"INSERT INTO `odd ``name` VALUES ({number})")
    engine._ask("OPTIMIZE TABLE `odd ``name` FINAL")
    healer.look()
    assert outcomes == []
    emptied(Path(engine._ask("SELECT path FROM system.parts WHERE active")))
    healer.look()
    healer.look()
    assert outcomes == ["healed"]
    assert engine._ask("SELECT sum(n) FROM `odd ``name`") == "3"


def test_a_part_that_stays_damaged_is_tried_once(engine: Engine) -> None:
    outcomes: list[str] = []
    healer = Healer(engine._ask, outcomes.append)
    engine._ask("CREATE TABLE t (n UInt64) ENGINE = MergeTree ORDER BY n")
    engine._ask("INSERT INTO t VALUES (1)")
    path = engine._ask("SELECT path FROM system.parts WHERE active").rstrip("/")
    words = {healer.heal(DamagedPart("`default`.`t`", path)) for _ in range(3)}
    assert words == {"the engine takes it for a good one again: tillstream verify"}
    assert outcomes == ["failed"]
    assert engine._ask("SELECT n FROM t") == "1"


def test_a_long_read_does_not_keep_a_table_away(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(front, "_BETWEEN_TRIES_S", 0.1)
    engine._ask("CREATE TABLE t (n UInt64) ENGINE = MergeTree ORDER BY n")
    engine._ask("INSERT INTO t SELECT number FROM numbers(2)")
    path = engine._ask("SELECT path FROM system.parts WHERE active").rstrip("/")
    slow = "SELECT count() FROM numbers(1000000000000) AS many, t WHERE many.number % 7 = n + 9"
    with ThreadPoolExecutor(1) as pool:
        reader = pool.submit(engine._ask, slow)
        wait_for(
            lambda: "many.number" in engine._ask(_OTHERS), timeout_s=30, what="somebody reads it"
        )
        Healer(engine._ask).heal(DamagedPart("`default`.`t`", path))
        with pytest.raises(RuntimeError, match="cancelled"):
            reader.result()
    assert engine._ask("SELECT count() FROM t") == "2"


def test_what_is_derived_is_known_for_every_table_that_follows_from_facts(client: Client) -> None:
    fed = client.query(
        "SELECT DISTINCT arrayJoin(extractAll(create_table_query, ' TO \\\\w+\\\\.(\\\\w+)'))"
        " FROM system.tables WHERE database = currentDatabase() AND engine = 'MaterializedView'"
    ).result_rows
    assert {table for (table,) in fed} <= set(damage._AGAIN)
    assert front._OLD_PARTS_STAY_S > 480

"""Batches through Distributed tables: the same rows as without a cluster, once each."""

import threading
from collections.abc import Iterator

import pytest

import clickhouse.client
import clickhouse.migrate
from clickhouse import queries
from clickhouse.client import Client, connect
from clickhouse.migrate import load_migrations, migrate, pending
from clickhouse.stored import running_inserts
from clickhouse.writer import insert
from streaming import landing
from streaming.rows import SECONDS, as_type
from streaming.sinks import WarehouseSink
from streaming.velocity import velocity
from streaming.watch import StockWatch
from tests.builders import TOPIC_IDS, decoded, judged, moved, sold
from tests.fixtures.one_shard import CLUSTER, OneShard, connect_without_keeper
from tests.fixtures.warehouse import WarehouseProcess, running
from tests.integration.test_sink import ROWS, _failing, held, stored, write
from tillstream.audit.derived import check_stock, check_windows
from tillstream.errors import ServiceError
from tillstream.settings import RiskSettings, WarehouseSettings

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module", autouse=True)
def in_process() -> Iterator[None]:
    """The one server reaches itself without a connection: the embedded engine listens to none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(clickhouse.client._CLUSTER_SETTINGS, "prefer_localhost_replica", 1)
        yield


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WarehouseProcess]:
    with running(OneShard(tmp_path_factory.mktemp("one-shard"))) as one:
        yield one


def migrated(server: WarehouseProcess, database: str, *, cluster: str | None) -> WarehouseSettings:
    settings = server.settings(database).model_copy(update={"cluster": cluster})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clickhouse.migrate, "connect", connect_without_keeper)
        migrate(settings)
    return settings


@pytest.fixture(scope="module")
def spread(server: WarehouseProcess) -> Iterator[Client]:
    client = connect(migrated(server, "spread", cluster=CLUSTER))
    yield client
    client.close()


@pytest.fixture(scope="module")
def plain(server: WarehouseProcess) -> Iterator[Client]:
    client = connect(migrated(server, "plain", cluster=None))
    write(client, ROWS)
    yield client
    client.close()


@pytest.fixture
def client(spread: Client) -> Client:
    """An empty clustered warehouse."""
    tables = spread.query(
        "SELECT name FROM system.tables WHERE database = currentDatabase() AND name LIKE '%_local'"
        " AND name != 'dim_date_local'"
    ).result_columns[0]
    for name in tables:
        spread.command(f"TRUNCATE TABLE {name}")
    return spread


def engines(client: Client) -> dict[str, str]:
    tables = client.query(
        "SELECT name, engine FROM system.tables WHERE database = currentDatabase()"
    ).result_columns
    return dict(zip(*tables, strict=True))


def test_every_table_is_a_distributed_one_over_a_local_one(spread: Client, plain: Client) -> None:
    there, expected = engines(spread), engines(plain)
    tables = {name for name, engine in expected.items() if engine.endswith("MergeTree")}
    tables.remove("schema_migrations")
    assert {name for name, engine in there.items() if engine == "Distributed"} == tables
    assert {name: there[f"{name}_local"] for name in tables} == {n: expected[n] for n in tables}
    assert stored(spread, "dim_date", "count()") == [(18263,)]


def test_migrations_are_recorded_once_for_the_cluster(
    server: WarehouseProcess, spread: Client
) -> None:
    assert migrated(server, "spread", cluster=CLUSTER).cluster == CLUSTER
    assert pending(spread, load_migrations()) == ()
    assert stored(spread, "schema_migrations", "count()") == [(len(load_migrations()),)]


def test_batches_give_the_same_rows_as_without_a_cluster(client: Client, plain: Client) -> None:
    write(client, ROWS)
    write(client, ROWS)
    assert held(client) == held(plain)
    assert check_windows(client).clean
    assert check_stock(client).clean
    assert stored(client, "anomalies FINAL", "partition, offset") == [(0, 5)]
    assert stored(client, "fact_sales_local", "count()") == [(7,)]


@pytest.mark.parametrize("reached", [False, True], ids=["before", "answer lost"])
@pytest.mark.parametrize("table", ["fact_sales", "fact_inventory", "velocity_5m_sums"])
def test_an_interrupted_batch_is_made_up_for(
    client: Client, plain: Client, monkeypatch: pytest.MonkeyPatch, table: str, reached: bool
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(landing, "insert", _failing(table, reached=reached))
        with pytest.raises(ServiceError, match="cable"):
            write(client, ROWS)
    write(client, ROWS)
    assert held(client) == held(plain)
    assert check_windows(client).clean


def test_a_token_holds_through_a_distributed_table_and_in_what_it_feeds(client: Client) -> None:
    rows = velocity(judged(sold(0), sold(1, quantity=3)))
    sums = as_type(rows, "window_start", SECONDS)
    for _ in range(2):
        insert(client, "velocity_5m_sums", sums, token="a range")
    assert stored(client, "velocity_5m", "units, lines") == [(5, 2)]
    assert stored(client, "item_sales_daily", "sum(units)") == [(5,)]


def test_risk_is_scored_and_alerts_are_remembered(client: Client) -> None:
    for opened in range(2):
        watch = StockWatch(client, RiskSettings(), None)
        sink = WarehouseSink(client, followers=(watch,))
        sink.open()
        sink.write(
            decoded(sold(opened), moved(opened, quantity_on_hand=1)), TOPIC_IDS, batch_id=opened
        )
        sink.close()
    assert stored(client, "stockout_risk FINAL", "store_id, product_id, on_hand") == [
        ("304", "1095275", 1)
    ]
    assert queries.alert_steps(client, "unsent") == []
    assert stored(client, "inventory_status", "count()") == [(2,)]


def test_an_insert_under_way_anywhere_is_seen(server: WarehouseProcess, client: Client) -> None:
    assert running_inserts(client) == 0
    own = connect(server.settings("spread"))
    slow = (
        "INSERT INTO velocity_5m_sums SELECT '304', 'p', toDateTime(0, 'UTC') + sleepEachRow(1),"
        " 1, 1, 1 FROM numbers(2) SETTINGS max_block_size = 1"
    )
    sender = threading.Thread(target=own.command, args=(slow,))
    sender.start()
    while not running_inserts(client):
        assert sender.is_alive()
    sender.join()
    assert running_inserts(client) == 0
    own.close()


def test_a_session_on_a_cluster_waits_for_every_shard(spread: Client, plain: Client) -> None:
    setting = "SELECT getSetting('distributed_foreground_insert')"
    assert [bool(c.query(setting).result_rows[0][0]) for c in (spread, plain)] == [True, False]

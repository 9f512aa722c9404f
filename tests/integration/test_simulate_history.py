"""A made-up past in lake and warehouse: whole, once, and as the stream would have written it."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clickhouse.client import Client
from clickhouse.dimensions import load_dimensions
from clickhouse.queries import committed_cuts, select
from clickhouse.writer import insert as real_insert
from lake.client import Lake
from lake.client import connect as connect_lake
from lake.reader import read_ranges
from simulators.world.dimensions import dimensions
from simulators.world.scenario import load_scenario
from simulators.world.world import World
from tests.fixtures.warehouse import WarehouseProcess, own_client
from tillstream.audit import derived
from tillstream.audit.archive import check_archive
from tillstream.audit.coordinates import check_coordinates, check_identities, landed
from tillstream.audit.derived import check_ledger, check_stock, check_windows
from tillstream.audit.digest import digests
from tillstream.contracts.catalogue import load_catalogue
from tillstream.contracts.codec import Codec
from tillstream.contracts.topics import Topic
from tillstream.errors import ConfigError, ServiceError
from tillstream.history.run import HistoryReport, history_world, run_name, write_history
from tillstream.history.writer import HistoryWriter
from tillstream.settings import LakeSettings

pytestmark = pytest.mark.integration

END_MS = 1_773_100_800_000  # 2026-03-10
DAYS = 5


@pytest.fixture
def client(warehouse_server: WarehouseProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.setattr(derived, "_BETWEEN_LOOKS_S", 0.01)
    with own_client(warehouse_server, "history") as client:
        yield client


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return connect_lake(LakeSettings(), url=(tmp_path / "lake").as_uri())


def past(**fields: object) -> World:
    small = {"stores": 5, "products": 150, "rate": 2.0}
    scenario = load_scenario("quiet-tuesday").model_copy(update=small | fields)
    return history_world(scenario, days=DAYS, end_ms=END_MS)


def write(client: Client, lake: Lake, world: World, folder: Path | None = None) -> HistoryReport:
    load_dimensions(client, dimensions(world))
    with closing(HistoryWriter(client, lake, run_name(world))) as writer:
        return write_history(world, load_catalogue(), writer, customer_key=b"key", folder=folder)


def hashes(client: Client) -> dict[str, tuple[int, str]]:
    return {one.table: (one.rows, one.sha) for one in digests(client)}


def assert_clean(client: Client, lake: Lake) -> int:
    """Everything that `tillstream verify` compares; returns how many events there are."""
    cuts = committed_cuts(client, "live")
    found = [landed(client, cut, oldest=0, has_record=set) for cut in cuts]
    archived, lake_check = check_archive(lake, [(cut, 0) for cut in committed_cuts(client, "lake")])
    no_ledger = pa.table(
        {
            "topic": pa.array([], pa.string()),
            "identity": pa.array([], pa.string()),
            "attempts": pa.array([], pa.int64()),
            "acknowledged": pa.array([], pa.int64()),
        }
    )
    for check in (
        check_coordinates(found),
        check_identities(client),
        lake_check,
        check_windows(client),
        check_stock(client),
        check_ledger(client, no_ledger),
    ):
        assert check.clean, check
    assert sum(one.records for one in archived.values()) == sum(one.facts for one in found)
    return sum(one.facts for one in found)


def test_the_past_is_whole_and_verifies(client: Client, lake: Lake) -> None:
    world = past()
    report = write(client, lake, world)
    assert report.done
    assert report.events == report.written == assert_clean(client, lake) > 5000
    topic_ids = {cut.topic_id for cut in committed_cuts(client, "live")}
    assert topic_ids == {f"history:{run_name(world)}"}
    assert committed_cuts(client, "watch") == committed_cuts(client, "live")
    span = select(
        client,
        "SELECT toUnixTimestamp64Milli(min(event_time)) AS a,"
        " toUnixTimestamp64Milli(max(event_time)) AS z FROM fact_sales",
    ).to_pylist()[0]
    assert world.start_ms <= span["a"] < span["z"] < END_MS


def test_what_is_archived_is_what_the_stores_would_have_sent(client: Client, lake: Lake) -> None:
    write(client, lake, past())
    codec = Codec(load_catalogue())
    facts: Mapping[str, dict[str, object]] = {
        row["sale_id"]: row
        for row in select(
            client,
            "SELECT sale_id, toString(store_id) AS store_id, product_id, quantity, revenue,"
            " transaction_id, line_number, unit_price, discount, customer_id,"
            " toUnixTimestamp64Milli(event_time) AS at, cost, toString(date_key) AS day"
            " FROM fact_sales",
        ).to_pylist()
    }
    seen = 0
    for table in read_ranges(lake, batch_rows=5000, topics=[Topic.SALES]):
        for key, value in zip(table["key"].to_pylist(), table["value"].to_pylist(), strict=True):
            sale = codec.decode(Topic.SALES, value).record
            fact = facts[sale["event_id"]]
            assert key.decode() == sale["store_id"] == fact["store_id"]
            assert sale["line_amount"] == fact["revenue"]
            assert sale["timestamp"] == fact["at"]
            for name in (
                *("product_id", "quantity", "transaction_id", "line_number", "unit_price"),
                *("discount", "customer_id"),
            ):
                assert sale[name] == fact[name]
            seen += 1
    assert seen == len(facts)


def test_written_again_it_adds_nothing(client: Client, lake: Lake) -> None:
    first = write(client, lake, past())
    before = hashes(client)
    again = write(client, lake, past())
    assert (again.events, again.written) == (first.events, 0)
    assert hashes(client) == before


def test_a_run_that_was_interrupted_goes_on_where_it_ended(
    client: Client, lake: Lake, monkeypatch: pytest.MonkeyPatch, warehouse_server: WarehouseProcess
) -> None:
    inserts = 0

    def insert(client: Client, table: str, rows: pa.Table, *, token: str | None = None) -> int:
        nonlocal inserts
        inserts += 1
        if inserts > 14 and table == "velocity_5m_sums":
            raise ServiceError("killed")
        return real_insert(client, table, rows, token=token)

    writers = ("streaming.landing.insert", "tillstream.history.writer.insert")
    for place in writers:
        monkeypatch.setattr(place, insert)
    with pytest.raises(ServiceError, match="killed"):
        write(client, lake, past())
    for place in writers:
        monkeypatch.setattr(place, real_insert)
    resumed = write(client, lake, past())
    assert 0 < resumed.written < resumed.events
    assert assert_clean(client, lake) == resumed.events
    with own_client(warehouse_server, "whole") as other:
        write(other, lake, past())
        assert hashes(other) == hashes(client)


def test_another_past_beside_it_is_refused(client: Client, lake: Lake) -> None:
    write(client, lake, past())
    with pytest.raises(ConfigError, match="holds another history already"):
        write(client, lake, past(seed=99))


def test_the_truth_of_the_past_is_written_too(client: Client, lake: Lake, tmp_path: Path) -> None:
    world = past()
    write(client, lake, world, tmp_path)
    demand = pq.read_table(tmp_path / "demand.parquet")
    sold = int(np.sum(demand["sold"].to_numpy()))
    stored = select(client, "SELECT sum(quantity) AS n FROM fact_sales WHERE quantity > 0")
    # The last hours of the stores' last day lie beyond the end, and were left out.
    assert 0.8 * sold < stored["n"][0].as_py() <= sold

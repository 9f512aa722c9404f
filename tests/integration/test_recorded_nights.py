"""Nights of recorded sales: what is rolled up is what pandas makes of the data set."""

from collections.abc import Iterator
from contextlib import closing
from datetime import date
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest

from clickhouse.client import Client, connect
from clickhouse.queries import command, select
from clickhouse.writer import insert
from orchestration.night import run_nights
from simulators.complete_journey import expected_windows
from tests.fixtures.warehouse import WarehouseProcess, own_database
from tillstream.cli.demo_night import rollups_match
from tillstream.settings import load_settings

pytestmark = pytest.mark.integration

START, DAYS = date(2017, 11, 20), 2


@pytest.fixture
def client(warehouse_server: WarehouseProcess, tmp_path: Path) -> Iterator[Client]:
    """The recorded windows as facts, one a window, and their nights."""
    with (
        own_database(warehouse_server, "recorded") as warehouse,
        closing(connect(warehouse)) as client,
    ):
        _fill(client)
        settings = load_settings(home=tmp_path, warehouse=warehouse)
        days = [date(2017, 11, 20 + n) for n in range(DAYS)]
        run_nights(settings, days, skip=("close", "learn", "report"))
        yield client


def _fill(client: Client) -> None:
    windows = expected_windows(START, DAYS)
    # A window of several lines is several facts, which share its sums out.
    windows = windows.loc[windows.index.repeat(windows["lines"])]
    first = ~windows.index.duplicated()
    at = windows["window_start"].dt.tz_localize(None)
    count = len(windows)
    money = pa.decimal128(18, 4)
    revenue = pa.array(windows["revenue"].where(first, Decimal(0)).tolist(), money)
    zero = pa.array([Decimal(0)] * count, money)
    rows = pa.table(
        {
            "sale_id": pa.array([str(n) for n in range(count)]),
            "date_key": pa.array(at.dt.date),
            "quantity": pa.array(windows["units"].where(first, 0).tolist(), pa.int32()),
            "revenue": revenue,
            "cost": zero,
            "profit": revenue,
            "store_id": pa.array(windows["store_id"].tolist()),
            "product_id": pa.array(windows["product_id"].tolist()),
            "unit_price": zero,
            "window_start": pa.array(at, from_pandas=True).cast(pa.timestamp("s")),
            "event_time": pa.array(at, from_pandas=True).cast(pa.timestamp("ms")),
            "event_key": pa.array([n.to_bytes(16, "big") for n in range(count)], pa.binary(16)),
            "partition": pa.array([0] * count, pa.int32()),
            "offset": pa.array(range(count), pa.int64()),
        }
    )
    insert(client, "fact_sales", rows)
    command(
        client,
        "INSERT INTO velocity_5m_sums SELECT store_id, product_id, window_start,"
        " sum(toInt64(quantity)), sum(toDecimal128(revenue, 4)), toInt64(count()) FROM fact_sales"
        " GROUP BY store_id, product_id, window_start",
    )


def test_rollups_of_recorded_days_are_what_pandas_makes_of_the_data_set(client: Client) -> None:
    assert rollups_match(client, START, DAYS)
    lines = select(client, "SELECT sum(lines) AS n FROM rollup_daily")["n"][0].as_py()
    assert lines == expected_windows(START, DAYS)["lines"].sum() > 5_000
    # And it would say so if one item were not.
    client.command("INSERT INTO rollup_daily SELECT * FROM rollup_daily LIMIT 1")
    assert not rollups_match(client, START, DAYS)

"""A made-up past in a real warehouse: what is learned of it, and what is then expected."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from clickhouse.client import Client, connect
from clickhouse.queries import select
from lake.client import connect as connect_lake
from simulators.world.seasons import DAY_MS
from tests.fixtures.past import END_MS, load_orders, write_past
from tests.fixtures.warehouse import WarehouseProcess, environment_of, own_database
from tillstream.cli.main import app
from tillstream.learning.evidence import read
from tillstream.learning.learn import Learned, learn
from tillstream.learning.outlook import believed, risks
from tillstream.learning.tables import load_model, save
from tillstream.settings import LakeSettings, WarehouseSettings

pytestmark = pytest.mark.integration

AS_OF_MS = END_MS - 4 * DAY_MS
DAYS = 28


@pytest.fixture(scope="module")
def warehouse(
    warehouse_server: WarehouseProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WarehouseSettings]:
    """Four weeks of six stores, the last four days of which nobody may know yet."""
    folder = tmp_path_factory.mktemp("past")
    lake = connect_lake(LakeSettings(), url=(folder / "lake").as_uri())
    with own_database(warehouse_server, "learning") as own, closing(connect(own)) as client:
        write_past(client, lake, days=DAYS, folder=folder, stores=6, products=200, rate=3.0, seed=7)
        load_orders(client, folder)
        yield own


@pytest.fixture(scope="module")
def client(warehouse: WarehouseSettings) -> Iterator[Client]:
    with closing(connect(warehouse)) as client:
        yield client


def learned_from(client: Client, as_of_ms: int = AS_OF_MS) -> tuple[Learned, pa.Table]:
    evidence = read(client, as_of_ms=as_of_ms, days=DAYS, half_life_days=28)
    return learn(evidence, half_life_days=28), evidence.items


def test_the_beliefs_say_what_is_sold_a_day(client: Client) -> None:
    learned, items = learned_from(client)
    sold = select(
        client,
        "SELECT store_id, product_id, sum(quantity) AS units FROM fact_sales"
        " WHERE event_time < fromUnixTimestamp64Milli({as_of:Int64}, 'UTC')"
        " GROUP BY store_id, product_id ORDER BY units DESC LIMIT 50",
        parameters={"as_of": AS_OF_MS},
    )
    believed = {
        item: rate
        for *item_, rate in zip(
            items["store_id"].to_pylist(),
            items["product_id"].to_pylist(),
            learned.belief.daily_units.tolist(),
            strict=True,
        )
        for item in [tuple(item_)]
    }
    days = DAYS - 4
    for store, product, units in zip(
        *(sold[name].to_pylist() for name in sold.column_names), strict=True
    ):
        assert believed[store, product] == pytest.approx(units / days, rel=0.35)
    assert (learned.belief.dispersion >= 1).all()
    night, evening = learned.rhythm.weights[:, 3].sum(), learned.rhythm.weights[:, 17].sum()
    assert evening > 10 * night


def test_what_the_chain_expects_itself_goes_before_what_others_sell(client: Client) -> None:
    before, items = learned_from(client)
    store, product = items["store_id"][0].as_py(), items["product_id"][0].as_py()
    client.command(
        "INSERT INTO demand_prior (store_id, product_id, daily_units, dispersion, lead_time_days)"
        f" VALUES ('{store}', '{product}', 500.0, 1.0, 2.0)"
    )
    try:
        told, _ = learned_from(client)
    finally:
        client.command("TRUNCATE TABLE demand_prior")
    assert told.belief.daily_units[0] > 1.3 * before.belief.daily_units[0]
    assert np.array_equal(told.belief.a[1:], before.belief.a[1:])


def test_nothing_is_known_of_what_came_later(client: Client) -> None:
    _, items = learned_from(client)
    later = learned_from(client, END_MS)[1]
    assert items.num_rows <= later.num_rows
    reported = select(
        client,
        "SELECT store_id, product_id, argMax(quantity_on_hand, sequence) AS on_hand"
        " FROM fact_inventory WHERE event_time < fromUnixTimestamp64Milli({as_of:Int64}, 'UTC')"
        " GROUP BY store_id, product_id ORDER BY store_id, product_id",
        parameters={"as_of": AS_OF_MS},
    )
    for name in ("store_id", "product_id", "on_hand"):
        assert items[name].to_pylist() == reported[name].to_pylist()


def test_every_item_has_a_risk_and_low_stock_a_higher_one(client: Client) -> None:
    found = risks(*believed(client, as_of_ms=AS_OF_MS, days=DAYS))
    _, items = learned_from(client)
    assert found.select(["store_id", "product_id"]).equals(items.select(["store_id", "product_id"]))
    risk, on_hand = found["risk"].to_numpy(), items["on_hand"].to_numpy()
    assert ((risk >= 0) & (risk <= 1)).all()
    low = on_hand <= np.quantile(on_hand, 0.2)
    assert risk[low].mean() > 1.5 * risk[~low].mean()


def test_what_was_learned_can_be_read_again(client: Client) -> None:
    learned, items = learned_from(client)
    save(client, learned, items)
    model = load_model(client)
    assert model.as_of_ms == AS_OF_MS
    assert np.array_equal(model.rhythm.weights, learned.rhythm.weights)
    assert np.array_equal(model.stock_error.points, learned.stock_error.points)
    assert model.lateness == learned.lateness
    assert model.elasticity == learned.elasticity
    beliefs = select(
        client, "SELECT a, b, dispersion FROM demand_belief FINAL ORDER BY store_id, product_id"
    )
    assert np.array_equal(beliefs["a"].to_numpy(), learned.belief.a)
    assert np.array_equal(beliefs["b"].to_numpy(), learned.belief.b)


def run(warehouse: WarehouseSettings, home: Path, *arguments: str) -> tuple[int, str]:
    environment = environment_of(warehouse)
    result = CliRunner().invoke(app, ["--home", str(home), *arguments], env=environment)
    return result.exit_code, result.output + str(result.exception or "")


def test_the_command_tells_what_it_learned(warehouse: WarehouseSettings, tmp_path: Path) -> None:
    code, said = run(warehouse, tmp_path, "learn", "--as-of", "2026-03-06", "--json")
    assert code == 0, said
    found = json.loads(said)
    assert found["as_of"] == "2026-03-06"
    assert found["items"] > 200
    assert 0 < found["late_orders_share"] < 0.2
    assert found["counts_compared"] > 0


def test_a_past_without_reports_cannot_be_learned_from(
    warehouse: WarehouseSettings, tmp_path: Path
) -> None:
    code, said = run(warehouse, tmp_path, "learn", "--as-of", "2020-01-01")
    assert code == 1
    assert "no stock was reported before 2020-01-01" in said


def test_a_date_that_is_none_is_told(warehouse: WarehouseSettings, tmp_path: Path) -> None:
    code, said = run(warehouse, tmp_path, "learn", "--as-of", "yesterday")
    assert code == 1
    assert "'yesterday' is not a date" in said

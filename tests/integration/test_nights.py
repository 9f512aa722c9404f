"""Nights on a real warehouse: rollups equal the facts, in any order, however often, whatever comes
late."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from clickhouse.client import Client, connect
from clickhouse.migrate import migrate
from clickhouse.queries import command as real_command
from clickhouse.queries import select
from orchestration import night, rollups
from orchestration.day import store_days
from orchestration.journal import open_alerts
from orchestration.lock import only_night
from tests.fixtures.nights import DAYS, fill, rollup_hashes
from tests.fixtures.warehouse import WarehouseProcess, environment_of
from tillstream.errors import ConfigError, IntegrityError, ServiceError
from tillstream.settings import Settings, load_settings

pytestmark = pytest.mark.integration

NO_CLOSE = ("close", "learn", "report")
KEYS = ["store_id", "product_id"]


@pytest.fixture
def client(chain_past: Settings) -> Iterator[Client]:
    with closing(connect(chain_past.warehouse)) as client:
        yield client


@pytest.fixture(scope="module", autouse=True)
def loaded(chain_past: Settings) -> None:
    night.run_nights(chain_past, DAYS, skip=NO_CLOSE)


def frame(client: Client, sql: str, **parameters: Any) -> Any:
    """A pandas frame; Any, since its stubs know no index of dates."""
    return select(client, sql, parameters=parameters).to_pandas()


def test_a_daily_rollup_is_what_pandas_makes_of_the_facts(client: Client) -> None:
    facts = frame(
        client,
        "SELECT toString(store_id) AS store_id, product_id, quantity, revenue, cost, profit,"
        " promotion_id IS NOT NULL OR discount > 0 AS promoted FROM fact_sales"
        " WHERE date_key = {d:Date}",
        d=DAYS[1],
    )
    facts["promotion_units"] = facts["quantity"].where(facts["promoted"] == 1, 0)
    expected = facts.groupby(KEYS).agg(
        units=("quantity", "sum"),
        revenue=("revenue", "sum"),
        cost=("cost", "sum"),
        profit=("profit", "sum"),
        lines=("quantity", "size"),
        promotion_units=("promotion_units", "sum"),
    )
    stored = frame(
        client,
        "SELECT toString(store_id) AS store_id, product_id, units, revenue, cost, profit, lines,"
        " promotion_units, price FROM rollup_daily WHERE date_key = {d:Date} AND lines > 0",
        d=DAYS[1],
    ).set_index(KEYS)
    assert len(expected) == len(stored) > 300
    both = stored.loc[expected.index]
    for column in expected.columns:
        assert (both[column] == expected[column]).all(), column
    one = both[both["units"] > 1].iloc[0]
    assert one["price"] == pytest.approx(one["revenue"] / one["units"], abs=Decimal("0.0001"))


def test_empty_hours_are_those_between_the_turns_of_a_shelf(client: Client) -> None:
    """Walked through in Python, turn by turn, for every shelf that was ever empty."""
    day = DAYS[1]
    bounds = {row["store_id"]: row for row in store_days(client, day).to_pylist()}
    turns = frame(
        client,
        "SELECT DISTINCT toString(store_id) AS store_id, product_id, sequence, is_empty,"
        " toUnixTimestamp64Milli(event_time) AS at FROM shelf_turns ORDER BY at, sequence",
    )
    expected = {}
    for key, shelf in turns.groupby(KEYS):
        begins, ends = (bounds[key[0]][name] for name in ("starts_ms", "ends_ms"))
        empty_ms = 0
        for (at, empty), until in zip(
            shelf[["at", "is_empty"]].itertuples(index=False), [*shelf["at"][1:], ends], strict=True
        ):
            if empty:
                empty_ms += max(min(until, ends) - max(at, begins), 0)
        if empty_ms:
            expected[key] = empty_ms / 3_600_000
    stored = frame(
        client,
        "SELECT toString(store_id) AS store_id, product_id, empty_hours, in_stock_hours, lost_units"
        " FROM rollup_daily WHERE date_key = {d:Date} AND empty_hours > 0",
        d=day,
    ).set_index(KEYS)
    assert set(stored.index) == set(expected)
    assert len(expected) > 20
    for key, hours in expected.items():
        assert float(stored.loc[key, "empty_hours"]) == pytest.approx(hours, abs=0.01)
        assert stored.loc[key, "in_stock_hours"] + stored.loc[key, "empty_hours"] == 24
    assert 0 < float(stored["lost_units"].sum()) < 500


def test_levels_and_weeks_add_up(client: Client) -> None:
    totals = frame(
        client,
        "SELECT level, sum(units) AS units, sum(revenue) AS revenue, sum(lost_units) AS lost"
        " FROM rollup_groups WHERE period = 'day' GROUP BY level",
    ).set_index("level")
    facts = frame(
        client,
        "SELECT sum(quantity) AS units, sum(toDecimal128(revenue, 4)) AS revenue FROM fact_sales"
        " WHERE date_key BETWEEN {a:Date} AND {z:Date}",
        a=DAYS[0],
        z=DAYS[-1],
    ).iloc[0]
    assert set(totals.index) == {"store", "category", "region", "chain"}
    assert set(totals["units"]) == {facts["units"]}
    assert set(totals["revenue"]) == {facts["revenue"]}
    assert totals["lost"].nunique() == 1
    weekly = frame(client, "SELECT date_key, sum(units) AS units FROM rollup_weekly GROUP BY ALL")
    assert weekly["units"].sum() == facts["units"]
    assert set(weekly["date_key"]) == {date(2026, 3, 2)}


def test_again_and_in_any_order_the_tables_are_identical(
    chain_past: Settings, client: Client
) -> None:
    before = rollup_hashes(client)
    for day in random.Random(7).sample(DAYS, len(DAYS)):
        night.run_night(chain_past, day, skip=NO_CLOSE)
    assert rollup_hashes(client) == before
    assert all(rows for rows, _ in before.values())


def _late_sale(client: Client, day: date, quantity: int, offset: int) -> None:
    """A fact as the stream would have written it, after everything else."""
    columns = (
        "sale_id, date_key, quantity, revenue, cost, profit, store_id, product_id, transaction_id,"
        " line_number, unit_price, payment_method, window_start, event_time, arrival, schema_id,"
        " event_key, topic_id, partition, offset"
    )
    client.command(
        f"INSERT INTO fact_sales ({columns}) SELECT 'late-{offset}', date_key, {quantity},"
        f" unit_price * {quantity}, 0, unit_price * {quantity}, store_id, product_id, 'late', 1,"
        f" unit_price, 'card', window_start, event_time, arrival, schema_id, MD5('late-{offset}'),"
        f" topic_id, partition, 900000000 + {offset} FROM fact_sales WHERE date_key = '{day}'"
        " ORDER BY offset LIMIT 1"
    )
    client.command(
        "INSERT INTO velocity_5m_sums SELECT store_id, product_id, window_start, quantity, revenue,"
        f" 1 FROM fact_sales WHERE sale_id = 'late-{offset}'"
    )
    client.command(
        "INSERT INTO stream_commits SELECT 'live', 'retail-sales-transactions', topic_id,"
        f" partition, offset + 1, 0, now64(6) FROM fact_sales WHERE sale_id = 'late-{offset}'"
    )


def test_a_late_sale_redoes_its_own_day_and_no_other(chain_past: Settings, client: Client) -> None:
    computed = "SELECT date_key, max(computed_at) AS at, sum(units) AS units FROM rollup_daily"
    before = frame(client, f"{computed} GROUP BY date_key").set_index("date_key")
    _late_sale(client, DAYS[0], 5, 1)
    night.run_night(chain_past, DAYS[2], skip=NO_CLOSE)
    after = frame(client, f"{computed} GROUP BY date_key").set_index("date_key")
    assert after.loc[DAYS[0], "units"] == before.loc[DAYS[0], "units"] + 5
    assert after.loc[DAYS[1], "at"] == before.loc[DAYS[1], "at"]
    why = frame(client, "SELECT date_key, toString(reason) AS why FROM night_loads FINAL")
    assert dict(zip(why["date_key"], why["why"], strict=True))[DAYS[0]] == "correction"
    again = night.run_night(chain_past, DAYS[2], skip=NO_CLOSE)
    assert again[-1].detail == "no earlier day changed"
    # As a whole backfill would have made it.
    corrected = rollup_hashes(client)
    night.run_nights(chain_past, DAYS, skip=NO_CLOSE)
    assert rollup_hashes(client) == corrected


def test_a_night_learns_and_an_earlier_one_does_not_undo_that(
    chain_past: Settings, client: Client
) -> None:
    learn = night.step_named("learn")
    assert "beliefs of demand" in night.perform(chain_past, DAYS[1], learn, run_id="second")
    beliefs = frame(client, "SELECT count() AS n, any(as_of) AS at FROM demand_belief FINAL")
    assert beliefs["n"][0] > 300
    assert beliefs["at"][0].date() == DAYS[2]  # midnight after the day
    said = night.perform(chain_past, DAYS[0], learn, run_id="first")
    assert said == "a later day was learned from before"
    today = datetime.now(tz=UTC).date()
    assert "not over" in night.perform(chain_past, today, learn, run_id="too early")
    night.perform(chain_past, DAYS[1], learn, run_id="again")
    again = frame(client, "SELECT count() AS n, any(as_of) AS at FROM demand_belief FINAL")
    assert again.equals(beliefs)


def test_what_failed_and_then_works_is_no_alert_any_more(
    chain_past: Settings, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = night.step_named("report")

    def disk_is_full(*_: Any) -> int:
        raise ServiceError("no space left")

    with monkeypatch.context() as patched:
        patched.setattr("orchestration.report.write_reports", disk_is_full)
        with pytest.raises(ServiceError, match="no space left"):
            night.perform(chain_past, DAYS[1], report, run_id="full")
    assert [one["step"] for one in open_alerts(client, DAYS[1])] == ["report"]
    night.perform(chain_past, DAYS[1], report, run_id="again")
    assert open_alerts(client, DAYS[1]) == []


def test_an_event_counted_twice_stops_the_load_and_what_was_served_stays(
    chain_past: Settings, client: Client
) -> None:
    before = rollup_hashes(client)
    client.command(
        "INSERT INTO fact_sales SELECT * REPLACE (offset + 800000000 AS offset) FROM fact_sales"
        f" WHERE date_key = '{DAYS[1]}' LIMIT 1"
    )
    with pytest.raises(IntegrityError, match="counted_once: 1 of") as refused:
        night.run_night(chain_past, DAYS[1], skip=NO_CLOSE)
    assert "live_windows" in str(refused.value)
    assert refused.value.hint is not None
    assert f"night run --date {DAYS[1]}" in refused.value.hint
    assert rollup_hashes(client) == before
    alert = frame(client, "SELECT * FROM night_alerts FINAL WHERE state = 'open'")
    assert list(alert["date_key"]) == [DAYS[1]]
    client.command(
        "ALTER TABLE fact_sales DELETE WHERE offset BETWEEN 800000000 AND 899999999"
        " SETTINGS mutations_sync = 2"
    )


def test_a_day_without_sales_is_missing_unless_the_chain_was_closed(
    chain_past: Settings, client: Client
) -> None:
    gone = DAYS[0]
    with pytest.raises(ConfigError, match="nothing is stored of 2026-02-01: the days go from"):
        night.run_night(chain_past, date(2026, 2, 1), skip=NO_CLOSE)
    client.command("CREATE TABLE kept AS fact_sales")
    client.command("INSERT INTO kept SELECT * FROM fact_sales")
    client.command(
        f"ALTER TABLE fact_sales DELETE WHERE date_key = '{gone}' SETTINGS mutations_sync = 2"
    )
    try:
        with pytest.raises(IntegrityError, match="has_sales"):
            night.run_night(chain_past, gone, skip=NO_CLOSE)
        night.run_night(chain_past, gone, skip=(*NO_CLOSE, "check"))
        sold = frame(
            client, "SELECT sum(lines) AS n FROM rollup_daily WHERE date_key = {d:Date}", d=gone
        )
        assert sold["n"][0] == 0
    finally:
        client.command("TRUNCATE TABLE fact_sales")
        client.command("INSERT INTO fact_sales SELECT * FROM kept")
        client.command("DROP TABLE kept")
        night.run_nights(chain_past, DAYS, skip=NO_CLOSE)


def test_publishing_what_was_never_computed_replaces_nothing(client: Client) -> None:
    before = rollup_hashes(client)
    rollups.discard(client, DAYS[0])
    with pytest.raises(IntegrityError, match="no rollup of it is in staging"):
        rollups.publish(client, DAYS[0])
    assert rollup_hashes(client) == before


def test_a_second_night_at_once_is_told_who_is_at_work(chain_past: Settings) -> None:
    with (
        only_night(chain_past.home, chain_past.warehouse.database, doing="load of 2026-03-06"),
        pytest.raises(ServiceError, match=r"at work on .*: load of 2026-03-06 \(pid \d+\)"),
    ):
        night.run_night(chain_past, DAYS[0], skip=NO_CLOSE)


def _die_in_the_night(settings: Settings, day: date, before: str, nth: int) -> None:
    env = os.environ | environment_of(settings.warehouse) | {"TILLSTREAM_HOME": str(settings.home)}
    program = [sys.executable, "-m", "tests.integration.killed_night"]
    program += [str(day), "night", before, str(nth)]
    killed = subprocess.run(program, env=env, check=False, timeout=300)
    assert killed.returncode == -signal.SIGKILL


def _reports(settings: Settings, day: date) -> dict[str, str]:
    folder = settings.home / "reports" / day.isoformat()
    return {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("before", "nth"),
    [
        ("INSERT INTO quality_results", 1),  # checked, but nobody knows
        ("INSERT INTO rollup_daily_staging", 1),  # hours are made, days are not
        ("REPLACE PARTITION '2026-03-07' FROM rollup_daily_staging", 1),  # only hours are served
        ("INSERT INTO rollup_weekly_staging", 1),  # the day is served, its week is not
        ("INSERT INTO night_loads", 1),  # served, but nobody knows
        ("replace .store-", 2),  # one page of the report is written
    ],
)
def test_killed_in_any_step_the_next_night_ends_the_same(
    chain_past: Settings, client: Client, before: str, nth: int
) -> None:
    night.run_night(chain_past, DAYS[1], skip=("close",))
    whole, pages = rollup_hashes(client), _reports(chain_past, DAYS[1])
    _die_in_the_night(chain_past, DAYS[1], before, nth)
    night.run_night(chain_past, DAYS[1], skip=("close",))
    assert rollup_hashes(client) == whole
    assert _reports(chain_past, DAYS[1]) == pages


@pytest.mark.parametrize(
    ("number", "before", "nth"),
    [
        (11, "REPLACE PARTITION '2026-03-06' FROM rollup_daily_staging", 1),
        (12, "INSERT INTO night_loads", 2),
        (13, "INSERT INTO night_cuts", 3),  # the day is corrected; the others are not settled
    ],
)
def test_killed_in_a_correction_the_next_night_makes_it(
    chain_past: Settings, client: Client, number: int, before: str, nth: int
) -> None:
    sold = f"SELECT sum(units) FROM rollup_daily WHERE date_key = '{DAYS[0]}'"
    units = client.query(sold).result_rows[0][0]
    _late_sale(client, DAYS[0], 5, number)
    _die_in_the_night(chain_past, DAYS[2], before, nth)
    night.run_night(chain_past, DAYS[2], skip=NO_CLOSE)
    assert client.query(sold).result_rows[0][0] == units + 5
    corrected = rollup_hashes(client)
    night.run_nights(chain_past, DAYS, skip=NO_CLOSE)
    assert rollup_hashes(client) == corrected


def test_a_warehouse_that_dies_in_the_middle_is_told_of_and_the_night_can_be_repeated(
    own_warehouse: WarehouseProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = own_warehouse.settings("tillstream")
    migrate(warehouse)
    settings = load_settings(home=tmp_path, warehouse=warehouse)
    fill(settings)

    def command(client: Client, sql: str, **options: Any) -> None:
        if "INSERT INTO rollup_daily_staging" in sql:
            own_warehouse.kill()
        real_command(client, sql, **options)

    with monkeypatch.context() as patch:
        patch.setattr(rollups, "command", command)
        with pytest.raises(ServiceError, match="statement failed") as lost:
            night.run_night(settings, DAYS[0], skip=NO_CLOSE)
    assert lost.value.hint
    own_warehouse.start()
    reports = night.run_night(settings, DAYS[0], skip=NO_CLOSE)
    assert {report.state for report in reports} == {"done"}

"""Days of runs, checks as files, lineage as a graph: what needs no warehouse."""

from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from clickhouse.migrate import load_migrations
from orchestration.day import (
    day_bounds_ms,
    day_of_run,
    days_between,
    monday_of,
    parse_day,
    require_over,
)
from orchestration.forgetting import hash_of, without_customer
from orchestration.lineage import graph, upstream
from orchestration.lock import only_night
from orchestration.quality import FACTS, STAGED, Check, Result, load_checks, parse_check
from orchestration.quality import require_critical as require
from tillstream.contracts.catalogue import load_catalogue
from tillstream.contracts.codec import Codec
from tillstream.contracts.topics import Topic
from tillstream.errors import ConfigError, IntegrityError, ServiceError


def test_the_run_of_eight_o_clock_is_about_the_day_that_ended_everywhere() -> None:
    interval_start = datetime(2026, 3, 10, 8, tzinfo=UTC)  # the run itself is a day later
    assert day_of_run(interval_start) == date(2026, 3, 10)
    run_at_ms = datetime(2026, 3, 11, 8, tzinfo=UTC).timestamp() * 1000
    for zone in ("Pacific/Auckland", "UTC", "America/New_York", "America/Los_Angeles"):
        assert day_bounds_ms(date(2026, 3, 10), zone)[1] <= run_at_ms, zone


def test_somebody_may_ask_for_another_day() -> None:
    start = datetime(2026, 3, 10, 8, tzinfo=UTC)
    assert day_of_run(start, {"date": "2026-02-01"}) == date(2026, 2, 1)
    assert day_of_run(start, {"date": None}) == date(2026, 3, 10)
    with pytest.raises(ConfigError, match="no data interval"):
        day_of_run(None, {})
    with pytest.raises(ConfigError, match="'yesterday' is not a date"):
        parse_day("yesterday")


@pytest.mark.parametrize(
    ("day", "zone", "hours"),
    [
        ("2026-03-08", "America/New_York", 23),
        ("2026-11-01", "America/New_York", 25),
        ("2026-03-08", "Asia/Kolkata", 24),
        ("2026-03-08", "Mars/Olympus", 24),
    ],
)
def test_a_day_is_as_long_as_its_time_zone_has_it(day: str, zone: str, hours: int) -> None:
    first, after = day_bounds_ms(date.fromisoformat(day), zone)
    assert (after - first) / 3_600_000 == hours


def test_days_and_weeks() -> None:
    assert days_between(date(2026, 2, 27), date(2026, 3, 1))[1] == date(2026, 2, 28)
    assert monday_of(date(2026, 3, 8)) == date(2026, 3, 2) == monday_of(date(2026, 3, 2))
    with pytest.raises(ConfigError, match="--from 2026-03-02 lies after --to 2026-03-01"):
        days_between(date(2026, 3, 2), date(2026, 3, 1))


def test_a_day_that_goes_on_in_one_store_is_refused() -> None:
    bounds = {
        zone: day_bounds_ms(date(2026, 3, 10), zone) for zone in ("UTC", "America/Los_Angeles")
    }
    stores = pa.table({"ends_ms": [ends for _, ends in bounds.values()]})
    at_ms = bounds["America/Los_Angeles"][1]
    require_over(date(2026, 3, 10), stores, now_ms=at_ms)
    with pytest.raises(ConfigError, match="closes the day at 2026-03-11 07:00 UTC"):
        require_over(date(2026, 3, 10), stores, now_ms=at_ms - 1)


def test_every_guarded_table_has_checks_for_each_part_of_its_score() -> None:
    pillars = {
        "completeness": {"completeness", "timeliness"},
        "accuracy": {"accuracy", "uniqueness", "reconciliation"},
        "validity": {"validity"},
    }
    checks = load_checks()
    assert {check.table for check in checks} == {*FACTS, *STAGED}
    for table in (*FACTS, *STAGED):
        kinds = {check.kind for check in checks if check.table == table}
        for name, members in pillars.items():
            assert kinds & members, f"{table} has no check of {name}"


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1",
        "-- kind: beauty\n-- critical: no\n-- says: x",
        "-- kind: validity\n-- critical: maybe\n-- says: x",
        "-- kind: validity\n-- critical: no\nSELECT 1",
    ],
)
def test_a_check_must_say_what_it_is(text: str) -> None:
    with pytest.raises(ConfigError, match="check fact_sales/odd"):
        parse_check("fact_sales", "odd", text)


def test_only_critical_findings_keep_a_day_out_of_service() -> None:
    def result(critical: bool, failed: int) -> Result:
        check = Check("fact_sales", "c", "validity", critical, "lines that are odd", "")
        return Result(check, 10, failed)

    day = date(2026, 3, 10)
    require([result(False, 10), result(True, 0)], day=day)
    with pytest.raises(IntegrityError, match="fact_sales/c: 3 of 10: lines that are odd"):
        require([result(True, 3)], day=day)


def test_every_table_and_view_leads_to_what_it_is_made_from() -> None:
    edges = graph()
    created = {
        text.split()[2]
        for migration in load_migrations()
        for text in migration.statements()
        if text.startswith(("CREATE TABLE", "CREATE VIEW"))
    }
    unexplained = {
        name
        for name in created
        if not edges[name]
        and not name.startswith(("dim_", "schema_"))
        and not name.endswith("_staging")
    }
    loaded = {"demand_prior", "purchase_orders", "delisted_items", "store_access"}
    assert unexplained == {*loaded, "night_steps", "erasures"}


def test_a_weekly_rollup_comes_from_the_topics() -> None:
    found = upstream("rollup_weekly")
    assert found[:3] == [(0, "rollup_weekly"), (1, "rollup_daily"), (2, "rollup_hourly")]
    names = {name for _, name in found}
    assert {Topic.SALES, Topic.INVENTORY, "shelf_turns"} <= names
    assert Topic.CUSTOMERS not in names


def test_a_lock_names_its_holder_and_is_free_again(tmp_path: Path) -> None:
    with only_night(tmp_path, "db", doing="load of 2026-03-10"):
        with (
            pytest.raises(ServiceError, match=r"at work on 'db': load of 2026-03-10 \(pid"),
            only_night(tmp_path, "db", doing="x"),
        ):
            pass
        with only_night(tmp_path, "other", doing="y"):
            pass
    with only_night(tmp_path, "db", doing="z"):
        pass


CUSTOMER = "cust-" + "0123456789abcdef" * 2
OTHER = "cust-" + "f" * 32


@pytest.mark.parametrize("version", [1, 2])
def test_a_customer_leaves_the_bytes_and_nothing_else_does(version: int) -> None:
    codec = Codec(load_catalogue())
    sale = {
        "transaction_id": "t",
        "store_id": "S1",
        "product_id": "P1",
        "quantity": 2,
        "unit_price": "1.50",
        "timestamp": 1_773_100_800_000,
        "customer_id": CUSTOMER,
        "payment_method": "card",
    }
    from decimal import Decimal

    record = {**sale, "unit_price": Decimal("1.50")}
    if version == 2:
        record |= {"event_id": "e", "line_number": 1, "line_amount": Decimal("3.00")}
    value = codec.encode(Topic.SALES, record, version=version)
    before = codec.decode(Topic.SALES, value).record
    erased = without_customer(value, {hash_of(CUSTOMER)})
    after = codec.decode(Topic.SALES, erased)
    assert after.schema.version == version
    assert after.record == {**before, "customer_id": None}
    assert CUSTOMER.encode() not in erased
    assert without_customer(value, {hash_of(OTHER)}) == value
    assert without_customer(erased, {hash_of(CUSTOMER)}) == erased


def test_in_bytes_that_are_no_event_the_pseudonym_is_overwritten() -> None:
    broken = b"\x07junk " + CUSTOMER.encode() + b" " + OTHER.encode()
    erased = without_customer(broken, {hash_of(CUSTOMER)})
    assert erased == b"\x07junk " + b"x" * 37 + b" " + OTHER.encode()

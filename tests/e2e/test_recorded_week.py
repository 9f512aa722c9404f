"""One recorded week through the whole platform: exact, repeatable, and unharmed by kill -9."""

from collections.abc import Hashable, Iterable, Iterator, Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from clickhouse.queries import select
from simulators.complete_journey import expected_windows
from simulators.run import ReplayProgress
from tests.fixtures.platform import Platform, in_background, new_platform, wait_for
from tillstream.audit.digest import Digest
from tillstream.cli.rebuild import Source
from tillstream.devstack.parts import Part

pytestmark = [pytest.mark.e2e, pytest.mark.integration]

_START, _DAYS = date(2017, 11, 20), 7

Window = tuple[str, str, int]
Figures = tuple[int, Decimal, int]


@pytest.fixture(scope="module")
def quiet_week(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """The week replayed into an empty home, and nobody disturbed it."""
    platform = new_platform(tmp_path_factory.mktemp("quiet"))
    try:
        platform.up()
        platform.replay(_START, _DAYS)
        platform.catch_up()
        platform.wait_until_scored()
        yield platform
    finally:
        platform.down()


@pytest.fixture(scope="module")
def quiet_digests(quiet_week: Platform) -> dict[str, Digest]:
    return quiet_week.digests()


def test_every_window_equals_the_data_set_to_the_cent(quiet_week: Platform) -> None:
    expected = expected_windows(_START, _DAYS)
    expected["at"] = expected["window_start"].map(lambda window: int(window.timestamp()))
    columns = ["store_id", "product_id", "at", "units", "revenue", "lines"]
    wanted = _by_window(expected[columns].to_dict("records"))
    with quiet_week.client() as client:
        stored = select(
            client,
            "SELECT toString(store_id) AS store_id, product_id,"
            " toUnixTimestamp(window_start) AS at, units, revenue, lines FROM velocity_5m",
        )
    found = _by_window(stored.to_pylist())
    assert len(found) == 28_334
    assert found == wanted
    assert sum(units for units, _, _ in found.values()) == 2_960_072
    assert sum(revenue for _, revenue, _ in found.values()) == Decimal("92356.48")
    assert sum(lines for _, _, lines in found.values()) == 28_366


def _by_window(rows: Iterable[Mapping[Hashable, Any]]) -> dict[Window, Figures]:
    return {
        (row["store_id"], row["product_id"], row["at"]): (
            row["units"],
            row["revenue"],
            row["lines"],
        )
        for row in rows
    }


def test_the_quiet_week_verifies_clean(quiet_week: Platform) -> None:
    audit = quiet_week.audit(ledgers=quiet_week.ledgers)
    assert audit.clean, audit.checks
    assert sum(row.facts for row in audit.partitions) == 87_223
    assert sum(row.lake_records for row in audit.partitions) == 87_223


def test_dirty_lines_are_kept_and_fuel_is_marked(quiet_week: Platform) -> None:
    with quiet_week.client() as client:
        zero = client.query("SELECT count() FROM fact_sales WHERE quantity = 0").result_rows[0][0]
        marked = client.query(
            "SELECT uniqExact((topic_id, partition, offset)) FROM anomalies"
            " WHERE kind = 'quantity_outlier' AND value >= 1000"
        ).result_rows[0][0]
        fuel = client.query("SELECT count() FROM fact_sales WHERE quantity >= 1000").result_rows[0][
            0
        ]
    assert zero > 0
    assert marked == fuel > 0


def test_alerts_open_with_a_reason_and_reach_their_topic(quiet_week: Platform) -> None:
    from producers.reader import read_records
    from tillstream.contracts.catalogue import load_catalogue
    from tillstream.contracts.codec import Codec
    from tillstream.contracts.topics import Topic

    codec = Codec(load_catalogue())
    records = read_records(quiet_week.settings.kafka, Topic.ALERTS.value)
    published = {
        (alert["alert_id"], alert["version"], alert["explanation"])
        for alert in (codec.decode(Topic.ALERTS, record.value or b"").record for record in records)
    }
    with quiet_week.client() as client:
        stored = set(
            client.query(
                "SELECT alert_id, version, explanation FROM restock_alert_history FINAL"
            ).result_rows
        )
    assert published == stored != set()
    assert all(" at store " in explanation for _, _, explanation in stored)


def test_alerts_are_open_for_exactly_the_shelves_that_are_at_risk(quiet_week: Platform) -> None:
    """How many opened on the way is a matter of how often a replay is scored; who is open at the
    end is not."""
    rules = quiet_week.settings.risk
    with quiet_week.client() as client:
        risks = {
            (row["store_id"], row["product_id"]): row["risk"]
            for row in select(
                client, "SELECT store_id, product_id, risk FROM stockout_risk FINAL"
            ).to_pylist()
        }
        newest = select(
            client,
            "SELECT store_id, product_id, argMax(state, (at, version)) AS state"
            " FROM restock_alert_history FINAL GROUP BY store_id, product_id",
        ).to_pylist()
    still_open = {
        (row["store_id"], row["product_id"]) for row in newest if row["state"] != "resolved"
    }
    at_risk = {item for item, risk in risks.items() if risk >= rules.open_above}
    at_ease = {item for item, risk in risks.items() if risk <= rules.resolve_below}
    assert len(at_risk) > 500
    assert at_risk <= still_open
    assert not at_ease & still_open


@pytest.mark.parametrize("source", list(Source))
def test_a_rebuild_gives_the_same_rows(
    quiet_week: Platform, quiet_digests: dict[str, Digest], source: Source
) -> None:
    quiet_week.rebuild(source, into=f"rebuilt_{source.value}")
    assert quiet_week.digests(f"rebuilt_{source.value}") == quiet_digests


def test_kill_9_of_driver_broker_and_warehouse_loses_and_doubles_nothing(
    tmp_path: Path, quiet_digests: dict[str, Digest]
) -> None:
    """The same week into another home, while everything is killed in turn: the same rows."""
    platform = new_platform(tmp_path / "stormy")
    seen: list[ReplayProgress] = []
    try:
        platform.up()
        # Paced, so that every kill falls into the middle of the replay.
        join = in_background(
            lambda: platform.replay(_START, _DAYS, speed=8_000.0, on_progress=seen.append)
        )
        for part, share in ((Part.STREAM, 0.45), (Part.KAFKA, 0.6), (Part.WAREHOUSE, 0.75)):
            _wait_until_sent(seen, share)
            platform.kill(part)
            platform.up()
        join()
        platform.catch_up()
        audit = platform.audit(ledgers=platform.ledgers)
        assert audit.clean, audit.checks
        assert platform.digests() == quiet_digests
    finally:
        platform.down()


def _wait_until_sent(seen: list[ReplayProgress], share: float) -> None:
    wait_for(
        lambda: bool(seen) and seen[-1].steps_done > share * seen[-1].steps_total,
        timeout_s=180,
        what=f"{share:.0%} of the replay",
    )

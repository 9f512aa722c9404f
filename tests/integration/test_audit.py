"""Every audit finds its kind of damage, names the place, and is silent before."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest

from clickhouse.client import Client
from clickhouse.queries import Cut, committed_cuts
from clickhouse.stored import NEWEST_REPORT
from lake.archive import archive
from lake.client import Lake
from lake.client import connect as connect_lake
from streaming.archiving import as_records
from streaming.sinks import WarehouseSink
from tests.builders import INVENTORY_ID, SALES_ID, TOPIC_IDS, decoded, judged, moved, refused, sold
from tests.fixtures.warehouse import WarehouseProcess, own_client
from tillstream.audit import derived
from tillstream.audit.archive import check_archive
from tillstream.audit.coordinates import Coordinates, check_coordinates, check_identities, landed
from tillstream.audit.derived import check_ledger, check_stock, check_windows
from tillstream.audit.digest import digests
from tillstream.audit.findings import Check
from tillstream.contracts.topics import Topic
from tillstream.settings import LakeSettings

pytestmark = pytest.mark.integration

ROWS = (
    *(sold(offset) for offset in range(6)),
    refused(6),
    sold(7, "sale-0-0"),
    moved(0, quantity_on_hand=20),
    moved(1, quantity_on_hand=18),
    moved(2, product_id="beer", quantity_on_hand=5),
)


@pytest.fixture
def client(warehouse_server: WarehouseProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """A warehouse with ROWS in it."""
    monkeypatch.setattr(derived, "_BETWEEN_LOOKS_S", 0.01)
    with own_client(warehouse_server, "audit") as client:
        sink = WarehouseSink(client)
        sink.open()
        sink.write(decoded(*ROWS), TOPIC_IDS, batch_id=0)
        sink.close()
        yield client


def damage(client: Client, statement: str) -> None:
    client.command(statement, settings={"mutations_sync": 2})


def everything(places: list[Coordinates]) -> set[Coordinates]:
    return set(places)


def offsets(client: Client, *, oldest: int = 0) -> Check:
    return check_coordinates(
        landed(client, cut, oldest=oldest, has_record=everything)
        for cut in committed_cuts(client, "live")
    )


def told(check: Check) -> list[tuple[str, str]]:
    return [(finding.kind, finding.detail) for finding in check.findings]


def test_undamaged_warehouse_is_clean(client: Client) -> None:
    checks = [
        offsets(client),
        check_identities(client),
        check_windows(client),
        check_stock(client),
    ]
    assert [(check.name, check.compared, check.disagreeing) for check in checks] == [
        ("offsets", 11, 0),
        ("identities", 9, 0),
        ("windows", 1, 0),
        ("stock", 2, 0),
    ]
    (sales,) = (
        landed(client, cut, oldest=0, has_record=everything)
        for cut in committed_cuts(client, "live")
        if cut.topic == Topic.SALES
    )
    assert (sales.facts, sales.duplicates, sales.quarantine) == (6, 1, 1)
    assert (sales.missing, sales.doubled) == ((), ())


@pytest.mark.parametrize(
    ("table", "condition", "missing"),
    [
        ("fact_sales", "offset = 3", "offset 3"),
        ("fact_sales", "offset = 0", "offset 0"),
        ("fact_sales", "offset IN (2, 3, 4)", "offset 2"),
        ("duplicates", "1", "offset 7"),
        ("quarantine", "1", "offset 6"),
    ],
)
def test_deleted_row_is_missing_at_its_offset(
    client: Client, table: str, condition: str, missing: str
) -> None:
    damage(client, f"ALTER TABLE {table} DELETE WHERE {condition}")
    check = offsets(client)
    assert told(check)[0] == ("missing", f"{Topic.SALES}-0 {missing}: in no table")
    assert check.findings[0].where["topic_id"] == SALES_ID
    assert check.disagreeing == len(check.findings) == (3 if "IN" in condition else 1)


def test_last_row_below_the_cut_is_missed_too(client: Client) -> None:
    damage(client, "ALTER TABLE fact_inventory DELETE WHERE offset = 2")
    assert told(offsets(client)) == [("missing", f"{Topic.INVENTORY}-0 offset 2: in no table")]


def test_offset_without_a_record_in_kafka_is_not_missing(client: Client) -> None:
    damage(client, "ALTER TABLE fact_sales DELETE WHERE offset IN (2, 4)")
    (cut,) = (cut for cut in committed_cuts(client, "live") if cut.topic == Topic.SALES)

    def only_four(places: list[Coordinates]) -> set[Coordinates]:
        return {place for place in places if place[2] == 4}

    assert landed(client, cut, oldest=0, has_record=only_four).missing == ((4, 4),)


def test_nothing_before_kafkas_oldest_record_is_asked_for(client: Client) -> None:
    damage(client, "ALTER TABLE fact_sales DELETE WHERE offset < 3")
    (cut,) = (cut for cut in committed_cuts(client, "live") if cut.topic == Topic.SALES)
    assert landed(client, cut, oldest=3, has_record=everything).missing == ()
    assert landed(client, cut, oldest=2, has_record=everything).missing == ((2, 2),)


def test_doubled_row_is_found_by_offset_identity_and_window(client: Client) -> None:
    damage(client, "INSERT INTO fact_sales SELECT * FROM fact_sales WHERE offset = 4")
    assert told(offsets(client)) == [
        ("doubled", f"{Topic.SALES}-0 offset 4: 2 rows, in fact_sales, fact_sales")
    ]
    (identity,) = check_identities(client).findings
    assert identity.kind == "counted twice"
    assert identity.detail.startswith("fact_sales: one event at [(")
    assert f"'{SALES_ID}',0,4" in identity.detail
    (window,) = check_windows(client).findings
    assert window.where["units"] == 2


def test_row_in_two_tables_is_doubled(client: Client) -> None:
    damage(
        client,
        "INSERT INTO quarantine (topic, topic_id, partition, offset, arrival, reason, detail)"
        " SELECT topic, topic_id, partition, offset, arrival, 'x', '' FROM duplicates",
    )
    assert told(offsets(client)) == [
        ("doubled", f"{Topic.SALES}-0 offset 7: 2 rows, in duplicates, quarantine")
    ]


def test_altered_window_is_named(client: Client) -> None:
    damage(
        client,
        "INSERT INTO velocity_5m_sums SELECT store_id, product_id, window_start, 1, 0.0001, 0"
        " FROM velocity_5m LIMIT 1",
    )
    (finding,) = check_windows(client).findings
    assert finding.detail == (
        "store 304 product 1095275 window 2017-11-20 00:00:00: "
        "facts less sums = -1 units, -0.0001 revenue, 0 lines"
    )


def test_lost_window_is_named(client: Client) -> None:
    damage(client, "TRUNCATE TABLE velocity_5m_sums")
    (finding,) = check_windows(client).findings
    assert (finding.where["units"], finding.where["lines"]) == (12, 6)
    assert Decimal(finding.where["revenue"]) == Decimal("21.48")


def test_wrong_stock_is_named(client: Client) -> None:
    damage(
        client,
        "INSERT INTO current_stock_states SELECT cityHash64(store_id, product_id), store_id,"
        f" product_id, {NEWEST_REPORT} FROM (SELECT store_id, product_id, event_time, offset,"
        " toInt64(1000) AS sequence, toInt32(99) AS quantity_on_hand"
        " FROM fact_inventory WHERE product_id = 'beer') GROUP BY store_id, product_id",
    )
    assert told(check_stock(client)) == [
        ("stock", "store 304 product beer: shows 99, its movements say 5")
    ]


@pytest.mark.parametrize("table", ["current_stock_states", "fact_inventory"])
def test_shelf_without_stock_or_without_movements_is_named(client: Client, table: str) -> None:
    damage(client, f"ALTER TABLE {table} DELETE WHERE product_id = 'beer'")
    (finding,) = check_stock(client).findings
    assert (finding.where["store_id"], finding.where["product_id"]) == ("304", "beer")


def test_movement_that_does_not_follow_is_a_variance_not_damage(client: Client) -> None:
    assert "0 movements" in check_stock(client).notes[0]
    sink = WarehouseSink(client)
    sink.open()
    sink.write(decoded(moved(3, sequence=3, quantity_on_hand=11)), TOPIC_IDS, batch_id=1)
    sink.close()
    check = check_stock(client)
    assert check.clean
    assert "1 movements" in check.notes[0]


def ledger(**acknowledged: int) -> pa.Table:
    """Sales by name (dashes as underscores) and how often each was acknowledged."""
    sales = {f"sale-0-{offset}": 1 for offset in range(6)}
    sales |= {name.replace("_", "-"): count for name, count in acknowledged.items()}
    moves = [f"move-0-{offset}" for offset in range(3)]
    rows = [(Topic.SALES.value, name, 1, count) for name, count in sales.items() if count >= 0]
    rows += [(Topic.INVENTORY.value, name, 1, 1) for name in moves]
    names = ["topic", "identity", "attempts", "acknowledged"]
    return pa.table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))


def test_ledger_agrees_event_by_event(client: Client) -> None:
    check = check_ledger(client, ledger())
    assert (check.compared, check.disagreeing) == (9, 0)
    assert check_ledger(client, ledger(sale_0_99=0)).clean, "attempted, never acknowledged"
    assert check_ledger(client, ledger(sale_0_1=0)).clean, "stored, its acknowledgement lost"


def test_acknowledged_event_that_is_not_stored_is_named(client: Client) -> None:
    check = check_ledger(client, ledger(sale_0_99=1))
    assert told(check) == [("acknowledged, not stored", f"{Topic.SALES}: sale-0-99")]
    damage(client, "ALTER TABLE fact_inventory DELETE WHERE offset = 1")
    assert told(check_ledger(client, ledger())) == [
        ("acknowledged, not stored", f"{Topic.INVENTORY}: move-0-1")
    ]


def test_stored_event_that_nobody_sent_is_named(client: Client) -> None:
    check = check_ledger(client, ledger(sale_0_2=-1))
    assert told(check) == [("stored, never sent", f"{Topic.SALES}: sale-0-2")]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = connect_lake(LakeSettings(), url=str(tmp_path / "lake"))
    archive(lake, as_records(judged(*ROWS[:4])))
    archive(lake, as_records(judged(*ROWS[4:])))
    return lake


WANTED = [(Cut(Topic.SALES, SALES_ID, 0, 8), 0), (Cut(Topic.INVENTORY, INVENTORY_ID, 0, 3), 0)]


def test_whole_lake_is_clean(lake: Lake) -> None:
    held, check = check_archive(lake, WANTED)
    assert (check.compared, check.disagreeing, check.findings) == (11, 0, ())
    assert held[SALES_ID, 0].records == 8


def test_removed_object_is_missing_by_its_offsets(lake: Lake) -> None:
    first, *_ = (one.name for one in lake.list() if Topic.SALES in one.name)
    lake.delete(first)
    held, check = check_archive(lake, WANTED)
    assert told(check) == [
        ("not archived", f"{Topic.SALES}-0 offsets 0..3: in no object of the lake")
    ]
    assert held[SALES_ID, 0].missing_count == check.disagreeing == 4


def test_lake_that_ends_before_its_commit_is_missing_the_rest(lake: Lake) -> None:
    _, check = check_archive(lake, [(Cut(Topic.SALES, SALES_ID, 0, 11), 0)])
    assert told(check) == [
        ("not archived", f"{Topic.SALES}-0 offsets 8..10: in no object of the lake")
    ]


def test_object_that_lost_records_or_its_end_is_damaged(lake: Lake) -> None:
    short, broken = (one.name for one in lake.list() if Topic.SALES in one.name)
    lake.write(short, lake.read(short).slice(0, 2))
    assert lake.folder is not None
    path = lake.folder / broken
    path.write_bytes(path.read_bytes()[:-20])
    _, check = check_archive(lake, WANTED)
    assert check.disagreeing == 2
    assert told(check) == [
        ("damaged object", f"{short} holds 2 records; its name promises 4"),
        ("damaged object", f"{broken} cannot be read; its name promises 4"),
    ]


def test_foreign_object_and_overlap_are_noted_not_damage(lake: Lake) -> None:
    archive(lake, as_records(judged(*ROWS[2:6])))
    lake.write("raw-data/sales/readme.parquet", pa.table({"a": [1]}))
    _, check = check_archive(lake, WANTED)
    assert check.clean
    assert check.notes == (
        "4 offsets are in more than one object; readers count them once",
        "raw-data/sales/readme.parquet: not written by tillstream",
    )


def test_digest_changes_with_any_value_and_with_doubling(client: Client) -> None:
    before = {one.table: one for one in digests(client)}
    damage(client, "ALTER TABLE fact_sales UPDATE discount = NULL WHERE offset = 1")
    after = {one.table: one for one in digests(client)}
    assert after["fact_sales"].rows == before["fact_sales"].rows
    assert after["fact_sales"].sha != before["fact_sales"].sha
    assert after["fact_inventory"] == before["fact_inventory"]
    damage(client, "ALTER TABLE fact_sales UPDATE discount = 0 WHERE offset = 1")
    zero = {one.table: one for one in digests(client)}["fact_sales"]
    assert zero.sha not in (before["fact_sales"].sha, after["fact_sales"].sha)
    for _ in range(2):  # even an even number of copies must show
        damage(client, "INSERT INTO fact_inventory SELECT * FROM fact_inventory WHERE offset = 0")
    doubled = {one.table: one for one in digests(client)}["fact_inventory"]
    assert doubled.sha != before["fact_inventory"].sha


def test_digest_is_the_same_for_other_topic_ids_and_arrivals(client: Client) -> None:
    before = digests(client)
    damage(client, "ALTER TABLE fact_sales UPDATE topic_id = 'another' WHERE 1")
    damage(client, "ALTER TABLE fact_sales UPDATE arrival = arrival + 7 WHERE 1")
    assert digests(client) == before

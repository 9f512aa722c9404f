"""The second computation of what must be stored, on records small enough to judge by eye."""

from decimal import Decimal
from typing import Any

import pytest

from tillstream.chaos.judge import compare, digest, expected_rows
from tillstream.chaos.model import INVENTORY, SALES, Expected, expect
from tillstream.chaos.witness import Seen
from tillstream.contracts.catalogue import load_catalogue
from tillstream.contracts.codec import Codec
from tillstream.contracts.topics import Topic

CODEC = Codec(load_catalogue())
AT_MS = 1_700_000_123_456
WINDOW = 1_700_000_100


def sale(
    offset: int,
    identity: str,
    *,
    partition: int = 0,
    topic_id: str = "t1",
    arrival: int = 0,
    **changes: Any,
) -> Seen:
    record = {
        "transaction_id": identity,
        "event_id": identity,
        "store_id": "S1",
        "product_id": "P1",
        "quantity": 2,
        "unit_price": Decimal("1.25"),
        "line_amount": Decimal("2.49"),
        "timestamp": AT_MS,
        "payment_method": "card",
        "line_number": 1,
        **changes,
    }
    value = CODEC.encode(Topic.SALES, record)
    return Seen(SALES, topic_id, partition, offset, arrival or AT_MS + offset, b"S1", value)


def move(offset: int, identity: str, *, on_hand: int, sequence: int | None) -> Seen:
    record = {
        "inventory_id": identity,
        "store_id": "S1",
        "product_id": "P1",
        "quantity_change": 1,
        "new_quantity": on_hand,
        "reason": "count",
        "timestamp": AT_MS,
        "sequence": sequence,
    }
    value = CODEC.encode(Topic.INVENTORY, record)
    return Seen(INVENTORY, "t2", 0, offset, AT_MS + offset, b"S1", value)


def model(*records: Seen, counted: frozenset[tuple[str, int, int]] = frozenset()) -> Expected:
    return expect(records, counted=counted)


def test_a_window_adds_what_was_paid_and_a_missing_amount_is_units_times_price() -> None:
    found = model(sale(0, "a"), sale(1, "b", line_amount=None, quantity=-3))
    assert found.windows == {("S1", "P1", WINDOW): (-1, 24_900 - 37_500, 2)}
    assert found.sales["t1", 0, 1] == ("b", "S1", "P1", -3, -37_500, AT_MS, AT_MS + 1)


def test_the_smallest_offset_of_an_identity_counts_and_names_the_others() -> None:
    found = model(sale(5, "a", quantity=9), sale(3, "a"), sale(4, "b"))
    assert set(found.sales) == {("t1", 0, 3), ("t1", 0, 4)}
    assert found.duplicates == {("t1", 0, 5): ("a", ("t1", 0, 3))}
    assert found.windows["S1", "P1", WINDOW][0] == 4


def test_an_older_incarnation_of_a_topic_counts_before_a_newer_one() -> None:
    found = model(sale(9, "a"), sale(0, "a", topic_id="t9", arrival=AT_MS - 5_000))
    assert found.duplicates == {("t9", 0, 0): ("a", ("t1", 0, 9))}


def test_between_partitions_the_stored_one_counts_but_only_a_first_of_its_partition() -> None:
    records = (
        sale(1, "a", partition=0),
        sale(7, "a", partition=3, arrival=AT_MS),
        sale(8, "a", partition=3),
    )
    assert set(model(*records).sales) == {("t1", 3, 7)}
    assert set(model(*records, counted=frozenset({("t1", 0, 1)})).sales) == {("t1", 0, 1)}
    assert set(model(*records, counted=frozenset({("t1", 3, 8)})).sales) == {("t1", 3, 7)}


def test_a_sale_without_an_event_id_is_its_transaction_product_and_line() -> None:
    found = model(sale(0, "tx", event_id=None))
    assert found.sales["t1", 0, 0][0] == "tx:P1:1"


def test_stock_is_the_highest_sequence_whatever_came_last() -> None:
    records = (
        move(0, "x", on_hand=7, sequence=10),
        move(1, "y", on_hand=99, sequence=4),
        move(2, "z", on_hand=50, sequence=None),
    )
    found = model(*records)
    assert found.stock == {("S1", "P1"): 7}
    assert found.moves["t2", 0, 2][5] == 0


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"value": None}, "empty_value"),
        ({"value": b"\x07garbage"}, "bad_magic_byte"),
        ({"value": b"\x00\x00"}, "undecodable"),
        ({"value": b"\x00\x00\x00\x00\x63rest"}, "unknown_schema_id"),
        ({"value": b"\x00\x00\x00\x00\x02\x02"}, "undecodable"),
        ({"key": b"  "}, "blank_key"),
        ({"key": None}, "blank_key"),
        ({"key": b"S2"}, "key_mismatch"),
        ({"arrival_ms": AT_MS - 300_001}, "future_timestamp"),
    ],
)
def test_what_breaks_a_rule_is_in_quarantine_with_its_reason(
    changes: dict[str, Any], reason: str
) -> None:
    found = model(sale(0, "a")._replace(**changes))
    assert found.quarantine == {("t1", 0, 0): reason}
    assert not found.sales
    assert not found.windows


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"quantity": 10_000_001}, "impossible_quantity"),
        ({"quantity": -10_000_001}, "impossible_quantity"),
        ({"timestamp": 930_000_000_000}, "ancient_timestamp"),
    ],
)
def test_what_no_shop_can_sell_is_in_quarantine(changes: dict[str, Any], reason: str) -> None:
    assert model(sale(0, "a", **changes)).quarantine == {("t1", 0, 0): reason}


def test_comparing_names_what_is_missing_unexpected_different_and_doubled() -> None:
    wanted = {(1,): ("a",), (2,): ("b",), (3,): ("c",)}
    rows = [(1, "a"), (1, "a"), (3, "x"), (4, "d")]
    found = compare("t", wanted, rows, width=1)
    assert (found.missing, found.unexpected, found.different, found.doubled) == (1, 1, 1, 1)
    assert not found.clean
    assert found.differences == (
        "missing (2,): ('b',)",
        "unexpected (4,): ('d',)",
        "different (3,): expected ('c',), stored ('x',)",
        "doubled (1,)",
    )


def test_equal_rows_have_equal_digests_in_any_order() -> None:
    found = compare("t", {(1,): ("a",), (2,): ("b",)}, [(2, "b"), (1, "a")], width=1)
    assert found.clean
    assert found.digest_expected == found.digest_stored == digest({(2,): ("b",), (1,): ("a",)})
    assert digest({(1,): ("a",)}) != digest({(1,): ("b",)})


def test_every_record_is_in_exactly_one_place() -> None:
    records = [sale(0, "a"), sale(1, "a"), sale(2, "b")._replace(key=b"no"), sale(3, "c")]
    rows = expected_rows(model(*records))
    places = [*rows["fact_sales"], *rows["duplicates"], *rows["quarantine"]]
    assert sorted(places) == sorted(record.place for record in records)

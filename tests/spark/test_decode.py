"""Good events of every topic and version, decoded in one frame: one row in, one row out."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from streaming.decode import decode
from streaming.schemas import DECODED, MONEY, TIME, Rules
from tests.builders import AT, KAFKA_COLUMNS, good_value, record
from tests.contracts_suite.events import AT_MS
from tillstream.contracts.catalogue import load_catalogue
from tillstream.contracts.topics import SOURCE_TOPICS, Topic

pytestmark = pytest.mark.integration

CATALOGUE = load_catalogue()
SCHEMAS = {topic: CATALOGUE.versions(topic) for topic in SOURCE_TOPICS}
SALES, INVENTORY, PRICES, CUSTOMERS = SOURCE_TOPICS
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)


def at(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


RECORDS = {
    "sale": record(0, good_value()),
    "sale without id": record(0, good_value(event_id=None, line_number=3)),
    "sale of the first generation": record(0, good_value(version=1)),
    "sale without amount": record(0, good_value(line_amount=None)),
    "return": record(0, good_value(quantity=-2, line_amount=None, unit_price=Decimal("0.3333"))),
    "quantity 0 with revenue": record(0, good_value(quantity=0, line_amount=Decimal("1.01"))),
    "quantity 0 without": record(0, good_value(quantity=0, line_amount=None)),
    "rounded price": record(
        0, good_value(quantity=3, unit_price=Decimal("0.6633"), line_amount=Decimal("1.99"))
    ),
    "seventeen years late": record(0, good_value(timestamp=at(EARLIEST))),
    "start of a window": record(0, good_value(timestamp=AT_MS + 300_000)),
    "last millisecond of a window": record(0, good_value(timestamp=AT_MS + 299_999)),
    "middle of a window": record(0, good_value(timestamp=AT_MS + 150_000)),
    "movement": record(0, good_value(INVENTORY), topic=INVENTORY),
    "movement without sequence": record(0, good_value(INVENTORY, version=1), topic=INVENTORY),
    "price": record(0, good_value(PRICES, effective_to=AT_MS + 7), topic=PRICES),
    "visit": record(0, good_value(CUSTOMERS), topic=CUSTOMERS),
    "store a|b, sale c": record(0, good_value(store_id="a|b", event_id="c"), key=b"a|b"),
    "store a, sale b|c": record(0, good_value(store_id="a", event_id="b|c"), key=b"a"),
    "same sale at another store": record(0, good_value(store_id="305"), key=b"305"),
    "far ahead": record(0, good_value(timestamp=AT_MS + 600_000)),
    "a foreign record": {**record(0, good_value()), "topic": Topic.ALERTS.value},
}


@pytest.fixture(scope="module")
def table(spark: SparkSession) -> pa.Table:
    rows = [{**row, "offset": offset} for offset, row in enumerate(RECORDS.values())]
    frame = spark.createDataFrame(pa.Table.from_pylist(rows, schema=KAFKA_COLUMNS))
    return decode(frame, schemas=SCHEMAS, rules=Rules()).toArrow()


@pytest.fixture(scope="module")
def events(table: pa.Table) -> dict[str, dict[str, Any]]:
    return dict(zip(RECORDS, table.sort_by("offset").to_pylist(), strict=True))


def test_every_record_comes_out_once_in_the_agreed_columns(table: pa.Table) -> None:
    assert sorted(table["offset"].to_pylist()) == list(range(len(RECORDS)))
    assert [(f.name, f.type) for f in table.schema] == [(f.name, f.type) for f in DECODED]


def test_good_events_of_every_topic_and_version_are_accepted(
    events: dict[str, dict[str, Any]],
) -> None:
    reasons = {name: event["reason"] for name, event in events.items()}
    assert reasons.pop("a foreign record") == "unknown_schema_id"
    assert reasons.pop("far ahead") == "future_timestamp"
    assert set(reasons.values()) == {None}


def test_sale_has_every_field_as_sent(events: dict[str, dict[str, Any]]) -> None:
    event = events["sale"]
    told = {name: value for name, value in event.items() if value is not None}
    assert told.pop("key") == b"304"
    assert told.pop("value") == good_value()
    assert len(told.pop("event_key")) == 16
    assert told == {
        "topic": SALES.value,
        "partition": 0,
        "offset": 0,
        "arrival": AT,
        "schema_id": 2,
        "identity": "6b1f1f5e-8a5a-5b1e-9c1e-2b7c5f6d7e8f",
        "store_id": "304",
        "product_id": "1095275",
        "event_time": AT,
        "window_start": AT,
        "quantity": 2,
        "revenue": Decimal("3.5800"),
        "unit_price": Decimal("1.9900"),
        "discount": Decimal("0.4000"),
        "transaction_id": "31198570044",
        "line_number": 3,
        "payment_method": "card",
        "customer_id": "2375",
    }


def test_sale_without_id_is_known_by_transaction_product_and_line(
    events: dict[str, dict[str, Any]],
) -> None:
    assert events["sale without id"]["identity"] == "31198570044:1095275:3"
    assert events["sale of the first generation"]["identity"] == "31198570044:1095275:0"
    assert events["sale of the first generation"]["schema_id"] == 1
    assert events["movement"]["identity"] == "304:1095275:7"
    assert events["price"]["identity"] == "pc-1"
    assert events["visit"]["identity"] == "ce-1"


def test_event_key_tells_stores_topics_and_identities_apart(
    events: dict[str, dict[str, Any]],
) -> None:
    distinct = ["sale", "sale without id", "same sale at another store", "movement", "price"]
    distinct += ["store a|b, sale c", "store a, sale b|c"]
    assert len({events[name]["event_key"] for name in distinct}) == len(distinct)
    assert events["sale"]["event_key"] == events["rounded price"]["event_key"]


@pytest.mark.parametrize(
    ("name", "quantity", "revenue"),
    [
        ("sale", 2, "3.5800"),
        ("sale without amount", 2, "3.9800"),
        ("sale of the first generation", 2, "3.9800"),
        ("return", -2, "-0.6666"),
        ("quantity 0 with revenue", 0, "1.0100"),
        ("quantity 0 without", 0, "0.0000"),
        ("rounded price", 3, "1.9900"),
    ],
)
def test_amount_paid_is_the_revenue_else_quantity_times_price(
    events: dict[str, dict[str, Any]], name: str, quantity: int, revenue: str
) -> None:
    assert events[name]["quantity"] == quantity
    assert events[name]["revenue"] == Decimal(revenue)


@pytest.mark.parametrize(
    ("name", "window_start"),
    [
        ("sale", AT),
        ("middle of a window", AT),
        ("last millisecond of a window", AT),
        ("start of a window", AT + timedelta(minutes=5)),
        ("seventeen years late", EARLIEST),
    ],
)
def test_window_holds_its_start_and_not_its_end(
    events: dict[str, dict[str, Any]], name: str, window_start: datetime
) -> None:
    assert events[name]["window_start"] == window_start


def test_movement_price_and_visit_fill_their_own_columns(
    events: dict[str, dict[str, Any]],
) -> None:
    move = events["movement"]
    assert (move["quantity"], move["quantity_on_hand"], move["kind"], move["sequence"]) == (
        -2,
        14,
        "sale",
        7,
    )
    assert move["revenue"] is None
    assert events["movement without sequence"]["sequence"] == 0
    assert events["movement without sequence"]["schema_id"] == 3
    price = events["price"]
    assert (price["old_price"], price["new_price"]) == (Decimal("1.9900"), Decimal("1.4900"))
    assert (price["kind"], price["effective_from"]) == ("promotion", AT)
    assert price["effective_to"] == AT + timedelta(milliseconds=7)
    visit = events["visit"]
    assert (visit["kind"], visit["product_id"], visit["quantity"]) == ("visit", None, None)
    assert visit["sequence"] is None


def test_refused_row_keeps_its_bytes_and_has_no_texts(
    events: dict[str, dict[str, Any]],
) -> None:
    late, foreign = events["far ahead"], events["a foreign record"]
    assert late["detail"] == "event_time = 2017-11-20 00:10:00, arrived 2017-11-20 00:00:00"
    assert late["value"] == good_value(timestamp=AT_MS + 600_000)
    for row in (late, foreign):
        texts = ["identity", "store_id", "product_id", "transaction_id", "promotion_id"]
        texts += ["payment_method", "customer_id", "kind"]
        assert {row[name] for name in texts} == {None}


def test_columns_of_the_stream_agree_with_the_contracts() -> None:
    """Each Avro field that keeps its name in DECODED has the type its contract gives it."""
    types: dict[tuple[str, str | None], pa.DataType] = {
        ("string", None): pa.string(),
        ("enum", None): pa.string(),
        ("int", None): pa.int32(),
        ("long", None): pa.int64(),
        ("long", "timestamp-millis"): TIME,
        ("bytes", "decimal"): MONEY,
    }
    renamed = {
        "timestamp": "event_time",
        "line_amount": "revenue",
        "quantity_change": "quantity",
        "new_quantity": "quantity_on_hand",
        "reason": "kind",
        "event_type": "kind",
        "event_id": "identity",
        "inventory_id": "identity",
        "price_change_id": "identity",
    }
    for topic in SOURCE_TOPICS:
        for field in json.loads(CATALOGUE.latest(topic).text)["fields"]:
            branches = field["type"] if isinstance(field["type"], list) else [field["type"]]
            inner = next(branch for branch in branches if branch != "null")
            full = inner if isinstance(inner, dict) else {"type": inner}
            column = DECODED.field(renamed.get(field["name"], field["name"]))
            assert column.type == types[full["type"], full.get("logicalType")], field["name"]
            if "precision" in full:
                assert (full["precision"], full["scale"]) == (MONEY.precision, MONEY.scale)

"""Whatever a till, a bug or an attacker puts on a topic is refused with its reason."""

from decimal import Decimal

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from streaming.decode import decode
from streaming.schemas import Rules
from tests.builders import (
    KAFKA_COLUMNS,
    at_ms,
    good_value,
    nan_price,
    record,
    spliced,
    text_bytes,
    with_schema_id,
    zigzag,
)
from tests.contracts_suite.events import AT_MS
from tillstream.contracts.catalogue import load_catalogue
from tillstream.contracts.topics import SOURCE_TOPICS, Topic

pytestmark = pytest.mark.integration

SALE = good_value()
CATALOGUE = load_catalogue()
SCHEMAS = {topic: CATALOGUE.versions(topic) for topic in SOURCE_TOPICS}
TRANSACTION = text_bytes(b"31198570044")
LATE_2100_MS = 4_102_444_800_000
YEAR_9999_MS = 253_402_300_799_000

# name: (record, reason, what the detail says)
POISON = {
    "null value": (record(0, None), "empty_value", "no value"),
    "empty value": (record(0, b""), "empty_value", "no value"),
    "wrong magic byte": (record(0, b"\x01" + SALE[1:]), "bad_magic_byte", "0x01"),
    "JSON text": (record(0, b'{"store_id": "304"}'), "bad_magic_byte", "0x7B"),
    "magic byte alone": (record(0, b"\x00"), "undecodable", "only 1 bytes"),
    "half a header": (record(0, SALE[:4]), "undecodable", "only 4 bytes"),
    "header alone": (record(0, SALE[:5]), "undecodable", "schema 2"),
    "truncated": (record(0, SALE[:30]), "undecodable", "schema 2"),
    "last byte missing": (record(0, SALE[:-1]), "undecodable", "schema 2"),
    "unknown id": (record(0, with_schema_id(SALE, 999)), "unknown_schema_id", "999"),
    "id 0": (record(0, with_schema_id(SALE, 0)), "unknown_schema_id", "schema id 0"),
    "id beyond int": (
        record(0, with_schema_id(SALE, 2**32 - 1)),
        "unknown_schema_id",
        "4294967295",
    ),
    "id of another topic": (
        record(0, good_value(Topic.INVENTORY)),
        "unknown_schema_id",
        "schema id 4",
    ),
    "huge length prefix": (
        record(0, SALE[:5] + zigzag(2**40) + b"abc"),
        "undecodable",
        "schema 2",
    ),
    "length prefix of 2 GB": (
        record(0, SALE[:5] + zigzag(2**31 - 1) + b"abc"),
        "undecodable",
        "schema 2",
    ),
    "negative length prefix": (record(0, SALE[:5] + zigzag(-7) + b"abc"), "undecodable", "2"),
    "long id": (
        record(0, spliced(SALE, TRANSACTION, text_bytes(b"x" * 300))),
        "oversized_field",
        "300 characters",
    ),
    "huge string": (
        record(0, spliced(SALE, TRANSACTION, text_bytes(b"x" * 500_000))),
        "oversized_field",
        "500000 characters",
    ),
    "string of 2 MB": (
        record(0, spliced(SALE, TRANSACTION, text_bytes(b"x" * 2_000_000))),
        "undecodable",
        "schema 2",
    ),
    "text that is not UTF-8": (
        record(0, spliced(SALE, TRANSACTION, text_bytes(b"\xff\xfe\xfd"))),
        "undecodable",
        "not UTF-8",
    ),
    "store that is not UTF-8": (
        record(0, spliced(SALE, text_bytes(b"304"), text_bytes(b"\xff\xfe")), key=b"\xff\xfe"),
        "undecodable",
        "not UTF-8",
    ),
    "key that is not UTF-8": (record(0, SALE, key=b"\xff\xfe"), "key_mismatch", "304"),
    "NaN price": (record(0, nan_price()), "undecodable", "schema 2"),
    "timestamp overflows": (record(0, at_ms(SALE, 2**63 - 1)), "undecodable", "schema 2"),
    "timestamp of year 200000": (
        record(0, at_ms(SALE, 6_248_000_000_000_000)),
        "future_timestamp",
        "+199961-03-28",
    ),
    "timestamp before Christ": (record(0, at_ms(SALE, -(10**14))), "ancient_timestamp", "before"),
    "1970": (record(0, good_value(timestamp=0)), "ancient_timestamp", "1970-01-01"),
    "last instant of 1999": (
        record(0, good_value(timestamp=946_684_799_999)),
        "ancient_timestamp",
        "1999-12-31 23:59:59.999, before 2000-01-01",
    ),
    "2100": (record(0, good_value(timestamp=LATE_2100_MS)), "future_timestamp", "2100-01-01"),
    "five minutes and a millisecond ahead": (
        record(0, good_value(timestamp=AT_MS + 300_001)),
        "future_timestamp",
        "arrived 2017-11-20",
    ),
    "null key": (record(0, SALE, key=None), "blank_key", "no key"),
    "empty key": (record(0, SALE, key=b""), "blank_key", "no key"),
    "blank key": (record(0, SALE, key=b" \t\n"), "blank_key", "no key"),
    "key of another store": (record(0, SALE, key=b"305"), "key_mismatch", "the key is 305 but"),
    "blank store": (
        record(0, spliced(SALE, text_bytes(b"304"), text_bytes(b"   "))),
        "blank_field",
        "store_id",
    ),
    "blank product": (
        record(0, spliced(SALE, text_bytes(b"1095275"), text_bytes(b"\t"))),
        "blank_field",
        "product_id",
    ),
    "blank identity": (
        record(
            0,
            spliced(good_value(Topic.INVENTORY), text_bytes(b"304:1095275:7"), text_bytes(b" ")),
            topic=Topic.INVENTORY,
        ),
        "blank_field",
        "identity",
    ),
    "too many units": (
        record(0, good_value(quantity=10_000_001)),
        "impossible_quantity",
        "quantity = 10000001",
    ),
    "the most negative quantity": (
        record(0, good_value(quantity=-(2**31))),
        "impossible_quantity",
        "-2147483648",
    ),
    "the most negative stock": (
        record(0, good_value(Topic.INVENTORY, new_quantity=-(2**31)), topic=Topic.INVENTORY),
        "impossible_quantity",
        "quantity_on_hand = -2147483648",
    ),
    "too much money": (
        record(0, good_value(line_amount=Decimal("1000000000.0001"))),
        "impossible_amount",
        "revenue = 1000000000.0001",
    ),
    "too much money back": (
        record(0, good_value(line_amount=Decimal("-1000000000.0001"))),
        "impossible_amount",
        "revenue = -1000000000.0001",
    ),
    "units times price overflows": (
        record(0, good_value(quantity=9_000_000, unit_price=Decimal(10**8), line_amount=None)),
        "impossible_amount",
        "unit_price = 100000000.0000",
    ),
    "negative price": (
        record(0, good_value(unit_price=Decimal("-0.01"))),
        "impossible_amount",
        "unit_price = -0.0100",
    ),
    "negative new price": (
        record(0, good_value(Topic.PRICES, new_price=Decimal("-1")), topic=Topic.PRICES),
        "impossible_amount",
        "new_price = -1.0000",
    ),
}

# Good events beside the poison, each at the edge of a rule.
EDGES = {
    "ordinary": record(0, SALE),
    "exactly five minutes ahead": record(0, good_value(timestamp=AT_MS + 300_000)),
    "first instant of 2000": record(0, good_value(timestamp=946_684_800_000)),
    "as many units as allowed": record(0, good_value(quantity=10_000_000)),
    "as much money as allowed": record(0, good_value(line_amount=Decimal(10**9))),
    "longest id": record(0, good_value(transaction_id="x" * 256)),
    "price for ever": record(
        0, good_value(Topic.PRICES, effective_to=YEAR_9999_MS), topic=Topic.PRICES
    ),
    "store beyond ASCII": record(0, good_value(store_id="Łódź 東"), key="Łódź 東".encode()),
}


@pytest.fixture(scope="module")
def verdicts(spark: SparkSession) -> dict[str, tuple[str | None, str | None]]:
    """(reason, detail) of every case, decided in one frame."""
    named = {**{name: case[0] for name, case in POISON.items()}, **EDGES}
    rows = [{**row, "offset": at} for at, row in enumerate(named.values())]
    frame = spark.createDataFrame(pa.Table.from_pylist(rows, schema=KAFKA_COLUMNS))
    result = decode(frame, schemas=SCHEMAS, rules=Rules()).toArrow().sort_by("offset")
    assert result["offset"].to_pylist() == list(range(len(named)))
    assert result["value"].to_pylist() == [row["value"] for row in rows]
    assert result["key"].to_pylist() == [row["key"] for row in rows]
    decided = zip(result["reason"].to_pylist(), result["detail"].to_pylist(), strict=True)
    # What the sink and the outbox do with every batch: read its texts.
    for name in ("store_id", "product_id", "identity", "transaction_id"):
        result[name].to_pylist()
    return dict(zip(named, decided, strict=True))


@pytest.mark.parametrize("name", POISON)
def test_poison_is_refused_with_its_reason(
    verdicts: dict[str, tuple[str | None, str | None]], name: str
) -> None:
    _, reason, told = POISON[name]
    found, detail = verdicts[name]
    assert found == reason
    assert detail is not None
    assert told in detail


@pytest.mark.parametrize("name", EDGES)
def test_event_at_the_edge_of_a_rule_is_accepted(
    verdicts: dict[str, tuple[str | None, str | None]], name: str
) -> None:
    assert verdicts[name] == (None, None)


def test_no_detail_is_longer_than_a_person_reads(
    verdicts: dict[str, tuple[str | None, str | None]],
) -> None:
    assert max(len(detail) for _, detail in verdicts.values() if detail) < 1_000

"""Poison among good events, events sent twice, and a topic deleted and created again."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient

from producers.topics import ensure_topics
from tests.builders import good_value, nan_price, with_schema_id
from tests.contracts_suite.events import old_sale, sale
from tests.fixtures.platform import Platform, wait_for
from tillstream.cli.rebuild import Source
from tillstream.contracts.catalogue import load_catalogue
from tillstream.contracts.codec import Codec
from tillstream.contracts.topics import TOPIC_SPECS, Topic

pytestmark = [pytest.mark.e2e, pytest.mark.integration]

_CODEC = Codec(load_catalogue())
Send = Callable[..., None]


@pytest.fixture
def send(platform: Platform) -> Iterator[Send]:
    """Bytes straight to the broker, past every check of ours; waits for acknowledgement."""
    producer = KafkaProducer(bootstrap_servers=platform.settings.kafka.bootstrap, acks="all")

    def send_record(value: bytes | None, *, key: bytes | None, topic: Topic = Topic.SALES) -> None:
        producer.send(topic.value, value=value, key=key).get(timeout=30)

    yield send_record
    producer.close()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _sale(identity: str, **changes: Any) -> bytes:
    record = {**sale(), "event_id": identity, "timestamp": _now_ms(), **changes}
    return _CODEC.encode(Topic.SALES, record)


def _ms(year: int) -> int:
    return int(datetime(year, 1, 1, tzinfo=UTC).timestamp() * 1000)


def _rows(platform: Platform, sql: str) -> list[tuple[Any, ...]]:
    with platform.client() as client:
        return [tuple(row) for row in client.query(sql).result_rows]


def test_poison_is_quarantined_with_its_reason_and_every_good_event_counts(
    platform: Platform, send: Send
) -> None:
    good = _sale("good-among-poison")
    huge_length = good[:5] + b"\xfe\xff\xff\xff\x0f" + good[6:]
    poison: list[tuple[str, bytes | None, bytes | None]] = [
        ("undecodable", good[: len(good) // 2], b"304"),
        ("bad_magic_byte", b'{"json": true}', b"304"),
        ("unknown_schema_id", with_schema_id(good, 4711), b"304"),
        ("undecodable", huge_length, b"304"),
        ("oversized_field", _with_huge_string(), b"304"),
        ("ancient_timestamp", _sale("in-1970", timestamp=1000), b"304"),
        ("future_timestamp", _sale("in-2100", timestamp=_ms(2100)), b"304"),
        ("empty_value", b"", b"304"),
        ("empty_value", None, b"304"),
        ("blank_key", _sale("null-key"), None),
        ("key_mismatch", _sale("wrong-key"), b"9"),
        # NaN's bits, read as a decimal, are no amount of 18 digits.
        ("undecodable", nan_price(), b"304"),
    ]
    before: dict[str, int] = dict(_counts(platform))
    for number, (_, value, key) in enumerate(poison):
        send(_sale(f"good-{number}"), key=b"304")
        send(value, key=key)
    platform.catch_up()

    expected = dict(before)
    for reason, _, _ in poison:
        expected[reason] = expected.get(reason, 0) + 1
    assert dict(_counts(platform)) == expected
    stored = _rows(platform, "SELECT sale_id FROM fact_sales WHERE sale_id LIKE 'good-%'")
    assert {identity for (identity,) in stored} >= {f"good-{n}" for n in range(len(poison))}
    original = _rows(
        platform, "SELECT value, key FROM quarantine WHERE reason = 'bad_magic_byte' LIMIT 1"
    )
    assert original == [('{"json": true}', "304")]
    assert platform.audit().clean


def _counts(platform: Platform) -> list[tuple[str, int]]:
    sql = "SELECT toString(reason), count() FROM quarantine GROUP BY reason"
    return [(reason, count) for reason, count in _rows(platform, sql)]


def _with_huge_string() -> bytes:
    """A text field far beyond what the contract allows; our own encoder would refuse it."""
    value = _sale("oversized", payment_method="PAY")
    assert value.count(b"\x06PAY") == 1
    return value.replace(b"\x06PAY", b"\x90\x4e" + b"x" * 5000)


def test_the_quarantine_topic_carries_the_original_bytes(platform: Platform, send: Send) -> None:
    from producers.reader import read_records

    send(b"not avro at all", key=b"304")
    platform.catch_up()
    records = list(read_records(platform.settings.kafka, Topic.QUARANTINE.value))
    newest = _CODEC.decode(Topic.QUARANTINE, records[-1].value or b"").record
    assert newest["value"] == b"not avro at all"
    assert newest["reason"] == "bad_magic_byte"
    assert newest["topic"] == Topic.SALES.value


def test_an_event_sent_three_times_counts_once(platform: Platform, send: Send) -> None:
    event = _sale("sent-three-times", quantity=5, line_amount=Decimal("12.3400"))
    send(event, key=b"304")
    platform.catch_up()
    send(event, key=b"304")
    send(event, key=b"304")
    platform.catch_up()
    facts = _rows(
        platform, "SELECT partition, offset FROM fact_sales WHERE sale_id = 'sent-three-times'"
    )
    winners = _rows(
        platform,
        "SELECT winner_partition, winner_offset FROM duplicates"
        " WHERE identity = 'sent-three-times'",
    )
    assert len(facts) == 1
    assert winners == facts * 2
    assert platform.audit().clean


def test_two_generations_of_tills_are_read_together(platform: Platform, send: Send) -> None:
    old = {**old_sale(), "transaction_id": "old-till", "timestamp": _now_ms()}
    send(_CODEC.encode(Topic.SALES, old, version=1), key=old["store_id"].encode())
    send(_sale("new-till"), key=b"304")
    platform.catch_up()
    found = _rows(
        platform,
        "SELECT schema_id FROM fact_sales WHERE transaction_id = 'old-till'"
        " OR sale_id = 'new-till' ORDER BY schema_id",
    )
    assert found == [(1,), (2,)]


def test_a_late_sale_repairs_its_window(platform: Platform, send: Send) -> None:
    long_ago = int(datetime(2004, 2, 29, 12, 1, tzinfo=UTC).timestamp() * 1000)
    for number in (1, 2):
        send(_sale(f"late-{number}", timestamp=long_ago + number, quantity=3), key=b"304")
        platform.catch_up()
        window = _rows(
            platform,
            "SELECT units, lines FROM velocity_5m WHERE window_start = '2004-02-29 12:00:00'",
        )
        assert window == [(3 * number, number)]


def test_a_topic_created_again_loses_nothing_of_its_new_data(
    platform: Platform, send: Send
) -> None:
    for number in range(3):
        send(_sale(f"old-topic-{number}"), key=b"304")
    platform.catch_up()
    before = _rows(platform, "SELECT count(), uniqExact(topic_id) FROM fact_sales")[0]

    admin = KafkaAdminClient(bootstrap_servers=platform.settings.kafka.bootstrap)
    admin.delete_topics([Topic.SALES.value])
    with platform.parts() as parts:
        wait_for(
            lambda: Topic.SALES.value not in parts.inspector.topic_ids([Topic.SALES.value]),
            timeout_s=30,
            what="the topic is gone",
        )
    ensure_topics(platform.settings.kafka, specs={Topic.SALES: TOPIC_SPECS[Topic.SALES]})
    admin.close()
    for number in range(3):
        send(_sale(f"new-topic-{number}"), key=b"304")
    platform.catch_up()

    count, incarnations = _rows(platform, "SELECT count(), uniqExact(topic_id) FROM fact_sales")[0]
    assert count == before[0] + 3
    assert incarnations == before[1] + 1
    new = _rows(platform, "SELECT offset FROM fact_sales WHERE sale_id LIKE 'new-topic-%'")
    assert sorted(new) == [(0,), (1,), (2,)]
    assert platform.audit().clean


def test_a_rebuild_from_the_lake_repeats_every_verdict(platform: Platform, send: Send) -> None:
    """After all of the above: two incarnations of a topic, duplicates, quarantine, late events."""
    send(good_value(), key=b"304")
    send(good_value(), key=b"304")
    platform.catch_up()
    before = platform.digests()
    assert before["duplicates"].rows > 0
    assert before["quarantine"].rows > 0
    platform.rebuild(Source.LAKE, into="repeated")
    assert platform.digests("repeated") == before

"""The Kafka publisher keeps the publishers' contract, on a real broker that dies and comes back."""

import gc
import json
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from kafka import KafkaAdminClient
from typer.testing import CliRunner

from producers.kafka_publisher import MAX_EVENT_BYTES, KafkaPublisher
from producers.publisher import Delivery
from producers.reader import RawRecord, read_at, read_records
from producers.topics import TopicInspector, ensure_topics, offset_ranges, topic_ids
from tests.contracts_suite.events import EVENTS, quarantined, sale, update
from tests.contracts_suite.publisher import CODEC, CUSTOMER_KEY, Bench, PublisherContract
from tests.fixtures.kafka import KafkaBroker
from tillstream.cli.tail import register
from tillstream.contracts.topics import TOPIC_SPECS, Topic, TopicSpec
from tillstream.errors import ConfigError, ContractError, ServiceError
from tillstream.settings import KafkaSettings, load_settings

pytestmark = [
    pytest.mark.integration,
    # kafka-python drops the sockets of connections that were refused without closing them.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]

NOBODY = KafkaSettings(bootstrap="127.0.0.1:1")


@pytest.fixture
def bench(kafka: KafkaSettings) -> Bench:
    before = {place: end for place, (_, end) in offset_ranges(kafka, list(Topic)).items()}

    def records(topic: Topic) -> list[RawRecord]:
        start = {number: end for (name, number), end in before.items() if name == topic}
        return sorted(
            read_records(kafka, topic.value, start=start), key=lambda r: (r.partition, r.offset)
        )

    return Bench(lambda: KafkaPublisher(kafka, CODEC, customer_key=CUSTOMER_KEY), records)


class TestKafkaPublisher(PublisherContract):
    """See PublisherContract."""


@pytest.fixture
def restarted(kafka_broker: KafkaBroker) -> Iterator[KafkaBroker]:
    """A broker this test may kill; it is up again afterwards, for the others."""
    # Captured log records would keep kafka-python's abandoned sockets alive into other tests.
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    try:
        yield kafka_broker
    finally:
        kafka_broker.start()
        logging.getLogger("kafka").setLevel(logging.NOTSET)
        gc.collect()


def test_a_killed_broker_loses_doubles_and_reorders_nothing(
    restarted: KafkaBroker, kafka: KafkaSettings, bench: Bench
) -> None:
    reports: list[Delivery] = []
    total = 12_000
    with KafkaPublisher(kafka, CODEC, customer_key=CUSTOMER_KEY) as publisher:

        def publish() -> None:
            for number in range(total):
                event = update(inventory_id=str(number), store_id=str(number % 7), sequence=number)
                publisher.publish(Topic.INVENTORY, event, on_delivery=reports.append)

        worker = threading.Thread(target=publish)
        worker.start()
        while not reports:  # in the very middle of it
            time.sleep(0.001)
        restarted.kill()
        assert publisher.stats.acknowledged < total
        restarted.start()
        worker.join(120)
        publisher.flush(120)
        stats = publisher.stats
    assert (stats.sent, stats.acknowledged, stats.failed) == (total, total, 0)
    assert [report.error for report in reports if report.error] == []

    events = bench.events(Topic.INVENTORY)
    assert len(events) == total
    for store in range(7):
        sequences = [event["sequence"] for event in events if event["store_id"] == str(store)]
        assert sequences == list(range(store, total, 7))


def test_a_full_window_blocks_and_then_says_so(
    restarted: KafkaBroker, kafka: KafkaSettings
) -> None:
    publisher = KafkaPublisher(
        kafka, CODEC, customer_key=CUSTOMER_KEY, max_in_flight=20, block_timeout_s=0.3
    )
    publisher.publish(Topic.SALES, sale())
    publisher.flush()
    os.kill(restarted.pid, signal.SIGSTOP)
    try:
        for _ in range(20):
            publisher.publish(Topic.SALES, sale())
        started = time.monotonic()
        with pytest.raises(ServiceError, match="20 events are under way and none was acknowledged"):
            publisher.publish(Topic.SALES, sale())
        assert 0.3 <= time.monotonic() - started < 3
        with pytest.raises(ServiceError, match="20 events are undelivered"):
            publisher.flush(0.2)
    finally:
        os.kill(restarted.pid, signal.SIGCONT)
    publisher.close()
    assert publisher.stats.acknowledged == 21


def test_closing_while_the_broker_is_away_reports_what_is_lost(
    restarted: KafkaBroker, kafka: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("producers.kafka_publisher._CLOSE_TIMEOUT_S", 1.0)
    reports: list[Delivery] = []
    before = set(threading.enumerate())
    publisher = KafkaPublisher(kafka, CODEC, customer_key=CUSTOMER_KEY)
    publisher.publish(Topic.SALES, sale())
    publisher.flush()
    restarted.kill()
    publisher.publish(Topic.SALES, sale(), on_delivery=reports.append)
    publisher.publish(Topic.SALES, sale(), on_delivery=reports.append)
    with pytest.raises(ServiceError, match="2 events are undelivered"):
        publisher.close()
    assert [report.offset for report in reports] == [-1, -1]
    assert all(report.error for report in reports)
    assert publisher.stats.failed == 2
    left = [t.name for t in threading.enumerate() if t not in before]
    assert [name for name in left if "kafka-python-producer" in name] == []


def test_an_event_larger_than_the_broker_takes_is_refused(kafka: KafkaSettings) -> None:
    with KafkaPublisher(kafka, CODEC, customer_key=CUSTOMER_KEY) as publisher:
        with pytest.raises(ContractError, match=f"allowed: {MAX_EVENT_BYTES}"):
            publisher.publish(Topic.QUARANTINE, quarantined(value=b"x" * MAX_EVENT_BYTES))
        publisher.publish(Topic.QUARANTINE, quarantined(value=os.urandom(MAX_EVENT_BYTES - 1_000)))


@pytest.mark.parametrize(
    "connect",
    [
        lambda: KafkaPublisher(NOBODY, CODEC, customer_key=b""),
        lambda: TopicInspector(NOBODY),
        lambda: list(read_records(NOBODY, "retail-sales-transactions")),
        lambda: read_at(NOBODY, [("retail-sales-transactions", 0, 0)]),
    ],
    ids=["publisher", "inspector", "reader", "read_at"],
)
def test_an_absent_broker_is_one_quick_sentence(connect: object) -> None:
    assert callable(connect)
    started = time.monotonic()
    with pytest.raises(ServiceError, match=r"Kafka at 127.0.0.1:1: cannot .*refused"):
        connect()
    assert time.monotonic() - started < 10


def test_ensuring_topics_creates_once_and_tells_differences(kafka: KafkaSettings) -> None:
    assert ensure_topics(kafka) == []
    other = {Topic.PRICES: TopicSpec(Topic.PRICES, 5, retention_ms=1_000)}
    said = ensure_topics(kafka, specs=other)
    assert [line.split(";")[0] for line in said] == [
        "retail-price-changes has 2 partitions, not 5",
        "retail-price-changes has retention.ms=604800000, not 1000",
    ]
    with TopicInspector(kafka) as inspector:
        assert inspector.layout([topic.value for topic in Topic]) == {
            spec.topic.value: spec.partitions for spec in TOPIC_SPECS.values()
        }


def test_a_topic_created_again_under_its_name_has_another_id(kafka: KafkaSettings) -> None:
    name = f"t-{time.time_ns()}"
    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    try:
        with TopicInspector(kafka) as inspector:
            seen = []
            for _ in range(2):
                admin.create_topics({name: {"num_partitions": 1, "replication_factor": 1}})
                seen.append(_until(lambda: inspector.topic_ids([name]).get(name)))
                admin.delete_topics([name])
                _until(lambda: name not in inspector.topic_ids([name]))
            assert seen[0] != seen[1]
            assert inspector.offset_ranges([name]) == {}
    finally:
        admin.close()


def test_an_inspector_finds_the_broker_again(restarted: KafkaBroker, kafka: KafkaSettings) -> None:
    with TopicInspector(kafka, timeout_s=60) as inspector:
        before = inspector.topic_ids(list(Topic))
        assert len(before) == len(Topic)
        restarted.kill()
        restarted.start()
        assert inspector.topic_ids(list(Topic)) == before


def test_records_are_found_by_their_exact_offset(kafka: KafkaSettings, bench: Bench) -> None:
    reports: list[Delivery] = []
    with bench.open() as publisher:
        for number in range(3):
            publisher.publish(
                Topic.ALERT_ACTIONS,
                {
                    "action_id": f"a{number}",
                    "alert_id": "x",
                    "action": "note",
                    "actor": "kim",
                    "timestamp": 0,
                },
                on_delivery=reports.append,
            )
    name = Topic.ALERT_ACTIONS.value
    end = offset_ranges(kafka, [name])[name, 0][1]
    places = [(name, 0, report.offset) for report in reports]
    missing = [(name, 0, end), (name, 1, 0), ("no-such-topic", 0, 0)]
    found = read_at(kafka, [*places, *missing])

    values = [found[place] for place in places]
    assert [raw and raw.offset for raw in values] == [report.offset for report in reports]
    assert [
        CODEC.decode(Topic.ALERT_ACTIONS, raw.value).record["action_id"] for raw in values if raw
    ] == [
        "a0",
        "a1",
        "a2",
    ]
    assert [found[place] for place in missing] == [None, None, None]


def test_reading_starts_where_it_is_told(kafka: KafkaSettings, bench: Bench) -> None:
    name = Topic.ALERTS.value
    first = offset_ranges(kafka, [name])[name, 0][1]
    with bench.open() as publisher:
        for _ in range(5):
            publisher.publish(Topic.ALERTS, EVENTS[Topic.ALERTS])

    def offsets(start: object) -> list[int]:
        return [raw.offset - first for raw in read_records(kafka, name, start=start)]  # type: ignore[arg-type]

    assert offsets(-2) == [3, 4]
    assert offsets(first + 1) == [1, 2, 3, 4]
    assert offsets({0: first + 4}) == [4]
    assert offsets("latest") == []
    assert offsets(first + 99) == []
    with pytest.raises(ConfigError, match="has no partition 3"):
        list(read_records(kafka, name, partition=3))


def test_following_sees_what_comes_later(kafka: KafkaSettings, bench: Bench) -> None:
    follower = read_records(kafka, Topic.SALES.value, start="latest", follow=True)
    seen: list[RawRecord] = []
    reader = threading.Thread(target=lambda: seen.append(next(follower)))
    reader.start()
    with bench.open() as publisher:
        while reader.is_alive():
            publisher.publish(Topic.SALES, sale())
            reader.join(0.05)
    follower.close()  # type: ignore[attr-defined]
    assert seen[0].key == b"304"


def test_topic_ids_leave_out_unknown_topics(kafka: KafkaSettings) -> None:
    assert set(topic_ids(kafka, ["retail-sales-transactions", "no-such-topic"])) == {
        "retail-sales-transactions"
    }


def _until(ask: object) -> object:
    assert callable(ask)
    deadline = time.monotonic() + 20
    while not (answer := ask()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return answer


def test_tail_shows_the_last_events_once_and_then_follows(
    kafka: KafkaSettings, bench: Bench, tmp_path: Path
) -> None:
    app = typer.Typer()
    register(app)
    app.command("other")(lambda: None)
    settings = load_settings(home=tmp_path, kafka=kafka)
    with bench.open() as publisher:
        for number in range(6):
            event = sale(store_id=str(number), line_number=number)
            publisher.publish(Topic.SALES, event)
            publisher.flush()  # each with an arrival of its own

    def lines(*args: str) -> list[int]:
        result = CliRunner().invoke(app, ["tail", "sales", "--json", *args], obj=settings)
        assert result.exit_code == 0, result.output
        return [json.loads(line)["event"]["line_number"] for line in result.output.splitlines()]

    assert lines("-n", "3") == [3, 4, 5]
    assert lines("-n", "0") == []
    place = bench.records(Topic.SALES)[0]
    at = ("--partition", str(place.partition), "--offset", str(place.offset))
    assert lines(*at, "-n", "1") == [CODEC.decode(Topic.SALES, place.value).record["line_number"]]

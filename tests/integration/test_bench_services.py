"""The benchmarks' own ways to write to Kafka and to fill and read the warehouse."""

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from clickhouse.client import connect
from producers.kafka_publisher import KafkaPublisher
from producers.reader import read_records
from producers.topics import offset_ranges
from tests.contracts_suite.events import sale
from tests.fixtures.warehouse import WarehouseProcess, own_database
from tillstream.bench.bulk import BulkSender
from tillstream.bench.commits import CommitWatch
from tillstream.bench.dimensions import fill_dimensions
from tillstream.bench.generators import Generators
from tillstream.bench.history import DAYS, fill_history
from tillstream.bench.panels import PANELS
from tillstream.bench.probes import Probes, install
from tillstream.bench.reading import Reader
from tillstream.bench.traffic import Message, Traffic
from tillstream.contracts.catalogue import load_catalogue
from tillstream.contracts.codec import Codec
from tillstream.contracts.topics import SOURCE_TOPICS, Topic
from tillstream.devstack.stack_file import StackFile, write
from tillstream.errors import ServiceError
from tillstream.settings import KafkaSettings, WarehouseSettings

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]

CODEC = Codec(load_catalogue())


@pytest.fixture
def database(warehouse_server: WarehouseProcess) -> Iterator[WarehouseSettings]:
    with own_database(warehouse_server, "bench") as settings:
        yield settings


def ends(kafka: KafkaSettings) -> dict[tuple[str, int], int]:
    topics = [topic.value for topic in SOURCE_TOPICS]
    return {place: end for place, (_, end) in offset_ranges(kafka, topics).items()}


def test_bulk_records_lie_where_the_publisher_puts_those_of_the_same_key(
    kafka: KafkaSettings,
) -> None:
    stores = [f"S{number:04}" for number in range(40)]
    before = ends(kafka)
    with KafkaPublisher(kafka, CODEC, customer_key=b"k") as publisher:
        for store in stores:
            publisher.publish(Topic.SALES, sale(store_id=store))
    sender = BulkSender(kafka, (Topic.SALES,))
    for number in range(3):
        for store in stores:
            value = CODEC.encode(Topic.SALES, sale(store_id=store, line_number=number))
            sender.send(Message(Topic.SALES, store.encode(), value))
    sender.flush()
    sender.close()
    start = {number: end for (name, number), end in before.items() if name == Topic.SALES}
    found: dict[str, list[tuple[int, int]]] = {}
    for record in read_records(kafka, Topic.SALES.value, start=start):
        assert record.key is not None
        line = CODEC.decode(Topic.SALES, record.value).record["line_number"]
        found.setdefault(record.key.decode(), []).append((record.partition, line))
    assert sorted(found) == stores
    for places in found.values():
        assert len({partition for partition, _ in places}) == 1
        assert [line for _, line in places[1:]] == [0, 1, 2]


def test_a_bulk_sender_says_that_nobody_listens() -> None:
    with pytest.raises(ServiceError, match=r"127\.0\.0\.1:1"):
        BulkSender(KafkaSettings(bootstrap="127.0.0.1:1"), (Topic.SALES,))


def test_paced_generators_send_at_their_rate_until_they_are_stopped(
    kafka: KafkaSettings, tmp_path: Path
) -> None:
    port = int(kafka.bootstrap.rpartition(":")[2])
    write(tmp_path, StackFile(port, 1, "u", "p", "k"))
    before = ends(kafka)
    spec = {"mode": "paced", "traffic": Traffic.FULL, "seconds": 1e9, "seed": 1}
    spec |= {"rate": 200.0, "probes_per_s": 10.0}
    with Generators(tmp_path, spec, shares=2) as generators:
        while generators.progress().probes < 20:
            assert not generators.wait(0.1)
        sent = generators.stop()
    after = ends(kafka)
    assert sent.done
    assert sum(after.values()) - sum(before.values()) == sent.sent
    # The probes are part of the rate: ten a second in each share, of 2 x 200 events a second.
    assert sent.sent / sent.probes == pytest.approx(20.0, rel=0.25)
    assert sent.sales == pytest.approx(sent.movements, abs=2)


def test_a_generator_that_fails_says_why(tmp_path: Path) -> None:
    write(tmp_path, StackFile(1, 1, "u", "p", "k"))
    spec = {"mode": "burst", "traffic": Traffic.SALES, "events": 10, "start_ms": 0}
    with (
        Generators(tmp_path, spec, shares=1) as generators,
        pytest.raises(ServiceError, match="cannot publish"),
    ):
        while not generators.wait(0.1):
            pass


def test_every_panel_is_answered_from_the_past_that_was_made(database: WarehouseSettings) -> None:
    fill_dimensions(database)
    fill_history(database, 1_000 * DAYS, shelves=5_000)
    reader = Reader(database)
    days = reader.rows("SELECT date_key, count() AS n FROM fact_sales GROUP BY date_key")
    assert Counter(int(day["n"]) for day in days) == {1_000: DAYS}
    (known,) = reader.rows("SELECT uniqExact(event_key) AS n FROM event_index")
    assert int(known["n"]) == 1_000 * DAYS
    (future,) = reader.rows("SELECT countIf(event_time > now()) AS n FROM fact_sales")
    assert int(future["n"]) == 0
    names = reader.rows(
        "SELECT store_id, product_id FROM fact_sales ORDER BY event_time DESC LIMIT 1"
    )
    store, product = str(names[0]["store_id"]), str(names[0]["product_id"])
    for panel in PANELS:
        rows = reader.rows(panel.sql.format(store=store, product=product))
        # A single store may have sold nothing in two hours, or have no alert.
        assert rows or panel.name in ("store: what sells now", "store: open alerts"), panel.name
    reader.close()


def test_a_filled_past_is_no_progress_of_the_stream(database: WarehouseSettings) -> None:
    fill_history(database, DAYS, shelves=10)
    with closing(connect(database)) as client:
        client.command(
            "INSERT INTO stream_commits SELECT 'live', 'retail-sales-transactions', 'topic', 0, 7,"
            " 0, now64(6)"
        )
    with CommitWatch(database) as commits:
        assert commits.wait(7, stall_s=20).records == 7
        assert commits.stored() == 7


def test_a_probe_is_seen_in_all_four_tables(database: WarehouseSettings) -> None:
    rows = {
        "fact_sales (store_id, product_id, date_key, event_time)": "today(), now64(3)",
        "velocity_5m_sums (store_id, product_id, window_start)": "now()",
        "stockout_risk_history (store_id, product_id, on_hand)": "0",
        "restock_alert_history (store_id, product_id, alert_id)": "'a'",
    }
    probes = Probes()
    reader = Reader(database)
    with closing(connect(database)) as client:
        install(client)
        probes.look(reader)
        assert not probes.complete(1)
        for table, values in rows.items():
            client.command(f"INSERT INTO {table} SELECT 'Q000', 'P00000', {values}")
    probes.look(reader)
    assert probes.complete(1)
    reader.close()

"""The replay against a real broker and warehouse."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import closing
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
import typer
from kafka import KafkaConsumer, TopicPartition
from typer.testing import CliRunner

from clickhouse.client import connect
from clickhouse.migrate import migrate
from producers.topics import offset_ranges
from simulators.complete_journey import expected_windows
from simulators.ledger import read_ledgers
from simulators.run import ReplayProgress
from tillstream.cli.replay import plan_replay, publish_replay, register
from tillstream.contracts.catalogue import load_catalogue
from tillstream.contracts.codec import Codec
from tillstream.contracts.identity import event_identity
from tillstream.contracts.topics import Topic
from tillstream.errors import ServiceError
from tillstream.settings import KafkaSettings, Settings, load_settings

if TYPE_CHECKING:
    from tests.fixtures.kafka import KafkaBroker
    from tests.fixtures.warehouse import WarehouseProcess

pytest_plugins = ["tests.fixtures.kafka", "tests.fixtures.warehouse"]
pytestmark = pytest.mark.integration

DAY = date(2017, 11, 20)
TOPICS = (Topic.SALES, Topic.INVENTORY, Topic.PRICES)
Ends = dict[tuple[str, int], int]


@pytest.fixture
def settings(tmp_path: Path, kafka: KafkaSettings) -> Settings:
    return load_settings(home=tmp_path, cache=tmp_path / "cache", kafka=kafka, customer_key="key")


def ends(kafka: KafkaSettings) -> Ends:
    return {place: end for place, (_, end) in offset_ranges(kafka, TOPICS).items()}


def records_since(kafka: KafkaSettings, before: Ends) -> list[tuple[str, int, int, dict[str, Any]]]:
    """Everything written since: (topic, partition, offset, event)."""
    codec = Codec(load_catalogue())
    found = []
    with closing(KafkaConsumer(bootstrap_servers=kafka.bootstrap)) as consumer:
        for (topic, number), end in ends(kafka).items():
            place = TopicPartition(topic, number)
            consumer.assign([place])
            consumer.seek(place, before[topic, number])
            while consumer.position(place) < end:
                for record in consumer.poll(timeout_ms=1000).get(place, []):
                    event = codec.decode(Topic(topic), record.value).record
                    found.append((topic, number, record.offset, event))
    return found


def identities(found: list[tuple[str, int, int, dict[str, Any]]]) -> Counter[tuple[str, str]]:
    return Counter((topic, event_identity(Topic(topic), event)) for topic, *_, event in found)


def ledger_counts(path: Path) -> dict[tuple[str, str], tuple[int, int]]:
    table: pa.Table = read_ledgers([path])
    return {
        (row["topic"], row["identity"]): (row["attempts"], row["acknowledged"])
        for row in table.to_pylist()
    }


def test_a_day_arrives_whole_and_where_the_ledger_says(settings: Settings, tmp_path: Path) -> None:
    before = ends(settings.kafka)
    path = tmp_path / "day.jsonl"
    inputs = plan_replay(settings, start=DAY, days=1)

    report = publish_replay(settings, inputs, ledger_path=path)

    found = records_since(settings.kafka, before)
    assert report.complete
    assert report.published == len(found)
    assert set(identities(found).values()) == {1}
    assert ledger_counts(path) == dict.fromkeys(identities(found), (1, 1))
    places = {
        (line["t"], line["i"], line["p"], line["o"])
        for line in map(json.loads, path.read_text().splitlines())
        if line["e"] == "acknowledged"
    }
    assert places == {
        (topic, event_identity(Topic(topic), event), partition, offset)
        for topic, partition, offset, event in found
    }
    sales = [event for topic, *_, event in found if topic == Topic.SALES]
    expected = expected_windows(DAY, 1)
    assert len(sales) == expected["lines"].sum()
    assert sum(sale["quantity"] for sale in sales) == expected["units"].sum()
    assert sum((sale["line_amount"] for sale in sales), Decimal(0)) == expected["revenue"].sum()
    assert all(sale["customer_id"].startswith("cust-") for sale in sales)


def test_a_broker_killed_in_the_middle_costs_nothing(
    settings: Settings, kafka_broker: "KafkaBroker", tmp_path: Path
) -> None:
    before = ends(settings.kafka)
    path = tmp_path / "killed.jsonl"
    inputs = plan_replay(settings, start=DAY, days=1)
    restarts: list[threading.Thread] = []

    def kill_once(progress: ReplayProgress) -> None:
        if progress.acknowledged > 1_000 and not restarts:
            kafka_broker.kill()
            restarts.append(threading.Thread(target=kafka_broker.start))
            restarts[0].start()

    try:
        report = publish_replay(settings, inputs, ledger_path=path, on_progress=kill_once)
    finally:
        for restart in restarts:
            restart.join()

    assert len(restarts) == 1
    assert report.complete
    found = identities(records_since(settings.kafka, before))
    assert found.total() == report.published
    assert ledger_counts(path) == dict.fromkeys(found, (1, 1))


def test_without_a_broker_nothing_starts(settings: Settings, tmp_path: Path) -> None:
    nowhere = settings.model_copy(update={"kafka": KafkaSettings(bootstrap="127.0.0.1:1")})
    inputs = plan_replay(settings, start=DAY, days=1, stores="1")
    path = tmp_path / "none.jsonl"

    with pytest.raises(ServiceError, match=r"127\.0\.0\.1:1") as raised:
        publish_replay(nowhere, inputs, ledger_path=path)
    assert raised.value.exit_code == 4
    assert not path.exists()


@pytest.fixture
def with_warehouse(settings: Settings, own_warehouse: "WarehouseProcess") -> Settings:
    warehouse = settings.warehouse.model_copy(
        update={
            "host": own_warehouse.host,
            "port": own_warehouse.port,
            "user": own_warehouse.user,
        }
    )
    complete = load_settings(
        **{
            **settings.model_dump(),
            "customer_key": "key",
            "warehouse": {**warehouse.model_dump(), "password": own_warehouse.password},
        }
    )
    migrate(complete.warehouse)
    return complete


def test_the_command_loads_dimensions_and_reports(with_warehouse: Settings) -> None:
    app = typer.Typer()
    register(app)
    result = CliRunner().invoke(
        app, ["--days", "1", "--stores", "5", "--json"], obj=with_warehouse, catch_exceptions=False
    )

    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["complete"]
    assert report["acknowledged"] == report["published"] > 500
    counts = ledger_counts(Path(report["ledger"]))
    assert set(counts.values()) == {(1, 1)}
    assert len(counts) == report["published"]
    with closing(connect(with_warehouse.warehouse)) as client:
        rows = {
            table: client.query(f"SELECT count() FROM {table} FINAL").result_rows[0][0]
            for table in ("dim_product", "dim_store", "dim_supplier", "demand_prior")
        }
    assert (rows["dim_product"], rows["dim_store"], rows["dim_supplier"]) == (92_348, 457, 6_472)
    assert rows["demand_prior"] > 100


_PROGRAM = """
import sys, typer
from pathlib import Path
from tillstream.cli.replay import publish_replay, print_report, replay_progress, plan_replay
from tillstream.settings import load_settings
from datetime import date
home, cache, bootstrap, ledger = sys.argv[1:]
settings = load_settings(
    home=Path(home), cache=Path(cache), kafka={"bootstrap": bootstrap}, customer_key="key"
)
inputs = plan_replay(settings, start=date(2017, 11, 20), days=1, stores="5")
with replay_progress() as on_progress:
    report = publish_replay(
        settings, inputs, ledger_path=Path(ledger), speed=1.0, on_progress=on_progress
    )
print_report(report)
sys.exit(130 if report.interrupted else 0)
"""


def test_ctrl_c_says_what_was_sent_and_leaves_a_whole_ledger(
    settings: Settings, tmp_path: Path
) -> None:
    path = tmp_path / "interrupted.jsonl"
    arguments = [str(settings.home), str(settings.cache), settings.kafka.bootstrap, str(path)]
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, *arguments], stdout=subprocess.PIPE, text=True
    )
    try:
        while not (path.exists() and b"acknowledged" in path.read_bytes()):
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        printed, _ = process.communicate(timeout=60)
    finally:
        process.kill()

    assert process.returncode == 130
    assert "interrupted: " in printed
    counts = ledger_counts(path)
    acknowledged = sum(each for _, each in counts.values())
    assert f"{acknowledged:,} acknowledged" in printed
    assert 0 < acknowledged <= len(counts)

"""A simulated chain into a real broker: processes, outages, and a broker that is gone."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.compute as pc
import pytest
from pydantic import SecretStr

from producers.bulk import BulkPublisher
from producers.reader import read_records
from producers.topics import ensure_topics
from simulators.ledger import read_ledgers
from simulators.world.fleet import Fleet, RunReport, ledger_path
from simulators.world.scenario import Scenario, load_scenario
from simulators.world.truth import read_faults
from tests.fixtures.kafka import KafkaBroker
from tillstream.contracts.topics import SOURCE_TOPICS, Topic
from tillstream.errors import ServiceError
from tillstream.settings import KafkaSettings, Settings, load_settings

pytestmark = pytest.mark.integration


@pytest.fixture
def settings(kafka_broker: KafkaBroker, tmp_path: Path) -> Settings:
    kafka_broker.start()
    kafka = KafkaSettings(bootstrap=kafka_broker.bootstrap)
    ensure_topics(kafka)
    return load_settings(home=tmp_path, kafka=kafka, customer_key=SecretStr("key"))


def scenario(**fields: object) -> Scenario:
    small = {"stores": 6, "products": 200, "rate": 20.0, "minutes": 720.0, "faults": "storm"}
    return load_scenario("quiet-tuesday").model_copy(update=small | fields)


def ends(settings: Settings) -> dict[Topic, dict[int, int]]:
    from producers.topics import offset_ranges

    found: dict[Topic, dict[int, int]] = defaultdict(dict)
    for (topic, number), (_, end) in offset_ranges(settings.kafka, SOURCE_TOPICS).items():
        found[Topic(topic)][number] = end
    return found


def values(settings: Settings, since: dict[Topic, dict[int, int]]) -> dict[bytes, list[bytes]]:
    """What each store has sent to each topic since, in order."""
    found: dict[bytes, list[bytes]] = defaultdict(list)
    for topic in SOURCE_TOPICS:
        for record in read_records(settings.kafka, topic.value, start=since[topic]):
            found[topic.encode() + (record.key or b"")].append(record.value or b"")
    return found


def simulate(
    settings: Settings,
    folder: Path,
    *,
    processes: int = 1,
    what: Scenario | None = None,
    on_progress: Callable[[RunReport], None] = lambda _: None,
    patience_s: float = 60.0,
) -> RunReport:
    chosen = what or scenario()
    with Fleet(
        settings,
        chosen,
        chosen.start_ms(0),
        folder,
        processes=processes,
        patience_s=patience_s,
    ) as fleet:
        return fleet.run(on_progress)


def test_the_number_of_processes_changes_no_byte(settings: Settings, tmp_path: Path) -> None:
    before = ends(settings)
    one = simulate(settings, tmp_path / "one")
    between = ends(settings)
    three = simulate(settings, tmp_path / "three", processes=3)
    assert one.complete
    assert three.complete
    assert one.by_topic == three.by_topic
    after = values(settings, between)
    whole = values(settings, before)
    assert {key: sent[: len(after[key])] for key, sent in whole.items()} == after
    assert sum(map(len, after.values())) == three.acknowledged > 1000
    assert read_faults([tmp_path / "one"]).num_rows == read_faults([tmp_path / "three"]).num_rows


def test_the_manifest_names_where_kafka_has_each_fault(settings: Settings, tmp_path: Path) -> None:
    report = simulate(settings, tmp_path / "run")
    faults = read_faults([tmp_path / "run"])
    assert faults.num_rows == report.faults > 50
    empty = faults.filter(pc.equal(faults["kind"], "empty")).to_pylist()
    assert empty
    for row in empty:
        start = {row["partition"]: row["offset"]}
        records = read_records(
            settings.kafka, row["topic"], partition=row["partition"], start=start
        )
        assert next(iter(records)).value == b""


@pytest.fixture
def revived(kafka_broker: KafkaBroker) -> Iterator[KafkaBroker]:
    yield kafka_broker
    kafka_broker.start()


def test_a_broker_that_dies_and_comes_back_has_every_event_once(
    settings: Settings, revived: KafkaBroker, tmp_path: Path
) -> None:
    before = ends(settings)
    killed = threading.Event()
    said: list[str] = []

    def interfere(report: RunReport) -> None:
        if report.trouble:
            said.append(report.trouble)
        if report.acknowledged > 100 and not killed.is_set():
            killed.set()
            revived.kill()
            threading.Thread(target=revived.start, daemon=True).start()

    slow = scenario(speed=3600.0, faults="none")
    report = simulate(
        settings, tmp_path / "run", what=slow, on_progress=interfere, patience_s=120.0
    )
    assert killed.is_set()
    assert report.complete
    assert any("trying again for" in words for words in said)
    stored = sum(map(len, values(settings, before).values()))
    assert stored == report.acknowledged
    summary = read_ledgers([ledger_path(tmp_path / "run", 0)])
    assert pc.all(pc.equal(summary["acknowledged"], 1)).as_py()


def test_a_broker_that_stays_away_ends_the_run_with_words(
    settings: Settings, revived: KafkaBroker, tmp_path: Path
) -> None:
    def kill(report: RunReport) -> None:
        if report.acknowledged > 100 and revived.alive:
            revived.kill()

    began = time.monotonic()
    with pytest.raises(ServiceError, match="cannot publish"):
        simulate(
            settings,
            tmp_path / "run",
            what=scenario(speed=3600.0),
            on_progress=kill,
            patience_s=3.0,
        )
    assert time.monotonic() - began < 120
    summary = read_ledgers([ledger_path(tmp_path / "run", 0)])
    assert pc.sum(summary["acknowledged"]).as_py() > 100
    assert (tmp_path / "run" / "stock.parquet").is_file()


def test_a_run_that_is_stopped_settles_what_is_under_way(
    settings: Settings, tmp_path: Path
) -> None:
    chosen = scenario(speed=60.0)
    with Fleet(settings, chosen, chosen.start_ms(0), tmp_path / "run", processes=2) as fleet:
        report = fleet.run(lambda so_far: fleet.stop() if so_far.acknowledged else None)
    assert report.interrupted
    assert report.attempted == report.acknowledged > 0
    assert (tmp_path / "run" / "demand.parquet").is_file()


def test_bulk_batches_are_stored_once_when_sent_again(settings: Settings) -> None:
    place = (Topic.CUSTOMERS, 0)
    before = ends(settings)[Topic.CUSTOMERS][0]
    with BulkPublisher(settings.kafka, SOURCE_TOPICS) as publisher:
        first = publisher.send({place: ([b"S"] * 3, [b"1", b"2", b"3"])})
        # The answer is lost: the same batch under the same sequence goes out once more.
        publisher._sequences[place] -= 3
        again = publisher.send({place: ([b"S"] * 3, [b"1", b"2", b"3"])})
        then = publisher.send({place: ([b"S"], [b"4"])})
    assert first == again == {place: before}
    assert then == {place: before + 3}

"""More partitions, as the settings ask for them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from producers.topics import TopicInspector, ensure_topics
from tests.fixtures.kafka import KafkaBroker, running_broker
from tillstream.contracts.topics import SOURCE_TOPICS, TOPIC_SPECS, Topic
from tillstream.settings import KafkaSettings

pytestmark = pytest.mark.integration


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[KafkaBroker]:
    """Other tests rely on the usual number of partitions."""
    with running_broker(tmp_path / "broker") as broker:
        yield broker


def layout(kafka: KafkaSettings) -> dict[str, int]:
    with TopicInspector(kafka) as inspector:
        return inspector.layout([topic.value for topic in Topic])


def test_partitions_are_added_as_asked_for_and_never_taken_away(own_broker: KafkaBroker) -> None:
    usual = KafkaSettings(bootstrap=own_broker.bootstrap)
    tripled = usual.model_copy(update={"partition_factor": 3})
    plain = {spec.topic.value: spec.partitions for spec in TOPIC_SPECS.values()}
    more = {topic: plain[topic] * (3 if topic in SOURCE_TOPICS else 1) for topic in plain}

    ensure_topics(usual)
    assert layout(usual) == plain
    assert ensure_topics(tripled) == [
        f"{topic.value} has {more[topic.value]} partitions now, {plain[topic.value]} before"
        for topic in SOURCE_TOPICS
    ]
    assert layout(usual) == more
    assert ensure_topics(tripled) == []

    said = ensure_topics(usual)
    assert len(said) == len(SOURCE_TOPICS)
    assert all("left as it is" in line for line in said)
    assert layout(usual) == more


def test_new_topics_have_as_many_partitions_as_asked_for(own_broker: KafkaBroker) -> None:
    kafka = KafkaSettings(bootstrap=own_broker.bootstrap, partition_factor=4)
    said = ensure_topics(kafka)
    assert "created retail-sales-transactions with 12 partitions" in said
    assert "created retail-restock-alerts with 1 partitions" in said
    assert layout(kafka)["retail-price-changes"] == 8

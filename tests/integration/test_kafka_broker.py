"""The local broker is a real one: it keeps what it acknowledged, whatever happens to it."""

import uuid

import psutil
import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic

from tests.fixtures.kafka import KafkaBroker

pytestmark = pytest.mark.integration


@pytest.fixture
def topic(kafka_broker: KafkaBroker) -> str:
    name = f"t-{uuid.uuid4().hex[:8]}"
    admin = KafkaAdminClient(bootstrap_servers=kafka_broker.bootstrap)
    try:
        admin.create_topics([NewTopic(name, num_partitions=1, replication_factor=1)])
    finally:
        admin.close()
    return name


def publish(bootstrap: str, topic: str, values: list[bytes]) -> list[int]:
    producer = KafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True)
    try:
        sent = [producer.send(topic, value=value, partition=0) for value in values]
        producer.flush(30)
        return [future.get(30).offset for future in sent]
    finally:
        producer.close()


def consume(bootstrap: str, topic: str) -> list[tuple[int, bytes]]:
    """Everything up to the present end of partition 0."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    try:
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        end = consumer.end_offsets([partition])[partition]
        consumer.seek_to_beginning(partition)
        records: list[tuple[int, bytes]] = []
        while len(records) < end:
            for batch in consumer.poll(timeout_ms=1000).values():
                records += [(record.offset, record.value) for record in batch]
        return records
    finally:
        consumer.close()


def test_acknowledged_records_are_read_back(kafka_broker: KafkaBroker, topic: str) -> None:
    offsets = publish(kafka_broker.bootstrap, topic, [b"bread", b"milk"])
    assert offsets == [0, 1]
    assert consume(kafka_broker.bootstrap, topic) == [(0, b"bread"), (1, b"milk")]


def test_records_survive_kill_and_restart(kafka_broker: KafkaBroker, topic: str) -> None:
    values = [b"%d" % number for number in range(1000)]
    publish(kafka_broker.bootstrap, topic, values)
    killed = kafka_broker.pid
    kafka_broker.kill()
    assert not psutil.pid_exists(killed)
    kafka_broker.start()
    assert kafka_broker.pid != killed
    assert publish(kafka_broker.bootstrap, topic, [b"after"]) == [1000]
    assert [value for _, value in consume(kafka_broker.bootstrap, topic)] == [*values, b"after"]


def test_records_survive_a_clean_restart(kafka_broker: KafkaBroker, topic: str) -> None:
    publish(kafka_broker.bootstrap, topic, [b"bread"])
    kafka_broker.stop()
    kafka_broker.start()
    assert consume(kafka_broker.bootstrap, topic) == [(0, b"bread")]


def test_topics_are_never_made_by_accident(kafka_broker: KafkaBroker) -> None:
    consumer = KafkaConsumer(bootstrap_servers=kafka_broker.bootstrap)
    try:
        consumer.assign([TopicPartition("retail-typo", 0)])
        consumer.poll(timeout_ms=500)
        assert "retail-typo" not in consumer.topics()
    finally:
        consumer.close()


def test_broker_listens_on_loopback_only(kafka_broker: KafkaBroker) -> None:
    listening = {
        connection.laddr.ip
        for connection in psutil.Process(kafka_broker.pid).net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    assert {address.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}

"""Reading Kafka: from where, how much, with which credentials."""

import json
from collections.abc import Iterable, Mapping, Sequence

from pyspark.sql import DataFrame, SparkSession

from clickhouse.queries import Cut
from streaming.batch import OffsetRange
from tillstream.errors import IntegrityError, ServiceError
from tillstream.settings import KafkaSettings

Starting = dict[str, dict[str, int]]


def starting_offsets(
    ranges: Mapping[tuple[str, int], tuple[int, int]],
    ids: Mapping[str, str],
    cuts: Iterable[Cut],
    *,
    accept_loss: bool = False,
) -> Starting:
    """Where to go on: at the committed cut of each partition, else at the oldest record.

    `ranges` holds Kafka's (log start, log end) of every partition, `ids` each topic's UUID now. A
    cut of a deleted topic says nothing about the topic that has its name today.

    Raises IntegrityError when retention has removed records that were never read, unless
    `accept_loss`; ServiceError when Kafka ends before what is stored, as it may for a moment while
    a broker recovers.
    """
    committed = {(cut.topic_id, cut.partition): cut.next_offset for cut in cuts}
    starting: Starting = {}
    for (topic, partition), (oldest, end) in sorted(ranges.items()):
        offset = committed.get((ids[topic], partition), oldest)
        if offset < oldest and accept_loss:
            offset = oldest
        if offset < oldest:
            raise IntegrityError(
                f"{topic}-{partition}: offsets {offset}..{oldest - 1} were deleted by Kafka's "
                "retention before they were read",
                hint="set TILLSTREAM_STREAM__ACCEPT_LOSS=true to go on without them; "
                "`tillstream verify` will keep naming them",
            )
        if offset > end:
            raise ServiceError(
                f"{topic}-{partition}: offsets up to {offset - 1} are stored, but Kafka ends at "
                f"{end}",
                hint="if it stays so, the broker has lost records it had acknowledged: restore its "
                "data, or delete and create the topic anew",
            )
        starting.setdefault(topic, {})[str(partition)] = offset
    return starting


def kafka_records(
    spark: SparkSession, kafka: KafkaSettings, *, starting: Starting, max_offsets: int
) -> DataFrame:
    """A stream of the topics in `starting`, at most `max_offsets` records a batch."""
    options = {
        **connection_options(kafka),
        "subscribe": ",".join(starting),
        "startingOffsets": json.dumps(starting),
        "maxOffsetsPerTrigger": str(max_offsets),
        "failOnDataLoss": "true",
        "kafka.fetch.max.wait.ms": "50",
        "kafka.max.partition.fetch.bytes": str(8 << 20),
    }
    return spark.readStream.format("kafka").options(**options).load()


def recorded_ranges(
    spark: SparkSession, kafka: KafkaSettings, ranges: Sequence[OffsetRange]
) -> DataFrame:
    """The records of `ranges`, which must lie in Kafka still. Not a stream."""
    starting: Starting = {}
    ending: Starting = {}
    for r in ranges:
        starting.setdefault(r.topic, {})[str(r.partition)] = r.first
        ending.setdefault(r.topic, {})[str(r.partition)] = r.last + 1
    assigned = {topic: [int(p) for p in partitions] for topic, partitions in starting.items()}
    options = {
        **connection_options(kafka),
        "assign": json.dumps(assigned),
        "startingOffsets": json.dumps(starting),
        "endingOffsets": json.dumps(ending),
        "failOnDataLoss": "true",
        "kafka.max.partition.fetch.bytes": str(8 << 20),
    }
    return spark.read.format("kafka").options(**options).load()


def connection_options(kafka: KafkaSettings) -> dict[str, str]:
    """Spark's options for the connection that kafka-python makes of the same settings."""
    options = {
        "kafka.bootstrap.servers": kafka.bootstrap,
        "kafka.security.protocol": kafka.security_protocol,
    }
    if kafka.security_protocol.startswith("SASL") and kafka.password:
        module = (
            "org.apache.kafka.common.security.plain.PlainLoginModule"
            if kafka.sasl_mechanism == "PLAIN"
            else "org.apache.kafka.common.security.scram.ScramLoginModule"
        )
        options["kafka.sasl.mechanism"] = kafka.sasl_mechanism
        options["kafka.sasl.jaas.config"] = (
            f"{module} required username={_quoted(kafka.username or '')} "
            f"password={_quoted(kafka.password.get_secret_value())};"
        )
    if kafka.ca_file:
        options["kafka.ssl.truststore.type"] = "PEM"
        options["kafka.ssl.truststore.location"] = str(kafka.ca_file)
    return options


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'

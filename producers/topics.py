"""What the broker knows of our topics: their identity, their offsets, their layout."""

import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any, Self, TypeVar

from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, OffsetSpec
from kafka.errors import (
    KafkaError,
    RetriableError,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
    for_code,
)

from producers.connection import client_options, require_reachable, unreachable
from tillstream.contracts.topics import SOURCE_TOPICS, TOPIC_SPECS, Topic, TopicSpec
from tillstream.errors import ServiceError
from tillstream.settings import KafkaSettings

T = TypeVar("T")

_TIMEOUT_S = 10.0
_REQUEST_TIMEOUT_MS = 3_000
_RETRY_S = 0.2


class TopicInspector:
    """Reads over one connection that is kept, and found again after a broker restart.

    Safe to use from several threads. Every method raises ServiceError naming the bootstrap address
    when the broker does not answer within about `timeout_s`.
    """

    def __init__(self, kafka: KafkaSettings, *, timeout_s: float = _TIMEOUT_S) -> None:
        self._kafka = kafka
        self._timeout_s = timeout_s
        require_reachable(kafka, "read topics")
        try:
            self._admin = KafkaAdminClient(
                client_id="tillstream-topics",
                request_timeout_ms=_REQUEST_TIMEOUT_MS,
                **client_options(kafka),
            )
        except (KafkaError, OSError) as exc:
            raise unreachable(kafka, "read topics", exc) from exc

    def topic_ids(self, topics: Iterable[str]) -> dict[str, uuid.UUID]:
        """Kafka's own UUID of each topic, which changes when a topic is deleted and created again
        under its name. A topic the broker does not know is left out."""
        return {
            entry["name"]: uuid.UUID(str(entry["topic_id"]))
            for entry in self._describe(topics)
            if entry.get("topic_id")
        }

    def offset_ranges(self, topics: Iterable[str]) -> dict[tuple[str, int], tuple[int, int]]:
        """(log start, log end) of every partition: offsets in [start, end) can be read now.
        A topic the broker does not know is left out."""
        partitions = [
            TopicPartition(entry["name"], partition["partition_index"])
            for entry in self._describe(topics)
            for partition in entry["partitions"]
        ]
        if not partitions:
            return {}

        def read(spec: OffsetSpec) -> dict[TopicPartition, Any]:
            found: dict[TopicPartition, Any] = self._ask(
                "read topic offsets",
                lambda: self._admin.list_partition_offsets(
                    dict.fromkeys(partitions, spec), timeout_ms=_REQUEST_TIMEOUT_MS
                ),
            )
            return found

        # The end first: were the start read first, records expiring in between could make a range
        # that never was.
        ends, starts = read(OffsetSpec.LATEST), read(OffsetSpec.EARLIEST)
        return {
            (tp.topic, tp.partition): (min(starts[tp].offset, ends[tp].offset), ends[tp].offset)
            for tp in sorted(partitions)
        }

    def layout(self, topics: Iterable[str]) -> dict[str, int]:
        """The number of partitions of each topic that exists."""
        return {entry["name"]: len(entry["partitions"]) for entry in self._describe(topics)}

    def ensure_topics(self, specs: Mapping[Topic, TopicSpec] = TOPIC_SPECS) -> list[str]:
        """Create the topics that are missing. See the function of the same name."""
        specs = {topic: self._scaled(spec) for topic, spec in specs.items()}
        existing = self.layout([spec.topic.value for spec in specs.values()])
        said = []
        for spec in specs.values():
            name = spec.topic.value
            if name not in existing and self._create(spec):
                said.append(f"created {name} with {spec.partitions} partitions")
        present = [spec for spec in specs.values() if spec.topic.value in existing]
        for spec in present:
            count = existing[spec.topic.value]
            if count < spec.partitions and self._kafka.partition_factor > 1:
                self._add_partitions(spec)
                said.append(
                    f"{spec.topic.value} has {spec.partitions} partitions now, {count} before"
                )
            elif count != spec.partitions:
                said.append(
                    f"{spec.topic.value} has {count} partitions, not {spec.partitions};"
                    " left as it is, since another count would move keys between partitions"
                )
        return said + self._config_differences(present)

    def close(self) -> None:
        self._admin.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _describe(self, topics: Iterable[str]) -> list[dict[str, Any]]:
        names = [str(topic) for topic in topics]
        if not names:
            return []

        def describe() -> list[dict[str, Any]]:
            entries: list[dict[str, Any]] = self._admin.describe_topics(names)
            known = []
            for entry in entries:
                error = for_code(entry["error_code"])
                if error is UnknownTopicOrPartitionError:
                    continue
                if entry["error_code"]:
                    raise error(entry["name"])
                known.append(entry)
            return known

        return self._ask("describe topics", describe)

    def _scaled(self, spec: TopicSpec) -> TopicSpec:
        """With as many partitions as asked for; topics that we publish to ourselves stay small."""
        factor = self._kafka.partition_factor if spec.topic in SOURCE_TOPICS else 1
        return replace(spec, partitions=spec.partitions * factor)

    def _add_partitions(self, spec: TopicSpec) -> None:
        """Returns once they are there, whoever has added them."""
        name = spec.topic.value
        doing = f"add partitions to {name}"
        failure: ServiceError | None = None
        try:
            self._ask(doing, lambda: self._admin.create_partitions({name: spec.partitions}))
        except ServiceError as exc:
            failure = exc  # another `provision` may have been faster
        deadline = time.monotonic() + self._timeout_s
        while self.layout([name]).get(name, 0) < spec.partitions:
            if failure:
                raise failure
            if time.monotonic() >= deadline:
                raise ServiceError(f"{doing}: Kafka took the request and has not added them yet")
            time.sleep(_RETRY_S)

    def _create(self, spec: TopicSpec) -> bool:
        """Whether this call made the topic; somebody else may have been faster."""
        wanted = {
            spec.topic.value: {
                "num_partitions": spec.partitions,
                "replication_factor": self._kafka.replication_factor,
                "configs": spec.config,
            }
        }
        doing = f"create topic {spec.topic}"
        try:
            self._ask(doing, lambda: self._admin.create_topics(wanted))
        except ServiceError as exc:
            if isinstance(exc.__cause__, TopicAlreadyExistsError):
                return False
            raise
        self._ask(doing, lambda: self._admin.wait_for_topics([spec.topic.value]))
        return True

    def _config_differences(self, specs: list[TopicSpec]) -> list[str]:
        resources = [ConfigResource(ConfigResourceType.TOPIC, spec.topic.value) for spec in specs]
        if not resources:
            return []
        found = self._ask(
            "read topic settings",
            lambda: self._admin.describe_configs(resources, config_filter="all"),
        )["topic"]
        return [
            f"{spec.topic.value} has {key}={actual}, not {wanted}; left as it is"
            for spec in specs
            for key, wanted in spec.config.items()
            if (actual := found[spec.topic.value].get(key, {}).get("value")) != wanted
        ]

    def _ask(self, doing: str, ask: Callable[[], T]) -> T:
        """Ask again while the broker is away or electing, up to the time limit."""
        deadline = time.monotonic() + self._timeout_s
        while True:
            try:
                return ask()
            except (RetriableError, OSError) as exc:
                if time.monotonic() + _RETRY_S >= deadline:
                    raise unreachable(self._kafka, doing, exc) from exc
                time.sleep(_RETRY_S)
            except KafkaError as exc:
                raise unreachable(self._kafka, doing, exc) from exc


def ensure_topics(
    kafka: KafkaSettings, *, specs: Mapping[Topic, TopicSpec] = TOPIC_SPECS
) -> list[str]:
    """Create the topics that are missing, with their settings, and say so: one line for each topic
    created, and one for each that exists with another partition count or setting. What exists is
    left as it is, but for partitions that `partition_factor` asks for: those are added. Safe to run
    at any time, by several at once."""
    with TopicInspector(kafka) as inspector:
        return inspector.ensure_topics(specs)


def topic_ids(kafka: KafkaSettings, topics: Iterable[str]) -> dict[str, uuid.UUID]:
    """Kafka's own UUID of each topic that exists."""
    with TopicInspector(kafka) as inspector:
        return inspector.topic_ids(topics)


def offset_ranges(
    kafka: KafkaSettings, topics: Iterable[str]
) -> dict[tuple[str, int], tuple[int, int]]:
    """(log start, log end) of every partition of the topics that exist."""
    with TopicInspector(kafka) as inspector:
        return inspector.offset_ranges(topics)

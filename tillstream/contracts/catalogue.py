"""Every schema version of every topic, and the id that names it on the wire."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from tillstream.contracts.registry import schema_ids
from tillstream.contracts.topics import Topic
from tillstream.errors import ConfigError
from tillstream.settings import RegistrySettings

_AVRO = files("tillstream.contracts") / "avro"


@dataclass(frozen=True, slots=True)
class SchemaRef:
    """One version of one topic's contract. `text` is the .avsc as checked in, `schema` its JSON."""

    id: int
    topic: Topic
    version: int
    schema: dict[str, Any] = field(compare=False, repr=False)
    text: str = field(compare=False, repr=False)


class Catalogue:
    """Schemas by wire id and by topic. Immutable; versions are in ascending order."""

    def __init__(self, schemas: Iterable[SchemaRef]) -> None:
        self._by_id: dict[int, SchemaRef] = {}
        by_topic: dict[Topic, list[SchemaRef]] = {}
        for ref in sorted(schemas, key=lambda ref: (ref.topic, ref.version)):
            other = self._by_id.setdefault(ref.id, ref)
            if other is not ref:
                raise ConfigError(
                    f"schema id {ref.id} names both {other.topic} v{other.version}"
                    f" and {ref.topic} v{ref.version}"
                )
            by_topic.setdefault(ref.topic, []).append(ref)
        self._versions = {topic: tuple(refs) for topic, refs in by_topic.items()}

    def by_id(self, schema_id: int) -> SchemaRef | None:
        """The schema of this wire id, or None when the id is unknown."""
        return self._by_id.get(schema_id)

    def versions(self, topic: Topic) -> tuple[SchemaRef, ...]:
        """Every version of the topic's contract, oldest first; empty for a topic without one."""
        return self._versions.get(topic, ())

    def latest(self, topic: Topic) -> SchemaRef:
        """The newest version. Raises ConfigError when the topic has no schema."""
        refs = self.versions(topic)
        if not refs:
            raise ConfigError(f"no schema of topic {topic} is in the catalogue")
        return refs[-1]

    def __iter__(self) -> Iterator[SchemaRef]:
        return iter(self._by_id.values())


def load_catalogue(registry: RegistrySettings | None = None) -> Catalogue:
    """The checked-in schemas, with the ids of `catalog.json`, or, when a registry is configured,
    the ids under which it holds these very schemas (registering the ones it lacks).

    Raises ConfigError when the registry refuses a schema, ServiceError when it cannot be reached.
    """
    refs = _checked_in()
    if registry is None or registry.url is None:
        return Catalogue(refs)
    ids = schema_ids(registry, [(f"{ref.topic}-value", ref.text) for ref in refs])
    return Catalogue(
        SchemaRef(registered, ref.topic, ref.version, ref.schema, ref.text)
        for ref, registered in zip(refs, ids, strict=True)
    )


def _checked_in() -> list[SchemaRef]:
    refs = []
    for entry in json.loads((_AVRO / "catalog.json").read_text(encoding="utf-8")):
        text = (_AVRO / entry["file"]).read_text(encoding="utf-8")
        topic = Topic(entry["topic"])
        refs.append(SchemaRef(entry["id"], topic, entry["version"], json.loads(text), text))
    return refs

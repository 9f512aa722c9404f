"""What ran, what it read and what it wrote, as OpenLineage events.

One JSON object a line in `<home>/lineage/<day>.jsonl`, and to a server when
TILLSTREAM_TELEMETRY__LINEAGE_URL names one (Marquez, DataHub, …). A server that is away costs its
events, which are in the file all the same, and never the work.

Source: OpenLineage's specification 2-0-2 (run events; naming of Kafka's and databases' datasets).
"""

import json
import logging
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import SecretStr

from tillstream.settings import Settings

log = logging.getLogger("tillstream.lineage")

_PRODUCER: Final = "https://github.com/tillstream/tillstream"
_SCHEMA: Final = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
_JOB_TYPE: Final = (
    "https://openlineage.io/spec/facets/2-0-3/JobTypeJobFacet.json#/$defs/JobTypeJobFacet"
)
_NAMESPACE: Final = "tillstream"
_TIMEOUT_S: Final = 5.0

Kind = Literal["START", "COMPLETE", "FAIL"]
Event = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Dataset:
    """A table, topic or folder, as OpenLineage names it."""

    namespace: str
    name: str


def tables(settings: Settings, names: Iterable[str]) -> tuple[Dataset, ...]:
    place = f"clickhouse://{settings.warehouse.host}:{settings.warehouse.port}"
    return tuple(Dataset(place, f"{settings.warehouse.database}.{name}") for name in names)


def topics(settings: Settings, names: Iterable[str]) -> tuple[Dataset, ...]:
    place = f"kafka://{settings.kafka.bootstrap}"
    return tuple(Dataset(place, str(name)) for name in names)


def lake_folder(settings: Settings, name: str) -> Dataset:
    return Dataset(settings.lake_url, name)


@dataclass(frozen=True, slots=True)
class LineageLog:
    """Where events go."""

    folder: Path
    url: str | None = None
    api_key: SecretStr | None = None

    @classmethod
    def of(cls, settings: Settings) -> "LineageLog":
        telemetry = settings.telemetry
        return cls(settings.home / "lineage", telemetry.lineage_url, telemetry.lineage_api_key)

    def begin(
        self,
        job: str,
        *,
        run: uuid.UUID,
        reads: Iterable[Dataset] = (),
        writes: Iterable[Dataset] = (),
        streams: bool = False,
    ) -> Event:
        """Tell that a run began; returns what `end` needs."""
        kind, engine = ("STREAMING", "SPARK") if streams else ("BATCH", "TILLSTREAM")
        facet = {"_producer": _PRODUCER, "_schemaURL": _JOB_TYPE}
        event = {
            "producer": _PRODUCER,
            "schemaURL": _SCHEMA,
            "run": {"runId": str(run), "facets": {}},
            "job": {
                "namespace": _NAMESPACE,
                "name": job,
                "facets": {"jobType": {**facet, "processingType": kind, "integration": engine}},
            },
            "inputs": [{"namespace": one.namespace, "name": one.name} for one in reads],
            "outputs": [{"namespace": one.namespace, "name": one.name} for one in writes],
        }
        self._tell(event, "START")
        return event

    def end(self, event: Event, kind: Kind) -> None:
        self._tell(event, kind)

    @contextmanager
    def run(
        self,
        job: str,
        *,
        reads: Iterable[Dataset] = (),
        writes: Iterable[Dataset] = (),
        streams: bool = False,
    ) -> Iterator[None]:
        """A run of its own that lasts as long as the block; an exception makes it FAIL."""
        event = self.begin(job, run=uuid.uuid4(), reads=reads, writes=writes, streams=streams)
        try:
            yield
        except BaseException:
            self.end(event, "FAIL")
            raise
        self.end(event, "COMPLETE")

    def _tell(self, event: Event, kind: Kind) -> None:
        now = datetime.now(tz=UTC)
        line = json.dumps({"eventType": kind, "eventTime": now.isoformat(), **event})
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / f"{now:%Y-%m-%d}.jsonl").open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        if self.url is not None:
            self._send(self.url.rstrip("/"), line)

    def _send(self, url: str, line: str) -> None:
        # Most runs have no server to tell.
        import httpx

        headers = {"Content-Type": "application/json"}
        if self.api_key is not None:
            headers["Authorization"] = f"Bearer {self.api_key.get_secret_value()}"
        try:
            answer = httpx.post(
                f"{url.removesuffix('/api/v1/lineage')}/api/v1/lineage",
                content=line,
                headers=headers,
                timeout=_TIMEOUT_S,
                trust_env=False,
            )
            answer.raise_for_status()
        except httpx.HTTPError as exc:
            log.warning("a lineage event did not reach %s: %s", url, exc)

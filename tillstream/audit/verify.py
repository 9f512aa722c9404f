"""`tillstream verify`: does everything stored agree with what Kafka acknowledged?"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa

from clickhouse.client import Client
from clickhouse.queries import Cut, committed_cuts
from lake.client import Lake
from producers.reader import read_at
from producers.topics import TopicInspector
from tillstream.audit.archive import check_archive
from tillstream.audit.coordinates import (
    Coordinates,
    KafkaRanges,
    check_coordinates,
    check_identities,
    landed,
)
from tillstream.audit.derived import check_ledger, check_stock, check_windows
from tillstream.audit.findings import Audit, PartitionRow
from tillstream.audit.manifest import check_manifest
from tillstream.contracts.topics import SOURCE_TOPICS
from tillstream.errors import ServiceError
from tillstream.settings import KafkaSettings

_POLL_S = 0.25


@dataclass(frozen=True, slots=True)
class Parts:
    """What an audit reads."""

    kafka: KafkaSettings
    inspector: TopicInspector
    client: Client
    lake: Lake


@dataclass(frozen=True, slots=True)
class Progress:
    """How far stream and lake are, against Kafka's ends at one moment."""

    live: tuple[Cut, ...]
    lake: tuple[Cut, ...]
    behind: int
    lake_behind: int

    @property
    def caught_up(self) -> bool:
        return self.behind == self.lake_behind == 0


def progress(parts: Parts, ends: KafkaRanges | None = None) -> Progress:
    """Records not yet stored and not yet archived, up to `ends` (default: Kafka's ends now)."""
    topics = [topic.value for topic in SOURCE_TOPICS]
    ids = {name: str(uid) for name, uid in parts.inspector.topic_ids(topics).items()}
    ranges = ends or parts.inspector.offset_ranges(topics)

    def read(query: str) -> tuple[tuple[Cut, ...], int]:
        known = {(c.topic_id, c.partition): c for c in committed_cuts(parts.client, query)}
        behind = 0
        for (topic, partition), (oldest, end) in ranges.items():
            key = (ids[topic], partition)
            known.setdefault(key, Cut(topic, ids[topic], partition, oldest))
            behind += max(end - known[key].next_offset, 0)
        return tuple(
            sorted(known.values(), key=lambda c: (c.topic, c.topic_id, c.partition))
        ), behind

    live, behind = read("live")
    archived, lake_behind = read("lake")
    return Progress(live, archived, behind, lake_behind)


def wait_until_caught_up(
    parts: Parts, *, timeout_s: float, on_progress: Callable[[Progress], None] = lambda _: None
) -> Progress:
    """Wait until all that Kafka holds now is stored and archived. Raises ServiceError if it is not
    within `timeout_s`."""
    ends = parts.inspector.offset_ranges([topic.value for topic in SOURCE_TOPICS])
    deadline = time.monotonic() + timeout_s
    while not (now := progress(parts, ends)).caught_up:
        on_progress(now)
        if time.monotonic() > deadline:
            raise ServiceError(
                f"the stream is {now.behind} records behind Kafka and the lake {now.lake_behind}, "
                f"after {timeout_s:.0f} s",
                hint="look at `tillstream status` and `tillstream logs stream`, or wait longer",
            )
        time.sleep(_POLL_S)
    on_progress(now)
    return now


def verify(
    parts: Parts, *, ledger: pa.Table | None = None, manifest: pa.Table | None = None
) -> Audit:
    """Compare everything at one committed cut per partition; the stream may be running.

    With a `ledger` (topic, identity, attempts, acknowledged) also event by event, and with a
    `manifest` of faults (see `check_manifest`) each of them; let the stream catch up first.
    """
    topics = [topic.value for topic in SOURCE_TOPICS]
    ids = {name: str(uid) for name, uid in parts.inspector.topic_ids(topics).items()}
    ranges = parts.inspector.offset_ranges(topics)
    now = progress(parts, ranges)

    def has_record(places: list[Coordinates]) -> set[Coordinates]:
        return {place for place, record in read_at(parts.kafka, places).items() if record}

    found = []
    for cut in now.live:
        current = ids.get(cut.topic) == cut.topic_id
        oldest = ranges[cut.topic, cut.partition][0] if current else 0
        # Nobody can be asked about the offsets of a topic that is gone: all its gaps count.
        ask = has_record if current else set
        found.append(landed(parts.client, cut, oldest=oldest, has_record=ask))

    first = {(one.cut.topic_id, one.cut.partition): one.first for one in found}
    wanted = [(cut, first.get((cut.topic_id, cut.partition), 0)) for cut in now.lake]
    archived, lake_check = check_archive(parts.lake, wanted)
    lake_cuts = {(cut.topic_id, cut.partition): cut.next_offset for cut in now.lake}

    rows = []
    for one in found:
        key = (one.cut.topic_id, one.cut.partition)
        current = ids.get(one.cut.topic) == one.cut.topic_id
        start, end = ranges[one.cut.topic, one.cut.partition] if current else (None, None)
        held = archived.get(key)
        rows.append(
            PartitionRow(
                topic=one.cut.topic,
                topic_id=one.cut.topic_id,
                partition=one.cut.partition,
                kafka_start=start,
                kafka_end=end,
                cut=one.cut.next_offset,
                facts=one.facts,
                duplicates=one.duplicates,
                quarantine=one.quarantine,
                missing=one.missing_count,
                doubled=len(one.doubled),
                lake_cut=lake_cuts.get(key, 0),
                lake_records=held.records if held else 0,
                lake_missing=held.missing_count if held else 0,
            )
        )
    checks = [
        check_coordinates(found),
        check_identities(parts.client),
        lake_check,
        check_windows(parts.client),
        check_stock(parts.client),
    ]
    if ledger is not None:
        checks.append(check_ledger(parts.client, ledger))
    if manifest is not None:
        checks.append(check_manifest(parts.client, manifest, ids))
    return Audit(tuple(rows), tuple(checks))

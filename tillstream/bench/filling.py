"""Events that wait in Kafka before anything is measured, and what must become of them."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from clickhouse.queries import select
from tillstream.audit.verify import Parts
from tillstream.bench.generator import Progress
from tillstream.bench.generators import Generators
from tillstream.bench.sales import make_lines
from tillstream.bench.traffic import (
    Traffic,
    lines_for,
    shelf_count,
    window_count,
    window_start_ms,
)
from tillstream.bench.ways import Workload
from tillstream.bench.week import Phase
from tillstream.contracts.topics import SOURCE_TOPICS
from tillstream.errors import ServiceError
from tillstream.settings import Settings

_GENERATORS = 2
# How many sale lines share a millisecond of event time.
_LINES_PER_MS = 10
_COUNTS = (
    "SELECT (SELECT count() FROM fact_sales) AS sales,"
    " (SELECT count() FROM fact_inventory) AS movements,"
    " (SELECT count() FROM duplicates) AS duplicates, (SELECT count() FROM velocity_5m) AS windows"
)


@dataclass(frozen=True, slots=True)
class Waiting:
    """What was sent to empty topics, and the windows and shelves it must lead to."""

    sent: Progress
    windows: int
    shelves: int
    publish_s: float

    @property
    def events(self) -> int:
        return self.sent.sent

    def unlike(self, parts: Parts, *, deduplicated: bool) -> list[str]:
        """Counts of the tables that differ from those of what was sent."""
        stored = select(parts.client, _COUNTS).to_pylist()[0]
        expected = {
            "sales": self.sent.sales,
            "movements": self.sent.movements,
            "duplicates": self.sent.duplicates if deduplicated else 0,
            "windows": self.windows,
        }
        return [
            f"{name}: {stored[name]:,} stored, {count:,} expected"
            for name, count in expected.items()
            if stored[name] != count
        ]


def publish(
    settings: Settings, traffic: Traffic, events: int, *, on_phase: Callable[[Phase], None]
) -> Waiting:
    """Send about `events` events, as fast as it goes; the same ones each time, but for the day
    Raises ServiceError when Kafka has not all of them afterwards."""
    count = lines_for(traffic, events)
    start_ms = window_start_ms(count // _LINES_PER_MS, now_ms=time.time_ns() // 1_000_000)
    spec = {"mode": "burst", "traffic": traffic, "events": events, "start_ms": start_ms}
    shares = min(_GENERATORS, os.cpu_count() or 1)
    began = time.monotonic()
    with Generators(settings.home, spec, shares=shares) as generators:
        while not generators.wait(0.2):
            on_phase(Phase("publishing", generators.progress().sent / events))
        sent = generators.progress()
    publish_s = time.monotonic() - began
    lines = make_lines(Workload.SPREAD, count, start_ms=start_ms)
    return Waiting(sent, window_count(lines), shelf_count(lines), publish_s)


def require_all(parts: Parts, waiting: Waiting) -> None:
    """Raises ServiceError unless Kafka holds exactly what was sent. Topics begin at offset 0."""
    ranges = parts.inspector.offset_ranges([topic.value for topic in SOURCE_TOPICS])
    held = sum(end for _, end in ranges.values())
    if held != waiting.events:
        raise ServiceError(f"Kafka holds {held:,} records of {waiting.events:,} that were sent")

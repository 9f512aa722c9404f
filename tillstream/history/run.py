"""A chain's past, simulated day by day and written as it is made."""

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from simulators.world.chain import Chain
from simulators.world.messages import Writer
from simulators.world.scenario import Scenario
from simulators.world.seasons import DAY_MS
from simulators.world.truth import TruthWriter, merge_parts
from simulators.world.world import MINUTE_MS, World, make_world
from streaming.schemas import TIME
from tillstream.contracts.catalogue import Catalogue
from tillstream.contracts.topics import SOURCE_TOPICS, Topic
from tillstream.history.decoded import decoded
from tillstream.history.writer import HistoryWriter

Tables = Mapping[Topic, pa.Table]


@dataclass(frozen=True, slots=True)
class HistoryReport:
    """How far it is. `events` were made; `written` of them were not stored before."""

    run: str
    days: int
    days_total: int
    events: int
    written: int
    sale_lines: int
    elapsed_s: float

    @property
    def done(self) -> bool:
        return self.days == self.days_total


def history_world(scenario: Scenario, *, days: int, end_ms: int) -> World:
    """The world of the `days` UTC days before `end_ms` (cut to its midnight)."""
    start_ms = end_ms // DAY_MS * DAY_MS - days * DAY_MS
    past = scenario.model_copy(update={"minutes": days * DAY_MS / MINUTE_MS})
    return make_world(past, start_ms=start_ms, whole_days=True)


def run_name(world: World) -> str:
    """The same for the same past."""
    return f"{world.scenario.name}-{world.run_tag:012x}"


def write_history(
    world: World,
    catalogue: Catalogue,
    writer: HistoryWriter,
    *,
    customer_key: bytes,
    folder: Path | None = None,
    on_progress: Callable[[HistoryReport], None] = lambda _: None,
) -> HistoryReport:
    """Make and store the whole past; the next day is made while one is stored. With a `folder` the
    truth is written there. Raises ServiceError; what is committed by then stays, and the same call
    goes on from there."""
    sender = Writer(catalogue, world.run_tag, world.start_ms, world.slot_ms, customer_key)
    chain = Chain(world, world.stores)
    truth = TruthWriter(folder, 0) if folder else None
    began = time.monotonic()
    days = events = written = lines = 0
    total = (world.end_ms - world.start_ms) // DAY_MS
    report = HistoryReport(run_name(world), 0, total, 0, 0, 0, 0.0)
    under_way: Future[int] | None = None
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="store") as pool:
        for day in _days(world, chain, sender, truth):
            if under_way is not None:
                written += under_way.result()
            under_way = pool.submit(writer.write, day)
            days += 1
            events += sum(rows.num_rows for rows in day.values())
            lines += day[Topic.SALES].num_rows
            elapsed_s = round(time.monotonic() - began, 2)
            report = HistoryReport(
                run_name(world), min(days, total), total, events, written, lines, elapsed_s
            )
            on_progress(report)
        if under_way is not None:
            written += under_way.result()
    if truth is not None and folder is not None:
        truth.finish(chain.states, world.end_ms)
        merge_parts(folder, 1)
    elapsed_s = round(time.monotonic() - began, 2)
    return HistoryReport(run_name(world), total, total, events, written, lines, elapsed_s)


def _days(
    world: World, chain: Chain, sender: Writer, truth: TruthWriter | None
) -> Iterator[Tables]:
    """UTC days in order. Stores' own days end hours later: what belongs to the next UTC day waits,
    and what would come after the end is left out."""
    if truth is not None:
        truth.shelves(chain.initially_empty())
    waiting: dict[Topic, list[pa.Table]] = {topic: [] for topic in SOURCE_TOPICS}
    for number, events in enumerate(chain.slots()):
        if truth is not None:
            truth.slot(events)
        for topic, rows in decoded(sender, events).items():
            waiting[topic].append(rows)
        midnight_ms = world.start_ms + (number + 1) * DAY_MS
        day = {}
        for topic, parts in waiting.items():
            every = pa.concat_tables(parts)
            midnight = pa.scalar(midnight_ms * 1000, pa.int64()).cast(TIME)
            before = pc.less(every["arrival"], midnight)
            day[topic] = every.filter(before)
            waiting[topic] = [every.filter(pc.invert(before))]
        yield day

"""One share of a run: its stores through time, to Kafka, with ledger and truth."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from simulators.ledger import Ledger
from simulators.world.batches import Outbox, Sender
from simulators.world.chain import Chain, share_of, together
from simulators.world.columns import SlotEvents
from simulators.world.faults import Mishaps
from simulators.world.messages import Messages, Writer, all_of
from simulators.world.truth import TruthWriter
from simulators.world.world import World
from tillstream.contracts.topics import SOURCE_TOPICS

Ints = npt.NDArray[np.int64]

_MOST_MESSAGES: Final = 20_000
_TICK_S: Final = 0.05
_REPORT_S: Final = 0.2
# So many are made between two looks at the clock.
_EVENTS_A_TURN: Final = 3_000
_LAST_MS: Final = 1 << 62


@dataclass(frozen=True, slots=True)
class ShareReport:
    """How far a share is. Events by topic are those acknowledged; `behind_s` is by how much the
    newest came later than it was due; `event_time_ms` is None before the first."""

    share: int
    acknowledged: int = 0
    attempted: int = 0
    faults: int = 0
    by_topic: dict[str, int] = field(default_factory=dict)
    event_time_ms: int | None = None
    behind_s: float = 0.0
    cpu_s: float = 0.0
    done: bool = False
    interrupted: bool = False


class ShareRun:
    """A share under way. For one thread."""

    def __init__(
        self,
        world: World,
        writer: Writer,
        sender: Sender,
        *,
        share: int,
        shares: int,
        folder: Path,
        ledger: Ledger,
        on_report: Callable[[ShareReport], None] = lambda _: None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self._world = world
        self._share = share
        self._mishaps = Mishaps(world, writer)
        self._chain = Chain(world, share_of(world, share, shares))
        self._ledger = ledger
        self._truth = TruthWriter(folder, share)
        stores = [store.number for store in self._chain.stores]
        self._outbox = Outbox(sender, ledger, self._truth, stores)
        self._on_report = on_report
        self._stopped = stopped
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="send")
        self._under_way: Future[None] | None = None
        self._waiting = Messages.none()
        self._sent = 0  # of those waiting
        # Everything due before the horizon has been made.
        self._horizon_ms = world.start_ms
        self._reported_at = 0.0
        self._event_time_ms: int | None = None
        self._behind_s = 0.0
        self._interrupted = False

    def run(self, *, began: float | None = None) -> ShareReport:
        """To the end, or until stopped. `began` is the wall clock's time (seconds since 1970) at
        which a paced run starts. Ledger and truth are complete for all that was sent, whatever
        happens. Raises ServiceError when Kafka does not answer for too long."""
        with self._truth:
            try:
                self._truth.shelves(self._chain.initially_empty())
                self._report(force=True)
                self._through_time(time.time() if began is None else began)
                self._settle()
            finally:
                self._pool.shutdown(wait=True)
                self._ledger.flush()
                self._truth.finish(self._chain.states, min(self._horizon_ms, self._world.end_ms))
        return self._report(done=True, force=True)

    def _through_time(self, began: float) -> None:
        """Publish what is due; meanwhile make what comes next, a slot ahead at most."""
        speed = self._world.scenario.speed
        made = self._make()
        exhausted = False
        next_tick = began
        while not self._stopped():
            now_ms = _LAST_MS
            if speed is not None:
                now_ms = self._world.start_ms + int((time.time() - began) * 1000 * speed)
            ready = speed is None or time.time() >= next_tick
            if ready and self._publish_due(min(now_ms, self._horizon_ms), now_ms, speed):
                continue
            if ready:
                next_tick = time.time() + _TICK_S
            if not exhausted and self._horizon_ms - self._world.slot_ms <= now_ms:
                exhausted = next(made, None) is None
            elif exhausted and now_ms >= self._world.end_ms:
                # What would come later comes now: the run is over.
                if self._sent == len(self._waiting):
                    return
                self._horizon_ms = _LAST_MS
                while self._publish_due(_LAST_MS, now_ms, None) and not self._stopped():
                    pass
            else:
                time.sleep(max(0.0, next_tick - time.time()))
            self._report()
        self._interrupted = True

    def _make(self) -> Iterator[bool]:
        """Make the run's messages, a little at each turn."""
        world = self._world
        for start_ms in range(world.start_ms, world.end_ms, world.slot_ms):
            fresh: list[Messages] = []
            events: list[SlotEvents] = []
            count = 0
            for state in self._chain.states:
                events.append(self._chain.step(state, start_ms))
                count += events[-1].count
                if count >= _EVENTS_A_TURN:
                    fresh.append(self._finished(together(events), start_ms))
                    events, count = [], 0
                yield True
            if events:
                fresh.append(self._finished(together(events), start_ms))
            left = self._waiting.between(self._sent, None)
            self._waiting, self._sent = all_of([left, *fresh]).by_due(), 0
            self._horizon_ms = start_ms + world.slot_ms

    def _finished(self, events: SlotEvents, start_ms: int) -> Messages:
        self._truth.slot(events)
        return self._mishaps.messages(events, start_ms)

    def _publish_due(self, until_ms: int, now_ms: int, speed: float | None) -> bool:
        """Send what is due before `until_ms`, up to a chunk; whether there was any."""
        due = int(np.searchsorted(self._waiting.due_ms, until_ms))
        count = min(due - self._sent, _MOST_MESSAGES)
        if count <= 0:
            return False
        chunk = self._waiting.between(self._sent, self._sent + count)
        self._sent += count
        self._settle()
        self._under_way = self._pool.submit(self._outbox.send, chunk)
        self._event_time_ms = int(chunk.due_ms[-1])
        self._behind_s = 0.0 if speed is None else (now_ms - int(chunk.due_ms[0])) / 1000 / speed
        self._report()
        return True

    def _settle(self) -> None:
        """Wait for what is under way; raises what became of it."""
        if self._under_way is not None:
            under_way, self._under_way = self._under_way, None
            under_way.result()

    def _report(self, *, done: bool = False, force: bool = False) -> ShareReport:
        counts = self._outbox.stored.tolist()
        report = ShareReport(
            share=self._share,
            acknowledged=sum(counts),
            attempted=self._outbox.attempted,
            faults=self._outbox.faults,
            by_topic={t.value: n for t, n in zip(SOURCE_TOPICS, counts, strict=True)},
            event_time_ms=self._event_time_ms,
            behind_s=round(self._behind_s, 3),
            cpu_s=round(time.process_time(), 3),
            done=done,
            interrupted=self._interrupted,
        )
        if force or time.monotonic() - self._reported_at >= _REPORT_S:
            self._reported_at = time.monotonic()
            self._on_report(report)
        return report

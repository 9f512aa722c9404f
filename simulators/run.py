"""Publishing a replay, with every event in a ledger."""

import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from producers.publisher import Delivery, Publisher
from simulators.ledger import Ledger
from simulators.pacing import Pacer
from simulators.plan import ReplayInputs
from simulators.replay import Event, events
from tillstream.contracts.identity import event_identity
from tillstream.contracts.topics import Topic
from tillstream.errors import ServiceError

# Events that share one write of the ledger before they are sent.
_CHUNK_EVENTS: Final = 512
_PROGRESS_INTERVAL_S: Final = 0.1
# A broker may be killed and restarted while the last events are under way.
FLUSH_TIMEOUT_S: Final = 120.0
# After Ctrl-C people wait, so what is on its way gets less time.
INTERRUPTED_FLUSH_TIMEOUT_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class ReplayProgress:
    """How far a replay is. Steps are opening counts and sale lines, known beforehand;
    `event_time_ms` is the newest sent, None before the first."""

    steps_done: int
    steps_total: int
    published: int
    acknowledged: int
    failed: int
    event_time_ms: int | None
    elapsed_s: float


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """What a replay sent. Times are of events, as sent. Published events that were neither
    acknowledged nor failed were still on their way when it ended."""

    published: int
    acknowledged: int
    failed: int
    by_topic: Mapping[str, int]
    elapsed_s: float
    first_event_ms: int | None
    last_event_ms: int | None
    interrupted: bool
    first_failure: str | None

    @property
    def complete(self) -> bool:
        """Whether all events were sent and Kafka holds every one."""
        return not self.interrupted and self.acknowledged == self.published


@dataclass(slots=True)
class _Deliveries:
    """Counts what comes back, on whatever thread it comes."""

    ledger: Ledger
    acknowledged: int = 0
    failed: int = 0
    first_failure: str | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def record(self, delivery: Delivery) -> None:
        with self.lock:
            if delivery.error is None:
                self.acknowledged += 1
            else:
                self.failed += 1
                self.first_failure = self.first_failure or delivery.error
        if delivery.error is not None:
            self.ledger.failed(delivery.topic, delivery.identity, delivery.error)
        else:
            self.ledger.acknowledged(
                delivery.topic, delivery.identity, delivery.partition, delivery.offset
            )


class _Sending:
    """One replay under way."""

    def __init__(
        self,
        inputs: ReplayInputs,
        publisher: Publisher,
        ledger: Ledger,
        on_progress: Callable[[ReplayProgress], None],
    ) -> None:
        self._publisher = publisher
        self._ledger = ledger
        self._on_progress = on_progress
        self._steps_total = inputs.steps
        self._steps_done = 0
        self._started = time.monotonic()
        self._reported = -_PROGRESS_INTERVAL_S
        self.deliveries = _Deliveries(ledger)
        self.by_topic: Counter[str] = Counter()
        self.first_event_ms: int | None = None
        self.last_event_ms: int | None = None

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self._started

    def send(self, chunk: list[Event]) -> None:
        """The ledger holds the whole chunk before the first of it is on its way."""
        for topic, record in chunk:
            self._ledger.attempted(topic, event_identity(topic, record))
        self._ledger.flush()
        for topic, record in chunk:
            # Counted first: an interrupt must not leave more acknowledged than published.
            self.by_topic[topic] += 1
            self._publisher.publish(topic, record, on_delivery=self.deliveries.record)
            self._steps_done += topic is Topic.SALES or record.get("reason") == "count"
            self.last_event_ms = record["timestamp"]
            if self.first_event_ms is None:
                self.first_event_ms = self.last_event_ms
        self.progress()

    def idle(self) -> None:
        """While waiting: what has been acknowledged so far reaches the ledger's file."""
        self._ledger.flush()
        self.progress()

    def progress(self, *, last: bool = False) -> None:
        elapsed_s = self.elapsed_s
        if not last and elapsed_s - self._reported < _PROGRESS_INTERVAL_S:
            return
        self._reported = elapsed_s
        self._on_progress(
            ReplayProgress(
                steps_done=self._steps_done,
                steps_total=self._steps_total,
                published=self.by_topic.total(),
                acknowledged=self.deliveries.acknowledged,
                failed=self.deliveries.failed,
                event_time_ms=self.last_event_ms,
                elapsed_s=elapsed_s,
            )
        )


def run_replay(
    inputs: ReplayInputs,
    publisher: Publisher,
    ledger: Ledger,
    *,
    pacer: Pacer | None = None,
    on_progress: Callable[[ReplayProgress], None] = lambda _: None,
) -> ReplayReport:
    """Publish every event of a replay, in order, and wait until all are settled.

    Each event is in the ledger as attempted before it is sent, and as acknowledged or failed when
    the broker has answered. Ctrl-C stops sending, waits a little for what is on its way, and gives
    a report with `interrupted`. Raises ServiceError when the publisher gives up, ContractError for
    an event that does not fit; the ledger is flushed in every case and stays open. `on_progress` is
    called about ten times a second, and at the end.
    """
    sending = _Sending(inputs, publisher, ledger, on_progress)
    interrupted = False
    try:
        try:
            with _ctrl_c_between_events() as check:
                _send_all(inputs, sending, pacer or Pacer(None), check)
            publisher.flush(FLUSH_TIMEOUT_S)
        except KeyboardInterrupt:
            interrupted = True
            _settle(publisher)
    finally:
        ledger.flush()
    sending.progress(last=True)
    deliveries = sending.deliveries
    return ReplayReport(
        published=sending.by_topic.total(),
        acknowledged=deliveries.acknowledged,
        failed=deliveries.failed,
        by_topic=dict(sorted(sending.by_topic.items())),
        elapsed_s=sending.elapsed_s,
        first_event_ms=sending.first_event_ms,
        last_event_ms=sending.last_event_ms,
        interrupted=interrupted,
        first_failure=deliveries.first_failure,
    )


@contextmanager
def _ctrl_c_between_events() -> Iterator[Callable[[], None]]:
    """What it gives raises KeyboardInterrupt once Ctrl-C was pressed. Raised wherever the program
    happens to be, it can leave one of the client's locks taken for ever; the second one is."""
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield lambda: None
        return
    pressed = False

    def note(_signal: int, _frame: object) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True

    def check() -> None:
        if pressed:
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, note)
    try:
        yield check
        check()
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _send_all(
    inputs: ReplayInputs, sending: _Sending, pacer: Pacer, check: Callable[[], None]
) -> None:
    chunk: list[Event] = []

    def idle() -> None:
        check()
        sending.idle()

    # The pacer knows recorded and shifted times alike: it looks at differences.
    for event in events(inputs):
        check()
        due_ms = event[1]["timestamp"]
        if len(chunk) == _CHUNK_EVENTS or (chunk and pacer.delay_s(due_ms) > 0):
            sending.send(chunk)
            chunk = []
        pacer.wait(due_ms, on_wait=idle)
        chunk.append(event)
    if chunk:
        sending.send(chunk)


def _settle(publisher: Publisher) -> None:
    """Wait for what is on its way; what a broker does not answer now stays unacknowledged."""
    try:
        publisher.flush(INTERRUPTED_FLUSH_TIMEOUT_S)
    except ServiceError:
        return

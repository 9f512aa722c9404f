"""Publishing a replay: what the ledger holds, whatever happens."""

import signal
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any, Self

import pandas as pd
import pytest

from producers.publisher import Delivery, OnDelivery, PublisherStats
from simulators.ledger import Ledger, read_ledgers
from simulators.pacing import Pacer
from simulators.plan import ReplayInputs, ReplayPlan, StockedItem
from simulators.policy import ReplenishmentPolicy
from simulators.replay import events
from simulators.run import ReplayProgress, run_replay
from tests.unit.test_replay_events import COLUMNS, line
from tillstream.clock import FakeClock
from tillstream.contracts.identity import event_identity
from tillstream.contracts.topics import Topic
from tillstream.errors import ServiceError

LINES = 1_000
EVENTS = 1 + 2 * LINES  # a count; each sale and its movement


class ScriptedPublisher:
    """Keeps what is published, checks that the ledger had it before, and fails as told."""

    def __init__(
        self,
        ledger: Path,
        *,
        raise_at: dict[int, BaseException] | None = None,
        press_at: tuple[int, ...] = (),
        lose: int = 0,
    ) -> None:
        self.published: list[tuple[Topic, str]] = []
        self.flushes: list[float] = []
        self._ledger = ledger
        self._raise_at = raise_at or {}
        self._press_at = press_at
        self._lose = lose

    def publish(
        self,
        topic: Topic,
        record: Mapping[str, Any],
        *,
        on_delivery: OnDelivery | None = None,
        version: int | None = None,
    ) -> None:
        number = len(self.published)
        if number in self._press_at:
            signal.raise_signal(signal.SIGINT)
        if number in self._raise_at:
            raise self._raise_at[number]
        identity = event_identity(topic, record)
        if number % 500 == 0:
            assert f'"attempted","t":"{topic}","i":"{identity}"' in self._ledger.read_text()
        self.published.append((topic, identity))
        assert on_delivery is not None
        if number < self._lose:
            on_delivery(Delivery(topic, identity, -1, -1, "timed out"))
        else:
            on_delivery(Delivery(topic, identity, 0, number))

    def flush(self, timeout_s: float = 30.0) -> None:
        self.flushes.append(timeout_s)

    def close(self) -> None: ...

    @property
    def stats(self) -> PublisherStats:
        return PublisherStats(len(self.published), 0, 0, Counter())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...


@pytest.fixture
def inputs() -> ReplayInputs:
    item = StockedItem(5, 11, 5_000, ReplenishmentPolicy(1, 6, 1))
    return ReplayInputs(
        plan=ReplayPlan(date(2017, 11, 20), 1),
        sales=pd.DataFrame([line(10 + n / 3600, 1) for n in range(LINES)], columns=list(COLUMNS)),
        items=[item],
        last_prices={},
        fixed_price_products=frozenset(),
        demand=pd.DataFrame(),
    )


def attempts(path: Path) -> set[tuple[str, str, int, int]]:
    return {tuple(row.values()) for row in read_ledgers([path]).to_pylist()}


def test_every_event_is_attempted_and_acknowledged_once(
    tmp_path: Path, inputs: ReplayInputs
) -> None:
    path = tmp_path / "l.jsonl"
    publisher = ScriptedPublisher(path)
    shown: list[ReplayProgress] = []
    with Ledger.create(path) as ledger:
        report = run_replay(inputs, publisher, ledger, on_progress=shown.append)

    sent = [(topic, event_identity(topic, record)) for topic, record in events(inputs)]
    assert publisher.published == sent
    assert attempts(path) == {(topic, identity, 1, 1) for topic, identity in sent}
    assert (report.published, report.acknowledged, report.failed) == (EVENTS, EVENTS, 0)
    assert report.by_topic == {
        "retail-inventory-updates": 1 + LINES,
        "retail-sales-transactions": LINES,
    }
    assert report.complete
    assert report.first_event_ms == inputs.plan.start_ms
    assert report.last_event_ms == inputs.sales["time_ms"].iloc[-1]
    assert (shown[-1].steps_done, shown[-1].steps_total) == (1 + LINES, 1 + LINES)
    assert shown[-1].acknowledged == EVENTS


def test_ctrl_c_stops_settles_and_leaves_a_whole_ledger(
    tmp_path: Path, inputs: ReplayInputs
) -> None:
    path = tmp_path / "l.jsonl"
    publisher = ScriptedPublisher(path, raise_at={700: KeyboardInterrupt()})
    with Ledger.create(path) as ledger:
        report = run_replay(inputs, publisher, ledger)

    assert report.interrupted
    assert not report.complete
    assert publisher.flushes == [10.0]
    assert report.acknowledged == 700
    held = attempts(path)
    assert {(topic, identity, 1, 1) for topic, identity in publisher.published} <= held
    assert sum(acknowledged for *_, acknowledged in held) == 700


@pytest.fixture
def own_ctrl_c() -> Iterator[None]:
    """As a program finds it; Spark puts a handler of its own into the process that tests share."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("own_ctrl_c")
@pytest.mark.parametrize(
    ("press_at", "published"), [((700,), 1024), ((700, 800), 800)], ids=["once", "twice"]
)
def test_ctrl_c_waits_for_what_is_being_sent_and_the_second_one_does_not(
    tmp_path: Path, inputs: ReplayInputs, press_at: tuple[int, ...], published: int
) -> None:
    path = tmp_path / "l.jsonl"
    publisher = ScriptedPublisher(path, press_at=press_at)
    with Ledger.create(path) as ledger:
        report = run_replay(inputs, publisher, ledger)
    assert report.interrupted
    assert len(publisher.published) == published
    assert publisher.flushes == [10.0]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_broker_that_gives_up_leaves_a_whole_ledger(tmp_path: Path, inputs: ReplayInputs) -> None:
    path = tmp_path / "l.jsonl"
    publisher = ScriptedPublisher(path, raise_at={600: ServiceError("Kafka is gone")})
    ledger = Ledger.create(path)

    with pytest.raises(ServiceError, match="Kafka is gone"):
        run_replay(inputs, publisher, ledger)

    held = attempts(path)  # flushed, although nobody has closed it
    ledger.close()
    assert {(topic, identity, 1, 1) for topic, identity in publisher.published} <= held


def test_failed_deliveries_are_counted_and_not_acknowledged(
    tmp_path: Path, inputs: ReplayInputs
) -> None:
    path = tmp_path / "l.jsonl"
    publisher = ScriptedPublisher(path, lose=3)
    with Ledger.create(path) as ledger:
        report = run_replay(inputs, publisher, ledger)

    assert (report.failed, report.acknowledged) == (3, EVENTS - 3)
    assert report.first_failure == "timed out"
    assert not report.complete
    lost = {(topic, identity, 1, 0) for topic, identity in publisher.published[:3]}
    assert lost == {row for row in attempts(path) if row[3] == 0}


def test_paced_events_leave_when_they_are_due(tmp_path: Path, inputs: ReplayInputs) -> None:
    clock = FakeClock(0)
    sent_at: list[int] = []
    publisher = ScriptedPublisher(tmp_path / "l.jsonl")
    publish = publisher.publish

    def remember(topic: Topic, record: Mapping[str, Any], **options: Any) -> None:
        sent_at.append(clock.at_ms)
        publish(topic, record, **options)

    publisher.publish = remember  # type: ignore[method-assign]
    pacer = Pacer(100, clock=clock, sleep=lambda seconds: clock.advance(round(seconds * 1000)))
    with Ledger.create(tmp_path / "l.jsonl") as ledger:
        run_replay(inputs, publisher, ledger, pacer=pacer)

    # The count at midnight, the first sale 10 hours later, then one line a second.
    due = [0] + [360_000 + 10 * n for n in range(LINES) for _ in range(2)]
    assert sent_at == pytest.approx(due, abs=10)

"""What keeps the queries of the stream running, and when it gives up."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from pyspark.sql.streaming.query import StreamingQuery

from streaming import supervise
from streaming.supervise import Supervisor
from tillstream.bench.batches import parse_progress
from tillstream.errors import IntegrityError, ServiceError

States = list[tuple[str, str]]


class Query:
    """A query that runs until it is stopped."""

    lastProgress: dict[str, Any] | None = None

    def __init__(self) -> None:
        self.is_stopped = False

    def awaitTermination(self, timeout: int) -> bool:
        return self.is_stopped

    def stop(self) -> None:
        self.is_stopped = True


@dataclass
class Job:
    """A query whose first starts fail."""

    name: str
    failures: list[Exception] = field(default_factory=list)
    on_start: Callable[[], None] = lambda: None
    failure: Exception | None = None
    starts: int = 0
    settled: bool = False

    def start(self) -> StreamingQuery:
        self.starts += 1
        if self.failures:
            raise self.failures.pop(0)
        self.on_start()
        return cast(StreamingQuery, Query())

    def stop(self, query: StreamingQuery) -> None:
        query.stop()

    def settle(self) -> None:
        self.settled = True


@pytest.fixture(autouse=True)
def _no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervise, "_FIRST_DELAY_S", 0.001)


def run(job: Job, **options: Any) -> tuple[Supervisor, States]:
    """Run it until it has started, or until it gives up."""
    states: States = []
    supervisor = Supervisor(
        [job], on_state=lambda name, state, _: states.append((name, state)), **options
    )
    job.on_start = supervisor.stop
    supervisor.run()
    return supervisor, states


@pytest.mark.parametrize(
    "failure",
    [
        ServiceError("the warehouse is away"),
        ConnectionRefusedError(),
        ZeroDivisionError("nobody thought of this"),
    ],
    ids=lambda failure: type(failure).__name__,
)
def test_a_query_that_cannot_start_is_tried_again(failure: Exception) -> None:
    job = Job("live", [failure, failure])
    supervisor, states = run(job)
    assert supervisor.fatal is None
    assert job.starts == 3
    assert job.settled
    assert states == [*[("live", "retrying")] * 2, ("live", "running"), ("live", "stopped")]


@pytest.mark.parametrize(("well_s", "delays"), [(60.0, [1, 2, 4]), (0.0, [1, 1, 1])])
def test_the_delay_grows_until_a_query_was_well(
    well_s: float,
    delays: list[int],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A query that starts and then fails."""

    def fails(query: StreamingQuery) -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr(supervise, "_WELL_S", well_s)
    job = Job("live", failure=ServiceError("it broke"))
    monkeypatch.setattr(job, "stop", fails)
    supervisor = Supervisor([job], on_state=lambda *_: None)

    def starts() -> None:
        if job.starts > len(delays):
            supervisor.stop()

    job.on_start = starts
    supervisor.run()
    told = [cast(tuple[Any, ...], record.args)[2] for record in caplog.records]
    assert told == [0.001 * delay for delay in delays]


def test_a_query_is_not_tried_again_once_the_java_process_is_gone() -> None:
    job = Job("live", [ConnectionRefusedError()])
    supervisor, states = run(job, engine_lives=lambda: False)
    assert isinstance(supervisor.fatal, ServiceError)
    assert "Java process died" in str(supervisor.fatal)
    assert "tillstream up" in (supervisor.fatal.hint or "")
    assert job.starts == 1
    assert states == [("live", "failed")]


def test_damage_stops_every_query() -> None:
    damaged, healthy = Job("live", [IntegrityError("records were deleted")]), Job("lake")
    supervisor = Supervisor([healthy, damaged], on_state=lambda *_: None)
    supervisor.run()
    assert isinstance(supervisor.fatal, IntegrityError)


def test_spark_s_account_of_a_batch_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    query = Query()
    query.lastProgress = {
        "batchId": 7,
        "numInputRows": 20,
        "durationMs": {"addBatch": 90, "queryPlanning": 15},
        "sources": [],
    }
    with caplog.at_level("INFO", logger="tillstream.stream"):
        told = supervise._tell_progress("live", cast(StreamingQuery, query), -1)
        assert supervise._tell_progress("live", cast(StreamingQuery, query), told) == 7
    assert parse_progress(caplog.messages) == {7: {"addBatch": 90.0, "queryPlanning": 15.0}}

"""Keeping a query running: start, wait, and after a failure recover and start again."""

import json
import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol

from pyspark.errors import StreamingQueryException
from pyspark.sql.streaming.query import StreamingQuery

from streaming.failures import why
from tillstream.errors import IntegrityError, ServiceError, TillstreamError

log = logging.getLogger("tillstream.stream")

# Told in a sentence. Of anything else we want to know where it came from.
_FORESEEN = (TillstreamError, StreamingQueryException)
_POLL_S = 0.5
_FIRST_DELAY_S = 1.0
_LONGEST_DELAY_S = 15.0
# A query that ran so long was well: its next failure is not one more of the same.
_WELL_S = 60.0


class Job(Protocol):
    """A query that can be started any number of times."""

    name: str

    @property
    def failure(self) -> Exception | None:
        """What went wrong since the start; Spark itself only passes on its text."""

    def start(self) -> StreamingQuery: ...

    def stop(self, query: StreamingQuery) -> None:
        """Stop `query` between two batches."""

    def settle(self) -> None:
        """Wait until every batch taken is stored."""


class Supervisor:
    """Runs jobs, each on a thread of its own, until stopped. One job's trouble does not stop
    another. An IntegrityError is final, and so is a Java process that died (`engine_lives`),
    without which no query can start: it stops all and is kept in `fatal`."""

    def __init__(
        self,
        jobs: list[Job],
        *,
        on_state: Callable[[str, str, str], None],
        engine_lives: Callable[[], bool] = lambda: True,
    ) -> None:
        self.fatal: TillstreamError | None = None
        self._stopping = threading.Event()
        self._on_state = on_state
        self._engine_lives = engine_lives
        self._threads = [
            threading.Thread(target=self._keep, args=(job,), name=job.name) for job in jobs
        ]

    def run(self) -> None:
        """Returns once `stop` was called, or after a fatal error, with every query stopped."""
        for thread in self._threads:
            thread.start()
        for thread in self._threads:
            while thread.is_alive():
                thread.join(timeout=_POLL_S)  # a bounded wait lets signals in

    def stop(self) -> None:
        self._stopping.set()

    def _keep(self, job: Job) -> None:
        delay = _FIRST_DELAY_S
        while not self._stopping.is_set():
            began = None
            try:
                query = job.start()
                began = time.monotonic()
                self._on_state(job.name, "running", "")
                self._wait(job, query)
            except IntegrityError as exc:
                self._give_up(job, exc)
            except Exception as exc:  # else this query would end and the process live on without
                if self._stopping.is_set():
                    break
                if not self._engine_lives():
                    self._give_up(job, _engine_died())
                    continue
                if began is not None and time.monotonic() - began > _WELL_S:
                    delay = _FIRST_DELAY_S
                reason = why(exc)
                log.warning(
                    "%s stopped: %s; trying again in %.0f s",
                    job.name,
                    reason,
                    delay,
                    exc_info=None if isinstance(exc, _FORESEEN) else exc,
                )
                self._on_state(job.name, "retrying", reason)
                self._stopping.wait(delay)
                delay = min(delay * 2, _LONGEST_DELAY_S)
        self._on_state(job.name, "failed" if self.fatal else "stopped", str(self.fatal or ""))

    def _wait(self, job: Job, query: StreamingQuery) -> None:
        """Until the query ends, or we are stopping. Raises what ended it."""
        told = -1
        try:
            while not query.awaitTermination(timeout=int(_POLL_S * 2)):
                told = _tell_progress(job.name, query, told)
                # Batches are stored behind the query's back, and an idle one would never learn.
                if self._stopping.is_set() or job.failure:
                    job.stop(query)
                    break
            job.settle()
        except StreamingQueryException:
            if job.failure is not None:
                raise job.failure from None
            raise
        if job.failure:
            raise job.failure

    def _give_up(self, job: Job, exc: TillstreamError) -> None:
        log.error("%s gave up: %s; try: %s", job.name, exc, exc.hint)
        self.fatal = exc
        self._stopping.set()


def _tell_progress(name: str, query: StreamingQuery, told: int) -> int:
    """Log what Spark says of its last batch, unless it is `told` already. A sample: about one batch
    a second. Returns the number of the batch told last."""
    last = query.lastProgress
    if last is None or last["batchId"] == told or not last["numInputRows"]:
        return told
    kept = {key: last[key] for key in ("batchId", "numInputRows", "durationMs")}
    log.info("%s progress %s", name, json.dumps(kept))
    return int(last["batchId"])


def _engine_died() -> ServiceError:
    return ServiceError(
        "Spark's Java process died",
        hint="start the stream again with `tillstream up`; it goes on where it was",
    )

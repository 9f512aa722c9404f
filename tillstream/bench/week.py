"""One recorded week, from the first event published to the last one stored and archived."""

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from clickhouse.client import Client, connect
from clickhouse.queries import select
from simulators.ledger import read_ledgers
from simulators.plan import ReplayInputs
from simulators.run import ReplayProgress, ReplayReport
from tillstream.audit.verify import Parts, progress, verify
from tillstream.bench.batches import mean_steps, parse_batches
from tillstream.bench.machine import load_average
from tillstream.bench.running import pids, stream_log
from tillstream.bench.usage import Sampler, Usage
from tillstream.devstack.stack import Event, Stack
from tillstream.errors import ServiceError
from tillstream.settings import Settings

_LOOK_S = 0.1
_CATCH_UP_S = 300.0
_FACTS = (
    "SELECT (SELECT count() FROM (SELECT 1 FROM fact_sales LIMIT 1))"
    " + (SELECT count() FROM (SELECT 1 FROM fact_inventory LIMIT 1)) AS rows"
)
_ALERTS = "SELECT count() AS rows FROM (SELECT 1 FROM restock_alert_history LIMIT 1)"


@dataclass(frozen=True, slots=True)
class Wiring:
    """What the command line knows how to do: fill dimensions, publish to a ledger, open a home."""

    provision: Callable[[Settings], None]
    load_dimensions: Callable[[Settings, ReplayInputs], None]
    publish: Callable[
        [Settings, ReplayInputs, Path, Callable[[ReplayProgress], None]], ReplayReport
    ]
    open_parts: Callable[[Settings], AbstractContextManager[Parts]]


@dataclass(frozen=True, slots=True)
class Phase:
    """What a run is doing, for a progress bar. `fraction` is 0 to 1, None when unknown."""

    name: str
    fraction: float | None = None


@dataclass(frozen=True, slots=True)
class WeekRun:
    """One run. Seconds count from the first event published, except those of starting, dimensions
    and verifying. Steps are means over the live batches. Only a run with `clean` counts."""

    clean: bool
    load_average: float
    events: int
    start_s: float
    start_by_step_s: dict[str, float]
    dimensions_s: float
    first_fact_s: float
    first_alert_s: float | None
    publish_s: float
    live_s: float
    lake_s: float
    verify_s: float
    batches: int
    batch_steps_s: dict[str, float]
    usage: dict[str, Usage]
    findings: tuple[str, ...] = ()

    @property
    def events_per_s(self) -> float:
        """Of the whole chain: from the first publish until live and lake hold everything."""
        return self.events / max(self.live_s, self.lake_s)

    @property
    def live_events_per_s(self) -> float:
        """Until the warehouse holds everything."""
        return self.events / self.live_s

    def as_dict(self) -> dict[str, Any]:
        """For scripts: every field, and the derived rates."""
        return {
            **asdict(self),
            "events_per_s": round(self.events_per_s),
            "live_events_per_s": round(self.live_events_per_s),
        }


@dataclass(slots=True)
class _Publishing:
    """The replay on a thread of its own. `began` is the moment of the first publish."""

    began: float | None = None
    fraction: float = 0.0
    report: ReplayReport | None = None
    error: BaseException | None = None
    done: threading.Event = field(default_factory=threading.Event)

    def run(self, publish: Callable[[Callable[[ReplayProgress], None]], ReplayReport]) -> None:
        try:
            self.report = publish(self._follow)
        except BaseException as exc:
            self.error = exc
        finally:
            self.done.set()

    def _follow(self, now: ReplayProgress) -> None:
        if self.began is None:
            self.began = time.monotonic() - now.elapsed_s
        self.fraction = now.steps_done / max(now.steps_total, 1)

    def raise_failure(self) -> None:
        if self.error is not None:
            raise self.error


@dataclass(slots=True)
class _Marks:
    """Seconds from the first publish until each thing was first seen."""

    fact_s: float | None = None
    alert_s: float | None = None
    live_s: float | None = None
    lake_s: float | None = None


def measure_week(
    settings: Settings,
    inputs: ReplayInputs,
    wiring: Wiring,
    *,
    on_phase: Callable[[Phase], None] = lambda _: None,
) -> WeekRun:
    """Start the services of `settings.home`, replay at full speed, wait, verify. They stay up.

    Raises ServiceError when a service fails, Kafka does not acknowledge everything, or the stream
    does not catch up within five minutes of the last publish.
    """
    load = load_average()
    on_phase(Phase("starting"))
    started, by_step, ready = _start(settings, wiring.provision)

    on_phase(Phase("dimensions"))
    began = time.monotonic()
    wiring.load_dimensions(ready, inputs)
    dimensions_s = time.monotonic() - began

    ledger = settings.home / "ledgers" / "week.jsonl"
    publishing = _Publishing()
    thread = threading.Thread(
        target=publishing.run,
        args=(lambda follow: wiring.publish(ready, inputs, ledger, follow),),
        name="replay",
        daemon=True,
    )
    with (
        wiring.open_parts(ready) as parts,
        closing(connect(ready.warehouse)) as client,
    ):
        with Sampler(pids(settings.home)) as sampler:
            thread.start()
            marks = _watch(publishing, parts, client, on_phase)
        report = publishing.report
        if report is None or not report.complete:
            raise ServiceError(f"Kafka did not acknowledge every event: {report}")
        # Read before verifying, which asks the broker and the warehouse for everything again.
        usage = sampler.usage()
        on_phase(Phase("verifying"))
        began = time.monotonic()
        audit = verify(parts, ledger=read_ledgers([ledger]))
        verify_s = time.monotonic() - began

    batches = parse_batches(stream_log(settings.home))
    assert marks.fact_s is not None and marks.live_s is not None and marks.lake_s is not None
    return WeekRun(
        clean=audit.clean,
        load_average=load,
        events=report.published,
        start_s=round(started, 2),
        start_by_step_s=by_step,
        dimensions_s=round(dimensions_s, 2),
        first_fact_s=round(marks.fact_s, 2),
        first_alert_s=None if marks.alert_s is None else round(marks.alert_s, 2),
        publish_s=round(report.elapsed_s, 2),
        live_s=round(marks.live_s, 2),
        lake_s=round(marks.lake_s, 2),
        verify_s=round(verify_s, 2),
        batches=len(batches),
        batch_steps_s=mean_steps(batches),
        usage=usage,
        findings=tuple(f.detail for check in audit.checks for f in check.findings[:3]),
    )


def _start(
    settings: Settings, provision: Callable[[Settings], None]
) -> tuple[float, dict[str, float], Settings]:
    """Seconds in all, seconds after which each step was ready, and the settings that reach it."""
    by_step: dict[str, float] = {}
    began = time.monotonic()

    def note(event: Event) -> None:
        if event.phase == "ready":
            by_step[event.step] = round(time.monotonic() - began, 2)

    ready = Stack(settings, report=note).up(provision=provision)
    return time.monotonic() - began, by_step, ready


def _watch(
    publishing: _Publishing,
    parts: Parts,
    client: Client,
    on_phase: Callable[[Phase], None],
) -> _Marks:
    """Look ten times a second until all that was published is stored and archived."""
    marks = _Marks()
    deadline: float | None = None
    while None in (marks.fact_s, marks.live_s, marks.lake_s):
        publishing.raise_failure()
        published = publishing.done.is_set()  # before the ends are read, or they may be too low
        began = publishing.began
        if began is not None:
            if marks.fact_s is None and _any(client, _FACTS):
                marks.fact_s = time.monotonic() - began
            if marks.fact_s is not None and marks.alert_s is None and _any(client, _ALERTS):
                marks.alert_s = time.monotonic() - began
        if published and began is not None:
            deadline = deadline or time.monotonic() + _CATCH_UP_S
            behind = progress(parts)
            seen = time.monotonic() - began
            if behind.behind == 0 and marks.live_s is None:
                marks.live_s = seen
            if behind.lake_behind == 0 and marks.lake_s is None:
                marks.lake_s = seen
            left = max(behind.behind, behind.lake_behind)
            on_phase(Phase("catching up", 1 - left / max(_total(publishing.report), 1)))
            if time.monotonic() > deadline:
                raise ServiceError(
                    f"the stream is {behind.behind} records behind Kafka and the lake "
                    f"{behind.lake_behind}, {_CATCH_UP_S:.0f} s after the last event",
                    hint="the machine may be too busy to measure anything: see `uptime`",
                )
        else:
            on_phase(Phase("replaying", publishing.fraction))
        time.sleep(_LOOK_S)
    return marks


def _any(client: Client, sql: str) -> bool:
    return bool(select(client, sql)["rows"].to_pylist()[0])


def _total(report: ReplayReport | None) -> int:
    return report.published if report else 0

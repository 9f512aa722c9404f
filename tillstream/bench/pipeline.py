"""How fast the stream drains what waits in Kafka, on a platform of its own."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Any

from clickhouse.queries import select
from tillstream.audit.verify import Parts, verify
from tillstream.bench.batches import mean_steps, parse_batches, parse_progress
from tillstream.bench.commits import LAKE, CommitWatch, Point, steady
from tillstream.bench.dimensions import fill_dimensions
from tillstream.bench.filling import Waiting, publish, require_all
from tillstream.bench.machine import load_average
from tillstream.bench.running import StreamFollower, pids, stream_log
from tillstream.bench.traffic import Traffic
from tillstream.bench.usage import Sampler, Usage
from tillstream.bench.week import Phase
from tillstream.bench.windows import mean_durations
from tillstream.devstack.stack import SERVING, Stack
from tillstream.settings import Settings

_STALL_S = 120.0
_QUIET_S = 2.0
_LOOK_S = 0.5
_SCORED = (
    "SELECT uniqExact(store_id, product_id) AS shelves,"
    " toUnixTimestamp64Micro(max(computed_at)) AS at_us FROM stockout_risk"
)


@dataclass(frozen=True, slots=True)
class Wiring:
    """What the command line knows how to do: create tables and topics, open a home for audits."""

    provision: Callable[[Settings], None]
    open_parts: Callable[[Settings], AbstractContextManager[Parts]]


@dataclass(frozen=True, slots=True)
class PipelineRun:
    """One drain, with risk `scored` meanwhile or not. Seconds count from the start of the stream
    process. `steady_*` lie between the commit that ends the warm-up and the last one. Only a run
    with `clean` counts."""

    clean: bool
    traffic: Traffic
    scored: bool
    load_average: float
    events: int
    windows: int
    publish_per_s: float
    first_commit_s: float
    live_s: float
    lake_s: float | None
    risk_s: float | None
    steady_events: int
    steady_s: float | None
    verify_s: float
    batches: int
    mean_batch_events: float
    mean_batch_s: float | None
    step_s: dict[str, float]
    spark_ms: dict[str, float]
    usage: dict[str, Usage]
    findings: tuple[str, ...] = ()

    @property
    def steady_per_s(self) -> float | None:
        return self.steady_events / self.steady_s if self.steady_s else None

    @property
    def with_start_per_s(self) -> float:
        return self.events / self.live_s

    @property
    def every_sink_per_s(self) -> float | None:
        """With start-up, until lake and risk have everything too."""
        if self.lake_s is None or self.risk_s is None:
            return None  # it was told to leave one out
        return self.events / max(self.live_s, self.lake_s, self.risk_s)

    def as_dict(self) -> dict[str, Any]:
        """For scripts: every field, and the rates."""
        rates = {
            "steady_per_s": self.steady_per_s,
            "with_start_per_s": self.with_start_per_s,
            "every_sink_per_s": self.every_sink_per_s,
        }
        rounded = {name: None if rate is None else round(rate) for name, rate in rates.items()}
        return asdict(self) | rounded


def stream_settings(traffic: Traffic, *, scores: bool = True) -> dict[str, object]:
    """How the stream differs from the user's for this traffic. `sales` measures facts and windows
    alone; without `scores` there is no risk, and no alert."""
    if traffic is Traffic.SALES:
        return {"deduplicate": False, "outputs": ()}
    # Often enough to wait for; the usual half minute would hide how long archiving takes.
    changes: dict[str, object] = {"lake_trigger_s": 5.0}
    return changes if scores else changes | {"outputs": ("anomalies", "counts", "lake")}


def measure_drain(
    settings: Settings,
    wiring: Wiring,
    *,
    traffic: Traffic,
    events: int,
    warmup_batches: int,
    on_phase: Callable[[Phase], None] = lambda _: None,
) -> PipelineRun:
    """Fill Kafka, then start the stream of `settings.home` and wait until all is stored; then
    verify. The services stay up. Raises ServiceError when one fails or the stream stands still."""
    load = load_average()
    on_phase(Phase("starting"))
    ready = Stack(settings).up(parts=SERVING, provision=wiring.provision)
    fill_dimensions(ready.warehouse)
    waiting = publish(ready, traffic, events, on_phase=on_phase)
    with wiring.open_parts(ready) as parts:
        require_all(parts, waiting)
        drained = _drain(ready, parts, waiting, on_phase)
        on_phase(Phase("verifying"))
        began = time.monotonic()
        audit = verify(parts)
        verify_s = time.monotonic() - began
        findings = [f.detail for check in audit.checks for f in check.findings[:3]]
        findings += waiting.unlike(parts, deduplicated=settings.stream.deduplicate)
    if _scores(settings) and waiting.sent.movements and drained.risk_s is None:
        findings.append("risk: not every shelf with a movement was scored")
    log = stream_log(settings.home)
    batches = parse_batches(log)[warmup_batches:]
    told = list(parse_progress(log).values())[warmup_batches:]
    flat = steady(drained.points, warmup_batches=warmup_batches)
    return PipelineRun(
        clean=audit.clean and not findings,
        traffic=traffic,
        scored=_scores(settings),
        load_average=load,
        events=waiting.events,
        windows=waiting.windows,
        publish_per_s=round(waiting.events / waiting.publish_s),
        first_commit_s=drained.first_commit_s,
        live_s=drained.live_s,
        lake_s=drained.lake_s,
        risk_s=drained.risk_s,
        steady_events=flat.records if flat else 0,
        steady_s=round(flat.seconds, 3) if flat else None,
        verify_s=round(verify_s, 2),
        batches=len(batches),
        mean_batch_events=round(sum(b.records for b in batches) / max(len(batches), 1)),
        mean_batch_s=round(flat.seconds / len(batches), 3) if flat and batches else None,
        step_s=mean_steps(batches),
        spark_ms=mean_durations(told) if told else {},
        usage=drained.usage,
        findings=tuple(findings),
    )


@dataclass(frozen=True, slots=True)
class _Drained:
    """Seconds since the stream was started; what a sink left out has none."""

    points: list[Point]
    first_commit_s: float
    live_s: float
    lake_s: float | None
    risk_s: float | None
    usage: dict[str, Usage]


def _drain(
    settings: Settings, parts: Parts, waiting: Waiting, on_phase: Callable[[Phase], None]
) -> _Drained:
    """Start the stream and wait for every sink. Usage is until the warehouse holds everything."""
    total = waiting.events
    sampler = Sampler(pids(settings.home, *SERVING))
    watch = CommitWatch(settings.warehouse, on_look=StreamFollower(sampler, settings.home))
    on_phase(Phase("starting the stream"))
    started = time.time()
    with sampler, watch:
        Stack(settings).up()
        live = watch.wait(
            total,
            stall_s=_STALL_S,
            on_progress=lambda stored: on_phase(Phase("draining", stored / total)),
        )
        usage = sampler.usage()
        on_phase(Phase("waiting for lake and risk"))
        lake_at = scored_at = None
        if "lake" in settings.stream.outputs:
            lake_at = watch.wait(total, query=LAKE, stall_s=_STALL_S).at_s
        if _scores(settings) and waiting.sent.movements:
            scored_at = _wait_for_risk(parts, waiting.shelves)
    points = watch.points()
    return _Drained(
        points,
        first_commit_s=round(points[0].at_s - started, 2),
        live_s=round(live.at_s - started, 2),
        lake_s=round(lake_at - started, 2) if lake_at else None,
        risk_s=round(scored_at - started, 2) if scored_at else None,
        usage=usage,
    )


def _scores(settings: Settings) -> bool:
    return "risk" in settings.stream.outputs


def _wait_for_risk(parts: Parts, shelves: int) -> float | None:
    """When the last shelf was scored, seconds since 1970: risk may follow the commits. None when
    not all are, and nothing moves any more."""
    last, moved = 0, time.monotonic()
    while True:
        now = select(parts.client, _SCORED).to_pylist()[0]
        if now["at_us"] != last:
            last, moved = now["at_us"], time.monotonic()
        quiet_s = time.monotonic() - moved
        if now["shelves"] >= shelves and quiet_s > _QUIET_S:
            return last / 1e6
        if quiet_s > _STALL_S / 4:
            return None
        time.sleep(_LOOK_S)

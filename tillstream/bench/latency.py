"""Time from event to queryable under a steady load, and everything that may drift meanwhile."""

import json
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

from clickhouse.client import connect
from tillstream.bench.commits import Point
from tillstream.bench.load import Loaded, under_load
from tillstream.bench.machine import load_average
from tillstream.bench.pipeline import Wiring
from tillstream.bench.probes import LOOK_S, Kind, Percentiles, Probes, install, percentiles
from tillstream.bench.reading import Poller
from tillstream.bench.usage import Reading, Usage
from tillstream.bench.week import Phase
from tillstream.settings import Settings

_SLICE_S = 10.0
_PROBES_PER_S = 20.0
_PROBES_END_S = 60.0


@dataclass(frozen=True, slots=True)
class LatencyRun:
    """One run. `rate` was sent a second, `asked_rate` was to be. Memory is of all services
    together, at its highest; `generator_cores` is what making the load took of the machine."""

    clean: bool
    load_average: float
    asked_rate: float
    rate: float
    seconds: float
    probes: int
    latency_ms: dict[str, Percentiles]
    max_lag: int
    batches_per_s: float
    peak_mib: float
    generator_cores: float
    worst_tick_s: float
    usage: dict[str, Usage]
    findings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Slice:
    """Ten seconds of a run. Latencies are of the probes sent in it, milliseconds."""

    elapsed_s: float
    rate: float
    lag: int
    batches: int
    mean_batch_s: float | None
    p50_ms: dict[str, float]
    p99_ms: dict[str, float]
    mib: dict[str, float]
    cores: dict[str, float]


@dataclass(slots=True)
class _Mark:
    """Counters at one moment, to subtract later."""

    at_s: float
    published: int
    generator_cpu_s: float
    readings: dict[str, Reading]

    @classmethod
    def now(cls, loaded: Loaded) -> "_Mark":
        return cls(
            time.time(),
            loaded.published(),
            loaded.generators.progress().cpu_s,
            loaded.sampler.readings(),
        )


class _Slicer:
    """Makes a slice of every ten seconds, when the probes sent in it have had ten more."""

    def __init__(self, loaded: Loaded, probes: Probes, path: Path | None) -> None:
        self._loaded = loaded
        self._probes = probes
        self._path = path
        self._began = _Mark.now(loaded)
        self._marks = [self._began]
        self._lags = [0]
        self.max_lag = 0

    def __call__(self, _waited_s: float) -> None:
        if time.time() - self._marks[-1].at_s < _SLICE_S:
            return
        self._marks.append(_Mark.now(self._loaded))
        self._lags.append(self._loaded.lag())
        self.max_lag = max(self._lags)
        if len(self._marks) > 2:
            self._tell()
            del self._marks[0], self._lags[0]

    def _tell(self) -> None:
        if self._path is None:
            return
        one = make_slice(self._marks[0], self._marks[1], self._lags[1], self._loaded, self._probes)
        told = asdict(one) | {"elapsed_s": round(self._marks[1].at_s - self._began.at_s, 1)}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(told) + "\n")


def make_slice(before: _Mark, after: _Mark, lag: int, loaded: Loaded, probes: Probes) -> Slice:
    span_s = after.at_s - before.at_s
    found = {kind: _between(probes, kind, before.at_s, after.at_s) for kind in Kind}
    batches, mean_s = batches_between(loaded.commits.points(), before.at_s, after.at_s)
    return Slice(
        elapsed_s=0.0,
        rate=round((after.published - before.published) / span_s, 1),
        lag=lag,
        batches=batches,
        mean_batch_s=mean_s,
        p50_ms={kind.value: one.p50 for kind, one in found.items() if one},
        p99_ms={kind.value: one.p99 for kind, one in found.items() if one},
        mib={name: reading.mib for name, reading in after.readings.items()},
        cores={
            name: round((reading.cpu_s - before.readings[name].cpu_s) / span_s, 2)
            for name, reading in after.readings.items()
            if name in before.readings
        },
    )


def batches_between(points: list[Point], from_s: float, to_s: float) -> tuple[int, float | None]:
    """How many batches were committed in that time, and the mean seconds between two commits."""
    times = [point.at_s for point in points if from_s <= point.at_s < to_s]
    if len(times) < 2:
        return len(times), None
    return len(times), round((times[-1] - times[0]) / (len(times) - 1), 3)


def measure_latency(
    settings: Settings,
    wiring: Wiring,
    *,
    rate: float,
    seconds: float,
    warmup_s: float,
    series: Path | None = None,
    on_phase: Callable[[Phase], None] = lambda _: None,
) -> LatencyRun:
    """Load for `warmup_s` after the first batch, then for `seconds`, which count; then verify.

    `series` gets one JSON line for every ten seconds. Raises ServiceError when a part fails.
    """
    load = load_average()
    probes = Probes()
    with under_load(
        settings,
        wiring,
        rate=rate,
        probes_per_s=_PROBES_PER_S,
        prepare=_note_probes,
        on_phase=on_phase,
    ) as loaded:
        with Poller(loaded.settings.warehouse, probes.look, period_s=LOOK_S) as poller:
            whole = warmup_s + seconds
            loaded.warm_up(warmup_s, each=lambda s: on_phase(Phase("warming up", s / whole)))
            slicer = _Slicer(loaded, probes, series)
            began = _Mark.now(loaded)

            def each(waited_s: float) -> None:
                poller.check()
                slicer(waited_s)
                on_phase(Phase("measuring", (warmup_s + waited_s) / whole))

            loaded.wait(seconds, each=each)
            ended = _Mark.now(loaded)
            on_phase(Phase("draining and verifying"))
            sent, findings = loaded.drain()
            deadline = time.monotonic() + _PROBES_END_S
            while not probes.complete(sent.probes) and time.monotonic() < deadline:
                time.sleep(LOOK_S)
        findings += [
            f"{n} probes have no {kind}" for kind, n in probes.missing(sent.probes).items()
        ]
        span_s = ended.at_s - began.at_s
        found = {kind: _between(probes, kind, began.at_s, ended.at_s) for kind in Kind}
        batches, _ = batches_between(loaded.commits.points(), began.at_s, ended.at_s)
        return LatencyRun(
            clean=not findings,
            load_average=load,
            asked_rate=rate,
            rate=round((ended.published - began.published) / span_s, 1),
            seconds=round(span_s, 1),
            probes=max((one.count for one in found.values() if one), default=0),
            latency_ms={kind.value: one for kind, one in found.items() if one},
            max_lag=slicer.max_lag,
            batches_per_s=round(batches / span_s, 2),
            peak_mib=loaded.sampler.peak_mib(),
            generator_cores=round((ended.generator_cpu_s - began.generator_cpu_s) / span_s, 2),
            worst_tick_s=sent.worst_tick_s,
            usage=loaded.sampler.usage(),
            findings=tuple(findings),
        )


def _note_probes(settings: Settings) -> None:
    with closing(connect(settings.warehouse)) as client:
        install(client)


def _between(probes: Probes, kind: Kind, from_s: float, to_s: float) -> Percentiles | None:
    return percentiles(
        probes.latencies_ms(kind, from_ms=round(from_s * 1000), to_ms=round(to_s * 1000))
    )

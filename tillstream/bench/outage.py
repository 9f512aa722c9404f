"""How long the stream takes to be back after it was killed under load."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from tillstream.bench.load import Loaded, under_load
from tillstream.bench.machine import load_average
from tillstream.bench.pipeline import Wiring
from tillstream.bench.reading import Poller, Reader
from tillstream.bench.week import Phase
from tillstream.devstack import process
from tillstream.devstack.parts import Part
from tillstream.devstack.stack import Stack
from tillstream.errors import ServiceError
from tillstream.settings import Settings

_FACTS = "SELECT (SELECT count() FROM fact_sales) + (SELECT count() FROM fact_inventory) AS rows"
_LOOK_S = 0.1
_CALM_S = 10.0
# Less than half a second of traffic tells nothing: it is on its way.
_LEAST_LAG_S = 0.5
_LAG_EVERY_S = 0.5
_USUAL_S = 10.0
_LIMIT_S = 3_600.0


@dataclass(frozen=True, slots=True)
class OutageRun:
    """One outage. Seconds count from the moment the stream was told to start again; `lag` is what
    waited then. Zero lag: no more waits than in the ten seconds before the kill (`usual_lag`)."""

    clean: bool
    load_average: float
    rate: float
    down_s: float
    usual_lag: int
    lag: int
    first_row_s: float
    zero_lag_s: float
    peak_mib: float
    findings: tuple[str, ...] = ()

    @property
    def catch_up_per_s(self) -> float:
        """Events stored a second until there was no lag, start-up included."""
        return (self.lag + self.rate * self.zero_lag_s) / self.zero_lag_s


class _Rows:
    """When the number of facts first rose. `look` is for a Poller."""

    def __init__(self) -> None:
        self.count = 0
        self.rose_at: float | None = None

    def look(self, reader: Reader) -> None:
        count = int(reader.rows(_FACTS)[0]["rows"])
        if count > self.count:
            self.count, self.rose_at = count, self.rose_at or time.monotonic()

    def reset(self) -> None:
        self.rose_at = None


def measure_outage(
    settings: Settings,
    wiring: Wiring,
    *,
    rate: float,
    warmup_s: float,
    down_s: float,
    on_phase: Callable[[Phase], None] = lambda _: None,
) -> OutageRun:
    """Load for `warmup_s`, kill -9 the stream, keep the load on for `down_s`, start it again and
    wait until it has caught up, all under load; then verify. Raises ServiceError when a part fails
    or an hour does not suffice."""
    load = load_average()
    rows = _Rows()
    with (
        under_load(settings, wiring, rate=rate, probes_per_s=0, on_phase=on_phase) as loaded,
        Poller(loaded.settings.warehouse, rows.look, period_s=_LOOK_S) as poller,
    ):
        loaded.warm_up(warmup_s, each=lambda s: on_phase(Phase("warming up", s / warmup_s)))
        usual_lag = max(_lags(loaded, _USUAL_S), default=0)
        enough = max(usual_lag, round(rate * _LEAST_LAG_S))
        managed = process.running(Part.STREAM, home=settings.home)
        if managed is None:
            raise ServiceError("the stream ended before it was to be killed")
        process.kill(managed)
        killed = time.monotonic()
        # At least a moment, for inserts of the killed stream that the engine is still working on.
        loaded.wait(max(down_s, 2.0), each=lambda s: on_phase(Phase("down", s / max(down_s, 2.0))))
        lag = loaded.lag()
        rows.reset()
        began = time.monotonic()
        Stack(settings).up()
        while (now_behind := loaded.lag()) > enough or rows.rose_at is None:
            poller.check()
            loaded.wait(_LOOK_S)
            on_phase(Phase(f"catching up, {now_behind:,} behind"))
            if time.monotonic() - began > _LIMIT_S:
                raise ServiceError(f"{now_behind:,} records behind after {_LIMIT_S:.0f} s")
        zero_lag_s = time.monotonic() - began
        on_phase(Phase("draining and verifying"))
        _, findings = _settled(loaded)
        return OutageRun(
            clean=not findings,
            load_average=load,
            rate=rate,
            down_s=round(began - killed, 1),
            usual_lag=usual_lag,
            lag=lag,
            first_row_s=round(rows.rose_at - began, 2),
            zero_lag_s=round(zero_lag_s, 2),
            peak_mib=loaded.sampler.peak_mib(),
            findings=tuple(findings),
        )


def _lags(loaded: Loaded, seconds: float) -> list[int]:
    """The lag twice a second for so long."""
    found = []
    for _ in range(round(seconds / _LAG_EVERY_S)):
        loaded.wait(_LAG_EVERY_S)
        found.append(loaded.lag())
    return found


def _settled(loaded: Loaded) -> tuple[object, list[str]]:
    """Some more seconds of load, so that a stream which only just got there falls behind again."""
    loaded.wait(_CALM_S)
    return loaded.drain()

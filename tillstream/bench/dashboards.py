"""How long dashboards take while the stream is at work."""

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import httpx

from tillstream.bench.history import fill_history
from tillstream.bench.load import under_load
from tillstream.bench.machine import load_average
from tillstream.bench.panels import Panel
from tillstream.bench.pipeline import Wiring
from tillstream.bench.probes import Percentiles, percentiles
from tillstream.bench.reading import http_options
from tillstream.bench.traffic import STORES
from tillstream.bench.usage import Usage
from tillstream.bench.week import Phase
from tillstream.settings import Settings, WarehouseSettings

_REFRESH_S = 60.0
_TIMEOUT_S = 120.0
_TIMES_ALONE = 5
_LAG_EVERY_S = 2.0

# What a user asks at a moment, milliseconds of UTC.
PanelsAt = Callable[[int], tuple[Panel, ...]]


@dataclass(frozen=True, slots=True)
class QueryRun:
    """One run. Latencies are of each panel, from asking to the last byte of the answer, in
    milliseconds; `alone_ms` are of one user who asks for one after another before the others come,
    and takes no kept answers. Filled rows have no events, so nothing is verified: a run counts when
    no panel failed and every event of the stream was stored."""

    clean: bool
    load_average: float
    users: int
    rows: int
    stream_rate: float
    seconds: float
    fill_s: float
    queries: int
    all_ms: Percentiles
    panel_ms: dict[str, Percentiles]
    alone_ms: dict[str, Percentiles]
    max_lag: int
    peak_mib: float
    usage: dict[str, Usage]
    findings: tuple[str, ...] = ()


@dataclass(slots=True)
class Answers:
    """What users saw: milliseconds by panel, and what went wrong."""

    took_ms: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: list[str] = field(default_factory=list)

    def by_panel(self) -> dict[str, Percentiles]:
        found = {name: percentiles(took) for name, took in self.took_ms.items()}
        return {name: one for name, one in found.items() if one}

    def all(self) -> Percentiles | None:
        return percentiles(one for took in self.took_ms.values() for one in took)


async def look_at_dashboards(
    warehouse: WarehouseSettings,
    *,
    users: int,
    seconds: float,
    panels: PanelsAt,
    options: Mapping[str, str] | None = None,
    on_tick: Callable[[float], None] = lambda _: None,
) -> Answers:
    """Each user asks for all panels at once, every minute, for a store of their own; the users
    begin at moments spread over a minute. `options` are settings sent with each question. `on_tick`
    gets the seconds gone, twice a second; what it raises ends everything."""
    answers = Answers()
    async with _http(warehouse, options or {}) as http:
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number in range(users):
                names, chance = _names(number)
                first_s = chance.random() * min(_REFRESH_S, seconds)
                group.create_task(_user(http, panels, names, first_s, seconds, answers))
            while (gone := time.monotonic() - began) < seconds:
                await asyncio.to_thread(on_tick, gone)
                await asyncio.sleep(0.5)
    return answers


async def look_alone(
    warehouse: WarehouseSettings, panels: PanelsAt, *, times: int = _TIMES_ALONE
) -> Answers:
    """One user asks for one panel after another, so many times."""
    answers = Answers()
    async with _http(warehouse, {}) as http:
        for number in range(times):
            names, _ = _names(number)
            for panel in panels(time.time_ns() // 1_000_000):
                await _ask(http, panel, names, answers)
    return answers


def _http(warehouse: WarehouseSettings, options: Mapping[str, str]) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        **http_options(warehouse, timeout_s=_TIMEOUT_S, default_format="JSON", **options),
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=None),
    )


def _names(number: int) -> tuple[dict[str, str], random.Random]:
    """The store and the product of a user, and more chance of the same kind."""
    chance = random.Random(number)
    store, product = chance.randrange(STORES), chance.randrange(1_000)
    return {"store": f"S{store:04}", "product": f"P{product:05}"}, chance


async def _user(
    http: httpx.AsyncClient,
    panels: PanelsAt,
    names: Mapping[str, str],
    first_s: float,
    seconds: float,
    answers: Answers,
) -> None:
    began = time.monotonic()
    at_s = first_s
    while at_s < seconds:
        await asyncio.sleep(max(0.0, began + at_s - time.monotonic()))
        asked = panels(time.time_ns() // 1_000_000)
        await asyncio.gather(*(_ask(http, panel, names, answers) for panel in asked))
        at_s += _REFRESH_S


async def _ask(
    http: httpx.AsyncClient, panel: Panel, names: Mapping[str, str], answers: Answers
) -> None:
    began = time.perf_counter()
    try:
        answer = await http.post("/", content=panel.sql.format(**names))
        answer.raise_for_status()
    except httpx.HTTPError as exc:
        answers.errors.append(f"{panel.name}: {exc}")
        return
    answers.took_ms[panel.name].append((time.perf_counter() - began) * 1000)


def measure_queries(
    settings: Settings,
    wiring: Wiring,
    *,
    users: int,
    rows: int,
    stream_rate: float,
    warmup_s: float,
    seconds: float,
    panels: PanelsAt,
    options: Mapping[str, str],
    on_phase: Callable[[Phase], None] = lambda _: None,
) -> QueryRun:
    """Fill the warehouse, start the stream under load, then let the users look. Raises
    ServiceError when a part fails."""
    load = load_average()
    filled = [0.0, 0.0]

    def prepare(ready: Settings) -> None:
        filled[0] = time.monotonic()
        fill_history(
            ready.warehouse, rows, on_progress=lambda share: on_phase(Phase("filling", share))
        )
        filled[1] = time.monotonic()

    with under_load(
        settings, wiring, rate=stream_rate, probes_per_s=0, prepare=prepare, on_phase=on_phase
    ) as loaded:
        loaded.warm_up(warmup_s, each=lambda s: on_phase(Phase("warming up", s / warmup_s)))
        on_phase(Phase("one user alone"))
        alone = asyncio.run(look_alone(loaded.settings.warehouse, panels))
        lags = [0]
        next_lag_s = [0.0]

        def tick(gone_s: float) -> None:
            on_phase(Phase("users at their dashboards", gone_s / seconds))
            if gone_s >= next_lag_s[0]:
                next_lag_s[0] = gone_s + _LAG_EVERY_S
                loaded.wait(0.01)
                lags.append(loaded.lag())

        answers = asyncio.run(
            look_at_dashboards(
                loaded.settings.warehouse,
                users=users,
                seconds=seconds,
                on_tick=tick,
                panels=panels,
                options=options,
            )
        )
        usage, peak_mib = loaded.sampler.usage(), loaded.sampler.peak_mib()
        on_phase(Phase("draining"))
        loaded.settle()
    everything = answers.all()
    findings = list(dict.fromkeys([*alone.errors, *answers.errors]))[:10]
    if everything is None:
        findings.append("no panel was answered")
        everything = Percentiles(0, 0.0, 0.0, 0.0, 0.0)
    return QueryRun(
        clean=not findings,
        load_average=load,
        users=users,
        rows=rows,
        stream_rate=stream_rate,
        seconds=seconds,
        fill_s=round(filled[1] - filled[0], 1),
        queries=everything.count,
        all_ms=everything,
        panel_ms=answers.by_panel(),
        alone_ms=alone.by_panel(),
        max_lag=max(lags),
        peak_mib=peak_mib,
        usage=usage,
        findings=tuple(findings),
    )

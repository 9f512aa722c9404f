"""How measurements look."""

from collections.abc import Callable, Sequence

from rich.table import Table

from tillstream.bench.spread import Spread, spread
from tillstream.bench.ways import Way
from tillstream.bench.week import WeekRun
from tillstream.bench.windows import DrainRun

_Figure = Callable[[WeekRun], float | None]

_SECONDS: tuple[tuple[str, _Figure], ...] = (
    ("start-up (services and tables)", lambda run: run.start_s),
    ("dimensions", lambda run: run.dimensions_s),
    ("first fact", lambda run: run.first_fact_s),
    ("first alert", lambda run: run.first_alert_s),
    ("published", lambda run: run.publish_s),
    ("warehouse holds everything", lambda run: run.live_s),
    ("lake holds everything", lambda run: run.lake_s),
    ("verify", lambda run: run.verify_s),
)


def week_table(runs: Sequence[WeekRun]) -> Table:
    """Only clean runs are in the figures."""
    clean = [run for run in runs if run.clean]
    loads = " ".join(f"{run.load_average:g}" for run in runs)
    table = spread_table(
        f"{len(clean)} of {len(runs)} runs count; load average before each: {loads}"
    )
    for name, figure in _SECONDS:
        add_spread(table, name, spread([figure(run) for run in clean]), "{:.1f}", "s")
    whole = spread([run.events_per_s for run in clean])
    add_spread(table, "events, whole chain", whole, "{:,.0f}", "/s")
    live = spread([run.live_events_per_s for run in clean])
    add_spread(table, "events, warehouse", live, "{:,.0f}", "/s")
    table.add_section()
    for service in clean[0].usage if clean else ():
        used = [run.usage[service] for run in clean]
        add_spread(table, f"{service} CPU", spread([one.cpu_s for one in used]), "{:.1f}", "s")
        peak = spread([one.peak_mib for one in used])
        add_spread(table, f"{service} peak memory ({used[0].memory})", peak, "{:,.0f}", "MiB")
    table.add_section()
    add_spread(
        table, "live batches", spread([float(run.batches) or None for run in clean]), "{:.0f}", ""
    )
    for step in dict.fromkeys(step for run in clean for step in run.batch_steps_s):
        mean = spread([run.batch_steps_s.get(step) for run in clean])
        add_spread(table, f"mean batch: {step}", mean, "{:.3f}", "s")
    return table


def windows_tables(runs: Sequence[DrainRun]) -> list[Table]:
    """One table a workload; `of partials` compares steady medians with the way in use."""
    return [
        _windows_table([run for run in runs if run.workload is workload])
        for workload in dict.fromkeys(run.workload for run in runs)
    ]


def _windows_table(runs: Sequence[DrainRun]) -> Table:
    loads = " ".join(f"{run.load_average:g}" for run in runs)
    table = Table(
        box=None,
        title=f"{runs[0].workload}: {runs[0].events:,} lines, {runs[0].windows:,} windows; "
        f"load average before each run: {loads}",
        title_justify="left",
        title_style="dim",
    )
    table.add_column("way")
    headings = ("steady/s", "of partials", "with start/s", "Spark CPU s", "Spark MiB", "wrong")
    for heading in headings:
        table.add_column(heading, justify="right")
    base = _steady(runs, Way.PARTIALS)
    for way in dict.fromkeys(run.way for run in runs):
        own = [run for run in runs if run.way is way]
        steady = _steady(runs, way)
        table.add_row(
            way,
            _range(steady),
            f"{steady.median / base.median:.2f}" if steady and base else "–",
            _range(spread([run.events_per_s for run in own if run.correct])),
            _range(spread([run.usage["spark"].cpu_s for run in own])),
            _range(spread([run.usage["spark"].peak_mib for run in own])),
            f"{sum(run.wrong for run in own):,}",
        )
    return table


def _steady(runs: Sequence[DrainRun], way: Way) -> Spread | None:
    return spread([r.steady_events_per_s for r in runs if r.way is way and r.correct])


def _range(found: Spread | None) -> str:
    """Median, then smallest and largest."""
    if found is None:
        return "–"
    return f"{found.median:,.0f} ({found.min:,.0f}–{found.max:,.0f})"


def spread_table(title: str) -> Table:
    """A table of figures with their smallest, middle and largest value."""
    table = Table(box=None, title=title, title_justify="left", title_style="dim")
    table.add_column("")
    for heading in ("min", "median", "max"):
        table.add_column(heading, justify="right")
    table.add_column("")
    return table


def add_spread(table: Table, name: str, found: Spread | None, shape: str, unit: str) -> None:
    if found is None:
        table.add_row(name, "–", "–", "–", unit)
        return
    shown = (shape.format(value) for value in (found.min, found.median, found.max))
    table.add_row(name, *shown, unit)

"""How measurements look."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from rich.table import Table

from tillstream.bench.spread import Spread, spread
from tillstream.bench.usage import Usage
from tillstream.bench.ways import Way
from tillstream.bench.week import WeekRun
from tillstream.bench.windows import DrainRun


class _Loaded(Protocol):
    @property
    def load_average(self) -> float: ...


class _Run(_Loaded, Protocol):
    @property
    def clean(self) -> bool: ...


def week_table(runs: Sequence[WeekRun]) -> Table:
    """Only clean runs are in the figures."""
    clean = [run for run in runs if run.clean]
    table = runs_table(runs)
    seconds: tuple[tuple[str, list[float | None]], ...] = (
        ("start-up (services and tables)", [run.start_s for run in clean]),
        ("dimensions", [run.dimensions_s for run in clean]),
        ("first fact", [run.first_fact_s for run in clean]),
        ("first alert", [run.first_alert_s for run in clean]),
        ("published", [run.publish_s for run in clean]),
        ("warehouse holds everything", [run.live_s for run in clean]),
        ("lake holds everything", [run.lake_s for run in clean]),
        ("verify", [run.verify_s for run in clean]),
    )
    for name, values in seconds:
        add_figure(table, name, values, "{:.1f}", "s")
    whole = [run.events_per_s for run in clean]
    add_figure(table, "events, whole chain", whole, "{:,.0f}", "/s")
    live = [run.live_events_per_s for run in clean]
    add_figure(table, "events, warehouse", live, "{:,.0f}", "/s")
    table.add_section()
    add_usage(table, [run.usage for run in clean])
    table.add_section()
    batches = [float(run.batches) or None for run in clean]
    add_figure(table, "live batches", batches, "{:.0f}", "")
    add_means(table, "mean batch: {}", [run.batch_steps_s for run in clean], "{:.3f}", "s")
    return table


def windows_tables(runs: Sequence[DrainRun]) -> list[Table]:
    """One table a workload; `of partials` compares steady medians with the way in use."""
    return [
        _windows_table([run for run in runs if run.workload is workload])
        for workload in dict.fromkeys(run.workload for run in runs)
    ]


def _windows_table(runs: Sequence[DrainRun]) -> Table:
    table = _table(
        f"{runs[0].workload}: {runs[0].events:,} lines, {runs[0].windows:,} windows; "
        f"load average before each run: {_loads(runs)}"
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


def runs_table(runs: Sequence[_Run], measured: str = "") -> Table:
    """An empty table of figures with their smallest, middle and largest value. Its title says what
    was measured, how many runs count, and how busy the machine was before each."""
    count = f"{sum(run.clean for run in runs)} of {len(runs)} runs count"
    said = (measured, count, f"load average before each: {_loads(runs)}")
    table = _table("; ".join(filter(None, said)))
    table.add_column("")
    for heading in ("min", "median", "max"):
        table.add_column(heading, justify="right")
    table.add_column("")
    return table


def add_figure(
    table: Table, name: str, values: Sequence[float | None], shape: str, unit: str
) -> None:
    """A row of one figure over the runs that count, each number in `shape`."""
    found = spread(values)
    if found is None:
        table.add_row(name, "–", "–", "–", unit)
        return
    shown = (shape.format(value) for value in (found.min, found.median, found.max))
    table.add_row(name, *shown, unit)


def add_means(
    table: Table, name: str, runs: Sequence[Mapping[str, float]], shape: str, unit: str
) -> None:
    """A row for each key that any run has, put into `name`."""
    for key in dict.fromkeys(key for run in runs for key in run):
        add_figure(table, name.format(key), [run.get(key) for run in runs], shape, unit)


def add_usage(table: Table, runs: Sequence[Mapping[str, Usage]]) -> None:
    """What each service took in each run."""
    for service in runs[0] if runs else ():
        used = [run[service] for run in runs]
        add_figure(table, f"{service} CPU", [one.cpu_s for one in used], "{:,.1f}", "s")
        peak = [one.peak_mib for one in used]
        add_figure(table, f"{service} peak memory ({used[0].memory})", peak, "{:,.0f}", "MiB")


def _table(title: str) -> Table:
    return Table(box=None, title=title, title_justify="left", title_style="dim")


def _loads(runs: Sequence[_Loaded]) -> str:
    return " ".join(f"{run.load_average:g}" for run in runs)

"""How readings look: pure functions from readings to Rich renderables."""

import math
from collections.abc import Iterable, Mapping

from rich.table import Table
from rich.text import Text

from tillstream.watching.readings import Alert, Health, Level, QueryReading, Risk
from tillstream.watching.sources import RISKY

_DOTS: Mapping[Level, tuple[str, str]] = {
    "good": ("●", "green"),
    "warn": ("▲", "yellow"),
    "bad": ("✖", "bold red"),
    "unknown": ("○", "dim"),
}
_STATES = {"opened": "bold red", "updated": "yellow", "resolved": "green"}
_ELEVATED = 0.3
_MANY_REFUSED = 0.05
_BAR_CELLS = 10


def seconds_text(seconds: float | None) -> str:
    """`83 ms`, `1.25 s`, `12 s`, `4 min 05 s`, `2 h 07 min`; a dash when unknown."""
    if seconds is None:
        return "–"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 9.995:
        return f"{seconds:.2f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def rate_figure(events_per_s: float | None, *, refused_per_s: float | None = None) -> Text:
    figure = Text("–" if events_per_s is None else f"{events_per_s:,.0f}", style="bold")
    if refused_per_s:
        share = refused_per_s / max(events_per_s or 0.0, refused_per_s)
        style = "yellow" if share < _MANY_REFUSED else "bold red"
        figure.append(
            f"   {refused_per_s:,.0f} refused" if refused_per_s >= 1 else "   some refused",
            style=style,
        )
    return figure


def latency_figure(p50_s: float | None, p99_s: float | None) -> Text:
    figure = Text(seconds_text(p50_s), style="bold")
    figure.append(" median   ", style="dim")
    figure.append(seconds_text(p99_s), style="bold")
    figure.append(" p99", style="dim")
    return figure


def lag_figure(query: QueryReading | None) -> Text:
    if query is None:
        return Text("–", style="bold")
    figure = Text(f"{query.lag:,}", style="bold")
    if query.catch_up_s is None:
        return figure
    if query.catch_up_s == 0:
        return figure.append("   keeping up", style="green")
    if math.isinf(query.catch_up_s):
        return figure.append("   falling behind", style="bold red")
    return figure.append(f"   caught up in {seconds_text(query.catch_up_s)}", style="yellow")


def health_table(parts: Iterable[Health]) -> Table:
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(width=1)
    table.add_column(width=10)
    table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    for one in parts:
        dot, style = _DOTS[one.level]
        words = Text(one.words, style="bold red" if one.level == "bad" else "")
        table.add_row(Text(dot, style=style), Text(one.part, style="bold"), words)
    return table


def steps_table(steps_s: Mapping[str, float]) -> Table:
    """Where a batch's time goes, longest first."""
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(width=12)
    table.add_column(width=_BAR_CELLS, no_wrap=True)
    table.add_column(justify="right")
    longest = max(steps_s.values(), default=0.0)
    for step, seconds in sorted(steps_s.items(), key=lambda item: -item[1])[:4]:
        cells = max(1, round(seconds / longest * _BAR_CELLS)) if longest > 0 else 0
        table.add_row(step, Text("━" * cells, style="cyan"), seconds_text(seconds))
    return table


def risks_table(risks: Iterable[Risk]) -> Table:
    table = _listing()
    table.add_column("store", no_wrap=True)
    table.add_column("product", no_wrap=True, ratio=1, overflow="ellipsis")
    for heading in ("left", "a day", "empty in", "risk"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in risks:
        style = "bold red" if one.risk >= RISKY else "yellow" if one.risk >= _ELEVATED else "green"
        table.add_row(
            one.store,
            Text(one.product),
            f"{one.on_hand:,}",
            f"{one.daily_units:.1f}",
            f"{one.empty_days:.1f} d",
            Text(f"{one.risk:.0%}", style=style),
        )
    return table


def alerts_table(alerts: Iterable[Alert]) -> Table:
    table = _listing()
    table.add_column("at", style="dim", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("why", no_wrap=True, ratio=1, overflow="ellipsis")
    for one in alerts:
        state = Text(one.state, style=_STATES.get(one.state, ""))
        table.add_row(one.at, state, Text(one.explanation))
    return table


def _listing() -> Table:
    return Table(box=None, expand=True, header_style="dim", pad_edge=False, padding=(0, 1, 0, 0))

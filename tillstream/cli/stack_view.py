"""How `up`, `down`, `status` and `doctor` look."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table

from tillstream.devstack.doctor import Check
from tillstream.devstack.stack import Event, PartStatus

_MARKS = {
    "ready": "[green]✓[/]",
    "already": "[green]•[/]",
    "stopped": "[dim]■[/]",
}
_STATES = {"running": "green", "starting": "yellow", "died": "bold red", "stopped": "dim"}
_LEVELS = {"ok": "green", "warn": "yellow", "fail": "bold red"}


@dataclass(slots=True)
class StepView:
    """The latest event of every step, one line each. `on_line` gets a step's line when it ends,
    where nothing can be redrawn."""

    on_line: Callable[[str], None] | None = None
    _steps: dict[str, Event] = field(default_factory=dict)
    _spinner: Spinner = field(default_factory=lambda: Spinner("dots", style="cyan"))

    def report(self, event: Event) -> None:
        self._steps[event.step] = event
        if self.on_line is not None and event.phase in _MARKS:
            self.on_line(f"{_MARKS[event.phase]} {event.step:<10} {_words(event)}")

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        table = Table.grid(padding=(0, 1))
        for event in self._steps.values():
            mark = _MARKS.get(event.phase) or self._spinner.render(time.monotonic())
            bar = (
                ProgressBar(total=1.0, completed=event.fraction, width=24)
                if event.fraction is not None
                else _words(event)
            )
            detail = event.detail if event.fraction is not None else ""
            table.add_row(mark, f"[bold]{event.step:<10}[/]", bar, detail)
        yield table


def status_table(parts: list[PartStatus]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("part", "state", "pid", "endpoint"):
        table.add_column(heading)
    for heading in ("uptime", "memory"):
        table.add_column(heading, justify="right")
    for part in parts:
        table.add_row(
            part.name,
            f"[{_STATES[part.state]}]{part.state}[/]",
            str(part.pid or ""),
            part.endpoint,
            duration(part.uptime_s) if part.uptime_s is not None else "",
            f"{part.memory_mb} MB" if part.memory_mb is not None else "",
        )
    return table


def lag_lines(lag: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """One line a query: how much waits in Kafka, and until when."""
    for query, said in lag.items():
        catch_up_s = said["catch_up_s"]
        if catch_up_s is None:
            words = "[bold red]falling behind[/]"
        elif catch_up_s:
            words = f"[yellow]caught up in about {duration(catch_up_s)}[/]"
        else:
            words = "[green]keeping up[/]"
        yield f"{query:<9} {said['records']:>12,} records waiting   {words}"


def confidence_lines(scores: Mapping[str, int]) -> Iterator[str]:
    """How many scores stand on defaults, and on which."""
    if not scores.get("scored"):
        return
    share = scores["low_confidence"] / scores["scored"]
    totals = ("scored", "low_confidence")
    reasons = [
        f"{name} {count:,}" for name, count in scores.items() if count and name not in totals
    ]
    words = f"on defaults: {', '.join(reasons)}" if reasons else "[green]none on defaults[/]"
    yield f"{'scores':<9} {scores['scored']:>12,} since the start     {share:.0%} {words}"


def doctor_table(checks: list[Check]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column()
    table.add_column()
    table.add_column(overflow="fold")
    for check in checks:
        table.add_row(f"[{_LEVELS[check.level]}]{check.level}[/]", check.name, check.detail)
        if check.advice:
            table.add_row("", "", f"[bold]→[/] {check.advice}")
    return table


def duration(seconds: float) -> str:
    """`42 s`, `3 min 05 s`, `2 h 07 min`, `3 d 4 h`."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60:02} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def _words(event: Event) -> str:
    return f"already running {event.detail}" if event.phase == "already" else event.detail

"""What the demo shows while the week goes by."""

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from simulators.run import ReplayProgress

_RISKY, _ELEVATED = 0.6, 0.3
_STATES = {"opened": "bold red", "updated": "yellow", "resolved": "green"}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the warehouse says now."""

    totals: dict[str, Any] = field(default_factory=dict)
    newest_alerts: list[dict[str, Any]] = field(default_factory=list)
    riskiest: list[dict[str, Any]] = field(default_factory=list)


@dataclass(slots=True)
class DemoView:
    """Redrawn a few times a second from the newest snapshot. `started` is monotonic seconds."""

    started: float
    first_alert_s: float | None = None
    _replay: "ReplayProgress | None" = None
    _snapshot: Snapshot = field(default_factory=Snapshot)
    _behind: int = 0
    _lake_behind: int = 0

    def show(
        self, replay: "ReplayProgress | None", snapshot: Snapshot, behind: int, lake_behind: int
    ) -> None:
        self._replay, self._snapshot = replay, snapshot
        self._behind, self._lake_behind = behind, lake_behind
        if self.first_alert_s is None and snapshot.newest_alerts:
            self.first_alert_s = time.monotonic() - self.started

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Group(self._head(), self._numbers(), self._risks(), self._alerts())

    def _head(self) -> Table:
        grid = Table.grid(padding=(0, 2))
        replay = self._replay
        if replay is None or replay.event_time_ms is None:
            grid.add_row("[bold]replay[/]", "opening the stores …")
            return grid
        clock = datetime.fromtimestamp(replay.event_time_ms / 1000, tz=UTC)
        bar = ProgressBar(total=replay.steps_total, completed=replay.steps_done, width=30)
        rate = replay.acknowledged / max(replay.elapsed_s, 0.001)
        grid.add_row(
            f"[bold]{clock:%a %d %b %Y %H:%M}[/]",
            bar,
            f"{replay.acknowledged:,} events, {rate:,.0f}/s",
            f"[dim]to store {self._behind:,}   to archive {self._lake_behind:,}[/]",
        )
        return grid

    def _numbers(self) -> Table:
        totals = self._snapshot.totals
        grid = Table.grid(expand=False, padding=(0, 3))
        if not totals:
            return grid
        cells = {
            "sale lines": f"{totals['lines']:,}",
            "revenue": f"{totals['revenue'] or 0:,.2f}",
            "stores": f"{totals['stores']:,}",
            "5-min windows": f"{totals['windows']:,}",
            "shelves": f"{totals['shelves']:,}",
            "empty": f"[red]{totals['empty']:,}[/]",
            "open alerts": f"[bold red]{totals['open_alerts']:,}[/]",
            "resolved": f"[green]{totals['resolved']:,}[/]",
            "anomalies": f"{totals['anomalies']:,}",
        }
        grid.add_row(*(f"[bold]{value}[/]" for value in cells.values()))
        grid.add_row(*(f"[dim]{name}[/]" for name in cells))
        return grid

    def _risks(self) -> Panel:
        table = Table(box=None, expand=True, header_style="dim", pad_edge=False)
        table.add_column("store", no_wrap=True)
        table.add_column("product", no_wrap=True, ratio=1)
        for heading in ("left", "a day", "empty in", "risk"):
            table.add_column(heading, justify="right", no_wrap=True)
        for row in self._snapshot.riskiest:
            style = "red" if row["risk"] >= _RISKY else "yellow" if row["risk"] >= _ELEVATED else ""
            table.add_row(
                row["store"],
                row["product"] or "",
                str(row["on_hand"]),
                f"{row['daily_units']:.1f}",
                f"{row['empty_days']:.1f} d",
                Text(f"{row['risk']:.0%}", style=style),
            )
        return Panel(table, title="shelves about to empty, by margin at stake", title_align="left")

    def _alerts(self) -> Panel:
        table = Table.grid(padding=(0, 2), expand=True)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, ratio=1)
        for row in self._snapshot.newest_alerts:
            state = Text(row["state"], style=_STATES.get(row["state"], ""))
            table.add_row(f"[dim]{row['at']}[/]", state, Text(row["explanation"]))
        title = "restock alerts"
        if self.first_alert_s is not None:
            title += f" (the first after {self.first_alert_s:.0f} s)"
        return Panel(table, title=title, title_align="left")

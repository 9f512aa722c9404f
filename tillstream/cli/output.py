"""What commands print: people get Rich text, scripts get JSON."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

# The exit code after Ctrl-C.
INTERRUPTED = 130

# What is being done, and which share of it; None when nobody knows.
OnShare = Callable[[str, float | None], None]

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)


def emit_json(value: Any) -> None:
    """One JSON document on standard output, never wrapped or coloured."""
    sys.stdout.write(json.dumps(value, indent=2, default=str) + "\n")


def mark(is_right: bool) -> str:
    """What stands before a check that was made."""
    return "[green]✓[/]" if is_right else "[bold red]✗[/]"


def minute(time_ms: int) -> str:
    """A moment (milliseconds since 1970) as its UTC minute."""
    return datetime.fromtimestamp(time_ms / 1000, tz=UTC).strftime("%Y-%m-%d %H:%M")


@contextmanager
def progress_bar(as_json: bool) -> Iterator[OnShare]:
    """A bar on standard error; nothing for scripts."""
    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        console=errors,
        disable=as_json,
        transient=True,
    )
    task = bar.add_task("starting", total=None)

    def show(name: str, share: float | None) -> None:
        total, done = (None, 0.0) if share is None else (1.0, share)
        bar.update(task, description=name, total=total, completed=done)

    with bar:
        yield show

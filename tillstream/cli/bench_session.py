"""What every benchmark command does around its measurement: says where it runs, shows progress,
and takes several runs."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, Protocol

import typer
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from tillstream.cli.output import console, emit_json, errors
from tillstream.settings import Settings

if TYPE_CHECKING:
    from tillstream.bench.machine import Machine
    from tillstream.bench.pipeline import Wiring
    from tillstream.bench.week import Phase

DAMAGED = 5


class Run(Protocol):
    """What one run of any benchmark says."""

    @property
    def clean(self) -> bool: ...

    @property
    def findings(self) -> tuple[str, ...]: ...


Runs = Annotated[int, typer.Option(help="How many runs; each starts from nothing.", min=1)]
Json = Annotated[bool, typer.Option("--json", help="For scripts.")]


def this_machine(as_json: bool) -> "Machine":
    """Described, and printed unless a script reads the output."""
    from tillstream.bench.machine import describe_machine

    machine = describe_machine()
    if not as_json:
        for line in machine.lines():
            console.print(f"[dim]{line}[/]", soft_wrap=True)
    return machine


def provision(settings: Settings) -> None:
    from tillstream.cli.warehouse import provision_services

    provision_services(settings)


def wiring() -> "Wiring":
    from tillstream.bench.pipeline import Wiring
    from tillstream.cli.audit import open_parts

    return Wiring(provision=provision, open_parts=open_parts)


@contextmanager
def progress(as_json: bool) -> "Iterator[Callable[[Phase], None]]":
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

    def show(phase: "Phase") -> None:
        total, done = (1.0, phase.fraction) if phase.fraction is not None else (None, 0.0)
        bar.update(task, description=phase.name, total=total, completed=done)

    with bar:
        yield show


def numbered(show: "Callable[[Phase], None]", run: str) -> "Callable[[Phase], None]":
    from tillstream.bench.week import Phase

    return lambda phase: show(Phase(f"{run}: {phase.name}", phase.fraction))


def finish(
    machine: "Machine",
    runs: Sequence[Run],
    told: list[dict[str, Any]],
    table: Table,
    *,
    as_json: bool,
) -> NoReturn:
    """Print the runs and end with 0, or with 5 when one does not count."""
    clean = all(run.clean for run in runs)
    if as_json:
        emit_json({"machine": asdict(machine), "clean": clean, "runs": told})
    else:
        console.print(table)
        for number, run in enumerate(runs, start=1):
            for finding in run.findings:
                console.print(f"[bold red]run {number} does not count[/]: {finding}")
    raise typer.Exit(0 if clean else DAMAGED)

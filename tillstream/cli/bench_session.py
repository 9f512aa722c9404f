"""What every benchmark command does around its measurement: says where it runs, shows progress,
takes several runs, and tells what was found."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, Protocol, TypeVar

import typer
from rich.table import Table

from tillstream.cli.output import console, emit_json, progress_bar
from tillstream.settings import Settings

if TYPE_CHECKING:
    from tillstream.bench.machine import Machine
    from tillstream.bench.pipeline import Wiring
    from tillstream.bench.week import Phase

    OnPhase = Callable[[Phase], None]

DAMAGED = 5


class Run(Protocol):
    """What one run of any benchmark says."""

    @property
    def clean(self) -> bool: ...

    @property
    def findings(self) -> tuple[str, ...]: ...


R = TypeVar("R", bound=Run)

Runs = Annotated[int, typer.Option(help="How many runs; each starts from nothing.", min=1)]
Json = Annotated[bool, typer.Option("--json", help="For scripts.")]
Warmup = Annotated[
    float, typer.Option(help="Seconds of load before, from the first batch on.", min=1)
]


def measure_runs(
    settings: Settings,
    measure: "Callable[[Settings, OnPhase], R]",
    *,
    runs: int,
    table: Callable[[Sequence[R]], Table],
    tell: Callable[[R], dict[str, Any]],
    as_json: bool,
    keep: bool = False,
    **stream_settings: object,
) -> NoReturn:
    """Measure so many times, each in a new home with `stream_settings`, which is removed afterwards
    unless `keep`. Prints a table of all runs or tells them to a script, and ends with 0, or with 5
    when one does not count."""
    from tillstream.bench.scratch import scratch_home, scratch_settings

    machine = this_machine(as_json)
    found: list[R] = []
    with progress(as_json) as show:
        for number in range(1, runs + 1):
            with scratch_home("tillstream-bench-", keep=keep) as home:
                own = scratch_settings(settings, home, **stream_settings)
                found.append(measure(own, _numbered(show, f"run {number} of {runs}")))
            if keep and not as_json:
                console.print(f"[dim]run {number}: {home}[/]")
    clean = all(run.clean for run in found)
    if as_json:
        told = [tell(run) for run in found]
        emit_json({"machine": asdict(machine), "clean": clean, "runs": told})
    else:
        console.print(table(found))
        for number, run in enumerate(found, start=1):
            for finding in run.findings:
                console.print(f"[bold red]run {number} does not count[/]: {finding}")
    raise typer.Exit(0 if clean else DAMAGED)


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
def progress(as_json: bool) -> "Iterator[OnPhase]":
    """A bar on standard error; nothing for scripts."""
    with progress_bar(as_json) as bar:
        yield lambda phase: bar(phase.name, phase.fraction)


def _numbered(show: "OnPhase", run: str) -> "OnPhase":
    from tillstream.bench.week import Phase

    return lambda phase: show(Phase(f"{run}: {phase.name}", phase.fraction))

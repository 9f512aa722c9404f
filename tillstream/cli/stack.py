"""`tillstream up | down | status | logs | doctor`: the local services."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.live import Live

from tillstream.cli.output import console, emit_json
from tillstream.cli.stack_view import (
    StepView,
    confidence_lines,
    doctor_table,
    lag_lines,
    status_table,
)
from tillstream.devstack import doctor as diagnosis
from tillstream.devstack.logs import follow, recent
from tillstream.devstack.parts import Part
from tillstream.devstack.stack import ALL_PARTS, SERVING, PartStatus, Report, Stack
from tillstream.errors import ConfigError
from tillstream.settings import Settings

# How the CLI's root brings tables and topics into the services that `up` started.
Provision = Callable[[Settings], object]


def register(app: typer.Typer, *, provision: Provision | None = None) -> None:
    """Add the commands. `provision` runs in every `up`, so it must be idempotent."""

    @app.command(epilog="Examples: tillstream up · tillstream --home /data/shop up --no-stream")
    def up(
        ctx: typer.Context,
        docker: Annotated[
            bool, typer.Option("--docker", help="Run docker-compose.yml instead, on an engine.")
        ] = False,
        no_stream: Annotated[
            bool, typer.Option("--no-stream", help="Start Kafka and the warehouse only.")
        ] = False,
    ) -> None:
        """Start the local services, or those of them that are not running.

        The first start downloads about 55 MB of Java libraries; later ones need no network.
        """
        settings: Settings = ctx.obj
        if docker:
            if no_stream:
                raise ConfigError("--no-stream is for local services; it cannot go with --docker")
            from tillstream.devstack.docker_stack import up_docker

            up_docker(settings, console)
            return
        began = time.monotonic()
        with _progress() as report:
            parts = SERVING if no_stream else ALL_PARTS
            ready = Stack(settings, report=report).up(parts=parts, provision=provision)
        console.print(
            f"[bold green]up[/] in {time.monotonic() - began:.1f} s   "
            f"kafka {ready.kafka.bootstrap}   "
            f"warehouse http://{ready.warehouse.host}:{ready.warehouse.port}",
            soft_wrap=True,
        )

    commands = (
        (down, "Example: tillstream down"),
        (status, "Examples: tillstream status · tillstream status --json | jq '.[].state'"),
        (logs, "Examples: tillstream logs kafka -n 50 · tillstream logs -f"),
        (doctor, "Examples: tillstream doctor · tillstream doctor --json"),
    )
    for command, examples in commands:
        app.command(epilog=examples)(command)


def down(ctx: typer.Context) -> None:
    """Stop the local services, last started first. Data and endpoints stay."""
    with _progress() as report:
        stopped = Stack(ctx.obj, report=report).down()
    console.print("[bold]down[/]" if stopped else "nothing was running")


def status(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Show what runs, and how far the stream is behind Kafka. Exits 0 when all parts run, 1
    otherwise."""
    parts = Stack(ctx.obj).status()
    runs = any(_is_running_stream(part) for part in parts)
    lag = _said_by_stream(ctx.obj.home, "lag") if runs else {}
    scores = _said_by_stream(ctx.obj.home, "scores") if runs else {}
    if as_json:
        of_stream = {"lag": lag, "scores": scores}
        emit_json(
            [asdict(part) | (of_stream if _is_running_stream(part) else {}) for part in parts]
        )
    else:
        console.print(status_table(parts))
        for part in parts:
            if part.trouble:
                console.print(f"{part.name} {part.trouble}", markup=False, soft_wrap=True)
        for line in [*lag_lines(lag), *confidence_lines(scores)]:
            console.print(line)
    raise typer.Exit(0 if all(part.state == "running" for part in parts) else 1)


def _is_running_stream(part: PartStatus) -> bool:
    return part.name == Part.STREAM and part.state == "running"


def _said_by_stream(home: Path, what: str) -> dict[str, Any]:
    """What the stream last said of that; nothing in its first seconds."""
    try:
        state = json.loads((home / "run" / "stream.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return dict(state.get(what, {}))


def logs(
    ctx: typer.Context,
    part: Annotated[Part | None, typer.Argument(help="One part; default all.")] = None,
    follow_on: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("-n", min=0, help="How many past lines.")] = 20,
) -> None:
    """Show the services' logs."""
    home: Path = ctx.obj.home
    chosen = [part] if part else list(ALL_PARTS)
    new = follow(home, chosen) if follow_on else iter(())
    for name, line in chain(recent(home, chosen, lines=lines), new):
        console.print(line if part else f"{name:<10} {line}", markup=False, soft_wrap=True)


def doctor(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Check Java, memory, disk, ports and downloads, and say what to do. Exits 1 on a fail."""
    checks = diagnosis.run(ctx.obj)
    if as_json:
        emit_json([asdict(check) for check in checks])
    else:
        console.print(doctor_table(checks))
    raise typer.Exit(1 if any(check.level == "fail" for check in checks) else 0)


@contextmanager
def _progress() -> Iterator[Report]:
    """Steps as they happen: a live display for a person, plain lines in a pipe."""
    view = StepView()
    if not console.is_terminal:
        view.on_line = lambda line: console.print(line, soft_wrap=True)
        yield view.report
        return
    with Live(view, console=console, refresh_per_second=12):
        yield view.report

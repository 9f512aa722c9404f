"""`tillstream airflow up | run | down | status`: the nights, scheduled."""

from dataclasses import asdict
from typing import Annotated

import typer

from tillstream.cli.output import console, emit_json
from tillstream.settings import Settings


def register(app: typer.Typer) -> None:
    group = typer.Typer(
        help="Airflow on this machine, with the nightly DAGs.", no_args_is_help=True
    )
    for command, examples in (
        (up, "Examples: tillstream airflow up · tillstream airflow up --paused"),
        (run, "Example: tillstream airflow run --host 0.0.0.0 --port 8082"),
        (down, "Example: tillstream airflow down"),
        (status, "Example: tillstream airflow status --json"),
    ):
        group.command(epilog=examples)(command)
    app.add_typer(group, name="airflow")


def up(
    ctx: typer.Context,
    paused: Annotated[
        bool, typer.Option("--paused", help="New DAGs wait until somebody switches them on.")
    ] = False,
) -> None:
    """Start Airflow beside the running services, and print how to sign in.

    The nights run at 08:00 UTC. On the first start, the last night that is due runs at once.
    Airflow needs about 2 GB of memory; its own data is in <home>/airflow.
    """
    from tillstream.devstack import airflow

    with console.status("starting Airflow, which takes half a minute"):
        found = airflow.up(ctx.obj, paused=paused)
    console.print(
        f"[bold green]up[/]   {found.url}   user {found.user}   password {found.password}",
        soft_wrap=True,
    )


def run(
    ctx: typer.Context,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)] = 8082,
    paused: Annotated[
        bool, typer.Option("--paused", help="New DAGs wait until somebody switches them on.")
    ] = False,
) -> None:
    """Run Airflow in the foreground until Ctrl-C, as a container does.

    The password of its one user is in <home>/airflow/passwords.json. Whoever can reach the port may
    try to sign in, without TLS: keep it on loopback, or behind a proxy of yours.
    """
    from tillstream.devstack import airflow

    airflow.serve(ctx.obj, host=host, port=port, paused=paused)


def down(ctx: typer.Context) -> None:
    """Stop Airflow and all its parts. What it knows of its runs stays."""
    from tillstream.devstack import airflow

    console.print("[bold]down[/]" if airflow.down(ctx.obj) else "Airflow was not running")


def status(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Show whether Airflow runs, and what it says of its parts. Exits 1 when it is not well."""
    from tillstream.devstack import airflow

    settings: Settings = ctx.obj
    found = airflow.status(settings)
    well = found.running and set(found.parts.values()) == {"healthy"}
    if as_json:
        emit_json(asdict(found))
    else:
        parts = "   ".join(f"{name} {state}" for name, state in found.parts.items())
        console.print(f"{found.url}   {parts or 'does not answer'}" if found.running else "stopped")
    raise typer.Exit(0 if well else 1)

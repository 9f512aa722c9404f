"""`tillstream watch`: a live view in the terminal."""

import sys
from typing import Annotated

import typer

from tillstream.errors import ConfigError
from tillstream.settings import Settings


def register(app: typer.Typer) -> None:
    app.command(
        epilog="Examples: tillstream watch · tillstream watch --metrics http://spark-1:9464/metrics"
    )(watch)


def watch(
    ctx: typer.Context,
    metrics: Annotated[
        str | None,
        typer.Option(help="The stream's metrics, when it runs on another machine.", metavar="URL"),
    ] = None,
) -> None:
    """Watch events a second, latency, lag, risks, alerts and the health of each part, live.

    Reads Kafka's and the warehouse's addresses from the settings, so it works on local and remote
    services. It changes nothing, and asks less often when answers take long. Keys: q quit, p pause,
    r refresh, ? help.
    """
    if not sys.stdout.isatty():
        raise ConfigError(
            "watch needs a terminal", hint="for scripts there is `tillstream status --json`"
        )
    from tillstream.watching.app import WatchApp, sources_of

    settings: Settings = ctx.obj
    WatchApp(sources_of(settings, metrics), where=str(settings.home)).run()

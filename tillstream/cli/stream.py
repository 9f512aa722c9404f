"""`tillstream stream | jars`: the Spark job in the foreground, and what spark-submit needs."""

import sys
from pathlib import Path

import typer

from tillstream.settings import Settings
from tillstream.telemetry.logs import configure_logging


def register(app: typer.Typer) -> None:
    app.command(
        epilog="Example: tillstream stream   (`tillstream up` starts it in the background)"
    )(stream)
    app.command(
        epilog='Example: spark-submit --jars "$(tillstream jars)" deploy/spark/submit.py stream'
    )(jars)


def stream(ctx: typer.Context) -> None:
    """Run the streaming job until Ctrl-C: Kafka to ClickHouse, lake, risk and alerts."""
    from tillstream.devstack.jars import spark_jars

    settings: Settings = ctx.obj
    libraries: list[Path] = spark_jars(settings)
    configure_logging(settings)
    from streaming.run import run_stream

    run_stream(settings, jars=libraries)


def jars(ctx: typer.Context) -> None:
    """Print the Java libraries that the job needs, as spark-submit --jars takes them; what is
    missing is downloaded."""
    from tillstream.devstack.jars import spark_jars

    sys.stdout.write(",".join(str(jar) for jar in spark_jars(ctx.obj)) + "\n")

"""`tillstream stream`: the Spark job, in the foreground."""

import logging
from pathlib import Path

import typer

from tillstream.settings import Settings


def register(app: typer.Typer) -> None:
    app.command(
        epilog="Example: tillstream stream   (`tillstream up` starts it in the background)"
    )(stream)


def stream(ctx: typer.Context) -> None:
    """Run the streaming job until Ctrl-C: Kafka to ClickHouse, lake, risk and alerts."""
    from tillstream.devstack.jars import spark_jars

    settings: Settings = ctx.obj
    jars: list[Path] = spark_jars(settings)
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
        force=True,
    )
    logging.getLogger("py4j").setLevel(logging.WARNING)
    logging.getLogger("kafka").setLevel(logging.WARNING)
    from streaming.run import run_stream

    run_stream(settings, jars=jars)

"""`tillstream rebuild`: an empty warehouse filled again."""

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from tillstream.cli.output import console, emit_json
from tillstream.settings import Settings

if TYPE_CHECKING:
    from clickhouse.client import Client
    from streaming.sinks import BatchReport

_STDERR = 2


class Source(StrEnum):
    KAFKA = "kafka"
    LAKE = "lake"


def register(app: typer.Typer) -> None:
    app.command(
        epilog="Examples: tillstream rebuild --from lake --into check · "
        "tillstream down && tillstream up --no-stream && tillstream rebuild --from kafka"
    )(rebuild)


def rebuild(
    ctx: typer.Context,
    source: Annotated[Source, typer.Option("--from", help="Where the events come from.")],
    into: Annotated[
        str | None, typer.Option(help="Database to fill; default: the configured one.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Fill an empty warehouse from Kafka or from the lake, with the same rows as before.

    The database is created when needed and must hold no facts. Dimensions are copied from the
    configured database. No alerts are sent. Compare the result with `tillstream digest`.
    """
    settings: Settings = ctx.obj
    name = into or settings.warehouse.database
    done = dict.fromkeys(("counted", "duplicates", "refused"), 0)
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        console=console,
        disable=as_json,
        transient=True,
    ) as progress:
        task = progress.add_task(f"rebuilding {name} from {source.value}", total=None)

        def on_report(report: "BatchReport") -> None:
            for key in done:
                done[key] += getattr(report, key)
            progress.update(task, description=f"rebuilt {done['counted']:,} events")

        with standard_error_to(settings.home / "logs" / "rebuild.log"):
            fill_again(settings, source, name, on_report)
    if as_json:
        emit_json({"database": name, **done})
    else:
        console.print(
            f"[bold green]rebuilt[/] {name}: {done['counted']:,} counted, "
            f"{done['duplicates']:,} duplicates, {done['refused']:,} refused"
        )


def fill_again(
    settings: Settings, source: Source, database: str, on_report: "Callable[[BatchReport], None]"
) -> None:
    """The work of `tillstream rebuild`. Raises ConfigError when the database is not empty or
    somebody is writing to it."""
    from clickhouse.client import connect
    from clickhouse.migrate import migrate
    from lake.client import connect as connect_lake
    from orchestration.governance import apply_erasures
    from streaming.rebuild import rebuild_from_kafka, rebuild_from_lake, require_empty
    from streaming.writer_lock import only_writer
    from tillstream.devstack.jars import spark_jars

    jars: list[Path] = spark_jars(settings)
    with only_writer(settings.home, database):
        migrate(settings.warehouse, database=database)
        with closing(connect(settings.warehouse, database=database)) as client:
            require_empty(client)
            if database != settings.warehouse.database:
                _copy_dimensions(client, settings.warehouse.database)
            if source is Source.KAFKA:
                rebuild_from_kafka(settings, client, jars=jars, on_report=on_report)
            else:
                lake = connect_lake(settings.lake, url=settings.lake_url)
                rebuild_from_lake(settings, client, lake, jars=jars, on_report=on_report)
        # Kafka, and a lake restored from a backup, still name customers who were erased.
        apply_erasures(settings, database=database)


@contextmanager
def standard_error_to(path: Path) -> Iterator[None]:
    """Send what the JVM prints, which inherits our standard error, to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = os.dup(_STDERR)
    try:
        with path.open("ab") as file:
            os.dup2(file.fileno(), _STDERR)
        yield
    finally:
        os.dup2(kept, _STDERR)
        os.close(kept)


def _copy_dimensions(client: "Client", source: str) -> None:
    from clickhouse.dimensions import TABLES

    for table in TABLES:
        client.command(f"INSERT INTO {table} SELECT * FROM `{source}`.{table}")

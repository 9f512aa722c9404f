"""`tillstream migrate | provision | sql`: the warehouse by hand."""

import sys
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from tillstream.cli.output import console, emit_json
from tillstream.errors import ServiceError
from tillstream.settings import Settings

# Statements that end in a FORMAT clause; others refuse one.
_READING = {"SELECT", "WITH", "SHOW", "DESCRIBE", "DESC", "EXISTS", "EXPLAIN", "FROM"}


def register(app: typer.Typer) -> None:
    app.command(epilog="Examples: tillstream migrate --plan · tillstream migrate")(migrate)
    app.command(
        epilog="Examples: tillstream provision · tillstream provision --acls deploy/kafka/acls.yaml"
    )(provision)
    app.command(
        epilog="Example: tillstream sql 'SELECT count() FROM fact_sales' --format JSONEachRow"
    )(sql)


def provision_services(settings: Settings) -> list[str]:
    """Tables, topics and, on S3, the bucket. Safe to run again. Returns what was done or differs
    from the plan: a topic's partitions or settings are never changed once it is there."""
    from clickhouse.migrate import migrate as apply
    from lake.bucket import prepare_bucket
    from producers.topics import ensure_topics

    apply(settings.warehouse)
    said = ensure_topics(settings.kafka)
    if settings.lake_url.startswith("s3://"):
        prepare_bucket(settings.lake, url=settings.lake_url)
    return said


def provision(
    ctx: typer.Context,
    acls: Annotated[
        Path | None,
        typer.Option(help="Only apply this file of Kafka's access rules, as an administrator."),
    ] = None,
) -> None:
    """Create what is missing of tables, topics and the lake's bucket."""
    if acls:
        from producers.access import apply_rules, load_rules

        rules = load_rules(acls)
        for line in apply_rules(ctx.obj.kafka, rules):
            console.print(line, markup=False, soft_wrap=True)
        console.print(f"{len(rules)} access rules are in force")
        return
    for line in provision_services(ctx.obj):
        console.print(line, markup=False)
    console.print("tables, topics and lake are there")


def migrate(
    ctx: typer.Context,
    plan: Annotated[bool, typer.Option("--plan", help="Only show what would be applied.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Bring the warehouse's tables up to date. Migrations only go forward."""
    from clickhouse.client import connect
    from clickhouse.migrate import load_migrations, pending
    from clickhouse.migrate import migrate as apply

    settings: Settings = ctx.obj
    if plan:
        with closing(connect(settings.warehouse, database="default")) as client:
            name = settings.warehouse.database
            exists = client.query(
                "SELECT 1 FROM system.databases WHERE name = {name:String}", {"name": name}
            ).result_rows
        if exists:
            with closing(connect(settings.warehouse)) as client:
                todo = pending(client, load_migrations(), cluster=settings.warehouse.cluster)
        else:
            todo = load_migrations()
    else:
        todo = apply(settings.warehouse)
    names = [f"{migration.number:04d}_{migration.name}" for migration in todo]
    if as_json:
        emit_json({"applied": not plan, "migrations": names})
        return
    verb = "to apply" if plan else "applied"
    console.print("\n".join(f"{verb}  {name}" for name in names) or "nothing to apply")


def sql(
    ctx: typer.Context,
    query: Annotated[str, typer.Argument(help="One statement.", show_default=False)],
    output_format: Annotated[
        str, typer.Option("--format", help="Any ClickHouse format.")
    ] = "PrettyCompactMonoBlock",
) -> None:
    """Run one query against the warehouse and print what it returns."""
    from clickhouse.client import ClickHouseError, connect
    from clickhouse.failures import server_words

    settings: Settings = ctx.obj
    with closing(connect(settings.warehouse)) as client:
        verb = query.lstrip("( \n\t").partition(" ")[0].strip().upper()
        try:
            answer = client.raw_query(query, fmt=output_format if verb in _READING else None)
        except ClickHouseError as exc:
            raise ServiceError(server_words(exc)) from exc
    sys.stdout.buffer.write(answer)

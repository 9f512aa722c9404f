"""`tillstream dictionary`: what the warehouse's tables and columns mean."""

import sys
from contextlib import closing
from dataclasses import asdict
from typing import Annotated

import typer
from rich.markup import escape

from tillstream.cli.output import console, emit_json
from tillstream.errors import ConfigError
from tillstream.settings import Settings


def register(app: typer.Typer) -> None:
    app.command(
        epilog="Examples: tillstream dictionary · tillstream dictionary bi_stock · tillstream"
        " dictionary --markdown > docs/dictionary.md · tillstream dictionary fact_ --json"
    )(dictionary)


def dictionary(
    ctx: typer.Context,
    prefix: Annotated[str, typer.Argument(help="How the tables' names begin.")] = "bi_",
    markdown: Annotated[bool, typer.Option("--markdown", help="As docs/dictionary.md.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Show tables, columns and what they mean, as their comments say.

    The bi_* views are what dashboards read: their names and meanings stay.
    """
    from clickhouse.client import connect
    from clickhouse.dictionary import as_markdown
    from clickhouse.dictionary import dictionary as read

    settings: Settings = ctx.obj
    with closing(connect(settings.warehouse)) as client:
        relations = read(client, prefix=prefix)
    if not relations:
        raise ConfigError(
            f"no table's name begins with {prefix!r}",
            hint="`tillstream dictionary ''` shows all, `tillstream migrate` makes them",
        )
    if as_json:
        emit_json([asdict(one) for one in relations])
        return
    if markdown:
        sys.stdout.write(as_markdown(relations))
        return
    for one in relations:
        console.print(f"[bold]{escape(one.name)}[/]  {escape(one.comment)}", soft_wrap=True)
        for column in one.columns:
            console.print(
                f"  {escape(column.name):<22} [dim]{escape(column.type):<22}[/]"
                f" {escape(column.comment)}",
                soft_wrap=True,
            )

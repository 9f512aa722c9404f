"""`tillstream explain STORE PRODUCT`: why an item has the risk it has."""

from contextlib import closing
from dataclasses import asdict
from typing import Annotated

import typer
from rich.markup import escape

from tillstream.cli.output import console, emit_json
from tillstream.settings import Settings


def register(app: typer.Typer) -> None:
    app.command(
        epilog="Examples: tillstream explain 424 948562 · tillstream explain S0001 P000042 --json"
    )(explain)


def explain(
    ctx: typer.Context,
    store: Annotated[str, typer.Argument(help="The store's id.")],
    product: Annotated[str, typer.Argument(help="The product's id.")],
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Say why an item is at risk or is not, and why that did or did not open an alert.

    Stock, sales, what was believed before, lead time and threshold, each with its number; what came
    from Kafka with topic, partition and offsets (`tillstream tail` shows such a record).
    """
    from clickhouse.client import connect
    from tillstream.watching.explain import explain as explain_item
    from tillstream.watching.explain_words import sentences

    settings: Settings = ctx.obj
    with closing(connect(settings.warehouse)) as client:
        found = explain_item(client, settings.risk, store, product)
    if as_json:
        emit_json(asdict(found))
        return
    console.print(f"[bold]{escape(found.product_name)}[/] at store {escape(store)}")
    for what, words in sentences(found):
        console.print(f"  [dim]{what:<7}[/] {escape(words)}", soft_wrap=True)

"""`tillstream customer export | erase`: what is held on one customer."""

from contextlib import closing
from dataclasses import asdict
from typing import Annotated

import typer

from tillstream.cli.output import console, emit_json
from tillstream.settings import Settings

Customer = Annotated[
    str, typer.Argument(metavar="CUSTOMER", help="The customer's own number, or a pseudonym.")
]


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Export or erase what is held on one customer.", no_args_is_help=True)
    group.command(epilog="Example: tillstream customer export 1364 > customer.json")(export)
    group.command(
        epilog='Example: tillstream customer erase 1364 --by "L. Ortiz" --reason "request 4711"'
    )(erase)
    app.add_typer(group, name="customer")


def export(ctx: typer.Context, customer: Customer) -> None:
    """Print every stored row that names the customer, as JSON, by table."""
    from clickhouse.client import connect
    from orchestration.governance import customer_name, export_customer

    settings: Settings = ctx.obj
    with closing(connect(settings.warehouse)) as client:
        emit_json(export_customer(client, customer_name(settings, customer)))


def erase(
    ctx: typer.Context,
    customer: Customer,
    by: Annotated[str, typer.Option("--by", help="Who asks for it; kept with the record.")],
    reason: Annotated[str, typer.Option(help="Why; kept with the record.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts; does not ask.")] = False,
) -> None:
    """Take the customer out of every table, of stored bytes, and of the lake, and prove it.

    Rows stay, without the customer: sales, stock and `verify` are as before. It cannot be undone.
    Kafka keeps its records until they are 7 days old; the erasure is applied again every night and
    after every rebuild.
    """
    from orchestration.governance import customer_name, erase_customer

    settings: Settings = ctx.obj
    name = customer_name(settings, customer)
    if not (yes or as_json):
        typer.confirm(f"Erase {name} for good?", abort=True)
    done = erase_customer(settings, name, requested_by=by, reason=reason)
    if as_json:
        emit_json(asdict(done))
        return
    console.print(
        f"[bold green]erased[/]   {done.warehouse_rows:,} rows of the warehouse and"
        f" {done.lake_records:,} records of the lake named the customer; {done.remaining} do now."
        f" Kafka's own copies are gone after {done.kafka_until:%Y-%m-%d %H:%M} UTC.",
        soft_wrap=True,
    )

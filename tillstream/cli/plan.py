"""`tillstream plan | what-if`: tomorrow's orders, and what a change would do to them."""

import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from tillstream.cli.output import console, emit_json, errors
from tillstream.errors import ConfigError
from tillstream.settings import Settings

if TYPE_CHECKING:  # loading Arrow and scipy takes a second that --help need not wait for
    import pyarrow as pa

    from tillstream.planning.whatif import Outcome, WhatIf

_MOST_LEAD_DAYS = 60.0
_WORDS = {
    "items": "items",
    "daily_units": "units sold a day",
    "daily_margin": "margin a day",
    "order_up_to_units": "stock aimed at, units",
    "safety_stock_units": "of it safety stock",
    "items_at_risk": "items at risk above 20 %",
    "lost_units": "units lost until an order comes",
    "lost_margin": "margin lost until then",
    "orders": "order lines",
    "order_units": "units ordered",
    "order_cost": "cost of the orders",
    "transfer_units": "units moved between stores",
}


def register(app: typer.Typer) -> None:
    app.command(
        epilog="Examples: tillstream plan --store S0001 · tillstream plan --csv orders.csv"
    )(plan)
    app.command(
        "what-if",
        epilog="Example: tillstream what-if --store S0001 --lead-time +2d --demand +20%",
    )(what_if)


def plan(
    ctx: typer.Context,
    store: Annotated[
        list[str] | None, typer.Option(help="Only this store; repeatable [default: all]")
    ] = None,
    day: Annotated[
        str | None,
        typer.Option(
            "--date", help="The day the orders are written [default: tomorrow]", metavar="DAY"
        ),
    ] = None,
    service_level: Annotated[
        float | None,
        typer.Option(help="Chance of enough stock [default: by margin and spoilage]", metavar="P"),
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="Write all suggestions to this file")] = None,
    parquet: Annotated[Path | None, typer.Option(help="The same as Parquet")] = None,
    rows: Annotated[int, typer.Option(min=1, help="How many to print of each store")] = 30,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Say what to order and what to fetch from stores nearby, with the reason for each.

    An order is whole packs, fits the shelf, and sells within its shelf life. Today is the day of
    the newest score, on the store's own clock. What is not known is assumed, and said so.
    """
    import pyarrow as pa

    from clickhouse.client import connect
    from tillstream.planning.regions import store_plans

    settings: Settings = ctx.obj
    _check_level(service_level)
    with closing(connect(settings.warehouse)) as client:
        parts = list(store_plans(client, store, day=day, service_level=service_level))
    found = pa.concat_tables(parts)
    for path in (csv, parquet):
        if path:
            _write(found, path, as_csv=path is csv)
    if as_json:
        emit_json(found.to_pylist())
    elif not (csv or parquet):
        _show(found, most=rows)


def what_if(
    ctx: typer.Context,
    store: Annotated[
        list[str] | None, typer.Option(help="Only this store; repeatable [default: all]")
    ] = None,
    lead_time: Annotated[
        str, typer.Option(help="Days more or less of lead time", metavar="+2d")
    ] = "+0d",
    demand: Annotated[str, typer.Option(help="More or less demand", metavar="+20%")] = "+0%",
    price: Annotated[
        str, typer.Option(help="Higher or lower prices; demand answers", metavar="-10%")
    ] = "+0%",
    elasticity: Annotated[
        float | None,
        typer.Option(min=0, help="Percent by which demand falls for one of price [default: 1.6]"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Show what a change of lead times, demand or prices does to stock, orders and lost sales.

    Nothing is changed. Both columns are plans for tomorrow, from the stock there is now; stores
    help each other out only among those asked for.
    """
    from clickhouse.client import connect
    from tillstream.planning.reading import read_items
    from tillstream.planning.regions import regions
    from tillstream.planning.whatif import PRICE_ELASTICITY, Change, combined
    from tillstream.planning.whatif import what_if as compare

    change = Change(
        lead_days=days_of(lead_time),
        demand=factor_of(demand, "--demand"),
        price=factor_of(price, "--price"),
        elasticity=PRICE_ELASTICITY if elasticity is None else elasticity,
    )
    settings: Settings = ctx.obj
    with closing(connect(settings.warehouse)) as client:
        parts = [
            compare(read_items(client, region.asked), region.policy, change)
            for region in regions(client, store)
        ]
    found = combined(parts)
    if as_json:
        moved = found.moved.to_pylist()
        emit_json({"now": asdict(found.now), "then": asdict(found.then), "moved": moved})
        return
    _show_change(found)


def days_of(text: str) -> float:
    """Days of +2d or -0.5d. Raises ConfigError."""
    found = re.fullmatch(r"([+-]?\d+(?:\.\d+)?)d?", text.strip())
    if found is None or abs(float(found[1])) > _MOST_LEAD_DAYS:
        raise ConfigError(
            f"--lead-time must be days more or less, at most {_MOST_LEAD_DAYS:.0f}, got {text!r}",
            hint="for example --lead-time +2d",
        )
    return float(found[1])


def factor_of(text: str, option: str) -> float:
    """1.2 of +20%. Raises ConfigError."""
    found = re.fullmatch(r"([+-]?\d+(?:\.\d+)?)%", text.strip())
    if found is None or not -99 <= float(found[1]) <= 900:
        raise ConfigError(
            f"{option} must be a percentage from -99% to +900%, got {text!r}",
            hint=f"for example {option} +20%",
        )
    return 1 + float(found[1]) / 100


def _check_level(level: float | None) -> None:
    if level is not None and not 0.01 <= level <= 0.999:
        raise ConfigError(
            f"--service-level must lie between 0.01 and 0.999, got {level:g}",
            hint="for example --service-level 0.97",
        )


def _write(found: "pa.Table", path: Path, *, as_csv: bool) -> None:
    import pyarrow.csv
    import pyarrow.parquet as pq

    try:
        if as_csv:
            pyarrow.csv.write_csv(found, path)
        else:
            pq.write_table(found, path)
    except OSError as exc:
        raise ConfigError(f"{path} cannot be written: {exc}") from exc
    errors.print(f"{found.num_rows:,} suggestions in {path}", soft_wrap=True, markup=False)


def _show(found: "pa.Table", *, most: int) -> None:
    if not found.num_rows:
        console.print("nothing is needed")
        return
    for store in dict.fromkeys(found["store_id"].to_pylist()):
        rows = [row for row in found.to_pylist() if row["store_id"] == store]
        console.print(_heading(store, rows))
        table = Table(box=None, show_header=False, padding=(0, 1))
        table.add_column(no_wrap=True)
        table.add_column()
        for row in rows[:most]:
            name = row["product_name"] or row["product_id"]
            table.add_row(escape(name), escape(row["reason"]))
        console.print(table)
        if len(rows) > most:
            console.print(f"  … and {len(rows) - most} more (--rows, --csv or --parquet)")


def _heading(store: str, rows: list[dict[str, Any]]) -> str:
    cost = sum(row["order_cost"] or 0 for row in rows)
    words = {"order": "order", "transfer": "transfer", "blocked": "need that must wait"}
    plural = {"order": "orders", "transfer": "transfers", "blocked": "needs that must wait"}
    parts = []
    for action in words:
        count = sum(row["action"] == action for row in rows)
        if count:
            parts.append(f"{count:,} {(words if count == 1 else plural)[action]}")
            parts[-1] += f" for {cost:,.2f}" * (action == "order")
    return f"[bold]{escape(store)}[/]: {', '.join(parts)}"


def _show_change(found: "WhatIf") -> None:
    table = Table(box=None, header_style="bold")
    for heading in ("", "now", "then", "change"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, *cells in _compared(found.now, found.then):
        table.add_row(name, *cells)
    console.print(table)
    for row in found.moved.to_pylist():
        name = escape(row["product_name"] or row["product_id"])
        console.print(
            f"  {escape(row['store_id'])} {name}: stock up to {row['level_now']:,} → "
            f"{row['level_then']:,}, risk {row['risk_now']:.0%} → {row['risk_then']:.0%}"
        )


def _compared(now: "Outcome", then: "Outcome") -> Iterator[tuple[str, str, str, str]]:
    for one in fields(now):
        before, after = getattr(now, one.name), getattr(then, one.name)
        share = f"{after / before - 1:+.1%}" if before else ""
        digits = 0 if isinstance(before, int) else 1
        yield _WORDS[one.name], f"{before:,.{digits}f}", f"{after:,.{digits}f}", share

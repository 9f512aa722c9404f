"""`tillstream slow-movers`: stock that hardly sells, and how likely none of it does."""

from contextlib import closing
from dataclasses import asdict
from typing import Annotated

import typer
from rich import box
from rich.markup import escape
from rich.table import Table

from tillstream.cli.forecast import AS_JSON, DAY, last_day
from tillstream.cli.output import console, emit_json, progress_bar
from tillstream.settings import Settings


def register(app: typer.Typer) -> None:
    group = typer.Typer(no_args_is_help=True, help=__doc__)
    group.command("list", epilog="Example: tillstream slow-movers list --store STORE-07 --json")(
        list_shelves
    )
    group.command(epilog="Example: tillstream slow-movers train --day 2026-03-09 --json")(train)
    group.command(epilog="Example: tillstream slow-movers score --day 2026-03-09")(score)
    group.command(epilog="Example: tillstream slow-movers evaluate --on quiet-tuesday --json")(
        evaluate
    )
    app.add_typer(group, name="slow-movers")


def list_shelves(
    ctx: typer.Context,
    store: Annotated[str | None, typer.Option(help="One store alone.")] = None,
    limit: Annotated[int, typer.Option(help="Shelves, at most.", min=1)] = 20,
    as_json: AS_JSON = False,
) -> None:
    """Shelves with more than 12 weeks of stock, by the newest forecast. First comes where the most
    money is likely to stay for four weeks more."""
    from clickhouse.client import connect
    from clickhouse.queries import select

    settings: Settings = ctx.obj
    with closing(connect(settings.warehouse)) as client:
        found = select(client, _LIST, parameters={"store": store or "", "limit": limit}).to_pylist()
    if as_json:
        emit_json(found)
        return
    if not found:
        console.print("no shelf has stock for more than 12 weeks, or nothing was forecast yet")
        return
    table = Table(box=box.SIMPLE_HEAD)
    for number, name in enumerate(_COLUMNS):
        table.add_column(name, justify="left" if number < _TEXTS else "right")
    for row in found:
        chance = row["unsold_28"]
        table.add_row(
            *(escape(row[name]) for name in ("store_id", "product_id", "name")),
            row["class"],
            f"{row['on_hand']:,.0f}",
            f"{row['tied_up']:,.2f}",
            f"{row['weeks_of_cover']:,.0f}" if row["weeks_of_cover"] < 1_000 else "–",
            _days(row["days_since_sale"]),
            "–" if chance is None else f"{chance:.0%}",
        )
    console.print(table)
    console.print("[dim]none sold: the chance within four weeks[/]")


def _days(count: float | None) -> str:
    """The features count no further than half a year."""
    if count is None:
        return "–"
    return f"{count:.0f} days" if count < 180 else "half a year"


def train(ctx: typer.Context, day: DAY = None, as_json: AS_JSON = False) -> None:
    """Train the classifier on every day up to this one. A version goes into service when it beats
    both a plain rule and the version that is there on the last four weeks; until that one is four
    weeks old, none is trained."""
    from orchestration import slow_movers
    from tillstream.ml.slow_movers import LEAST_TRAINING_DAYS

    found = slow_movers.train(ctx.obj, last_day(day))
    if as_json:
        emit_json(None if found is None else asdict(found))
    elif found is None:
        console.print(
            f"nothing to train on: {LEAST_TRAINING_DAYS} days of sales are needed; a rule stands in"
        )
    else:
        before = found.log_loss_before
        if not found.is_new:
            console.print(f"nothing new is trained: v{found.version} knows the last four weeks")
        console.print(
            f"v{found.version}: log loss {found.log_loss:.4f}, the rule {found.log_loss_rule:.4f}"
            + ("" if before is None else f", the version before {before:.4f}")
        )
        console.print(
            "in service"
            if found.promoted
            else "kept, not in service: tillstream models list --model slow-movers"
        )


def score(ctx: typer.Context, day: DAY = None, as_json: AS_JSON = False) -> None:
    """The chance of every shelf to sell nothing in the four weeks after this day. Its features must
    be there: `tillstream forecast predict` makes them."""
    from orchestration import slow_movers

    last = last_day(day)
    shelves = slow_movers.score(ctx.obj, last)
    if as_json:
        emit_json({"day": str(last), "shelves": shelves})
    else:
        console.print(f"{shelves:,} shelves; tillstream slow-movers list")


def evaluate(
    ctx: typer.Context,
    on: Annotated[
        str, typer.Option(help="recorded (Complete Journey), or a scenario of the simulator.")
    ] = "recorded",
    shelves: Annotated[
        int, typer.Option(help="At most, roughly: stores are drawn until there are so many.", min=1)
    ] = 150_000,
    seed: Annotated[int, typer.Option(help="Of the stores drawn, and of a scenario.")] = 0,
    as_json: AS_JSON = False,
) -> None:
    """Hold out the last four weeks, say which shelves will sell nothing in them, and compare with
    what the plain rule says. Takes a minute or two."""
    from tillstream.evaluation.forecast.source import history_of, some_stores
    from tillstream.ml import slow_movers
    from tillstream.ml.features import History

    with progress_bar(as_json) as on_phase:
        on_phase("reading", None)
        data = history_of(
            ctx.obj,
            on,
            held_out_days=slow_movers.UNSOLD_DAYS,
            # Who picks shelves by how often they sold later picks those that go on selling.
            least_sale_days=1,
            seed=seed,
        )
        on_phase("learning", None)
        panel = data.panel.of_items(some_stores(data.panel.store, shelves=shelves, seed=seed))
        found = slow_movers.judged(History(panel), slow_movers.RECIPE, before=None)
    if as_json:
        emit_json(asdict(found))
        return
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("", "log loss", "Brier", "said", "happened"):
        table.add_column(name, justify="right" if name else "left")
    for name, scores in (("trees", found.trees), ("rule", found.rule)):
        shares = (f"{value:.1%}" for value in (scores.mean_chance, scores.share_unsold))
        table.add_row(name, f"{scores.log_loss:.4f}", f"{scores.brier:.4f}", *shares)
    console.print(table)
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("chance", "shelves", "said", "happened"):
        table.add_column(name, justify="right")
    for band in found.calibration:
        table.add_row(
            f"{band.low:.0%} to {band.high:.0%}",
            f"{band.cases:,}",
            f"{band.mean_chance:.1%}",
            f"{band.share_unsold:.1%}",
        )
    console.print(table)


_TEXTS = 4
_COLUMNS = ("store", "product", "name", "", "stock", "at cost", "weeks", "unsold for", "none sold")
# What an item costs is known, or follows from the price it last had. Shelves that were not scored
# come after those that were.
_LIST = """
SELECT toString(s.store_id) AS store_id, s.product_id AS product_id,
       if(p.name = '', s.product_id, p.name) AS name, s.class AS class,
       toFloat64(s.on_hand) AS on_hand,
       toFloat64(s.on_hand) * coalesce(p.unit_cost, q.price * (1 - ifNull(p.margin, 0.25)), 0)
           AS tied_up,
       toFloat64(s.weeks_of_cover) AS weeks_of_cover,
       toFloat64(s.days_since_sale) AS days_since_sale,
       toFloat64(s.unsold_28) AS unsold_28, toString(s.as_of) AS as_of
FROM slow_movers AS s
LEFT JOIN
(
    SELECT product_id, product_name AS name, toFloat64(unit_cost) AS unit_cost,
           toNullable(margin) AS margin
    FROM dim_product FINAL
) AS p ON p.product_id = s.product_id
LEFT JOIN
(
    SELECT product_id, toNullable(toFloat64(argMax(unit_price, event_time))) AS price
    FROM fact_sales WHERE unit_price > 0 GROUP BY product_id
) AS q ON q.product_id = s.product_id
WHERE s.class != 'moving' AND ({store:String} = '' OR s.store_id = {store:String})
ORDER BY unsold_28 IS NULL, tied_up * unsold_28 DESC, tied_up DESC, store_id, product_id
LIMIT {limit:UInt32}"""

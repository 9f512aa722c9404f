"""The end of `tillstream demo --with-night`: the nights of the recorded week, against pandas."""

from datetime import date, timedelta
from typing import TYPE_CHECKING

from rich.markup import escape

from tillstream.cli.output import console
from tillstream.settings import Settings

if TYPE_CHECKING:
    from clickhouse.client import Client
    from orchestration.journal import StepReport
    from simulators.plan import ReplayPlan


def nights_match(settings: Settings, client: "Client", plan: "ReplayPlan") -> bool:
    """Run the night of every replayed day, then compare the daily rollups, item by item, with what
    pandas makes of the data set itself."""
    from orchestration.night import run_nights

    days = [plan.start + timedelta(days=n) for n in range(plan.days)]
    console.print(f"\n[bold]night[/]   {len(days)} days rolled up, checked and put in service\n")
    totals: dict[str, tuple[float, str]] = {}

    def show(report: "StepReport") -> None:
        if report.state == "running":
            return
        seconds = totals.get(report.step, (0.0, ""))[0] + report.seconds
        totals[report.step] = (seconds, report.detail)

    run_nights(settings, days, on_step=show)
    for step, (seconds, detail) in totals.items():
        console.print(f"[green]✓[/] {step:<10}{seconds:>7.1f} s   {escape(detail)}", soft_wrap=True)
    return rollups_match(client, plan.start, plan.days)


def rollups_match(client: "Client", start: date, days: int) -> bool:
    """Whether the daily rollups of these days are those of the data set, item by item; says so."""
    from clickhouse.queries import select
    from simulators.complete_journey import expected_windows

    windows = expected_windows(start, days)
    windows["date_key"] = windows["window_start"].dt.date
    keys = ["date_key", "store_id", "product_id"]
    expected = windows.groupby(keys, as_index=False).agg(
        units=("units", "sum"), revenue=("revenue", "sum"), lines=("lines", "sum")
    )
    stored = select(
        client,
        "SELECT date_key, toString(store_id) AS store_id, product_id, sum(d.units) AS units,"
        " toDecimal64(sum(d.revenue), 2) AS revenue, sum(d.lines) AS lines FROM rollup_daily AS d"
        " GROUP BY date_key, store_id, product_id HAVING lines > 0",
    ).to_pandas()
    both = expected.merge(stored, on=keys, how="outer", suffixes=("", "_stored"), indicator=True)
    differ = both["_merge"] != "both"
    for name in ("units", "revenue", "lines"):
        differ |= both[name] != both[f"{name}_stored"]
    wrong = int(differ.sum())
    mark = "[bold red]✗[/]" if wrong else "[green]✓[/]"
    console.print(
        f"{mark} rollups    {len(expected):>12,} items of stores and days computed by pandas: "
        f"{int(expected['units'].sum()):,} units, {expected['revenue'].sum():,} revenue; "
        f"{wrong} differ",
        soft_wrap=True,
    )
    return wrong == 0

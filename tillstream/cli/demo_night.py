"""The end of `tillstream demo --with-night`: the nights of the recorded week, against pandas."""

from datetime import date, timedelta
from typing import TYPE_CHECKING

from rich.markup import escape

from tillstream.cli.output import console, mark
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
    matched = rollups_match(client, plan.start, plan.days)
    return _forecasts_made(settings, client, plan) and matched


def _forecasts_made(settings: Settings, client: "Client", plan: "ReplayPlan") -> bool:
    """Train on what was replayed and forecast the week after it, where that is long enough; whether
    each shelf has its seven days."""
    from clickhouse.queries import select
    from orchestration import forecasting
    from tillstream.ml.demand_model import LEAST_TRAINING_DAYS
    from tillstream.ml.features import HORIZON_DAYS

    if plan.days < LEAST_TRAINING_DAYS:
        console.print(
            f"[dim]· forecasts  {plan.days} days are too few to learn from; ten weeks are enough: "
            "tillstream demo --from 2017-09-18 --days 70 --speed 0 --with-night[/]",
            soft_wrap=True,
        )
        return True
    last = plan.start + timedelta(days=plan.days - 1)
    model = forecasting.train(settings, last)
    forecasting.build_features(settings, last)
    shelves = forecasting.predict(settings, last)
    stored = select(
        client,
        "SELECT countIf(days = {horizon:UInt8}) AS whole, count() AS shelves, sum(units) AS units"
        " FROM (SELECT count() AS days, sum(mean) AS units FROM forecasts FINAL"
        " WHERE as_of = {last:Date} GROUP BY store_id, product_id)",
        parameters={"horizon": HORIZON_DAYS, "last": str(last)},
    ).to_pylist()[0]
    made = shelves > 0 and stored["whole"] == stored["shelves"] == shelves
    console.print(
        f"{mark(made)} forecasts  {shelves:>12,} shelves have the next {HORIZON_DAYS} days by "
        f"demand-forecast v{model.version} (pinball loss {model.pinball:.3f}): "
        f"{stored['units']:,.0f} units in all",
        soft_wrap=True,
    )
    return made


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
    console.print(
        f"{mark(not wrong)} rollups    {len(expected):>12,} items of stores and days computed by "
        f"pandas: {int(expected['units'].sum()):,} units, {expected['revenue'].sum():,} revenue; "
        f"{wrong} differ",
        soft_wrap=True,
    )
    return wrong == 0

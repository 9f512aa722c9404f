"""The Complete Journey data as daily series of store and product."""

from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from simulators import complete_journey
from tillstream.ml.calendar import number_of
from tillstream.ml.panel import Panel

Floats = NDArray[np.float32]

# Whoever buys more of a product at once buys millilitres: fuel and what is booked like it.
_COUNTED_UNITS: Final = 150
# The last day of the data set is cut short.
DAYS: Final = (complete_journey.LAST_DAY - complete_journey.FIRST_DAY).days - 1


@dataclass(frozen=True, slots=True)
class Recorded:
    """`revenue` (n, days) beside the panel; `truth` (n, days) is what was wanted, which here is
    what was sold: nobody recorded what was not there."""

    panel: Panel
    revenue: Floats
    truth: Floats


def recorded(*, held_out_days: int, least_sale_days: int, cache: Path) -> Recorded:
    """Items that sold on at least so many days before the held-out ones. An item's days begin with
    its first sale."""
    lines = complete_journey.sales_between(complete_journey.FIRST_DAY, DAYS, cache=cache)
    most = lines.groupby("product_id")["quantity"].max()
    counted = ~lines["product_id"].isin(most.index[most > _COUNTED_UNITS])
    lines = lines[counted & (lines["quantity"] > 0)]
    start_ms = complete_journey.day_start_ms(complete_journey.FIRST_DAY)
    lines = lines.assign(day=(lines["time_ms"] - start_ms) // complete_journey.DAY_MS)
    daily = lines.groupby(["store_id", "product_id", "day"], as_index=False).agg(
        units=("quantity", "sum"), cents=("sales_cents", "sum")
    )
    before = daily[daily["day"] < DAYS - held_out_days]
    sale_days = before.groupby(["store_id", "product_id"]).size()
    items = sale_days.index[sale_days >= least_sale_days].to_frame(index=False)
    rows = daily.merge(items.assign(row=items.index), on=["store_id", "product_id"])
    units, revenue = (np.zeros((len(items), DAYS), dtype=np.float32) for _ in range(2))
    units[rows["row"], rows["day"]] = rows["units"]
    revenue[rows["row"], rows["day"]] = rows["cents"] / 100
    listed = np.arange(DAYS) >= (units > 0).argmax(axis=1)[:, None]
    known = complete_journey.products(cache=cache).set_index("product_id")
    promotion = _promotion(items)
    panel = Panel(
        first_day=number_of(complete_journey.FIRST_DAY),
        units=units,
        in_stock=listed.astype(np.float32),
        promotion=promotion,
        price=np.ones_like(promotion),
        store=_numbers(items["store_id"]),
        product=_numbers(items["product_id"]),
        category=_numbers(items["product_id"].map(known["category"]).fillna("")),
    )
    return Recorded(panel, revenue, units)


def _promotion(items: pd.DataFrame) -> Floats:
    """(items, days): mailers and displays are planned ahead, so a week's are known before it. There
    is no list of prices: what was paid is known only where something was bought."""
    days = [complete_journey.FIRST_DAY + timedelta(days=number) for number in range(DAYS)]
    second = date(2017, 1, 2)
    weeks = [min((day - second).days // 7 + 2, complete_journey.LAST_WEEK) for day in days]
    return complete_journey.promoted_weeks(items)[:, weeks]


def _numbers(column: "pd.Series[int]") -> NDArray[np.int64]:
    return np.unique(column.to_numpy(), return_inverse=True)[1].astype(np.int64)

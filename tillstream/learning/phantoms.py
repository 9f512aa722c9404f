"""Shelves that have been silent for so long that their stock may not be there."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from clickhouse.client import Client
from clickhouse.queries import select
from clickhouse.writer import insert
from tillstream.demand.belief import Belief
from tillstream.demand.phantom import phantom_probability
from tillstream.learning.evidence import Evidence, Names, ints, rows_of
from tillstream.learning.exposure import Exposure
from tillstream.learning.learn import Learned, empty_times, listed_since

Floats = NDArray[np.float64]

# As if so many counts had been seen, of which so many found nothing where the books had something.
_PRIOR_COUNTS, _PRIOR_SHARE = 50.0, 0.02
# Less likely ones are not kept.
LEAST_PROBABILITY = 0.2
_MS = pa.timestamp("ms", tz="UTC")
_LAST_SOLD = """
SELECT store_id, product_id, toUnixTimestamp64Milli(max(event_time)) AS at_ms FROM fact_sales
WHERE quantity > 0 AND event_time < toDateTime({until:Int64}, 'UTC')
GROUP BY store_id, product_id"""


def last_sales(client: Client, *, as_of_ms: int) -> pa.Table:
    """(store_id, product_id, at_ms) of every item that was ever sold before then."""
    return select(client, _LAST_SOLD, parameters={"until": as_of_ms // 1000})


def phantoms(evidence: Evidence, learned: Learned, last_sold: pa.Table) -> pa.Table:
    """Rows of `phantom_stock`: items with stock by the books, nothing of which was sold for so long
    that it is at least LEAST_PROBABILITY likely that nothing is there.

    Silence counts while there was stock by the books, and weighs by when people shop. It is held
    against the belief without that silence, which would else be counted twice.
    """
    items, as_of_ms = evidence.items, evidence.as_of_ms
    zones = Names.of(items["time_zone"])
    plain = Exposure.of(learned.rhythm.weights, evidence.since_ms, as_of_ms, zones=zones.values)
    sold_ms = np.zeros(items.num_rows, dtype=np.int64)
    row = rows_of(items, last_sold)
    sold_ms[row[row >= 0]] = ints(last_sold["at_ms"])[row >= 0]
    start_ms = listed_since(items, evidence.since_ms)
    since_ms = np.maximum(start_ms, sold_ms)
    silent = plain.between(zones.number, since_ms, np.full(len(since_ms), as_of_ms))
    row, from_ms, until_ms = empty_times(evidence, start_ms)
    out = plain.between(zones.number[row], np.maximum(from_ms, since_ms[row]), until_ms)
    np.subtract.at(silent, row, out)
    silent = np.maximum(silent, 0.0)
    probability = phantom_probability(
        without_silence(learned.belief, silent), exposure=silent, prior=false_share(evidence)
    )
    on_hand = ints(items["on_hand"])
    kept = np.flatnonzero((on_hand > 0) & (probability >= LEAST_PROBABILITY))
    rows = items.take(pa.array(kept))
    n = len(kept)
    return pa.table(
        {
            "as_of": pa.array(np.full(n, as_of_ms), _MS),
            "store_id": rows["store_id"],
            "product_id": rows["product_id"],
            "on_hand": pa.array(on_hand[kept].astype(np.int32)),
            "probability": probability[kept],
            "silent_days": silent[kept],
            "daily_units": learned.belief.daily_units[kept],
            "last_sold_at": pa.array(sold_ms[kept], _MS, mask=sold_ms[kept] == 0),
        }
    )


def save_phantoms(client: Client, found: pa.Table) -> None:
    insert(client, "phantom_stock", found)


def without_silence(belief: Belief, silent_days: Floats) -> Belief:
    """The belief at the last sale, but for what age has taken from older sales: silence of e demand
    days added e/d to b. At least a tenth of what is known stays."""
    b = np.maximum(belief.b - silent_days / belief.dispersion, 0.1 * belief.b)
    return Belief(belief.a, b, belief.dispersion)


def false_share(evidence: Evidence) -> float:
    """How often counts find nothing where the books have something."""
    recorded, found = ints(evidence.counts["recorded"]), ints(evidence.counts["found"])
    stood = recorded > 0
    nothing = float((stood & (found <= 0)).sum())
    return (nothing + _PRIOR_COUNTS * _PRIOR_SHARE) / (float(stood.sum()) + _PRIOR_COUNTS)

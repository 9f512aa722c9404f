"""Windows against facts, current stock against movements, stored events against a ledger."""

import time
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from clickhouse.client import Client
from clickhouse.queries import select
from tillstream.audit.findings import LISTED, Check, Finding
from tillstream.contracts.topics import HISTORY_PREFIX

# A batch stores facts a moment before their sums. While the stream runs, only a difference that
# stays the same over this many looks is damage.
_LOOKS = 4
_BETWEEN_LOOKS_S = 0.7

_WINDOWS = """
SELECT toString(store_id) AS store_id, product_id, toString(window_start) AS window_start,
       sum(u) AS units, toString(sum(r)) AS revenue, sum(l) AS lines
FROM (SELECT store_id, product_id, window_start, toInt64(quantity) AS u,
             toDecimal128(revenue, 4) AS r, toInt64(1) AS l FROM fact_sales
      UNION ALL
      SELECT store_id, product_id, window_start, -units, -revenue, -lines FROM velocity_5m_sums)
GROUP BY store_id, product_id, window_start
HAVING units != 0 OR sum(r) != 0 OR lines != 0
ORDER BY store_id, product_id, window_start
"""

_STOCK = """
SELECT toString(store_id) AS store_id, product_id,
       sumIf(q, kept) AS shown, sumIf(q, NOT kept) AS replayed, countIf(kept) AS a,
       countIf(NOT kept) AS b
FROM (SELECT store_id, product_id, toInt64(on_hand) AS q, true AS kept FROM current_stock
      UNION ALL
      SELECT store_id, product_id,
             toInt64(argMax(quantity_on_hand, (sequence, event_time, offset))), false
      FROM fact_inventory GROUP BY store_id, product_id)
GROUP BY store_id, product_id
HAVING a != b OR shown != replayed
ORDER BY store_id, product_id
"""

# Each movement should lead from the quantity before it to the quantity after it; a count says
# what is there, so it may differ from the books.
_VARIANCE = """
SELECT count() AS n FROM (
    SELECT reason, sequence, quantity_on_hand, quantity_change,
           lagInFrame(quantity_on_hand) OVER w AS before, lagInFrame(sequence) OVER w AS previous
    FROM fact_inventory
    WINDOW w AS (PARTITION BY store_id, product_id ORDER BY sequence, event_time, offset
                 ROWS BETWEEN 1 PRECEDING AND CURRENT ROW))
WHERE previous > 0 AND sequence = previous + 1 AND before + quantity_change != quantity_on_hand
"""

# The identity of each fact table's events, as the source gave it. What was written straight into
# the tables was never sent.
_SENT = f"WHERE NOT startsWith(topic_id, '{HISTORY_PREFIX}')"
_IDENTITY = {
    "retail-sales-transactions": f"SELECT sale_id AS identity FROM fact_sales {_SENT}",
    "retail-inventory-updates": f"SELECT inventory_id AS identity FROM fact_inventory {_SENT}",
    "retail-price-changes": f"SELECT price_change_id AS identity FROM price_changes {_SENT}",
    "retail-customer-events": f"SELECT event_id AS identity FROM customer_events {_SENT}",
}


def check_windows(client: Client) -> Check:
    """Sums of every 5-minute window, recomputed from the facts."""

    def describe(row: dict[str, Any]) -> Finding:
        return Finding(
            "window",
            f"store {row['store_id']} product {row['product_id']} window {row['window_start']}: "
            f"facts less sums = {row['units']} units, {row['revenue']} revenue, "
            f"{row['lines']} lines",
            row,
        )

    total = _count(client, "SELECT count() AS n FROM velocity_5m")
    return _settled("windows", total, lambda: select(client, _WINDOWS), describe)


def check_stock(client: Client) -> Check:
    """Current stock of every item, replayed from its movements by sequence."""

    def describe(row: dict[str, Any]) -> Finding:
        return Finding(
            "stock",
            f"store {row['store_id']} product {row['product_id']}: shows {row['shown']}, "
            f"its movements say {row['replayed']}",
            row,
        )

    total = _count(client, "SELECT count() AS n FROM current_stock")
    check = _settled("stock", total, lambda: select(client, _STOCK), describe)
    variances = _count(client, _VARIANCE)
    notes = (f"{variances} movements do not lead from the quantity before them (variance)",)
    return Check(check.name, check.compared, check.disagreeing, check.findings, notes)


def check_ledger(client: Client, ledger: pa.Table) -> Check:
    """acknowledged ⊆ stored ⊆ attempted, event by event. `ledger` has topic, identity, attempts,
    acknowledged. Events that Kafka acknowledged but the stream has not reached count as missing:
    ask when it has caught up."""
    findings: list[Finding] = []
    disagreeing = 0
    for topic, stored_sql in _IDENTITY.items():
        stored = select(client, stored_sql)["identity"].combine_chunks().cast(pa.string())
        mine = ledger.filter(pc.equal(ledger["topic"], topic))
        identities = mine["identity"].combine_chunks()
        acknowledged = identities.filter(pc.greater(mine["acknowledged"].combine_chunks(), 0))
        missing = acknowledged.filter(pc.invert(pc.is_in(acknowledged, stored)))
        unknown = stored.filter(pc.invert(pc.is_in(stored, identities)))
        disagreeing += len(missing) + len(unknown)
        for kind, events in (
            ("acknowledged, not stored", missing),
            ("stored, never sent", unknown),
        ):
            findings += [
                Finding(kind, f"{topic}: {identity}", {"topic": topic, "identity": identity})
                for identity in events.slice(0, LISTED).to_pylist()
            ]
    return Check("ledger", ledger.num_rows, disagreeing, tuple(findings[:LISTED]))


def _settled(
    name: str,
    compared: int,
    look: Callable[[], pa.Table],
    describe: Callable[[dict[str, Any]], Finding],
) -> Check:
    """What differs in every one of several looks, by the same amount."""
    differences = look()
    rows = {tuple(row.values()): row for row in differences.to_pylist()}
    for _ in range(_LOOKS - 1):
        if not rows:
            break
        time.sleep(_BETWEEN_LOOKS_S)
        again = {tuple(row.values()) for row in look().to_pylist()}
        rows = {key: row for key, row in rows.items() if key in again}
    found = list(rows.values())
    return Check(name, compared, len(found), tuple(describe(row) for row in found[:LISTED]))


def _count(client: Client, sql: str) -> int:
    return int(select(client, sql)["n"][0].as_py())

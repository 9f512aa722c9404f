"""Stock reports that cannot be right. They are marked, never dropped."""

import pyarrow as pa
import pyarrow.compute as pc

from tillstream.contracts.topics import Topic

NEGATIVE_STOCK = "negative_stock"


def find_negative_stock(winners: pa.Table) -> pa.Table:
    """Reports of less than nothing, as rows for the table `anomalies`. Only the report that goes
    below zero or further down is marked: a shelf that stays there says nothing new."""
    reports = winners.filter(pc.equal(winners["topic"], Topic.INVENTORY.value))
    down = pc.and_(pc.less(reports["quantity_on_hand"], 0), pc.less(reports["quantity"], 0))
    rows = reports.filter(down)
    details = [
        f"the books say {left} after {reason} {change:+d}: more left the shelf than was there"
        for left, reason, change in zip(
            rows["quantity_on_hand"].to_pylist(),
            rows["kind"].to_pylist(),
            rows["quantity"].to_pylist(),
            strict=True,
        )
    ]
    n = rows.num_rows
    return pa.table(
        {
            "topic_id": rows["topic_id"],
            "partition": rows["partition"],
            "offset": rows["offset"],
            "kind": pa.array([NEGATIVE_STOCK] * n, pa.string()),
            "store_id": rows["store_id"],
            "product_id": rows["product_id"],
            "value": rows["quantity_on_hand"].cast(pa.float64()),
            "expected": pa.array([0.0] * n, pa.float64()),
            "detail": pa.array(details, pa.string()),
            "event_time": rows["event_time"].cast(pa.timestamp("ms", tz="UTC")),
        }
    )

"""Five-minute velocity: units, revenue and lines of each store and product."""

import pyarrow as pa

KEYS = ("store_id", "product_id", "window_start")


def velocity(sales: pa.Table) -> pa.Table:
    """Partial sums of a batch of counted sale lines (window_start is the start of the 5-minute
    event-time window). The engine adds partials of one window together; see docs/architecture.md
    for why that is exact."""
    grouped = sales.group_by(list(KEYS)).aggregate(
        [("quantity", "sum"), ("revenue", "sum"), ([], "count_all")]
    )
    return pa.table(
        {
            **{name: grouped[name] for name in KEYS},
            "units": grouped["quantity_sum"],
            "revenue": grouped["revenue_sum"],
            "lines": grouped["count_all"],
        }
    )

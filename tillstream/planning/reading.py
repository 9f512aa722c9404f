"""The items of stores, from the warehouse."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa

from clickhouse.client import Client
from clickhouse.queries import select
from tillstream.errors import ConfigError

# How far back an item's last price is looked for, before its newest score.
_PRICE_DAYS = 90
# The warehouse does not keep these: null, and the plan says so.
_UNKNOWN = {
    "pack_units": "Int64",
    "min_order_units": "Int64",
    "capacity_units": "Float64",
}


@dataclass(frozen=True, slots=True)
class Place:
    """A store, where it lies, and the zone of its clocks (UTC where it is not known)."""

    store_id: str
    region: str
    time_zone: str


def places(client: Client) -> list[Place]:
    """Every store that has scores, by id."""
    rows = select(
        client,
        "SELECT s.store_id AS store_id, d.region AS region, d.time_zone AS time_zone"
        " FROM (SELECT DISTINCT toString(store_id) AS store_id FROM stockout_risk) AS s"
        " LEFT JOIN (SELECT store_id, toString(region) AS region,"
        " toString(time_zone) AS time_zone FROM dim_store FINAL) AS d"
        " ON d.store_id = s.store_id ORDER BY store_id",
    )
    return [Place(row["store_id"], row["region"], row["time_zone"]) for row in rows.to_pylist()]


def newest_score(client: Client) -> datetime:
    """Stream time of the newest score, UTC. Raises ConfigError when nothing has been scored."""
    row = select(
        client,
        "SELECT count() AS n, toTimeZone(max(as_of), 'UTC') AS newest FROM stockout_risk",
    ).to_pylist()[0]
    if not row["n"]:
        raise ConfigError(
            "there is nothing to plan: no item has been scored yet",
            hint="`tillstream demo` or `tillstream up` with some sales makes scores",
        )
    newest: datetime = row["newest"]
    return newest


def read_items(
    client: Client, stores: Sequence[str], *, products: Sequence[str] | None = None
) -> pa.Table:
    """Rows of `planning.items.ITEMS` of what has been scored in `stores`, of `products` or all;
    null where the warehouse does not know."""
    chosen = "store_id IN {stores:Array(String)}"
    keys = None
    if products is not None:
        chosen += " AND product_id IN (SELECT product_id FROM keys)"
        keys = (pa.table({"product_id": pa.array(products, pa.string())}), "product_id String")
    unknown = ", ".join(f"CAST(NULL, 'Nullable({kind})') AS {n}" for n, kind in _UNKNOWN.items())
    cost = "toFloat64(p.unit_cost)"
    return select(
        client,
        "SELECT r.store_id AS store_id, r.product_id AS product_id,"
        " nullIf(p.product_name, '') AS product_name, nullIf(p.category, '') AS category,"
        " nullIf(d.region, '') AS region,"
        " r.a AS a, r.b AS b, r.dispersion AS dispersion, r.on_hand AS on_hand,"
        # Without any order, nobody has told of them: that is not the same as none on their way.
        " if((SELECT count() FROM purchase_orders) > 0, toNullable(o.units), NULL)"
        " AS on_order_units, nullIf(o.next_days, 0) AS next_receipt_days,"
        " if(m.n > 0, toNullable(m.shares[toString(p.supplier_id)]), NULL) AS lead_late_share,"
        f" r.lead_days AS lead_days, {unknown},"
        " toFloat64(p.shelf_life_days) AS shelf_life_days,"
        f" coalesce({cost}, s.price * (1 - p.margin)) AS unit_cost,"
        f" coalesce(s.price, {cost} / nullIf(1 - p.margin, 0)) AS unit_price"
        " FROM (SELECT toString(store_id) AS store_id, product_id, belief_a AS a, belief_b AS b,"
        "  dispersion, toFloat64(on_hand) AS on_hand, lead_time_days AS lead_days"
        f"  FROM stockout_risk FINAL WHERE {chosen}) AS r"
        " LEFT JOIN (SELECT product_id, product_name, toString(category) AS category,"
        "  toNullable(margin) AS margin, unit_cost, shelf_life_days, supplier_id"
        "  FROM dim_product FINAL) AS p"
        " ON p.product_id = r.product_id"
        " LEFT JOIN (SELECT store_id, toString(region) AS region FROM dim_store FINAL) AS d"
        " ON d.store_id = r.store_id"
        " LEFT JOIN (SELECT toString(store_id) AS store_id, product_id,"
        "  toNullable(toFloat64(argMax(unit_price, event_time))) AS price FROM fact_sales"
        f"  WHERE {chosen} AND unit_price > 0 AND date_key >="
        f"  (SELECT toDate(max(as_of)) - {_PRICE_DAYS} FROM stockout_risk)"
        "  GROUP BY store_id, product_id) AS s"
        " ON s.store_id = r.store_id AND s.product_id = r.product_id"
        " LEFT JOIN (SELECT toString(store_id) AS store_id, product_id,"
        "  sum(toFloat64(units)) AS units,"
        "  min(dateDiff('second', newest, expected_at)) / 86400 AS next_days"
        "  FROM purchase_orders FINAL"
        "  CROSS JOIN (SELECT max(as_of) AS newest FROM stockout_risk) AS now"
        f"  WHERE {chosen} AND ordered_at <= newest AND expected_at > newest"
        "  GROUP BY store_id, product_id) AS o"
        " ON o.store_id = r.store_id AND o.product_id = r.product_id"
        " CROSS JOIN (SELECT count() AS n, argMax(late_by_supplier, as_of) AS shares"
        "  FROM demand_model FINAL) AS m"
        " ORDER BY store_id, product_id",
        keys=keys,
        parameters={"stores": list(stores)},
    )

"""Where each table's rows come from, back to the topics.

Views, and what feeds tables, are read from the migrations themselves; what programs write is
declared here. What a run read and wrote is told by `tillstream.telemetry.lineage`.
"""

import re
from collections.abc import Mapping

from clickhouse.migrate import load_migrations
from tillstream.contracts.topics import Topic

_CREATE = re.compile(r"^CREATE (TABLE|VIEW|MATERIALIZED VIEW) (\w+)(?: TO (\w+))?")
_READS = re.compile(r"\b(?:FROM|JOIN)\s+(\w+)")

_ALL_TOPICS = (Topic.SALES, Topic.INVENTORY, Topic.PRICES, Topic.CUSTOMERS)
LEARNED_FROM = (
    *("fact_sales", "fact_inventory", "shelf_turns", "price_changes", "purchase_orders"),
    *("demand_prior", "dim_product", "dim_store", "dim_supplier"),
)
_ROLLED = ("fact_sales", "fact_inventory", "shelf_turns", "item_sales_daily", "demand_prior")

# What programs write, and from what. `tests/integration` holds every table against it.
WRITTEN: Mapping[str, tuple[str, ...]] = {
    "fact_sales": (Topic.SALES, "dim_product", "dim_store"),
    "fact_inventory": (Topic.INVENTORY, "dim_store"),
    "price_changes": (Topic.PRICES,),
    "customer_events": (Topic.CUSTOMERS,),
    "duplicates": _ALL_TOPICS,
    "quarantine": _ALL_TOPICS,
    "event_index": _ALL_TOPICS,
    "stream_commits": _ALL_TOPICS,
    "velocity_5m_sums": (Topic.SALES,),
    "anomalies": (Topic.SALES, Topic.INVENTORY),
    "stockout_risk_history": (
        *("current_stock_states", "item_sales_daily"),
        *("demand_prior", "demand_belief", "demand_model", "purchase_orders", "deliveries"),
    ),
    "shelf_counts": ("current_stock_states",),
    "restock_alert_history": ("stockout_risk_history",),
    "restock_alerts_published": ("restock_alert_history",),
    "demand_belief": LEARNED_FROM,
    "demand_model": LEARNED_FROM,
    "rollup_hourly": (*_ROLLED, "dim_store"),
    "rollup_daily": ("rollup_hourly",),
    "rollup_weekly": ("rollup_daily",),
    "rollup_groups": ("rollup_hourly", "rollup_daily", "rollup_weekly", "dim_product", "dim_store"),
    "quality_results": ("fact_sales", "fact_inventory", "rollup_daily"),
    "alert_actions": (Topic.ALERT_ACTIONS, "restock_alert_history"),
    "alert_states": ("restock_alert_history", "alert_actions"),
    "phantom_stock": LEARNED_FROM,
    "forecast_features": ("fact_sales", "shelf_turns", "price_changes", "dim_product"),
    "forecasts": ("forecast_features",),
    "forecast_weeks": ("forecasts",),
    "slow_mover_scores": ("forecast_features",),
    "model_metrics": ("forecasts", "fact_sales"),
    "night_loads": ("fact_sales", "fact_inventory"),
    "night_cuts": ("stream_commits",),
    "night_steps": (),
    "night_alerts": ("night_steps",),
    "erasures": (),
    **dict.fromkeys(("dim_product", "dim_store", "dim_supplier", "dim_date"), ()),
    # What people load, as the chain's own systems have it.
    **dict.fromkeys(("demand_prior", "purchase_orders", "delisted_items", "store_access"), ()),
}


def graph() -> dict[str, tuple[str, ...]]:
    """Every table, view and topic, and what it is made from."""
    edges: dict[str, set[str]] = {name: set(map(str, sources)) for name, sources in WRITTEN.items()}
    for migration in load_migrations():
        for statement in migration.statements():
            match = _CREATE.match(statement)
            if match is None:
                continue
            kind, name, target = match.groups()
            if kind == "TABLE":
                edges.setdefault(name, set())
                continue
            edges.setdefault(target or name, set()).update(_READS.findall(statement))
    known = set(edges) | set(map(str, Topic))
    return {name: tuple(sorted(sources & known)) for name, sources in edges.items()}


def upstream(table: str) -> list[tuple[int, str]]:
    """(depth, name) of a table and all it is made from, as a tree read from the top. What was shown
    before is not followed again."""
    edges = graph()
    found: list[tuple[int, str]] = []
    seen: set[str] = set()

    def follow(name: str, depth: int) -> None:
        found.append((depth, name))
        if name in seen:
            return
        seen.add(name)
        for source in edges.get(name, ()):
            follow(source, depth + 1)

    follow(table, 0)
    return found

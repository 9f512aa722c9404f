"""What if it is ordered now, or only tomorrow; and what if demand or lead time are others."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pyarrow.compute as pc

from clickhouse.client import Client
from tillstream.clock import zone_of
from tillstream.planning.items import completed
from tillstream.planning.plan import Policy, assess, plan
from tillstream.planning.reading import newest_score, read_items
from tillstream.planning.whatif import Change, changed
from tillstream.web.reads.warehouse import Warehouse


@dataclass(frozen=True, slots=True)
class Choice:
    """What comes of ordering at one moment. `risk` is that the shelf is empty before it arrives;
    `advice` is the plan's own words, "" when nothing is needed."""

    when: str
    arrives_days: float
    risk: float
    lost_units: float
    lost_margin: float
    order_units: int
    order_cost: float
    advice: str


@dataclass(frozen=True, slots=True)
class WhatIfOrdered:
    """`assumed` names what is not known of the item, and so was assumed."""

    now: Choice
    tomorrow: Choice
    assumed: str


def what_if_ordered(
    warehouse: Warehouse, store_id: str, product_id: str, *, zone: str, change: Change
) -> WhatIfOrdered | None:
    """None for an item without a score. Nothing is ordered by asking."""

    def read(client: Client) -> tuple[Any, datetime]:
        return read_items(client, [store_id], products=[product_id]), newest_score(client)

    table, newest = warehouse.use(read)
    if not table.num_rows:
        return None
    table = changed(table, change)
    today = newest.astimezone(zone_of(zone))
    tomorrow = today.date() + timedelta(days=1)
    return WhatIfOrdered(
        now=_choice(table, Policy(now=today, day=today.date()), "now"),
        tomorrow=_choice(table, Policy(now=today, day=tomorrow), "tomorrow"),
        assumed=completed(table).assumed[0],
    )


def _choice(table: Any, policy: Policy, when: str) -> Choice:
    items = completed(table)
    found = assess(items, policy)
    suggested = plan(table, policy)
    orders = suggested.filter(pc.equal(suggested["action"], "order")).to_pylist()
    margin = max(float(items.unit_price[0] - items.unit_cost[0]), 0.0)
    lost = float(found.lost_units[0])
    words = suggested["reason"].to_pylist()
    return Choice(
        when=when,
        arrives_days=float(items.lead_days[0]) + policy.ahead_days,
        risk=float(found.risk[0]),
        lost_units=lost,
        lost_margin=lost * margin,
        order_units=orders[0]["units"] if orders else 0,
        order_cost=orders[0]["order_cost"] if orders else 0.0,
        advice=words[0] if words else "",
    )

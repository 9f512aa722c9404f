"""What to order, and what to fetch from a store nearby, for every item that is running low."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tillstream.demand.horizon import Horizon
from tillstream.demand.replenish import (
    Floats,
    Ints,
    Levels,
    economic_service_level,
    lead_shortfall,
    levels,
    order_units,
    room,
)
from tillstream.demand.transfers import LEAST_UNITS, Transfers, transfers
from tillstream.planning.items import Items, completed
from tillstream.planning.reasons import Wording

SUGGESTIONS = pa.schema(
    [
        ("store_id", pa.string()),
        ("product_id", pa.string()),
        ("product_name", pa.string()),
        ("category", pa.string()),
        (
            "action",
            pa.string(),
        ),  # order, transfer, or blocked: nothing fits the limits, or stock is not known
        ("from_store_id", pa.string()),  # of a transfer
        ("units", pa.int64()),
        ("packs", pa.int64()),  # of an order
        ("pack_units", pa.int64()),
        ("order_cost", pa.float64()),  # of an order, at unit cost
        ("daily_units", pa.float64()),
        ("on_hand", pa.float64()),
        ("on_order_units", pa.float64()),
        ("reorder_point", pa.int64()),
        ("safety_stock", pa.float64()),
        ("order_up_to", pa.int64()),
        ("service_level", pa.float64()),
        ("risk", pa.float64()),  # that an order comes too late
        ("expected_lost_margin", pa.float64()),  # until an order comes
        ("low_confidence", pa.bool_()),
        ("reason", pa.string()),
    ]
)
# What spoils sooner has no time to travel between stores.
_LEAST_TRAVEL_LIFE_DAYS = 5.0


@dataclass(frozen=True, slots=True)
class Policy:
    """How a chain orders. `now` and `day` are on the stores' clocks; orders are written as `day`
    begins. A service level is `by_category`, else `service_level`, else follows from each item's
    margin, holding cost and spoilage."""

    now: datetime
    day: date
    review_days: float = 1.0
    cycle_days: float = 0.0
    service_level: float | None = None
    by_category: Mapping[str, float] = field(default_factory=dict)

    @property
    def ahead_days(self) -> float:
        """Days from now until orders are written; 0 when `day` has begun."""
        begins = datetime.combine(self.day, time(), tzinfo=self.now.tzinfo)
        return max((begins - self.now).total_seconds() / 86_400, 0.0)


@dataclass(frozen=True, slots=True)
class Assessment:
    """Where items stand, (n,). `short` is the units missing up to the order-up-to level where the
    position is known and below the reorder point, else 0; `room` the most that may come."""

    horizon: Horizon
    levels: Levels
    service_level: Floats
    risk: Floats
    lost_units: Floats
    short: Floats
    room: Floats


def assess(items: Items, policy: Policy) -> Assessment:
    horizon = items.horizon(review_days=policy.review_days, ahead_days=policy.ahead_days)
    service = _service_level(items, horizon, policy)
    aim = levels(items.belief, horizon, service_level=service, cycle_days=policy.cycle_days)
    risk, lost = lead_shortfall(items.belief, horizon, available=items.available(horizon))
    return Assessment(
        horizon=horizon,
        levels=aim,
        service_level=service,
        risk=risk,
        lost_units=lost,
        short=np.where(items.stock_known, _short(aim, items.position), 0.0),
        room=room(items.belief, horizon, items.limits, position=items.position),
    )


def short_products(table: pa.Table, policy: Policy) -> list[str]:
    """Ids of the products that some item of `table` needs more of."""
    needed = assess(completed(table), policy).short > 0
    found: list[str] = pc.unique(table["product_id"].filter(pa.array(needed))).to_pylist()
    return sorted(found)


def plan(table: pa.Table, policy: Policy, *, stores: Collection[str] | None = None) -> pa.Table:
    """Suggestions for the items of `table` (columns as `items.ITEMS`), most to lose first in each
    store; only those of `stores`, when given: the others then can give and compete for what others
    give. The answer has columns SUGGESTIONS. Raises ConfigError as `items.completed` does."""
    items = completed(table)
    found = assess(items, policy)
    moves = _transfers(items, found)
    received = moves.received(len(items))
    still = np.where(found.short > 0, _short(found.levels, items.position + received), 0.0)
    units = order_units(items.limits, short=still, room=found.room - received)
    unmet = (found.short > 0) & (units == 0) & (received == 0)
    blocked = np.flatnonzero(unmet | ~items.stock_known)
    ordered = np.flatnonzero(units)
    words = Wording.of(items, found.horizon, now=policy.now)
    ids = items.table["store_id"].to_pylist()
    giving = [ids[row] for row in moves.giver.tolist()]
    reasons = [
        *(words.order(row, int(units[row])) for row in ordered.tolist()),
        *map(words.transfer, moves.taker.tolist(), moves.units.tolist(), giving),
        *(words.blocked(row) for row in blocked.tolist()),
    ]
    kinds = [("order", len(ordered)), ("transfer", len(moves)), ("blocked", len(blocked))]
    rows = np.concatenate([ordered, moves.taker, blocked]).astype(np.int64)
    suggestions = _table(
        items,
        found,
        rows,
        action=[kind for kind, count in kinds for _ in range(count)],
        from_store=[*[None] * len(ordered), *giving, *[None] * len(blocked)],
        units=np.concatenate([units[ordered], moves.units, np.zeros(len(blocked), np.int64)]),
        reasons=reasons,
    )
    if stores is not None:
        asked = pa.array(sorted(stores), pa.string())
        suggestions = suggestions.filter(pc.is_in(suggestions["store_id"], asked))
    order = ["store_id", "expected_lost_margin", "product_id", "action", "from_store_id"]
    descending = {"expected_lost_margin"}
    return suggestions.sort_by(
        [(name, "descending" if name in descending else "ascending") for name in order]
    )


def _service_level(items: Items, horizon: Horizon, policy: Policy) -> Floats:
    if policy.service_level is None:
        service = economic_service_level(
            items.belief,
            horizon,
            unit_cost=items.unit_cost,
            unit_price=items.unit_price,
            shelf_life_days=items.limits.shelf_life_days,
        )
    else:
        service = np.full(len(items), policy.service_level)
    if policy.by_category:
        category = np.array(items.table["category"].to_pylist(), dtype=object)
        for name, level in policy.by_category.items():
            service[category == name] = level
    return service


def _short(aim: Levels, position: Floats) -> Floats:
    return np.where(position < aim.reorder_point, aim.order_up_to - position, 0.0)


def _transfers(items: Items, found: Assessment) -> Transfers:
    """Givers keep, on their shelves, all that they would order up to. A part smaller than a pack is
    fetched only when it is all that is needed."""
    region = items.table["region"]
    known = ~np.asarray(pc.is_null(region).to_numpy(zero_copy_only=False), dtype=bool)
    travels = known & (items.limits.shelf_life_days >= _LEAST_TRAVEL_LIFE_DAYS)
    group = _codes(region) * (len(items) + 1) + _codes(items.table["product_id"])
    spare = np.floor(items.on_hand - found.levels.order_up_to)
    need = np.floor(np.minimum(found.short, found.room))
    least = np.maximum(np.minimum(items.limits.pack_units, need), LEAST_UNITS)
    return transfers(
        group=group,
        surplus=np.where(travels, spare, 0).astype(np.int64),
        need=np.where(travels, need, 0).astype(np.int64),
        urgency=_lost_margin(items, found),
        least_units=least.astype(np.int64),
    )


def _codes(column: pa.ChunkedArray) -> Ints:
    codes = column.combine_chunks().dictionary_encode(null_encoding="encode").indices
    return np.asarray(codes.to_numpy(zero_copy_only=False), dtype=np.int64)


def _lost_margin(items: Items, found: Assessment) -> Floats:
    return found.lost_units * np.maximum(items.unit_price - items.unit_cost, 0.0)


def _table(
    items: Items,
    found: Assessment,
    rows: Ints,
    *,
    action: list[str],
    from_store: list[str | None],
    units: Ints,
    reasons: list[str],
) -> pa.Table:
    pack = items.limits.pack_units[rows]
    bought = pa.array(np.array(action, dtype=object) == "order", pa.bool_())
    facts = items.table.take(pa.array(rows))
    columns = {name: facts[name] for name in SUGGESTIONS.names[:4]}
    columns |= {
        "action": pa.array(action, pa.string()),
        "from_store_id": pa.array(from_store, pa.string()),
        "units": pa.array(units),
        "packs": pc.if_else(bought, pa.array(units // pack), None),
        "pack_units": pa.array(pack),
        "order_cost": pc.if_else(
            bought, pa.array(np.round(units * items.unit_cost[rows], 4)), None
        ),
        "daily_units": pa.array((items.belief.a / items.belief.b)[rows]),
        "on_hand": pa.array(items.on_hand[rows]),
        "on_order_units": pa.array(items.on_order_units[rows]),
        "reorder_point": pa.array(found.levels.reorder_point[rows]),
        "safety_stock": pa.array(found.levels.safety_stock[rows]),
        "order_up_to": pa.array(found.levels.order_up_to[rows]),
        "service_level": pa.array(found.service_level[rows]),
        "risk": pa.array(found.risk[rows]),
        "expected_lost_margin": pa.array(_lost_margin(items, found)[rows]),
        "low_confidence": pa.array([bool(items.assumed[row]) for row in rows.tolist()], pa.bool_()),
        "reason": pa.array(reasons, pa.string()),
    }
    return pa.table(columns, schema=SUGGESTIONS)

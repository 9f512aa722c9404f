"""What a change of lead times, demand or prices would do to stock, orders and lost sales."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tillstream.planning.items import Items, completed
from tillstream.planning.plan import Assessment, Policy, assess, plan

# By how many percent demand falls when prices rise by one. A round figure, chosen by judgement:
# measured ones differ widely (Bijmolt, van Heerde and Pieters 2005: 2.6 on average over brands).
PRICE_ELASTICITY = 1.6
_AT_RISK = 0.20


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes different: days more of lead time, and demand and price by a factor."""

    lead_days: float = 0.0
    demand: float = 1.0
    price: float = 1.0
    elasticity: float = PRICE_ELASTICITY

    @property
    def demand_factor(self) -> float:
        """Demand's own change, times what the price does to it: price ** -elasticity."""
        return float(self.demand * self.price**-self.elasticity)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A chain's figures in one state of affairs. Lost units and margin are those expected until an
    order placed on the plan's day arrives; items at risk have a risk above 20 % of that."""

    items: int
    daily_units: float
    daily_margin: float
    order_up_to_units: float
    safety_stock_units: float
    items_at_risk: int
    lost_units: float
    lost_margin: float
    orders: int
    order_units: int
    order_cost: float
    transfer_units: int


@dataclass(frozen=True, slots=True)
class WhatIf:
    """`now`, `then`, and the items whose order-up-to level moves most (columns store_id,
    product_id, product_name, level_now, level_then, risk_now, risk_then)."""

    now: Outcome
    then: Outcome
    moved: pa.Table


def changed(table: pa.Table, change: Change) -> pa.Table:
    """The items of `table` after `change`; what is not known stays so, and keeps its default plus
    the change for lead time. A cost stands where a price moves."""
    items = completed(table)
    factor = change.demand_factor
    columns = {
        # The belief's own doubt (a) does not change, only the pace.
        "a": items.belief.a,
        "b": items.belief.b / factor,
        "lead_days": np.maximum(items.lead_days + change.lead_days, 0.0),
        "unit_cost": items.unit_cost,
        "unit_price": items.unit_price * change.price,
    }
    after = items.table
    for name, values in columns.items():
        at = after.schema.get_field_index(name)
        after = after.set_column(at, name, pa.array(values, pa.float64()))
    return after


def what_if(table: pa.Table, policy: Policy, change: Change, *, top: int = 10) -> WhatIf:
    """Both states of the items of `table` (columns as `items.ITEMS`), planned by `policy`."""
    after = changed(table, change)
    before_items, after_items = completed(table), completed(after)
    before, then = assess(before_items, policy), assess(after_items, policy)
    return WhatIf(
        now=_outcome(before_items, before, plan(table, policy)),
        then=_outcome(after_items, then, plan(after, policy)),
        moved=_moved(before_items.table, before, then, top=top),
    )


def combined(parts: Sequence[WhatIf], *, top: int = 10) -> WhatIf:
    """Several parts of a chain as one. Raises ValueError when there are none."""
    moved = pa.concat_tables([part.moved for part in parts])
    by = np.abs(moved["level_then"].to_numpy() - moved["level_now"].to_numpy())
    most = np.argsort(-by, kind="stable")[:top]
    return WhatIf(
        now=_sum([part.now for part in parts]),
        then=_sum([part.then for part in parts]),
        moved=moved.take(pa.array(most, pa.int64())),
    )


def _sum(outcomes: Sequence[Outcome]) -> Outcome:
    names = [field.name for field in fields(Outcome)]
    return Outcome(**{name: sum(getattr(one, name) for one in outcomes) for name in names})


def _outcome(items: Items, found: Assessment, suggestions: pa.Table) -> Outcome:
    daily = items.belief.a / items.belief.b
    margin = items.unit_price - items.unit_cost
    orders = suggestions.filter(pc.equal(suggestions["action"], "order"))
    moves = suggestions.filter(pc.equal(suggestions["action"], "transfer"))
    return Outcome(
        items=len(items),
        daily_units=float(daily.sum()),
        daily_margin=float((daily * margin).sum()),
        order_up_to_units=float(found.levels.order_up_to.sum()),
        safety_stock_units=float(found.levels.safety_stock.sum()),
        items_at_risk=int((found.risk > _AT_RISK).sum()),
        lost_units=float(found.lost_units.sum()),
        lost_margin=float((found.lost_units * np.maximum(margin, 0.0)).sum()),
        orders=orders.num_rows,
        order_units=int(pc.sum(orders["units"], min_count=0).as_py()),
        order_cost=float(pc.sum(orders["order_cost"], min_count=0).as_py()),
        transfer_units=int(pc.sum(moves["units"], min_count=0).as_py()),
    )


def _moved(table: pa.Table, before: Assessment, then: Assessment, *, top: int) -> pa.Table:
    by = np.abs(then.levels.order_up_to - before.levels.order_up_to)
    most = np.lexsort((np.arange(len(by)), -by))[:top]
    rows = most[by[most] > 0]
    names = table.take(pa.array(rows, pa.int64()))
    return pa.table(
        {
            **{name: names[name] for name in ("store_id", "product_id", "product_name")},
            "level_now": before.levels.order_up_to[rows],
            "level_then": then.levels.order_up_to[rows],
            "risk_now": before.risk[rows],
            "risk_then": then.risk[rows],
        }
    )

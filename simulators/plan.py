"""What to replay, and everything the replay needs, loaded and worked out beforehand."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

import pandas as pd

from simulators.assumptions import (
    DEFAULT_PACK_UNITS,
    PACK_UNITS,
    WEIGHED_DEPARTMENTS,
    is_stocked,
)
from simulators.complete_journey import (
    DAY_MS,
    WINDOW_MS,
    check_range,
    day_start_ms,
    products,
    sales_between,
    store_ids,
)
from simulators.demand import demand_before, history_before
from simulators.policy import (
    ReplenishmentPolicy,
    opening_stock,
    policy_for,
    review_period_days,
    supplier_lead_time_days,
)
from tillstream.errors import ConfigError

_PAIR: Final = ["store_id", "product_id"]
_CENT: Final = 100  # ten-thousandths

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class ReplayPlan:
    """Days and stores to replay; `shift_ms` is added to every recorded time. Without `stores`, all
    of them."""

    start: date
    days: int
    stores: tuple[int, ...] | None = None
    shift_ms: int = 0

    @property
    def start_ms(self) -> int:
        """Midnight UTC of the first day, as recorded."""
        return day_start_ms(self.start)

    @property
    def end_ms(self) -> int:
        """Midnight UTC after the last day, as recorded; no event reaches it."""
        return self.start_ms + self.days * DAY_MS


@dataclass(frozen=True, slots=True)
class StockedItem:
    """One product on the shelves of one store, as the replay opens."""

    store_id: int
    product_id: int
    opening_units: int
    policy: ReplenishmentPolicy


@dataclass(frozen=True, slots=True)
class ReplayInputs:
    """All a replay depends on. `sales` is as `sales_between` gives it; `last_prices` are the last
    ones seen before the start, in ten-thousandths; `demand` is what `dimensions` takes."""

    plan: ReplayPlan
    sales: pd.DataFrame
    items: Sequence[StockedItem]
    last_prices: Mapping[Pair, int]
    fixed_price_products: frozenset[int]
    demand: pd.DataFrame

    @property
    def steps(self) -> int:
        """Opening counts and sale lines: what progress is measured in, known beforehand."""
        return len(self.items) + len(self.sales)


def shift_to_end_at(plan_end_ms: int, now_ms: int) -> int:
    """The shift that moves the end of a range to now, rounded down to whole windows.

    Whole windows, so that the shifted lines fall into the same 5-minute windows as the recorded;
    down, so that no event lies in the future. Events end less than 5 minutes before now, plus what
    the stores were closed for.
    """
    return (now_ms - plan_end_ms) // WINDOW_MS * WINDOW_MS


def choose_stores(text: str | None, plan: ReplayPlan, *, cache: Path) -> tuple[int, ...] | None:
    """Store numbers from "330,406" (a comma makes them numbers: "330," is one) or "20" (the busiest
    20 of the range). Raises ConfigError naming what is allowed."""
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isascii() and part.isdigit() for part in parts):
        raise ConfigError(
            f"stores must be a count or store numbers, got {text!r}",
            hint="--stores 20 takes the 20 busiest; --stores 330,406 takes these two",
        )
    known = store_ids(cache=cache)
    if "," in text:
        chosen = sorted({int(part) for part in parts})
        unknown = [store for store in chosen if store not in set(known)]
        if unknown:
            raise ConfigError(
                f"unknown store {', '.join(map(str, unknown))}: the data set has {len(known)} "
                f"stores, among them {', '.join(map(str, known[:5]))} and {known[-1]}",
                hint="--stores 20 takes the 20 busiest of the range",
            )
        return tuple(chosen)
    count = int(parts[0])
    if not 1 <= count <= len(known):
        raise ConfigError(f"the number of stores must be 1 to {len(known)}, got {count}")
    lines = sales_between(plan.start, plan.days, cache=cache)["store_id"].value_counts()
    busiest = sorted(lines.index, key=lambda store: (-int(lines[store]), int(store)))
    return tuple(sorted(int(store) for store in busiest[:count]))


def prepare(plan: ReplayPlan, *, cache: Path) -> ReplayInputs:
    """Load the lines of a plan, and derive opening stock, policies, prices and demand.

    Depends on the plan and the data set alone, and not on its shift. An item's opening stock does
    not depend on how long the replay is or which stores it has. Raises ConfigError for a range
    outside the data set.
    """
    check_range(plan.start, plan.days)
    sales = sales_between(plan.start, plan.days, cache=cache, stores=plan.stores)
    catalogue = products(cache=cache).set_index("product_id")
    history = history_before(plan.start, cache=cache)
    stocked = [
        is_stocked(department, category)
        for department, category in zip(catalogue["department"], catalogue["category"], strict=True)
    ]
    merchandise = catalogue[stocked]
    moving = sales[(sales["quantity"] > 0) & sales["product_id"].isin(merchandise.index)]
    pairs = moving[_PAIR].drop_duplicates().sort_values(_PAIR, ignore_index=True)
    demand = demand_before(pairs, history, catalogue["category"])
    supplier = demand["product_id"].map(catalogue["manufacturer_id"])
    lead_times = {each: supplier_lead_time_days(int(each)) for each in supplier.unique()}
    demand["lead_time_days"] = supplier.map(lead_times).astype("float64")
    fixed = merchandise[~merchandise["department"].isin(WEIGHED_DEPARTMENTS)]
    fixed_price_products = frozenset(fixed.index.tolist())
    return ReplayInputs(
        plan=plan,
        sales=sales,
        items=_items(demand, catalogue["department"], plan.start),
        last_prices=_last_prices(history.lines, fixed_price_products)
        if history.precedes_start
        else {},
        fixed_price_products=fixed_price_products,
        demand=demand,
    )


def net_unit_price(sales_cents: int, coupon_match_cents: int, quantity: int) -> int:
    """What a cardholder pays for one unit before coupons, in ten-thousandths, half up."""
    return divide_half_up((sales_cents + coupon_match_cents) * _CENT, quantity)


def divide_half_up(amount: int, by: int) -> int:
    """amount / by to the nearest whole number, for amount >= 0 and by > 0."""
    return (2 * amount + by) // (2 * by)


def _items(demand: pd.DataFrame, department_of: "pd.Series[str]", start: date) -> list[StockedItem]:
    packs = [PACK_UNITS.get(each, DEFAULT_PACK_UNITS) for each in department_of]
    pack_of = dict(zip(department_of.index.tolist(), packs, strict=True))
    review_days = {
        store: review_period_days(store) for store in demand["store_id"].unique().tolist()
    }
    items = []
    for store, product, daily, dispersion, lead_time in zip(
        *(
            demand[name].tolist()
            for name in (*_PAIR, "daily_units", "dispersion", "lead_time_days")
        ),
        strict=True,
    ):
        policy = policy_for(
            daily_units=daily,
            dispersion=dispersion,
            review_days=review_days[store],
            lead_time_days=int(lead_time),
            pack_units=pack_of[product],
        )
        opening = opening_stock(
            policy,
            daily_units=daily,
            review_days=review_days[store],
            identity=(store, product, start.isoformat()),
        )
        items.append(StockedItem(store, product, opening, policy))
    return items


def _last_prices(lines: pd.DataFrame, fixed_price: frozenset[int]) -> dict[Pair, int]:
    seen = lines[(lines["quantity"] > 0) & lines["product_id"].isin(fixed_price)]
    last = seen.drop_duplicates(_PAIR, keep="last")
    columns = [*_PAIR, "sales_cents", "coupon_match_cents", "quantity"]
    return {
        (store, product): net_unit_price(sales, match, quantity)
        for store, product, sales, match, quantity in zip(
            *(last[name].tolist() for name in columns), strict=True
        )
    }

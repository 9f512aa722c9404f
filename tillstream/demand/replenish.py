"""How much a shelf should hold, and how much to order for it.

An item is reviewed every `review_days`, and what is ordered comes after a random lead time. So the
inventory position, which is the stock with what is on its way, must last over the *horizon*: lead
time + review period, in demand days. Silver, Pyke and Thomas, Inventory and Production
Management in Supply Chains (2017), chapter 7, for the periodic review; the service level is the
newsvendor's Cu / (Cu + Co).

Items are rows of aligned arrays (n,); lead times are (n, K) with weights whose rows add up to 1.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tillstream.demand.belief import Belief
from tillstream.demand.horizon import Horizon, at_most, smallest_position
from tillstream.demand.risk import demand_at_least, expected_shortfall

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# What holding a unit for a year costs, as a share of its cost: capital, space and handling.
HOLDING_PER_YEAR = 0.25
# A service level beyond the highest would order for a tail that no history knows; below the lowest,
# the shelf would stand empty as often as not.
LOWEST_SERVICE = 0.50
HIGHEST_SERVICE = 0.99
_DAYS_PER_YEAR = 365.0
# Room without limits, as a number that divides.
_MOST_UNITS = 2.0**40


@dataclass(frozen=True, slots=True)
class Levels:
    """Units, (n,). `safety_stock` is the reorder point less the mean demand over the horizon, and
    negative where a service level below a half asks for less than the mean."""

    reorder_point: Ints
    safety_stock: Floats
    order_up_to: Ints


@dataclass(frozen=True, slots=True)
class Limits:
    """What an order must respect, (n,): whole packs of at least `min_order_units`, at most
    `capacity_units` on the shelf (infinite: no limit), sold within `shelf_life_days` of arrival
    (infinite: keeps)."""

    pack_units: Ints
    min_order_units: Ints
    capacity_units: Floats
    shelf_life_days: Floats


def critical_ratio(underage: Floats, overage: Floats) -> Floats:
    """Cu / (Cu + Co), within LOWEST_SERVICE and HIGHEST_SERVICE. `underage` is what a missing unit
    costs, its margin; `overage` what a unit too many costs until the next review, not its price."""
    gain = np.maximum(underage, 0.0)
    ratio = gain / np.maximum(gain + np.maximum(overage, 0.0), 1e-12)
    clipped: Floats = np.clip(ratio, LOWEST_SERVICE, HIGHEST_SERVICE)
    return clipped


def overage_cost(
    belief: Belief, horizon: Horizon, *, units: Floats, unit_cost: Floats, shelf_life_days: Floats
) -> Floats:
    """What a unit left of a position of `units` after the horizon costs: to hold it for one review
    period, and its cost times the chance that it spoils.

    The last of `units` spoils when fewer are wanted within lead time + shelf life (the oldest sell
    first). Given that it is left over, the chance is P(D(lead + life) <= units) /
    P(D(lead + review) <= units), and 1 for a life shorter than a review period.
    """
    left = at_most(belief, horizon, units, after_lead_days=horizon.review_days)
    keeps = np.isinf(shelf_life_days)
    life = np.where(keeps, horizon.review_days, shelf_life_days)
    spoiled = at_most(belief, horizon, units, after_lead_days=life)
    chance = np.where(keeps, 0.0, np.minimum(spoiled / np.maximum(left, 1e-12), 1.0))
    held = HOLDING_PER_YEAR * horizon.review_days / _DAYS_PER_YEAR
    return unit_cost * (held + chance)


def economic_service_level(
    belief: Belief,
    horizon: Horizon,
    *,
    unit_cost: Floats,
    unit_price: Floats,
    shelf_life_days: Floats,
) -> Floats:
    """The critical ratio at the smallest position where one more unit no longer pays: more stock
    spoils more, so cost and level depend on each other."""
    margin = unit_price - unit_cost

    def ratio(rows: Ints, units: Floats) -> Floats:
        overage = overage_cost(
            belief.of_rows(rows),
            horizon.of_rows(rows),
            units=units,
            unit_cost=unit_cost[rows],
            shelf_life_days=shelf_life_days[rows],
        )
        return critical_ratio(margin[rows], overage)

    spoils = np.flatnonzero(np.isfinite(shelf_life_days))
    # The chance of enough rises with the position and the ratio falls, so they cross once.
    best = smallest_position(
        belief,
        horizon,
        rows=spoils,
        wanted=ratio,
        near=np.full(len(spoils), (LOWEST_SERVICE + HIGHEST_SERVICE) / 2),
    )
    held = HOLDING_PER_YEAR * horizon.review_days / _DAYS_PER_YEAR
    service = critical_ratio(margin, unit_cost * held)
    service[spoils] = ratio(spoils, best)
    return service


def levels(
    belief: Belief, horizon: Horizon, *, service_level: Floats, cycle_days: float = 0.0
) -> Levels:
    """Reorder point: the smallest x with P(demand over the horizon <= x) >= `service_level`, the
    lead time being random. The order-up-to level adds the mean demand of `cycle_days`, by which an
    item is to be ordered less often than it is reviewed."""
    rate = belief.a / belief.b
    mean = horizon.mean_days * rate
    point = smallest_position(
        belief,
        horizon,
        rows=np.arange(len(mean)),
        wanted=lambda rows, _: service_level[rows],
        near=service_level,
    ).astype(np.int64)
    more = np.ceil(np.round(rate * cycle_days, 9)).astype(np.int64)
    return Levels(reorder_point=point, safety_stock=point - mean, order_up_to=point + more)


def room(belief: Belief, horizon: Horizon, limits: Limits, *, position: Floats) -> Floats:
    """The most units (n,) that may be added to `position`; infinite without limits.

    Shelf: what is expected to stand there when the earliest order arrives, with the order on top,
    fits the capacity. Shelf life: the order is expected to sell within it, after what is there
    before it.
    """
    rate = belief.a / belief.b
    first = horizon.lead_days.min(axis=1)
    by_shelf = limits.capacity_units + np.floor(rate * first) - position
    ahead = np.maximum(position - rate * horizon.mean_lead_days, 0.0)
    by_life = np.floor(rate * limits.shelf_life_days - ahead)
    most: Floats = np.maximum(np.minimum(by_shelf, by_life), 0.0)
    return most


def order_units(limits: Limits, *, short: Floats, room: Floats) -> Ints:
    """Units to order, (n,): the fewest whole packs that cover `short` and the minimum order, less
    what exceeds `room`, and nothing when what then remains is below the minimum."""
    pack = limits.pack_units
    least = np.maximum(short, limits.min_order_units)
    packs = np.ceil(least / pack)
    fits = np.floor(np.minimum(room, _MOST_UNITS) / pack)
    units = np.minimum(packs, fits) * pack
    return np.where((short > 0) & (units >= limits.min_order_units), units, 0).astype(np.int64)


def lead_shortfall(belief: Belief, horizon: Horizon, *, available: Floats) -> tuple[Floats, Floats]:
    """(chance that an order placed now comes too late, units expected to be lost until then).
    `available` is (n, K): the units there to sell before the k-th lead time ends."""
    risk = np.zeros(len(available))
    lost = np.zeros(len(available))
    for k in range(available.shape[1]):
        days, stock = horizon.lead_days[:, k], available[:, k]
        risk += horizon.lead_weight[:, k] * demand_at_least(belief, days, stock)
        lost += horizon.lead_weight[:, k] * expected_shortfall(belief, days, stock)
    return risk, lost

"""How a store replenishes: periodic review, order up to a level, whole packs.

At each review a product whose inventory position (on hand plus on order) is below its order-up-to
level S is ordered in as few packs as reach S; they arrive one lead time later. This is the (R, nQ)
policy; its inventory position after a review is uniform on S … S + Q - 1 when units sell one at a
time (Hadley and Whitin 1963, chapter 5), which gives the stock a replay opens with.
"""

import math
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from simulators.assumptions import LEAD_TIMES_DAYS, REVIEW_PLANS

# Standard normal quantile of a 90 % chance of lasting a cycle: shelves do run empty.
SERVICE_Z: Final = 1.2816
_DAYS_A_WEEK: Final = 7


@dataclass(frozen=True, slots=True)
class ReplenishmentPolicy:
    """`order_up_to` and `pack_units` in units, `lead_time_days` from order to shelf."""

    order_up_to: int
    pack_units: int
    lead_time_days: int

    def order(self, position: int) -> int:
        """Units to order at a review: the fewest whole packs that reach `order_up_to`."""
        short = self.order_up_to - position
        return -(-short // self.pack_units) * self.pack_units if short > 0 else 0


def policy_for(
    *,
    daily_units: float,
    dispersion: float,
    review_days: float,
    lead_time_days: int,
    pack_units: int,
) -> ReplenishmentPolicy:
    """The level that covers a review period and a lead time of demand nine times in ten."""
    mean = daily_units * (review_days + lead_time_days)
    level = math.ceil(mean + SERVICE_Z * math.sqrt(dispersion * mean))
    return ReplenishmentPolicy(
        order_up_to=max(1, level), pack_units=pack_units, lead_time_days=lead_time_days
    )


def review_weekdays(store_id: int) -> tuple[int, ...]:
    """The weekdays (Monday is 0) on which a store's orders are written."""
    return REVIEW_PLANS[_draw("review", store_id) % len(REVIEW_PLANS)]


def review_period_days(store_id: int) -> float:
    """The mean time between two reviews of a store."""
    return _DAYS_A_WEEK / len(review_weekdays(store_id))


def supplier_lead_time_days(supplier_id: int) -> int:
    """Days from order to delivery."""
    return LEAD_TIMES_DAYS[_draw("lead time", supplier_id) % len(LEAD_TIMES_DAYS)]


def truck_minute(store_id: int) -> int:
    """The minute of the hour at which a store's deliveries arrive."""
    return _draw("truck", store_id) % 60


def opening_stock(
    policy: ReplenishmentPolicy,
    *,
    daily_units: float,
    review_days: float,
    identity: tuple[int, int, str],
) -> int:
    """Units on the shelf as a review begins: the position after the last one, less what has sold.

    A pseudo-random draw that depends on `identity` (store, product, start) alone, so that every
    replay from that day opens with the same stock.
    """
    draw = _draw("opening", *identity)
    above = (draw & 0xFFFFFFFF) % policy.pack_units
    chance = (draw >> 32) / 2**32
    sold = _poisson_quantile(chance, daily_units * review_days)
    return max(0, policy.order_up_to + above - sold)


def _poisson_quantile(chance: float, mean: float) -> int:
    """The smallest k with P(X <= k) > chance; above 500, evenly spread with the same variance."""
    if mean > 500:
        return round(mean + math.sqrt(mean) * (chance - 0.5) * math.sqrt(12))
    term = total = math.exp(-mean)
    k = 0
    # A term this small can no longer move the total toward the chance.
    while total <= chance and (term > 1e-18 or k < mean):
        k += 1
        term *= mean / k
        total += term
    return k


def _draw(*identity: object) -> int:
    """64 bits that depend on the identity alone, the same on every machine and in every run."""
    text = "\x1f".join(map(str, identity)).encode()
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big")

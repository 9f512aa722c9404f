"""Who comes when, and what they want: the demand of one store in one slot, before any shelf."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simulators.world.fitted import fitted
from simulators.world.seasons import HOUR_MS
from simulators.world.stores import Planogram, Store

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_MOST_LINES = 160
PAYMENTS = ("card", "cash", "mobile", "voucher")
_PAYMENT_SHARE = np.cumsum([0.68, 0.17, 0.13, 0.02])
_CUSTOMERS_PER_BASKET_A_DAY = 4


@dataclass(frozen=True, slots=True)
class Baskets:
    """By basket: time, customer (a number within the store, -1 without a card), till, payment."""

    at_ms: Ints
    customer: Ints
    till: Ints
    payment: Ints


@dataclass(frozen=True, slots=True)
class Lines:
    """By line, grouped by basket: its basket, position, and units wanted. A product is at most
    once in a basket."""

    basket: Ints
    position: Ints
    units: Ints


def shop(
    draw: np.random.Generator,
    store: Store,
    planogram: Planogram,
    cdf: Floats,
    heat: Floats,
    *,
    by_hour: Floats,
    span: tuple[int, int],
    loyal: float,
) -> tuple[Baskets, Lines]:
    """The baskets of the hours that `by_hour` is given for (their mean numbers), within `span`
    (milliseconds UTC, from and to)."""
    shape = fitted()
    start, end = span
    step = (end - start) // len(by_hour)
    per_bin = draw.poisson(by_hour)
    count = int(per_bin.sum())
    at = start + np.repeat(np.arange(len(by_hour)) * step, per_bin) + draw.integers(0, step, count)
    at.sort()
    mission = np.searchsorted(np.cumsum(shape.mission_share)[:-1], draw.random(count))
    # A geometric number of lines, by inversion: numpy's own draws a changing number of times.
    go_on = 1 - 1 / shape.mission_mean_lines[mission]
    with np.errstate(divide="ignore"):
        extra = np.log(1 - draw.random(count)) / np.log(go_on)
    size = np.minimum(1 + extra.astype(np.int64), _MOST_LINES)
    customers = max(50, int(store.baskets_per_day * _CUSTOMERS_PER_BASKET_A_DAY))
    # The square makes regulars: a few customers come often.
    customer = (draw.random(count) ** 2 * customers).astype(np.int64)
    baskets = Baskets(
        at_ms=at,
        customer=np.where(draw.random(count) < loyal, customer, -1),
        till=draw.integers(0, store.format.tills, count),
        payment=np.minimum(np.searchsorted(_PAYMENT_SHARE, draw.random(count)), 3),
    )
    basket = np.repeat(np.arange(count), size)
    position = choose(draw, store, planogram, cdf, heat, mission[basket])
    units = 1 + np.searchsorted(np.cumsum(shape.units)[:-1], draw.random(len(basket)))
    key, first = np.unique(basket * len(planogram) + position, return_index=True)
    return baskets, Lines(key // len(planogram), key % len(planogram), units[first])


def choose(
    draw: np.random.Generator,
    store: Store,
    planogram: Planogram,
    cdf: Floats,
    heat: Floats,
    mission: Ints,
) -> Ints:
    """A position for each line: its category by the store's taste and the weather, then a product
    of the category by popularity."""
    taste = store.taste * heat
    edges = np.cumsum(taste, axis=1)
    edges /= edges[:, -1:]
    # One search for all missions: each mission's edges lie in an interval of their own.
    flat = (edges + np.arange(len(edges))[:, None]).ravel()
    at = np.searchsorted(flat, mission + draw.random(len(mission)), side="right")
    category = np.minimum(at - mission * edges.shape[1], edges.shape[1] - 1)
    return within(draw, planogram, cdf, category)


def within(draw: np.random.Generator, planogram: Planogram, cdf: Floats, category: Ints) -> Ints:
    """A position of each category, by popularity."""
    below = np.append(0.0, cdf)
    low, high = below[planogram.starts[category]], below[planogram.starts[category + 1]]
    position = np.searchsorted(cdf, low + draw.random(len(category)) * (high - low), side="right")
    last = planogram.starts[category + 1] - 1
    return np.asarray(np.clip(position, planogram.starts[category], last))


def hours_in(span: tuple[int, int], offset_ms: int, by_hour: Floats, store: Store) -> Floats:
    """Mean numbers of baskets of the bins of a span: its hours, or itself within one hour."""
    start, end = span
    length = end - start
    kind = store.format
    if length <= HOUR_MS:
        hour = (start + offset_ms) // HOUR_MS % 24
        open_ = kind.opens <= hour < kind.closes
        return np.array([by_hour[hour] * length / HOUR_MS if open_ else 0.0])
    hours = ((start + offset_ms) // HOUR_MS + np.arange(length // HOUR_MS)) % 24
    return np.asarray(by_hour[hours] * ((hours >= kind.opens) & (hours < kind.closes)))

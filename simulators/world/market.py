"""What the market is like on a day: prices, promotions, and how popular each product is."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from simulators.world.catalogue import Catalogue
from simulators.world.chance import Purpose, stream
from simulators.world.scenario import Demand
from simulators.world.seasons import weather
from simulators.world.stores import Planogram

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

# Promotions run from Wednesday to Tuesday: day 6 after 1970-01-01, a Thursday, was a Wednesday.
_FIRST_WEDNESDAY = 6
_DISCOUNTS = np.array([0.10, 0.15, 0.20, 0.25, 0.33, 0.50])
_MARKDOWN_SHARE = 0.1
_REPRICED_WEEKLY = 0.004
_PRICE_MEMORY_WEEKS = 26


@dataclass(frozen=True, slots=True)
class Prices:
    """A week's prices in one region, in cents by product. `paid` is below `regular` on promotion;
    a markdown is a promotion to clear the shelf."""

    week: int
    regular: Ints
    paid: Ints
    markdown: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Shelf:
    """How likely each position of a planogram is to be chosen on a day: `cdf` cumulates weights
    over the positions."""

    cdf: Floats
    prices: Prices


def week_of(day: int) -> int:
    """The promotion week of a day numbered from 1970-01-01."""
    return (day - _FIRST_WEDNESDAY) // 7


def week_start(week: int) -> int:
    return week * 7 + _FIRST_WEDNESDAY


class Market:
    """Prices by region and week, and choice by planogram and day. Pure; remembers the newest."""

    def __init__(
        self, seed: int, catalogue: Catalogue, planograms: list[Planogram], demand: Demand
    ) -> None:
        self._seed = seed
        self._catalogue = catalogue
        self._planograms = planograms
        self._demand = demand
        # Regions may be a day apart, and a day looks back to the week before.
        self.prices = lru_cache(maxsize=16)(self._prices)
        self.shelf = lru_cache(maxsize=64)(self._shelf)

    def heat(self, region: int, day: int) -> Floats:
        """How much more of each category sells because of the weather."""
        degrees, _ = weather(self._seed, region, day)
        return np.exp(np.clip(self._catalogue.heat * degrees, -0.7, 0.7))

    def _prices(self, region: int, week: int) -> Prices:
        products = len(self._catalogue)
        level = np.ones(products)
        for past in range(week - _PRICE_MEMORY_WEEKS + 1, week + 1):
            draw = stream(self._seed, Purpose.PROMOTIONS, subject=0, at=past)
            moved = draw.random(products) < _REPRICED_WEEKLY
            level[moved] *= 1 + draw.choice([-0.03, 0.02, 0.04, 0.06], int(moved.sum()))
        regular = np.maximum(np.rint(self._catalogue.price_cents * level), 1).astype(np.int64)
        draw = stream(self._seed, Purpose.PROMOTIONS, subject=region + 1, at=week)
        promoted = draw.random(products) < self._demand.promoted
        off = np.minimum(draw.choice(_DISCOUNTS, products), self._demand.deepest_discount)
        markdown = promoted & (draw.random(products) < _MARKDOWN_SHARE)
        off = np.where(markdown, self._demand.deepest_discount, off)
        cut = np.maximum(np.rint(regular * (1 - off)), 1).astype(np.int64)
        return Prices(week, regular, np.where(promoted, cut, regular), markdown)

    def _shelf(self, planogram: int, region: int, day: int) -> Shelf:
        catalogue = self._catalogue
        prices = self.prices(region, week_of(day))
        years = day / 365.25 - 2026 + 1970
        weight = catalogue.weight * np.exp(np.clip(catalogue.trend_per_year * years, -0.5, 0.5))
        weight = np.where(day >= catalogue.break_day, weight * catalogue.break_factor, weight)
        # Demand answers to price with a constant elasticity.
        weight = weight * (prices.paid / prices.regular) ** -catalogue.elasticity
        return Shelf(np.cumsum(weight[self._planograms[planogram].products]), prices)

"""Products and suppliers of a made-up chain.

Departments, margins, shelf lives and pack sizes are those assumed for the recorded data; prices,
elasticities and lead times are round figures of a believable size, chosen by judgement.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simulators.assumptions import (
    DEFAULT_GROSS_MARGIN,
    DEFAULT_PACK_UNITS,
    GROSS_MARGIN,
    PACK_UNITS,
    SHELF_LIFE_DAYS,
)
from simulators.world.chance import Purpose, stream
from simulators.world.fitted import fitted

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

CATEGORIES = 60
SUPPLIERS_PER_1000_PRODUCTS = 8


@dataclass(frozen=True, slots=True)
class Department:
    """`share` of all products; `price` is the median; `heat` is by how much its sales rise for
    every degree C above 18; `elasticity` of demand to price."""

    name: str
    share: float
    price: float
    heat: float
    elasticity: float


DEPARTMENTS = (
    Department("GROCERY", 0.42, 2.99, 0.000, 1.8),
    Department("DRUG GM", 0.22, 4.49, 0.000, 1.4),
    Department("PRODUCE", 0.06, 1.99, 0.010, 1.5),
    Department("MEAT", 0.03, 6.99, 0.004, 2.0),
    Department("MEAT-PCKGD", 0.04, 3.99, 0.004, 2.2),
    Department("DELI", 0.03, 4.99, 0.003, 1.5),
    Department("PASTRY", 0.03, 2.49, -0.002, 1.4),
    Department("SEAFOOD", 0.01, 8.99, 0.004, 1.8),
    Department("NUTRITION", 0.04, 3.49, 0.000, 1.6),
    Department("COSMETICS", 0.06, 6.49, 0.000, 1.3),
    Department("SPIRITS", 0.04, 14.99, 0.006, 2.4),
    Department("FLORAL", 0.02, 9.99, 0.002, 1.7),
)


@dataclass(frozen=True, slots=True)
class Suppliers:
    """By supplier: usual lead time in days, the chances of a delay and of a short shipment."""

    lead_days: Ints
    delay: Floats
    short: Floats

    def __len__(self) -> int:
        return len(self.lead_days)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Products by number, those of a category side by side.

    `category_starts` has one number more than there are categories. Money is in cents.
    `weight` is the share of sale lines, before a store's own taste. A `shelf_life_days` of 0 keeps.
    """

    department: Ints
    category: Ints
    category_starts: Ints
    brand: Ints
    supplier: Ints
    price_cents: Ints
    cost_cents: Ints
    pack_units: Ints
    shelf_life_days: Ints
    weight: Floats
    elasticity: Floats
    heat: Floats
    trend_per_year: Floats
    break_day: Ints
    break_factor: Floats
    suppliers: Suppliers

    def __len__(self) -> int:
        return len(self.category)

    @property
    def categories(self) -> int:
        return len(self.category_starts) - 1


def make_catalogue(seed: int, products: int, *, first_day: int) -> Catalogue:
    """A catalogue that depends on seed and size; trends and breaks fall within a year or so of
    `first_day`, which is a day numbered from 1970."""
    draw = stream(seed, Purpose.CATALOGUE)
    categories = min(CATEGORIES, products)
    share = np.array([one.share for one in DEPARTMENTS])
    of_category = np.minimum(
        np.searchsorted(np.cumsum(share), (np.arange(categories) + 0.5) / categories),
        len(DEPARTMENTS) - 1,
    )
    sizes = 1 + draw.multinomial(products - categories, np.full(categories, 1 / categories))
    category = np.repeat(np.arange(categories), sizes)
    department = of_category[category]
    margins = [GROSS_MARGIN.get(one.name, DEFAULT_GROSS_MARGIN) for one in DEPARTMENTS]
    packs = [PACK_UNITS.get(one.name, DEFAULT_PACK_UNITS) for one in DEPARTMENTS]
    lives = [SHELF_LIFE_DAYS.get(one.name, 0) for one in DEPARTMENTS]
    median = np.array([one.price for one in DEPARTMENTS])[department]
    price = np.rint(median * np.exp(draw.normal(0, 0.55, products)) * 10) * 10 - 1
    price_cents = np.maximum(price, 29).astype(np.int64)
    margin = np.array(margins)[department] * draw.uniform(0.8, 1.2, products)
    suppliers = max(3, products * SUPPLIERS_PER_1000_PRODUCTS // 1000)
    weight = np.empty(products)
    weight[draw.permutation(products)] = fitted().popularity(products)
    breaks = draw.random(products) < 0.10
    return Catalogue(
        department=department,
        category=category,
        category_starts=np.concatenate([[0], np.cumsum(sizes)]),
        brand=draw.integers(0, max(5, products // 60), products),
        supplier=(category * 7 + draw.integers(0, 4, products)) % suppliers,
        price_cents=price_cents,
        cost_cents=np.maximum(np.rint(price_cents * (1 - margin)), 1).astype(np.int64),
        pack_units=np.array(packs)[department],
        shelf_life_days=np.array(lives)[department],
        weight=weight,
        elasticity=np.array([one.elasticity for one in DEPARTMENTS])[department]
        * draw.uniform(0.7, 1.3, products),
        heat=np.array([one.heat for one in DEPARTMENTS])[of_category]
        * draw.uniform(0.5, 1.5, categories),
        trend_per_year=draw.normal(0, 0.12, products),
        break_day=np.where(breaks, first_day + draw.integers(-30, 365, products), 2**31),
        break_factor=np.exp(draw.normal(0, 0.8, products)),
        suppliers=Suppliers(
            lead_days=draw.choice([1, 1, 2, 2, 3, 5], suppliers),
            delay=draw.uniform(0.01, 0.10, suppliers),
            short=draw.uniform(0.01, 0.06, suppliers),
        ),
    )

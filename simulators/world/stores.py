"""The chain's stores, and which products stand on their shelves."""

from dataclasses import dataclass
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from simulators.world.catalogue import Catalogue
from simulators.world.chance import Purpose, stream
from simulators.world.fitted import fitted

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of store: its share of stores, its size against the mean, the share of all products
    it keeps, its opening hours (local), and how many tills it has."""

    name: str
    share: float
    size: float
    assortment: float
    opens: int
    closes: int
    tills: int


FORMATS = (
    Format("hyper", 0.15, 2.2, 0.80, 0, 24, 14),
    Format("super", 0.55, 1.0, 0.45, 0, 24, 8),
    Format("express", 0.30, 0.4, 0.15, 6, 23, 3),
)
REGIONS = (
    ("North East", "America/New_York"),
    ("South East", "America/New_York"),
    ("Midwest", "America/Chicago"),
    ("Mountain", "America/Denver"),
    ("Pacific", "America/Los_Angeles"),
)
# How unlike the chain's one store's taste for categories is, as the shape of a gamma distribution.
_TASTE = 6.0


@dataclass(frozen=True, slots=True)
class Planogram:
    """The products of all stores of one format in one region, by position on the shelf; where each
    category begins; and the number of each perishable among them, -1 for what keeps."""

    products: Ints
    starts: Ints
    perishable: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.products)


@dataclass(frozen=True, slots=True)
class Store:
    """One store. `taste` (missions x categories, rows add up to 1) is the category of a line;
    neighbours 2n and 2n + 1 share a region and send each other what they have too much of."""

    number: int
    format: Format
    region: int
    baskets_per_day: float
    taste: Floats
    truck_minute: int
    planogram: int

    @property
    def store_id(self) -> str:
        return f"S{self.number:04}"

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(REGIONS[self.region][1])


def make_planograms(seed: int, catalogue: Catalogue) -> list[Planogram]:
    """One for each format and region: mostly what sells best, with something of every category."""
    rank = np.empty(len(catalogue))
    rank[np.argsort(-catalogue.weight)] = np.arange(len(catalogue))
    planograms = []
    for number, (format_, _) in enumerate((f, r) for f in FORMATS for r in REGIONS):
        draw = stream(seed, Purpose.PLANOGRAM, subject=number)
        score = rank * np.exp(draw.normal(0, 0.5, len(catalogue)))
        keep = np.zeros(len(catalogue), dtype=bool)
        wanted = max(catalogue.categories, round(format_.assortment * len(catalogue)))
        keep[np.argsort(score)[:wanted]] = True
        best = np.lexsort((score, catalogue.category))
        keep[best[catalogue.category_starts[:-1]]] = True
        products = np.flatnonzero(keep)
        starts = np.searchsorted(products, catalogue.category_starts)
        spoils = catalogue.shelf_life_days[products] > 0
        perishable = np.where(spoils, np.cumsum(spoils) - 1, -1).astype(np.int32)
        planograms.append(Planogram(products, starts, perishable))
    return planograms


def make_stores(
    seed: int, count: int, catalogue: Catalogue, *, baskets_per_day: float, same_size: bool
) -> list[Store]:
    """`count` stores, `baskets_per_day` on average over all of them."""
    draw = stream(seed, Purpose.STORES)
    shares = np.array([one.share for one in FORMATS])
    kind = draw.choice(len(FORMATS), count, p=shares)
    region = np.repeat(draw.integers(0, len(REGIONS), (count + 1) // 2), 2)[:count]
    size = np.array([FORMATS[k].size for k in kind]) * np.exp(draw.normal(0, 0.35, count))
    size = np.ones(count) if same_size else size / size.mean()
    truck = draw.integers(0, 180, count)
    # A category sells by the weight of its products.
    weight = np.add.reduceat(catalogue.weight, catalogue.category_starts[:-1])
    missions = len(fitted().mission_share)
    lean = draw.gamma(_TASTE, 1 / _TASTE, (missions, len(weight)))
    stores = []
    for number in range(count):
        own = stream(seed, Purpose.STORES, subject=number + 1)
        taste = weight * lean * own.gamma(_TASTE, 1 / _TASTE, len(weight))
        stores.append(
            Store(
                number=number,
                format=FORMATS[kind[number]],
                region=int(region[number]),
                baskets_per_day=baskets_per_day * float(size[number]),
                taste=taste / taste.sum(axis=1, keepdims=True),
                truck_minute=int(truck[number]),
                planogram=int(kind[number]) * len(REGIONS) + int(region[number]),
            )
        )
    return stores

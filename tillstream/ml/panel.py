"""Daily sales of many items side by side: what every forecast starts from."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

# With less of a day on the shelf, its sales say too little of its demand.
LEAST_IN_STOCK = 0.95


@dataclass(frozen=True, slots=True)
class Panel:
    """`units` (n, days) sold a day from `first_day` (days since 1970) on; `in_stock` (n, days) is
    the share of each day on which the item could be bought, 0 before it was listed.

    `promotion` and `price` (n, days or more) are known as far ahead as they are planned: a share
    from 0 to 1, and the price over the item's usual one. `store`, `product` and `category` (n,)
    number the groups that items share, from 0.
    """

    first_day: int
    units: Floats
    in_stock: Floats
    promotion: Floats
    price: Floats
    store: Ints
    product: Ints
    category: Ints

    @property
    def days(self) -> int:
        return int(self.units.shape[1])

    @property
    def items(self) -> int:
        return int(self.units.shape[0])

    def of_items(self, rows: Ints) -> "Panel":
        return replace(
            self,
            units=self.units[rows],
            in_stock=self.in_stock[rows],
            promotion=self.promotion[rows],
            price=self.price[rows],
            store=self.store[rows],
            product=self.product[rows],
            category=self.category[rows],
        )


def grouped(panel: Panel, group: Ints) -> Panel:
    """The sums of items of the same `group` (n,), numbered from 0, as a panel of their own.

    A group can always be bought. Its promotion is the mean of its items', and its price the mean.
    Store, product and category are those of a group's first item where all of it share them, and
    0 where they do not.
    """
    groups = int(group.max()) + 1
    size = np.bincount(group, minlength=groups).astype(np.float32)[:, None]

    def summed(values: Floats) -> Floats:
        total = np.zeros((groups, values.shape[1]), dtype=np.float32)
        np.add.at(total, group, values)
        return total

    def shared(codes: Ints) -> Ints:
        low = np.full(groups, np.iinfo(np.int64).max)
        high = np.full(groups, -1)
        np.minimum.at(low, group, codes)
        np.maximum.at(high, group, codes)
        one = np.where(low == high, low, -1)
        return np.unique(one, return_inverse=True)[1].astype(np.int64)

    units = summed(panel.units)
    return Panel(
        first_day=panel.first_day,
        units=units,
        in_stock=np.ones_like(units),
        promotion=summed(panel.promotion) / size,
        price=summed(panel.price) / size,
        store=shared(panel.store),
        product=shared(panel.product),
        category=shared(panel.category),
    )

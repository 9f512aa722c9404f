"""The items of a chain, one store's product each, by row: what all arrays of a judgement go by."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from simulators.world.world import World

Ints = npt.NDArray[np.int64]

_PRODUCTS = 1_000_000


@dataclass(frozen=True, slots=True)
class Items:
    """`store` and `product` numbers (n,), in order of both; `start` (stores + 1,) is where each
    store's rows begin. Within a store, rows are the positions of its planogram."""

    store: Ints
    product: Ints
    start: Ints

    def __len__(self) -> int:
        return len(self.store)

    def rows(self, store: Ints, product: Ints) -> Ints:
        """The row of each pair, -1 for one that no shelf is kept for."""
        keys = self.store * _PRODUCTS + self.product
        wanted = store * _PRODUCTS + product
        at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        return np.where(keys[at] == wanted, at, -1)

    def rows_of(self, table: pa.Table) -> Ints:
        """The row of each line of a table with `store_id` and `product_id`."""
        return self.rows(_number(table["store_id"]), _number(table["product_id"]))

    def of_store(self, number: int) -> slice:
        return slice(int(self.start[number]), int(self.start[number + 1]))


def items_of(world: World) -> Items:
    products = [world.planograms[store.planogram].products for store in world.stores]
    sizes = [len(one) for one in products]
    return Items(
        store=np.repeat(np.arange(len(sizes)), sizes),
        product=np.concatenate(products),
        start=np.concatenate([[0], np.cumsum(sizes)]),
    )


def store_ids(numbers: Sequence[int] | Ints) -> pa.Array:
    return pa.array([f"S{number:04}" for number in numbers], pa.string())


def product_ids(numbers: Sequence[int] | Ints) -> pa.Array:
    return pa.array([f"P{number:06}" for number in numbers], pa.string())


def _number(ids: pa.ChunkedArray) -> Ints:
    """Ids such as S0012 as 12; an id that is no such number, which no chain of ours has, as -1."""
    encoded = pc.cast(ids, pa.string()).combine_chunks().dictionary_encode()
    names = encoded.dictionary.to_pylist()
    numbers = np.array([int(n[1:]) if n[1:].isdigit() else -1 for n in names], dtype=np.int64)
    return numbers[encoded.indices.to_numpy()] if len(encoded) else np.empty(0, np.int64)

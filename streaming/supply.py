"""What the stream knows of supply, held in memory: who delivers what, when, and what came."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clickhouse import live_inputs
from clickhouse.client import Client
from streaming.keyed import Bools, Floats, Ints, Keys, MomentLog, Moments, matches
from tillstream.demand.expiry import Goods
from tillstream.learning.exposure import DAY_MS
from tillstream.learning.learn import Learned
from tillstream.learning.orders import OVERDUE_MS, Orders
from tillstream.learning.shelves import Chain
from tillstream.learning.supply import truck_ms_of_day
from tillstream.learning.tables import load_model

_LOOK_AGAIN_S = 10.0
# How often what batches brought is sorted in, and strikes are looked for.
_SETTLE_S = 60.0
# Deliveries are kept for so long at least; those of perishables for a shelf life.
_KEPT_MS = OVERDUE_MS + DAY_MS


@dataclass(frozen=True, slots=True)
class Products:
    """By product: the supplier's number and lead time (0: not known), and the shelf life in days
    (0: keeps). One that is not in `ids` is the last row, of which nothing is known."""

    ids: pa.Array
    supplier: Ints
    lead_days: Floats
    life_days: Ints

    @classmethod
    def of(cls, rows: pa.Table, suppliers: Mapping[str, int]) -> "Products":
        nobody = len(suppliers)
        names = rows["supplier_id"].to_pylist()
        return cls(
            ids=rows["product_id"].combine_chunks().cast(pa.string()),
            supplier=np.array([*(suppliers[name] for name in names), nobody], dtype=np.int64),
            lead_days=np.append(rows["lead_time_days"].to_numpy().astype(np.float64), 0.0),
            life_days=np.append(rows["shelf_life_days"].to_numpy().astype(np.int64), 0),
        )

    def rows(self, product_ids: pa.Array) -> Ints:
        named = product_ids.dictionary_encode()
        at = pc.index_in(named.dictionary, self.ids).fill_null(len(self.ids))
        found: Ints = at.to_numpy().astype(np.int64)[named.indices.to_numpy()]
        return found


@dataclass(frozen=True, slots=True)
class OrderBook:
    """Orders (m,) in order of their item's key."""

    key: Keys
    supplier: Ints
    ordered_ms: Ints
    expected_ms: Ints
    units: Floats

    @classmethod
    def load(cls, client: Client, as_of_ms: int, suppliers: Mapping[str, int]) -> "OrderBook":
        rows = live_inputs.orders(client, as_of_ms=as_of_ms, overdue_ms=OVERDUE_MS)
        names = rows["supplier_id"].to_pylist()
        return cls(
            key=rows["item_key"].to_numpy().astype(np.uint64),
            supplier=np.array([suppliers.get(n, len(suppliers)) for n in names], dtype=np.int64),
            ordered_ms=rows["ordered_ms"].to_numpy().astype(np.int64),
            expected_ms=rows["expected_ms"].to_numpy().astype(np.int64),
            units=rows["units"].to_numpy().astype(np.float64),
        )


@dataclass(frozen=True, slots=True)
class Promotions:
    """Cheaper prices (m,) in order of their item's key."""

    key: Keys
    ratio: Floats
    from_ms: Ints
    until_ms: Ints

    @classmethod
    def load(cls, client: Client, as_of_ms: int) -> "Promotions":
        rows = live_inputs.promotions(client, as_of_ms=as_of_ms)
        return cls(
            key=rows["item_key"].to_numpy().astype(np.uint64),
            ratio=np.clip(rows["ratio"].to_numpy().astype(np.float64), 0.1, 1.0),
            from_ms=rows["from_ms"].to_numpy().astype(np.int64),
            until_ms=rows["until_ms"].to_numpy().astype(np.int64),
        )

    def of(self, keys: Keys, as_of_ms: int, elasticity: float) -> tuple[Floats, Ints, Ints]:
        """(how much more each of `keys` sells by the promotion it is in, since when, until when);
        (1, as_of_ms, as_of_ms) without one."""
        boost = np.ones(len(keys))
        since, until = np.full(len(keys), as_of_ms), np.full(len(keys), as_of_ms)
        row, place = matches(self.key, keys)
        runs = (self.from_ms[place] <= as_of_ms) & (self.until_ms[place] > as_of_ms)
        row, place = row[runs], place[runs]
        boost[row] = self.ratio[place] ** -elasticity
        since[row], until[row] = self.from_ms[place], self.until_ms[place]
        return boost, since, until


@dataclass(frozen=True, slots=True)
class Reference:
    """What changes seldom."""

    model: Learned
    chain: Chain
    products: Products
    late_share: Floats  # by supplier; the last is for nobody in particular
    trucks: Mapping[str, int]
    orders: OrderBook

    @classmethod
    def load(cls, client: Client, as_of_ms: int) -> "Reference":
        model = load_model(client)
        rows = live_inputs.products(client)
        number = {name: at for at, name in enumerate(sorted(set(rows["supplier_id"].to_pylist())))}
        late = model.lateness
        shares = [late.by_supplier.get(name, late.share) for name in number]
        return cls(
            model=model,
            chain=Chain.of(model),
            products=Products.of(rows, number),
            late_share=np.array([*shares, late.share]),
            trucks=truck_ms_of_day(client, as_of_ms=as_of_ms),
            orders=OrderBook.load(client, as_of_ms, number),
        )


class CurrentSupply:
    """Supply as it is in the warehouse, at most ten seconds old, and as batches have changed it
    since: without asking again for what came."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._reference: Reference | None = None
        self._version: tuple[int, ...] = ()
        self._looked_at = self._settled_at = float("-inf")
        self._held_ms = np.zeros(1, dtype=np.int64)
        self.deliveries = MomentLog()
        self.turns = MomentLog()
        self.promotions = Promotions(
            np.empty(0, np.uint64), np.empty(0), np.empty(0, np.int64), np.empty(0, np.int64)
        )

    def refresh(self, *, as_of_ms: int, since_ms: int) -> Reference:
        """What is known by now; evidence of demand begins at `since_ms`."""
        now_s = time.monotonic()
        known = self._reference
        if known is None or now_s - self._looked_at > _LOOK_AGAIN_S:
            # Orders and trucks are read for a day at a time.
            version = (*live_inputs.version(self._client), as_of_ms // DAY_MS)
            if known is None or version != self._version:
                known, self._version = self._load(as_of_ms, since_ms), version
            self._looked_at = now_s
        if now_s - self._settled_at > _SETTLE_S:
            longest = int(known.products.life_days.max()) + 1
            self.deliveries.settle(since_ms=as_of_ms - max(_KEPT_MS, longest * DAY_MS))
            self.turns.settle(since_ms=since_ms)
            self._held_ms = self._held_up(known, as_of_ms)
            self.promotions = Promotions.load(self._client, as_of_ms)
            self._settled_at = now_s
        return known

    def _load(self, as_of_ms: int, since_ms: int) -> Reference:
        """Everything anew. What batches have brought is in the tables by then: facts are stored
        before anybody hears of them."""
        self._reference = Reference.load(self._client, as_of_ms)
        came = live_inputs.deliveries(self._client, as_of_ms=as_of_ms, kept_ms=_KEPT_MS)
        self.deliveries = MomentLog(Moments.of_table(came))
        turns = live_inputs.turns(self._client, since_ms=since_ms)
        self.turns = MomentLog(Moments.of_table(turns))
        self._settled_at = float("-inf")
        return self._reference

    @property
    def held_ms(self) -> Ints:
        """By supplier, the last being nobody: for how long he has delivered nothing."""
        return self._held_ms

    @property
    def sizes(self) -> dict[str, int]:
        orders = len(self._reference.orders.key) if self._reference else 0
        return {"deliveries": len(self.deliveries), "turns": len(self.turns), "orders": orders}

    def coming(self, keys: Keys, as_of_ms: int) -> Goods:
        """Orders of the items `keys` that have not come, by row."""
        assert self._reference is not None
        book = self._reference.orders
        row, place = matches(book.key, keys)
        if not len(row):
            return Goods(row, row, np.empty(0))
        orders = Orders(
            book.supplier[place], book.expected_ms[place], self._newest(keys, as_of_ms)[row]
        )
        open_ = orders.missing(as_of_ms) & (book.ordered_ms[place] < as_of_ms)
        return Goods(row[open_], book.expected_ms[place[open_]], book.units[place[open_]])

    def came(self, keys: Keys) -> Goods:
        row, found = self.deliveries.of(keys)
        return Goods(row, found.at_ms, found.units)

    def _newest(self, keys: Keys, as_of_ms: int) -> Ints:
        """The newest delivery of each of `keys` by then, 0 where there was none."""
        row, found = self.deliveries.of(keys)
        by_truck = found.mark & (found.at_ms <= as_of_ms)
        newest = np.zeros(len(keys), dtype=np.int64)
        np.maximum.at(newest, row[by_truck], found.at_ms[by_truck])
        return newest

    def _held_up(self, known: Reference, as_of_ms: int) -> Ints:
        book, suppliers = known.orders, len(known.late_share)
        due: Bools = (book.expected_ms <= as_of_ms) & (book.ordered_ms < as_of_ms)
        keys = book.key[due]
        orders = Orders(book.supplier[due], book.expected_ms[due], self._newest(keys, as_of_ms))
        held = orders.held_up_ms(as_of_ms, suppliers=suppliers)
        held[-1] = 0  # those whose supplier is not known have no supplier in common
        return held

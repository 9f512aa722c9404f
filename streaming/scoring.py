"""The live score: what the stream knows of shelves, put together and looked ahead from."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from clickhouse import live_inputs
from clickhouse.client import Client
from streaming import risk as model
from streaming.enrich import Dimensions
from streaming.keyed import Bools, Floats, Ints, Keys, Moments
from streaming.money import SCALE
from streaming.priors import CurrentPriors
from streaming.priors import Known as Prior
from streaming.score_rows import Evidence, score_rows
from streaming.shelf_states import ShelfStates
from streaming.stock import Touched
from streaming.supply import CurrentSupply, Reference
from tillstream.demand.rhythm import Rhythm
from tillstream.learning.evidence import rows_of
from tillstream.learning.exposure import DAY_MS, HOUR_MS, utc_offset_ms
from tillstream.learning.shelves import Shelves, look_ahead
from tillstream.learning.supply import DEFAULT_TRUCK_MS
from tillstream.settings import RiskSettings

# Stands in for the price of a product that was never sold and has no history.
_DEFAULT_PRICE = 1.0


class Scorer:
    """Scores items by what is in the warehouse, and in memory of it."""

    def __init__(self, client: Client, rules: RiskSettings) -> None:
        self._client = client
        self._rules = rules
        self._offsets: dict[tuple[str, int], int] = {}
        self.states = ShelfStates(client, at_most=rules.shelves_in_memory)
        self.open()

    def open(self) -> None:
        """Forget what was in memory: the warehouse knows better."""
        self.states.forget()
        self._priors = CurrentPriors(self._client)
        self._supply = CurrentSupply(self._client)
        self._last_prices: dict[str, float] | None = None

    @property
    def sizes(self) -> dict[str, int]:
        """How many entries of each kind are in memory."""
        prices = len(self._last_prices or ())
        return {"prices": prices, "shelves": len(self.states), **self._supply.sizes}

    def saw(self, touched: Touched) -> None:
        """What batches say of prices. Call it before the items are scored."""
        if self._last_prices is None:
            self._last_prices = live_inputs.last_prices(self._client)
        self._last_prices.update(touched.prices)

    def __call__(
        self,
        items: pa.Table,
        dimensions: Dimensions,
        *,
        as_of_ms: int,
        watched_since_ms: int | None,
        touched: Touched | None = None,
        is_live: bool = False,
    ) -> pa.Table:
        """Rows of `stockout_risk_history` for those of `items` that were ever reported. What came
        with `touched` is remembered. While the stream `is_live`, so is what shelves hold: in a
        replay the days on which evidence begins pass too quickly."""
        priors = self._priors()
        since_ms = self._since_ms(as_of_ms, watched_since_ms, priors.until_ms)
        supply = self._supply.refresh(as_of_ms=as_of_ms, since_ms=since_ms)
        known = self._stock_and_sales(items, since_ms, is_live=is_live)
        keys = known["item_key"].to_numpy()
        if touched is not None:
            self._supply.deliveries.add(_keyed(touched.came, known))
            self._supply.turns.add(_keyed(touched.turns, known))
        if known.num_rows == 0:
            return known
        prior = priors.of(keys, self._rules)
        products = known["product_id"].combine_chunks()
        lead_days = np.where(
            prior.lead_time_days > 0,
            prior.lead_time_days,
            supply.products.lead_days[supply.products.rows(products)],
        )
        on_hand = known["on_hand"].to_numpy().astype(np.int64)
        shelves, evidence = self._shelves(
            known,
            keys,
            prior,
            supply,
            dimensions,
            as_of_ms=as_of_ms,
            since_ms=since_ms,
            on_hand=on_hand,
            lead_days=np.where(lead_days > 0, lead_days, self._rules.lead_time_days),
        )
        outlook = look_ahead(shelves, supply.chain)
        price, price_known = self._prices(known, evidence.units)
        cost = dimensions.unit_costs_of(products)
        margin = np.where(cost >= 0, price - cost / SCALE, price * dimensions.margins_of(products))
        doubts = [lead_days <= 0, cost < 0, ~price_known, ~prior.is_known]
        return score_rows(
            known,
            shelves,
            evidence,
            outlook,
            lost_margin=outlook.lost_units * margin,
            doubts=doubts,
        )

    def _stock_and_sales(self, items: pa.Table, since_ms: int, *, is_live: bool) -> pa.Table:
        if not is_live:
            self.states.forget()
        elif (held := self.states.of(items, since_day=since_ms // DAY_MS)) is not None:
            return held
        return live_inputs.stock_and_sales(self._client, items, since_s=since_ms // 1000)

    def _since_ms(self, as_of_ms: int, watched_since_ms: int | None, until_ms: int | None) -> int:
        """Where evidence begins. Sales are kept by UTC day, so it is a day's beginning or the first
        event."""
        since_ms = (as_of_ms // DAY_MS - self._rules.evidence_days) * DAY_MS
        since_ms = max(watched_since_ms or 0, since_ms)
        return since_ms if until_ms is None else max(since_ms, min(until_ms, as_of_ms))

    def _shelves(
        self,
        known: pa.Table,
        keys: Keys,
        prior: Prior,
        supply: Reference,
        dimensions: Dimensions,
        *,
        as_of_ms: int,
        since_ms: int,
        on_hand: Ints,
        lead_days: Floats,
    ) -> tuple[Shelves, Evidence]:
        product = supply.products.rows(known["product_id"].combine_chunks())
        supplier = supply.products.supplier[product]
        offset_ms, truck_ms = self._of_stores(known, dimensions, supply, as_of_ms)
        boost, boost_since, boost_until = self._supply.promotions.of(
            keys, as_of_ms, supply.model.elasticity
        )
        rhythm = supply.chain.rhythm
        row, turns = self._supply.turns.of(keys)
        days = in_stock_days(
            rhythm,
            row,
            turns,
            since_ms=since_ms,
            as_of_ms=as_of_ms,
            offset_ms=offset_ms,
            is_empty=on_hand <= 0,
        )
        begun = np.maximum(boost_since, since_ms)
        days += (boost - 1) * np.maximum(rhythm.days_between(begun, as_of_ms, offset_ms), 0.0)
        units = known["units"].to_numpy().astype(np.float64)
        watched_days = (as_of_ms - prior.first_seen_ms) // DAY_MS
        life_days = supply.products.life_days[product]
        shelves = Shelves(
            as_of_ms=as_of_ms,
            belief=model.belief(
                prior_daily_units=prior.daily_units,
                prior_weight_days=prior.weight_days,
                units=units,
                exposure_days=days,
                dispersion=prior.dispersion,
            ),
            recorded=on_hand,
            lead_days=lead_days,
            late_share=supply.late_share[supplier],
            held_ms=self._supply.held_ms[supplier],
            offset_ms=offset_ms,
            truck_ms=truck_ms,
            # A shelf not watched for as long as that holds goods of unknown age.
            life_days=np.where(
                (prior.first_seen_ms > 0) & (watched_days > life_days), life_days, 0
            ),
            boost=boost,
            boost_until_ms=boost_until,
            coming=self._supply.coming(keys, as_of_ms),
            came=self._supply.came(keys),
        )
        return shelves, Evidence(since_ms, units, days)

    def _of_stores(
        self, known: pa.Table, dimensions: Dimensions, supply: Reference, as_of_ms: int
    ) -> tuple[Ints, Ints]:
        """(local time less UTC, time of the UTC day at which trucks come) of each item's store."""
        named = known["store_id"].combine_chunks().dictionary_encode()
        stores = named.dictionary.to_pylist()
        zones = dimensions.time_zones
        offsets = [self._offset_ms(zones.get(store, "UTC"), as_of_ms) for store in stores]
        trucks = [supply.trucks.get(store, DEFAULT_TRUCK_MS) for store in stores]
        at = named.indices.to_numpy()
        return np.array(offsets, dtype=np.int64)[at], np.array(trucks, dtype=np.int64)[at]

    def _offset_ms(self, zone: str, as_of_ms: int) -> int:
        hour = as_of_ms // HOUR_MS
        if (zone, hour) not in self._offsets:
            if len(self._offsets) > 1_000:
                self._offsets.clear()
            self._offsets[zone, hour] = int(utc_offset_ms(zone, np.array([as_of_ms]))[0])
        return self._offsets[zone, hour]

    def _prices(self, known: pa.Table, units: Floats) -> tuple[Floats, Bools]:
        """(price of a unit, whether it is known), each (n,): what its sales brought, else what the
        product was last sold at anywhere."""
        price = known["revenue"].to_numpy() / np.maximum(units, 1.0)
        unsold = np.flatnonzero(units <= 0)
        last: Mapping[str, float] = self._last_prices or {}
        names = known["product_id"].combine_chunks().take(pa.array(unsold)).to_pylist()
        price[unsold] = [last.get(name, 0.0) for name in names]
        is_known = price > 0
        return np.where(is_known, price, _DEFAULT_PRICE), is_known


def in_stock_days(
    rhythm: Rhythm,
    row: Ints,
    turns: Moments,
    *,
    since_ms: int,
    as_of_ms: int,
    offset_ms: Ints,
    is_empty: Bools,
) -> Floats:
    """Demand days from `since_ms` on while there was stock by the books, (n,). `turns` of items
    `row` say when a shelf went empty (`mark`) or was filled.

    Time with nothing there is that of the fillings less that of the emptyings, and until now for a
    shelf that is empty still. Turns that are missing or came out of order cannot take it below 0 or
    above all.
    """
    total = np.asarray(rhythm.days_between(since_ms, as_of_ms, offset_ms), dtype=np.float64)
    total = np.maximum(total, 0.0)
    inside = (turns.at_ms > since_ms) & (turns.at_ms <= as_of_ms)
    row, at_ms, went_empty = row[inside], turns.at_ms[inside], turns.mark[inside]
    passed = rhythm.days_between(since_ms, at_ms, offset_ms[row])
    without = np.where(is_empty, total, 0.0)
    np.add.at(without, row, np.where(went_empty, -passed, passed))
    return np.asarray(total - np.clip(without, 0.0, total))


def _keyed(moments: pa.Table, known: pa.Table) -> Moments:
    """`moments` (store_id, product_id, …) by the keys of `known` items."""
    if not moments.num_rows or not known.num_rows:
        return Moments()
    row = rows_of(known, moments)
    found = row >= 0
    return Moments.of(
        known["item_key"].to_numpy()[row[found]],
        moments["at_ms"].to_numpy()[found],
        moments["units"].to_numpy()[found],
        moments["mark"].to_numpy(zero_copy_only=False)[found].astype(np.bool_),
    )

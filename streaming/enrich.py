"""What the warehouse knows of products and stores, joined to a batch on its way to the facts."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from zoneinfo import available_timezones

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clickhouse.client import Client
from clickhouse.queries import select
from streaming.money import from_units, to_units

log = logging.getLogger("tillstream.stream")

# The margin assumed where neither a cost nor a department is known.
DEFAULT_MARGIN = 0.25


@dataclass(frozen=True, slots=True)
class Dimensions:
    """A snapshot of the dimensions. Costs are ten-thousandths, -1 where there is none."""

    products: pa.Array
    names: Mapping[str, str] = field(default_factory=dict)
    margins: np.ndarray = field(default_factory=lambda: np.empty(0))
    unit_costs: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    time_zones: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def empty(cls) -> "Dimensions":
        return cls(products=pa.array([], pa.string()))

    @classmethod
    def load(cls, client: Client) -> "Dimensions":
        products = select(
            client,
            "SELECT product_id, product_name, margin, unit_cost FROM dim_product FINAL"
            " ORDER BY product_id",
        )
        stores = select(client, "SELECT store_id, toString(time_zone) AS tz FROM dim_store FINAL")
        costs = to_units(products["unit_cost"])
        missing = products["unit_cost"].combine_chunks().is_null().to_numpy(zero_copy_only=False)
        ids = products["product_id"].combine_chunks().cast(pa.string())
        return cls(
            products=ids,
            names=dict(zip(ids.to_pylist(), products["product_name"].to_pylist(), strict=True)),
            margins=products["margin"].to_numpy(),
            unit_costs=np.where(missing, -1, costs),
            time_zones=_known_zones(stores["store_id"].to_pylist(), stores["tz"].to_pylist()),
        )

    def unknown(self, product_ids: pa.ChunkedArray) -> pa.Array:
        """The products of a batch that this snapshot does not have; a newer one may."""
        seen = product_ids.combine_chunks().drop_null().unique()
        return seen.filter(pc.invert(pc.is_in(seen, self.products)))

    def margins_of(self, product_ids: pa.Array) -> np.ndarray:
        at = pc.index_in(product_ids, self.products).fill_null(-1).to_numpy()
        if len(self.margins) == 0:
            return np.full(len(at), DEFAULT_MARGIN)
        return np.where(at >= 0, self.margins[at], DEFAULT_MARGIN)

    def unit_costs_of(self, product_ids: pa.Array) -> np.ndarray:
        at = pc.index_in(product_ids, self.products).fill_null(-1).to_numpy()
        if len(self.unit_costs) == 0:
            return np.full(len(at), -1, dtype=np.int64)
        return np.where(at >= 0, self.unit_costs[at], -1)


def _known_zones(store_ids: list[str], zones: list[str]) -> dict[str, str]:
    """Time zones by store, without those that nobody has heard of: their stores count as UTC."""
    known = available_timezones()
    for store_id, zone in zip(store_ids, zones, strict=True):
        if zone not in known:
            log.warning("dim_store: store %s has no time zone %r; using UTC", store_id, zone)
    pairs = zip(store_ids, zones, strict=True)
    return {store_id: zone for store_id, zone in pairs if zone in known}


def enriched(winners: pa.Table, dimensions: Dimensions) -> pa.Table:
    """Add date_key (the store's local date), cost and profit."""
    products = winners["product_id"].combine_chunks()
    revenue = to_units(winners["revenue"])
    quantity = winners["quantity"].combine_chunks().fill_null(0).to_numpy().astype(np.int64)
    unit_cost = dimensions.unit_costs_of(products)
    by_margin = np.rint(revenue * (1.0 - dimensions.margins_of(products))).astype(np.int64)
    cost = np.where(unit_cost >= 0, quantity * unit_cost, by_margin)
    return (
        winners.append_column("date_key", _local_dates(winners, dimensions))
        .append_column("cost", from_units(cost))
        .append_column("profit", from_units(revenue - cost))
    )


def _local_dates(winners: pa.Table, dimensions: Dimensions) -> pa.Array:
    moments = winners["event_time"].combine_chunks()
    stores = winners["store_id"].combine_chunks().dictionary_encode()
    zones = np.array([dimensions.time_zones.get(s, "UTC") for s in stores.dictionary.to_pylist()])
    if len(zones) == 0:
        return moments.cast(pa.date32())
    dates = moments.cast(pa.date32())
    for zone in set(zones.tolist()) - {"UTC"}:
        local = pc.local_timestamp(moments.cast(pa.timestamp("us", tz=zone))).cast(pa.date32())
        here = pa.array((zones == zone)[stores.indices.to_numpy()])
        dates = pc.if_else(here, local, dates)
    return dates

"""Which shelves batches touched, what came to them, and what they say of the time that passed."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clickhouse.queries import Cut
from streaming.batch import Batch
from streaming.money import SCALE, to_units
from tillstream.contracts.topics import Topic

MOMENTS = pa.schema(
    [
        ("store_id", pa.string()),
        ("product_id", pa.string()),
        ("at_ms", pa.int64()),
        ("units", pa.float64()),
        ("mark", pa.bool_()),
    ]
)
_GOODS_IN = pa.array(["delivery", "transfer_in"])
# Later than any event.
_NEVER_MS = int(np.iinfo(np.int64).max)
_MOVING = pa.array([Topic.SALES.value, Topic.INVENTORY.value])


@dataclass(frozen=True, slots=True)
class Touched:
    """What one or more batches leave to be scored. `items` (store_id, product_id) are distinct;
    `came` and `turns` (store_id, product_id, at_ms, units, mark) are deliveries and transfers
    (`mark`: a delivery), and shelves that went empty (`mark`) or were filled; `prices` is what each
    product was last sold at; times are in milliseconds since 1970."""

    items: pa.Table
    prices: Mapping[str, float]
    first_event_ms: int
    last_event_ms: int
    cuts: Mapping[tuple[str, int], Cut]
    came: pa.Table = field(default_factory=lambda: MOMENTS.empty_table())
    turns: pa.Table = field(default_factory=lambda: MOMENTS.empty_table())

    @classmethod
    def by(cls, batch: Batch, *, span_ms: int) -> "Touched":
        """`first_event_ms` is the earliest event that is at most `span_ms` older than the last: a
        straggler from years ago does not mean that the shop has been watched since. A batch without
        a counted event leaves only how far it came."""
        cuts = {
            (r.topic_id, r.partition): Cut(r.topic, r.topic_id, r.partition, r.last + 1)
            for r in batch.ranges
        }
        if batch.winners.num_rows == 0:
            return cls(touched_items(batch.winners), {}, _NEVER_MS, 0, cuts)
        millis = batch.winners["event_time"].cast(pa.int64()).to_numpy() // 1000
        last = int(millis.max())
        return cls(
            items=touched_items(batch.winners),
            came=_came(batch.winners),
            turns=_turns(batch.winners),
            prices=_last_prices(batch.winners),
            first_event_ms=int(millis[millis >= last - span_ms].min()),
            last_event_ms=last,
            cuts=cuts,
        )

    def then(self, later: "Touched") -> "Touched":
        """Both, `later` being the newer."""
        both = pa.concat_tables([self.items, later.items])
        return Touched(
            items=both.group_by(["store_id", "product_id"]).aggregate([]),
            prices={**self.prices, **later.prices},
            first_event_ms=min(self.first_event_ms, later.first_event_ms),
            last_event_ms=max(self.last_event_ms, later.last_event_ms),
            cuts={**self.cuts, **later.cuts},
            came=pa.concat_tables([self.came, later.came]),
            turns=pa.concat_tables([self.turns, later.turns]),
        )


def of_shelves(winners: pa.Table) -> pa.Table:
    """The sales and movements of a batch."""
    return winners.filter(pc.is_in(winners["topic"].combine_chunks(), _MOVING))


def touched_items(winners: pa.Table) -> pa.Table:
    """Distinct (store_id, product_id) that sold or moved in a batch."""
    return of_shelves(winners).group_by(["store_id", "product_id"]).aggregate([])


def _came(winners: pa.Table) -> pa.Table:
    """What the view `deliveries_feed` makes of these facts."""
    moved = winners.filter(pc.equal(winners["topic"], Topic.INVENTORY.value))
    brought = pc.and_(pc.is_in(moved["kind"], _GOODS_IN), pc.greater(moved["quantity"], 0))
    rows = moved.filter(brought)
    return _moments(rows, units=rows["quantity"], mark=pc.equal(rows["kind"], "delivery"))


def _turns(winners: pa.Table) -> pa.Table:
    """What the view `shelf_turns_feed` makes of these facts."""
    moved = winners.filter(pc.equal(winners["topic"], Topic.INVENTORY.value))
    after = moved["quantity_on_hand"].cast(pa.int64())
    before = pc.subtract(after, moved["quantity"].cast(pa.int64()))
    turned = pc.not_equal(pc.less_equal(after, 0), pc.less_equal(before, 0))
    rows = moved.filter(turned)
    return _moments(
        rows, units=pa.repeat(0.0, rows.num_rows), mark=pc.less_equal(rows["quantity_on_hand"], 0)
    )


def _moments(
    rows: pa.Table, *, units: pa.Array | pa.ChunkedArray, mark: pa.ChunkedArray
) -> pa.Table:
    at_ms = pc.divide(rows["event_time"].cast(pa.int64()), 1000)
    columns = [rows["store_id"], rows["product_id"], at_ms, units.cast(pa.float64()), mark]
    return pa.table(dict(zip(MOMENTS.names, columns, strict=True)), schema=MOMENTS)


def _last_prices(winners: pa.Table) -> dict[str, float]:
    sold = winners.select(["product_id", "unit_price"]).filter(pc.greater(winners["unit_price"], 0))
    if sold.num_rows == 0:
        return {}
    products = sold["product_id"].combine_chunks().dictionary_encode()
    last = np.zeros(len(products.dictionary))
    last[products.indices.to_numpy()] = to_units(sold["unit_price"]) / SCALE
    return dict(zip(products.dictionary.to_pylist(), last.tolist(), strict=True))

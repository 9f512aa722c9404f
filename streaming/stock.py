"""Which shelves batches touched, and what they say of the time that passed."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clickhouse.queries import Cut
from streaming.batch import Batch
from streaming.money import SCALE, to_units
from tillstream.contracts.topics import Topic

_MOVING = pa.array([Topic.SALES.value, Topic.INVENTORY.value])


@dataclass(frozen=True, slots=True)
class Touched:
    """What one or more batches leave to be scored. `items` (store_id, product_id) are distinct;
    `prices` is what each product was last sold at; times are in milliseconds since 1970."""

    items: pa.Table
    prices: Mapping[str, float]
    first_event_ms: int
    last_event_ms: int
    cuts: Mapping[tuple[str, int], Cut]

    @classmethod
    def by(cls, batch: Batch, *, span_ms: int) -> "Touched | None":
        """None for a batch without a counted event. `first_event_ms` is the earliest one that is
        at most `span_ms` older than the last: a straggler from years ago does not mean that the
        shop has been watched since."""
        if batch.winners.num_rows == 0:
            return None
        millis = batch.winners["event_time"].cast(pa.int64()).to_numpy() // 1000
        last = int(millis.max())
        return cls(
            items=touched_items(batch.winners),
            prices=_last_prices(batch.winners),
            first_event_ms=int(millis[millis >= last - span_ms].min()),
            last_event_ms=last,
            cuts={
                (r.topic_id, r.partition): Cut(r.topic, r.topic_id, r.partition, r.last + 1)
                for r in batch.ranges
            },
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
        )


def touched_items(winners: pa.Table) -> pa.Table:
    """Distinct (store_id, product_id) that sold or moved in a batch."""
    moved = winners.filter(pc.is_in(winners["topic"].combine_chunks(), _MOVING))
    return moved.group_by(["store_id", "product_id"]).aggregate([])


def _last_prices(winners: pa.Table) -> dict[str, float]:
    sold = winners.select(["product_id", "unit_price"]).filter(pc.greater(winners["unit_price"], 0))
    if sold.num_rows == 0:
        return {}
    products = sold["product_id"].combine_chunks().dictionary_encode()
    last = np.zeros(len(products.dictionary))
    last[products.indices.to_numpy()] = to_units(sold["unit_price"]) / SCALE
    return dict(zip(products.dictionary.to_pylist(), last.tolist(), strict=True))

"""Which shelves a batch touched, and what it says of the time that passed."""

import pyarrow as pa
import pyarrow.compute as pc

from tillstream.contracts.topics import Topic

_MOVING = pa.array([Topic.SALES.value, Topic.INVENTORY.value])


def touched_items(winners: pa.Table) -> pa.Table:
    """Distinct (store_id, product_id) that sold or moved in a batch."""
    moved = winners.filter(pc.is_in(winners["topic"].combine_chunks(), _MOVING))
    return moved.group_by(["store_id", "product_id"]).aggregate([])


def latest_event_ms(winners: pa.Table) -> int | None:
    """The largest event time of a batch in milliseconds since 1970, None for an empty batch."""
    if winners.num_rows == 0:
        return None
    micros = pc.max(winners["event_time"]).cast(pa.int64()).as_py()
    return int(micros) // 1000


def earliest_event_ms(winners: pa.Table, *, after_ms: int) -> int:
    """The smallest event time of a batch that is not before `after_ms`: a straggler from years ago
    does not mean that the shop has been watched since."""
    millis = winners["event_time"].cast(pa.int64()).to_numpy() // 1000
    return int(millis[millis >= after_ms].min())

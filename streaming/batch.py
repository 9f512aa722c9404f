"""What happens to one batch of decoded events, as pure functions over Arrow tables.

`Batch.of` judges every record once: each ends in exactly one of winners, duplicates, refused.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from uuid import UUID

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tillstream.contracts.topics import Topic

WINNER_COLUMNS = ("winner_topic_id", "winner_partition", "winner_offset")

# event keys -> the coordinates of those already stored: (event_key, topic_id, partition, offset)
Lookup = Callable[[pa.Array], pa.Table]


@dataclass(frozen=True, slots=True, order=True)
class OffsetRange:
    """Offsets first..last (both included) of one partition of one incarnation of a topic."""

    topic: str
    topic_id: str
    partition: int
    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.topic_id}:{self.partition}:{self.first}-{self.last}"


@dataclass(frozen=True, slots=True)
class Batch:
    """One judged batch. `winners` count; `duplicates` carry the coordinates of their winner."""

    ranges: tuple[OffsetRange, ...]
    winners: pa.Table
    duplicates: pa.Table
    refused: pa.Table

    @classmethod
    def of(cls, decoded: pa.Table, *, lookup: Lookup | None) -> "Batch":
        """Judge `decoded` (columns of DECODED plus topic_id). Without `lookup`, nothing is ever
        a duplicate: only for showing that the checks would notice."""
        bad = pc.is_valid(decoded["reason"])
        any_bad = pc.any(bad).as_py()
        refused = decoded.filter(bad) if any_bad else decoded.slice(0, 0)
        accepted = decoded.filter(pc.invert(bad)) if any_bad else decoded
        ranges = offset_ranges(decoded)
        if lookup is None or accepted.num_rows == 0:
            nothing = with_winners(accepted.slice(0, 0), [accepted[c][:0] for c in COORDINATES])
            return cls(ranges, accepted, nothing, refused)
        winners, duplicates = separate(accepted, lookup=lookup)
        return cls(ranges, winners, duplicates, refused)


COORDINATES = ("topic_id", "partition", "offset")


def with_topic_ids(decoded: pa.Table, ids: Mapping[str, UUID]) -> pa.Table:
    """Add the topic's own UUID: offsets mean nothing without it once a topic was recreated."""
    topics = decoded["topic"].combine_chunks().dictionary_encode()
    names = [str(ids[name]) for name in topics.dictionary.to_pylist()]
    column = pa.array(names, pa.string()).take(topics.indices)
    return decoded.append_column("topic_id", column)


def arrival_order(records: pa.Table) -> npt.NDArray[np.int64]:
    """Row numbers by arrival, each partition's own in offset order.

    A broker whose clock is set back gives a later offset an earlier arrival; it counts as arrived
    with the one before it, so that offset order decides who was first, however batches are cut.
    """
    incarnations = records["topic_id"].combine_chunks().dictionary_encode()
    # By the ids themselves, not by where they happen to stand in this batch.
    rank = pc.rank(incarnations.dictionary, tiebreaker="dense").to_numpy()
    topic = rank[incarnations.indices.to_numpy()].astype(np.int64)
    place = (topic << 32) + records["partition"].to_numpy()
    order = np.lexsort((records["offset"].to_numpy(), place))
    arrival = records["arrival"].cast(pa.int64()).to_numpy()[order]
    ends = np.flatnonzero(np.diff(place[order])) + 1
    for part in np.split(arrival, ends):
        np.maximum.accumulate(part, out=part)
    return np.asarray(order[np.argsort(arrival, kind="stable")], dtype=np.int64)


def offset_ranges(decoded: pa.Table) -> tuple[OffsetRange, ...]:
    grouped = decoded.group_by(["topic", "topic_id", "partition"]).aggregate(
        [("offset", "min"), ("offset", "max")]
    )
    return tuple(
        sorted(
            OffsetRange(
                row["topic"],
                row["topic_id"],
                row["partition"],
                row["offset_min"],
                row["offset_max"],
            )
            for row in grouped.to_pylist()
        )
    )


def separate(accepted: pa.Table, *, lookup: Lookup) -> tuple[pa.Table, pa.Table]:
    """Winners and duplicates.

    The winner of an identity is the event already stored, else the first of this batch to arrive.
    A row whose own coordinates are the winner's is no duplicate: it is a retry of itself.
    """
    keys = accepted["event_key"].combine_chunks().dictionary_encode()
    codes = keys.indices.to_numpy()
    latest_first = arrival_order(accepted)[::-1]
    first = np.empty(len(keys.dictionary), dtype=np.int64)
    first[codes[latest_first]] = latest_first  # of each key, the first to arrive is written last
    winner = {name: accepted[name].combine_chunks().take(pa.array(first)) for name in COORDINATES}

    stored = lookup(keys.dictionary)
    if stored.num_rows:
        at = pc.index_in(keys.dictionary, stored["event_key"].combine_chunks())
        for name in COORDINATES:
            known = stored[name].combine_chunks().cast(winner[name].type).take(at)
            winner[name] = pc.coalesce(known, winner[name])

    per_row = [winner[name].take(keys.indices) for name in COORDINATES]
    is_winner = pc.and_(
        pc.equal(accepted["offset"].combine_chunks(), per_row[2]),
        pc.and_(
            pc.equal(accepted["partition"].combine_chunks(), per_row[1]),
            pc.equal(accepted["topic_id"].combine_chunks(), per_row[0]),
        ),
    )
    if pc.all(is_winner).as_py():
        return accepted, with_winners(accepted.slice(0, 0), [col[:0] for col in per_row])
    lost = pc.invert(is_winner)
    duplicates = with_winners(accepted.filter(lost), [column.filter(lost) for column in per_row])
    return accepted.filter(is_winner), duplicates


def with_winners(rows: pa.Table, winners: list[pa.Array]) -> pa.Table:
    for name, column in zip(WINNER_COLUMNS, winners, strict=True):
        rows = rows.append_column(name, column)
    return rows


def without_stored(rows: pa.Table, stored: pa.Table) -> pa.Table:
    """The rows whose coordinates are not in `stored` (topic_id, partition, offset)."""
    if stored.num_rows == 0 or rows.num_rows == 0:
        return rows
    return rows.filter(pc.invert(pc.is_in(_place(rows), _place(stored))))


def _place(rows: pa.Table) -> pa.Array:
    return pc.binary_join_element_wise(
        rows["topic_id"].combine_chunks().cast(pa.string()),
        rows["partition"].combine_chunks().cast(pa.string()),
        rows["offset"].combine_chunks().cast(pa.string()),
        ":",
    )


def sale_lines(winners: pa.Table) -> pa.Table:
    return winners.filter(pc.equal(winners["topic"], Topic.SALES.value))

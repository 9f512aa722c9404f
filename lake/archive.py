"""Write Kafka records to the lake, each under its own coordinates."""

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lake.client import Lake
from lake.paths import KINDS, ObjectName
from tillstream.contracts.topics import Topic
from tillstream.errors import ContractError, IntegrityError

DAY_MS = 86_400_000

# Every archived record starts with these; decoded columns may follow.
RECORD_SCHEMA = pa.schema(
    [
        pa.field("topic", pa.string(), nullable=False),
        pa.field("topic_id", pa.string(), nullable=False),
        pa.field("partition", pa.int32(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("arrival", pa.timestamp("ms", tz="UTC"), nullable=False),
        pa.field("key", pa.binary()),
        pa.field("value", pa.binary()),
    ]
)

_ORDER = [(name, "ascending") for name in ("topic", "topic_id", "partition", "offset")]


@dataclass(frozen=True, slots=True)
class Written:
    name: ObjectName
    rows: int
    size_bytes: int


def archive(lake: Lake, table: pa.Table) -> list[Written]:
    """Write `table` (RECORD_SCHEMA, then any decoded columns) and return what was written.

    One object holds one unbroken offset range of one partition and one arrival date (UTC), so a
    name never promises an offset its object lacks; only a hole in Kafka's own offsets, midnight,
    or the end of the batch ends an object. Archiving the same batch again replaces the same
    objects with the same bytes. A batch regrouped on retry leaves objects that overlap: readers
    count a coordinate once. A record repeated within the table is written once.

    Raises ContractError when a column is missing, null or of another type, IntegrityError when
    two different records claim one coordinate, ServiceError when the lake refuses (some objects
    may then be written: archive the batch again).
    """
    records = _once_each(_in_order(table))
    written = []
    for start, end in _runs(records):
        part = records.slice(start, end - start)
        name = _name(part)
        written.append(Written(name, part.num_rows, lake.write(str(name), part)))
    return written


def _in_order(table: pa.Table) -> pa.Table:
    columns = {}
    for field in RECORD_SCHEMA:
        if field.name not in table.column_names:
            raise ContractError(f"records for the lake have no column {field.name!r}")
        try:
            column = table[field.name].cast(field.type)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as exc:
            raise ContractError(f"lake column {field.name!r} is not {field.type}: {exc}") from exc
        if not field.nullable and column.null_count:
            raise ContractError(f"lake column {field.name!r} has {column.null_count} nulls")
        columns[field.name] = column
    extra = [name for name in table.column_names if name not in columns]
    fields = [*RECORD_SCHEMA, *(table.schema.field(name) for name in extra)]
    arrays = [*columns.values(), *(table[name] for name in extra)]
    unknown = set(pc.unique(columns["topic"]).to_pylist()) - set(KINDS)
    if unknown:
        raise ContractError(f"the lake does not archive topic {', '.join(sorted(unknown))}")
    return pa.table(arrays, schema=pa.schema(fields)).sort_by(_ORDER).combine_chunks()


def _once_each(records: pa.Table) -> pa.Table:
    repeated = np.flatnonzero(_same_partition(records) & (np.diff(_offsets(records)) == 0)) + 1
    if not len(repeated):
        return records
    payload = records.select(["arrival", "key", "value"])
    if not payload.take(repeated).equals(payload.take(repeated - 1)):
        raise IntegrityError("two different records claim the same topic, partition and offset")
    keep = np.ones(records.num_rows, dtype=bool)
    keep[repeated] = False
    return records.filter(pa.array(keep)).combine_chunks()


def _runs(records: pa.Table) -> list[tuple[int, int]]:
    """[start, end) row ranges, each to become one object."""
    if not records.num_rows:
        return []
    days = _arrival_ms(records) // DAY_MS
    joined = _same_partition(records) & (np.diff(_offsets(records)) == 1) & (np.diff(days) == 0)
    starts = [0, *(np.flatnonzero(~joined) + 1).tolist()]
    return list(zip(starts, [*starts[1:], records.num_rows], strict=True))


def _name(part: pa.Table) -> ObjectName:
    day_ms = int(_arrival_ms(part.slice(0, 1))[0])
    return ObjectName(
        topic=Topic(part["topic"][0].as_py()),
        topic_id=part["topic_id"][0].as_py(),
        partition=part["partition"][0].as_py(),
        first_offset=part["offset"][0].as_py(),
        last_offset=part["offset"][-1].as_py(),
        arrival_date=datetime.fromtimestamp(day_ms / 1000, UTC).date(),
    )


def _same_partition(records: pa.Table) -> npt.NDArray[np.bool_]:
    """For each row but the first: does it share topic, topic id and partition with the last one?"""
    same = np.ones(max(records.num_rows - 1, 0), dtype=bool)
    for name in ("topic", "topic_id", "partition"):
        column = records[name]
        same &= pc.equal(column[1:], column[:-1]).to_numpy()
    return same


def _offsets(records: pa.Table) -> npt.NDArray[np.int64]:
    values: npt.NDArray[np.int64] = records["offset"].to_numpy()
    return values


def _arrival_ms(records: pa.Table) -> npt.NDArray[np.int64]:
    values: npt.NDArray[np.int64] = records["arrival"].cast(pa.int64()).to_numpy()
    return values

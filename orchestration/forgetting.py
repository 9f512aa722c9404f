"""Taking a customer out of an event's bytes, and out of the lake's objects.

In Avro an optional field is one byte that says which kind follows, then the value. So a customer is
erased by putting the byte of `null` in the place of the byte of `string`, the length and the
pseudonym. Nothing else of the event changes, whatever version of the schema wrote it. In bytes that
are no event, as quarantine may hold, the pseudonym is overwritten.
"""

import hashlib
import re
from collections.abc import Collection

import pyarrow as pa
import pyarrow.compute as pc

from lake.client import Lake
from lake.coverage import archived
from lake.paths import ObjectName
from tillstream.contracts.topics import Topic

# Those whose records name customers.
NAMING = (Topic.SALES, Topic.CUSTOMERS)
PSEUDONYM = re.compile(rb"cust-[0-9a-f]{32}")
_NULL, _STRING = b"\x00", b"\x02"


def hash_of(pseudonym: str) -> str:
    """What is kept of an erased customer: SHA-256, in hex."""
    return hashlib.sha256(pseudonym.encode()).hexdigest()


def without_customer(value: bytes, hashes: Collection[str]) -> bytes:
    """The same bytes without any pseudonym whose hash is in `hashes`."""
    for name in set(PSEUDONYM.findall(value)):
        if hash_of(name.decode()) not in hashes:
            continue
        # The length is a zigzag number: twice 37, in one byte.
        field = _STRING + bytes([2 * len(name)]) + name
        value = value.replace(field, _NULL).replace(name, b"x" * len(name))
    return value


def forget_in_lake(lake: Lake, hashes: Collection[str]) -> int:
    """Rewrite every object that names one of these customers, under the same name, with as many
    records; how many records named them. Repeating it finds none."""
    found = 0
    for name, _ in archived(lake)[0]:
        if name.topic not in NAMING:
            continue
        rows = naming_rows(lake, name, hashes)
        if rows:
            lake.write(str(name), _forgotten(lake.read(str(name)), rows, hashes))
            found += len(rows)
    return found


def count_in_lake(lake: Lake, hashes: Collection[str]) -> int:
    """How many archived records name one of these customers."""
    names = (name for name, _ in archived(lake)[0] if name.topic in NAMING)
    return sum(len(naming_rows(lake, name, hashes)) for name in names)


def naming_rows(lake: Lake, name: ObjectName, hashes: Collection[str]) -> list[int]:
    """Positions of an object's records whose bytes hold a pseudonym of `hashes`."""
    with lake.open(str(name)) as parquet:
        columns = [c for c in ("value", "customer_id") if c in parquet.schema_arrow.names]
        table = parquet.read(columns=columns).combine_chunks()
    marked = pc.fill_null(pc.match_substring(table["value"], b"cust-"), False)
    if "customer_id" in columns:
        # Nearly always the decoded column tells, and needs no look into bytes.
        known = table["customer_id"].combine_chunks().unique().drop_null().to_pylist()
        wanted = pa.array([one for one in known if hash_of(one) in hashes], pa.string())
        named = pc.is_in(table["customer_id"], wanted)
        marked = pc.or_(named, pc.and_(marked, pc.is_null(table["customer_id"])))
    return [
        at
        for at in pc.indices_nonzero(marked).to_pylist()
        if any(
            hash_of(found.decode()) in hashes
            for found in PSEUDONYM.findall(table["value"][at].as_py())
        )
    ]


def _forgotten(table: pa.Table, rows: list[int], hashes: Collection[str]) -> pa.Table:
    values = table["value"].to_pylist()
    for at in rows:
        values[at] = without_customer(values[at], hashes)
    table = _with(table, "value", pa.array(values, table.schema.field("value").type))
    if "customer_id" in table.column_names:
        customers = table["customer_id"].to_pylist()
        for at in rows:
            customers[at] = None
        kind = table.schema.field("customer_id").type
        table = _with(table, "customer_id", pa.array(customers, kind))
    return table.replace_schema_metadata(None)


def _with(table: pa.Table, name: str, column: pa.Array) -> pa.Table:
    at = table.schema.get_field_index(name)
    return table.set_column(at, table.schema.field(name), column)

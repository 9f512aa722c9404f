"""Expected against stored, row for row: every table that follows from the events, and the lake."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from clickhouse.client import Client
from clickhouse.queries import select
from lake.client import Lake
from lake.coverage import archived
from tillstream.chaos.model import Expected, expect
from tillstream.chaos.witness import Seen

_LISTED = 5
_PLACE = "toString(topic_id) AS t, partition AS p, offset AS o"

# The first columns of each are the row's key: how many, then the query.
_STORED: dict[str, tuple[int, str]] = {
    "fact_sales": (
        3,
        f"SELECT {_PLACE}, sale_id, toString(store_id), product_id, quantity,"
        " toInt64(revenue * 10000), toUnixTimestamp64Milli(event_time),"
        " toUnixTimestamp64Milli(arrival) FROM fact_sales",
    ),
    "fact_inventory": (
        3,
        f"SELECT {_PLACE}, inventory_id, toString(store_id), product_id, quantity_on_hand,"
        " quantity_change, sequence, toUnixTimestamp64Milli(event_time),"
        " toUnixTimestamp64Milli(arrival) FROM fact_inventory",
    ),
    "duplicates": (
        3,
        f"SELECT {_PLACE}, identity, toString(winner_topic_id), winner_partition, winner_offset"
        " FROM duplicates",
    ),
    "quarantine": (3, f"SELECT {_PLACE}, toString(reason) FROM quarantine"),
    "velocity_5m": (
        3,
        "SELECT toString(store_id), product_id, toInt64(toUnixTimestamp(window_start)),"
        " toInt64(units), toInt64(revenue * 10000), toInt64(lines) FROM velocity_5m",
    ),
    "current_stock": (2, "SELECT toString(store_id), product_id, on_hand FROM current_stock"),
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """One table, or the lake: equal digests mean equal rows. Counts are of rows by key."""

    table: str
    rows: int
    missing: int
    unexpected: int
    different: int
    doubled: int
    digest_expected: str
    digest_stored: str
    differences: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        return not (self.missing or self.unexpected or self.different or self.doubled)


def judge(client: Client, lake: Lake, records: list[Seen]) -> list[Verdict]:
    """Compare what `records` must lead to with all that is stored."""
    stored = {table: (width, _rows(client, sql)) for table, (width, sql) in _STORED.items()}
    counted = {row[:3] for table in ("fact_sales", "fact_inventory") for row in stored[table][1]}
    wanted = expected_rows(expect(records, counted=counted))
    verdicts = [
        compare(table, wanted[table], rows, width=width) for table, (width, rows) in stored.items()
    ]
    return [*verdicts, _judge_lake(lake, records)]


def expected_rows(expected: Expected) -> dict[str, dict[tuple[Any, ...], tuple[Any, ...]]]:
    """Table -> key -> the other columns, as `_STORED` reads them."""
    return {
        "fact_sales": dict(expected.sales),
        "fact_inventory": dict(expected.moves),
        "duplicates": {
            place: (identity, *winner) for place, (identity, winner) in expected.duplicates.items()
        },
        "quarantine": {place: (reason,) for place, reason in expected.quarantine.items()},
        "velocity_5m": dict(expected.windows),
        "current_stock": {shelf: (on_hand,) for shelf, on_hand in expected.stock.items()},
    }


def compare(
    table: str,
    wanted: Mapping[tuple[Any, ...], tuple[Any, ...]],
    rows: Iterable[tuple[Any, ...]],
    *,
    width: int,
) -> Verdict:
    """`rows` begin with `width` columns of key."""
    stored: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    doubled = []
    for row in rows:
        if row[:width] in stored:
            doubled.append(row[:width])
        stored[row[:width]] = row[width:]
    missing = [key for key in wanted if key not in stored]
    unexpected = [key for key in stored if key not in wanted]
    different = [key for key, row in wanted.items() if key in stored and stored[key] != row]
    told = [f"missing {key}: {wanted[key]}" for key in sorted(missing)[:_LISTED]]
    told += [f"unexpected {key}: {stored[key]}" for key in sorted(unexpected)[:_LISTED]]
    told += [
        f"different {key}: expected {wanted[key]}, stored {stored[key]}"
        for key in sorted(different)[:_LISTED]
    ]
    told += [f"doubled {key}" for key in sorted(doubled)[:_LISTED]]
    return Verdict(
        table,
        len(wanted),
        len(missing),
        len(unexpected),
        len(different),
        len(doubled),
        digest(wanted),
        digest(stored),
        tuple(told),
    )


def digest(rows: Mapping[tuple[Any, ...], tuple[Any, ...]]) -> str:
    """A hash of rows, whatever their order."""
    total = 0
    for key, row in rows.items():
        text = repr((key, row)).encode()
        total += int.from_bytes(hashlib.blake2b(text, digest_size=16).digest(), "big")
    return f"{total % (1 << 128):032x}"


def _rows(client: Client, sql: str) -> list[tuple[Any, ...]]:
    table = select(client, sql)
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True))


def _judge_lake(lake: Lake, records: list[Seen]) -> Verdict:
    """Every record in the lake as it was received. Objects may overlap; their bytes must agree."""
    wanted = {seen.place: _hashed(seen.arrival_ms, seen.key, seen.value) for seen in records}
    stored: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    clashing = []
    for name, _ in archived(lake)[0]:
        with lake.open(str(name)) as parquet:
            table = parquet.read(columns=["offset", "arrival", "key", "value"])
        arrivals = table["arrival"].cast("int64").to_pylist()
        columns = (
            table["offset"].to_pylist(),
            table["key"].to_pylist(),
            table["value"].to_pylist(),
        )
        for offset, key, value, arrival in zip(*columns, arrivals, strict=True):
            place = (name.topic_id, name.partition, offset)
            row = _hashed(arrival, key, value)
            if stored.setdefault(place, row) != row:
                clashing.append(place)
    found = compare("lake", wanted, ((*place, *row) for place, row in stored.items()), width=3)
    if not clashing:
        return found
    told = (
        *found.differences,
        *(f"two objects disagree at {place}" for place in clashing[:_LISTED]),
    )
    return Verdict(
        "lake",
        found.rows,
        found.missing,
        found.unexpected,
        found.different + len(clashing),
        found.doubled,
        found.digest_expected,
        found.digest_stored,
        told,
    )


def _hashed(arrival_ms: int, key: bytes | None, value: bytes | None) -> tuple[int, int]:
    return (arrival_ms, hash((key, value)))

"""What is held on a customer, and its erasure with proof.

An erasure takes the customer out of the facts, out of stored bytes (duplicates, quarantine), and
out of the lake's objects. Rows and records stay, so that `verify`, stock and revenue are as before.
Kafka cannot be changed: its records leave with its retention, after 7 days. Until then, or when a
till sends an old event, a rebuild or the stream may bring the pseudonym back; the erasure is kept,
as a hash, and applied again every night and after every rebuild.
"""

from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from clickhouse.client import Client, connect
from clickhouse.placement import placed
from clickhouse.queries import command, select
from lake.client import Lake
from lake.client import connect as connect_lake
from orchestration.forgetting import count_in_lake, forget_in_lake, hash_of, without_customer
from tillstream.contracts.identity import pseudonym
from tillstream.contracts.topics import TOPIC_SPECS, Topic
from tillstream.errors import IntegrityError
from tillstream.settings import Settings

_NAMING_TABLES = ("fact_sales", "customer_events")
_BYTES_TABLES = ("duplicates", "quarantine")
_COLUMNS = ["customer_hash", "requested_at", "requested_by", "reason", "warehouse_rows"]


@dataclass(frozen=True, slots=True)
class Erasure:
    """What was found and taken out. `remaining` is what still names the customer: 0 proves it.
    Records in Kafka may do so until `kafka_until`."""

    customer_hash: str
    requested_at: datetime
    requested_by: str
    reason: str
    warehouse_rows: int
    lake_records: int
    remaining: int
    kafka_until: datetime


def customer_name(settings: Settings, customer: str) -> str:
    """The pseudonym of a customer's own number, or the pseudonym itself. Raises ConfigError when
    the key is missing."""
    return pseudonym(settings.customer_key.get_secret_value().encode(), customer)


def export_customer(client: Client, name: str) -> dict[str, list[dict[str, Any]]]:
    """Every row that names the customer, by table."""
    return {
        table: list(
            select(
                client,
                f"SELECT * FROM {table} WHERE customer_id = {{name:String}} ORDER BY event_time",
                parameters={"name": name},
            ).to_pylist()
        )
        for table in _NAMING_TABLES
    }


def erase_customer(settings: Settings, name: str, *, requested_by: str, reason: str) -> Erasure:
    """Erase one customer everywhere and record it. Repeating it finds nothing more, and keeps the
    first request. Raises IntegrityError when something still names the customer afterwards."""
    now = datetime.now(tz=UTC)
    with closing(connect(settings.warehouse)) as client:
        kept = [one for one in _recorded(client) if one.customer_hash == hash_of(name)]
        asked = kept[0] if kept else Erasure(hash_of(name), now, requested_by, reason, 0, 0, 0, now)
        # First: a death after this is finished by the next night.
        _record(client, asked)
        return _apply(client, _lake(settings), [asked])[0]


def apply_erasures(settings: Settings, *, database: str | None = None) -> list[Erasure]:
    """Erase again whoever was erased before, where a rebuild or a late event brought them back.
    With a `database`, there, taking the list from the configured one, and not in the lake."""
    with closing(connect(settings.warehouse)) as client:
        recorded = _recorded(client)
        if not recorded:
            return []
        if database is None:
            return _apply(client, _lake(settings), recorded)
    with closing(connect(settings.warehouse, database=database)) as client:
        return _apply(client, None, recorded)


def _apply(client: Client, lake: Lake | None, asked: list[Erasure]) -> list[Erasure]:
    done = []
    for one in asked:
        hashes = [one.customer_hash]
        rows = _forget_columns(client, hashes) + _forget_bytes(client, hashes)
        records = forget_in_lake(lake, hashes) if lake else 0
        remaining = _count(client, hashes) + (count_in_lake(lake, hashes) if lake else 0)
        kept_ms = max(TOPIC_SPECS[topic].retention_ms for topic in (Topic.SALES, Topic.CUSTOMERS))
        now = datetime.now(tz=UTC).replace(microsecond=0)
        until = now + timedelta(milliseconds=kept_ms) if rows else one.kafka_until
        erasure = Erasure(
            *(one.customer_hash, one.requested_at, one.requested_by, one.reason),
            one.warehouse_rows + rows,
            one.lake_records + records,
            remaining,
            until,
        )
        _record(client, erasure)
        if remaining:
            raise IntegrityError(
                f"{remaining} rows and records still name customer {one.customer_hash[:12]}…",
                hint="is the stream writing old events of theirs? run the erasure again",
            )
        done.append(erasure)
    return done


def _forget_columns(client: Client, hashes: list[str]) -> int:
    found = 0
    for table in _NAMING_TABLES:
        names = select(
            client,
            f"SELECT customer_id, count() AS n FROM {table} WHERE customer_id IS NOT NULL"
            " GROUP BY customer_id"
            " HAVING has({hashes:Array(String)}, lower(hex(SHA256(assumeNotNull(customer_id)))))",
            parameters={"hashes": hashes},
        ).to_pylist()
        for row in names:
            _update(client, table, "customer_id = NULL", f"customer_id = '{row['customer_id']}'")
            found += row["n"]
    return found


def _forget_bytes(client: Client, hashes: list[str]) -> int:
    found = 0
    for table in _BYTES_TABLES:
        for row in _bytes_naming(client, table, hashes):
            value = without_customer(bytes.fromhex(row["in_hex"]), hashes)
            place = (
                f"topic_id = '{row['topic_id']}' AND partition = {row['partition']}"
                f" AND offset = {row['offset']}"
            )
            _update(client, table, f"value = unhex('{value.hex()}')", place)
            found += 1
    return found


def _bytes_naming(client: Client, table: str, hashes: list[str]) -> Iterable[dict[str, Any]]:
    rows = select(
        client,
        "SELECT toString(topic_id) AS topic_id, partition, offset, hex(assumeNotNull(value)) AS"
        f" in_hex FROM {table} WHERE value IS NOT NULL AND arrayExists("
        "  name -> has({hashes:Array(String)}, lower(hex(SHA256(name)))),"
        "  extractAll(assumeNotNull(value), 'cust-[0-9a-f]{32}'))",
        parameters={"hashes": hashes},
    )
    return list(rows.to_pylist())


def _count(client: Client, hashes: list[str]) -> int:
    """Rows of the warehouse that still name one of the customers."""
    columns = sum(
        select(
            client,
            f"SELECT count() AS n FROM {table} WHERE customer_id IS NOT NULL AND"
            " has({hashes:Array(String)}, lower(hex(SHA256(assumeNotNull(customer_id)))))",
            parameters={"hashes": hashes},
        )["n"][0].as_py()
        for table in _NAMING_TABLES
    )
    return int(columns) + sum(
        len(list(_bytes_naming(client, table, hashes))) for table in _BYTES_TABLES
    )


def _update(client: Client, table: str, change: str, where: str) -> None:
    target, spread = placed(client, table)
    statement = f"ALTER TABLE {target}{spread} UPDATE {change} WHERE {where}"
    command(client, statement, settings={"mutations_sync": 2})


def _record(client: Client, one: Erasure) -> None:
    row = [
        *(one.customer_hash, one.requested_at, one.requested_by, one.reason),
        *(one.warehouse_rows, one.lake_records, one.remaining, one.kafka_until),
    ]
    columns = [*_COLUMNS, "lake_records", "remaining", "kafka_until"]
    client.insert("erasures", [row], column_names=columns)


def _recorded(client: Client) -> list[Erasure]:
    rows = select(
        client,
        f"SELECT toString({_COLUMNS[0]}) AS customer_hash, {', '.join(_COLUMNS[1:])},"
        " lake_records, remaining, kafka_until FROM erasures FINAL ORDER BY requested_at",
    ).to_pylist()
    return [Erasure(**row) for row in rows]


def _lake(settings: Settings) -> Lake:
    return connect_lake(settings.lake, url=settings.lake_url)

"""Asking the warehouse, and what the stream asks of events, offsets and alerts. Keys travel as
external data, not as SQL text."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa
from clickhouse_connect.driver.external import ExternalData

from clickhouse.client import ClickHouseError, Client
from clickhouse.failures import failed
from tillstream.errors import ServiceError

FACT_TABLES = ("fact_sales", "fact_inventory", "price_changes", "customer_events")
# Looking up fewer is so little work that sharing it among threads costs more.
_FEW_KEYS = 20_000
LANDING_TABLES = (*FACT_TABLES, "duplicates", "quarantine")
# Items as keys of `select` and `command`.
ITEM_KEYS = "store_id String, product_id String"


@dataclass(frozen=True, slots=True)
class Cut:
    """Everything of a partition below `next_offset` has been stored by `query`."""

    topic: str
    topic_id: str
    partition: int
    next_offset: int


def _external(name: str, rows: pa.Table, structure: str) -> ExternalData:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows)
    return ExternalData(
        file_name=name,
        fmt="ArrowStream",
        structure=structure.split(", "),
        data=sink.getvalue().to_pybytes(),
    )


def select(
    client: Client,
    sql: str,
    *,
    keys: tuple[pa.Table, str] | None = None,
    parameters: dict[str, Any] | None = None,
) -> pa.Table:
    """Run a SELECT; `keys` (rows, structure) can be used in it as table `keys`. Such a lookup goes
    before what people ask: the stream waits for it."""
    settings = {"priority": 1} if keys else {}
    if keys and keys[0].num_rows < _FEW_KEYS:
        settings["max_threads"] = 1
    try:
        external = _external("keys", *keys) if keys else None
        return client.query_arrow(
            sql,
            parameters=parameters,
            settings=settings,
            external_data=external,
            use_strings=True,
        )
    except (ClickHouseError, OSError) as exc:
        raise failed("query", exc) from exc


def command(
    client: Client,
    sql: str,
    *,
    keys: tuple[pa.Table, str] | None = None,
    parameters: dict[str, Any] | None = None,
    settings: dict[str, Any] | None = None,
) -> None:
    """Run a statement that returns nothing, with `keys` as in `select`."""
    try:
        external = _external("keys", *keys) if keys else None
        client.command(
            sql,
            parameters=parameters,
            external_data=external,
            settings={"deduplicate_insert_select": "disable"} | (settings or {}),
        )
    except (ClickHouseError, OSError) as exc:
        raise failed("statement", exc) from exc


_EVENT = pa.schema(
    [
        ("event_key", pa.binary()),
        ("topic_id", pa.string()),
        ("partition", pa.int32()),
        ("offset", pa.int64()),
    ]
)


def find_events(client: Client, event_keys: pa.Array) -> pa.Table:
    """(event_key, topic_id, partition, offset) of those of `event_keys` that are stored."""
    if len(event_keys) == 0:
        return _EVENT.empty_table()
    keys = pa.table({"event_key": event_keys.cast(pa.binary(16))})
    return select(
        client,
        "SELECT event_key, argMin(topic_id, arrival) AS topic_id,"
        " argMin(partition, arrival) AS partition, argMin(offset, arrival) AS offset"
        " FROM event_index WHERE event_key IN keys GROUP BY event_key",
        keys=(keys, "event_key FixedString(16)"),
    ).cast(_EVENT)


def event_keys(client: Client, *, at_most: int) -> Iterator[pa.Array]:
    """The keys of all stored events, some thousands at a time. Raises ServiceError when there are
    more than `at_most`, before the first."""
    try:
        count = int(client.query("SELECT count() FROM event_index").result_rows[0][0])
        if count > at_most:
            raise ServiceError(f"the warehouse holds {count:,} events")
        settings = {"max_threads": 1, "priority": 2}
        sql = "SELECT event_key FROM event_index"
        with client.query_arrow_stream(sql, settings=settings) as batches:
            for batch in batches:
                yield batch["event_key"]
    except (ClickHouseError, OSError) as exc:
        raise failed("query", exc) from exc


def highest_offsets(client: Client) -> dict[tuple[str, int], int]:
    """The highest stored offset of every (topic_id, partition)."""
    union = " UNION ALL ".join(
        f"SELECT topic_id, partition, max(offset) AS high FROM {table} GROUP BY topic_id, partition"
        for table in LANDING_TABLES
    )
    rows = select(
        client,
        f"SELECT toString(topic_id) AS topic_id, partition, max(high) AS high FROM ({union})"
        " GROUP BY topic_id, partition",
    )
    return {(r["topic_id"], r["partition"]): r["high"] for r in rows.to_pylist()}


def committed_cuts(client: Client, query: str) -> list[Cut]:
    rows = select(
        client,
        "SELECT toString(topic) AS topic, toString(topic_id) AS topic_id, partition, next_offset"
        " FROM stream_commits FINAL WHERE query = {query:String} ORDER BY topic, partition",
        parameters={"query": query},
    )
    return [Cut(**row) for row in rows.to_pylist()]


def alert_steps(
    client: Client, which: Literal["standing", "unsent"], *, since_ms: int = 0
) -> list[dict[str, Any]]:
    """The newest step of each alert that is not resolved, or was since `since_ms` (stream time); or
    every step not yet published."""
    condition = {
        "standing": "FROM restock_alerts WHERE state != 'resolved'"
        f" OR at >= fromUnixTimestamp64Milli({since_ms}, 'UTC')",
        "unsent": "FROM restock_alert_history FINAL WHERE (alert_id, version) NOT IN"
        " (SELECT alert_id, version FROM restock_alerts_published)",
    }[which]
    rows = select(
        client,
        "SELECT alert_id, version, toString(store_id) AS store_id, product_id, product_name,"
        " toString(region) AS region, toString(category) AS category, supplier_id, supplier_name,"
        " toString(state) AS state, toString(severity) AS severity, low_confidence, incident_id,"
        " risk, on_hand, daily_units, lead_time_days, days_of_cover, empty_p50_days,"
        " expected_lost_margin, explanation, toUnixTimestamp64Milli(opened_at) AS opened_at_ms,"
        " toUnixTimestamp64Milli(at) AS at_ms"
        f" {condition} ORDER BY recorded_at, alert_id, version",
    )
    return list(rows.to_pylist())

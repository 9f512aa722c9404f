"""Inserts that may be repeated without harm.

An insert carries a token that names the offsets it holds. ClickHouse drops a block whose token it
has seen, so a retry of the very same insert writes nothing. Tokens expire and a regrouped retry
carries others, so they are a convenience; what guarantees "once" is that whoever is not sure asks
first which offsets are stored (`clickhouse.stored.offsets_in`).
"""

from typing import Any

import pyarrow as pa

from clickhouse.client import ClickHouseError, Client
from clickhouse.failures import failed
from tillstream.telemetry.clients import insert_measured


def insert(client: Client, table: str, rows: pa.Table, *, token: str | None = None) -> int:
    """Insert `rows` as one block. Returns the number of rows sent.

    Without a token the engine's own deduplication is off: the caller vouches for the rows.
    Raises ServiceError when the warehouse refuses or does not answer: the outcome is then unknown.
    """
    if rows.num_rows == 0:
        return 0
    settings: dict[str, Any] = {
        "deduplicate_insert": "enable" if token else "disable",
        "max_threads": 1,  # one block is one thread's work
    }
    if token:
        settings["insert_deduplication_token"] = f"{table}:{token}"
    single_block = rows.combine_chunks()
    try:
        with insert_measured(table, rows.num_rows):
            client.insert_arrow(table, single_block, settings=settings)
    except (ClickHouseError, OSError) as exc:
        raise failed(f"insert of {rows.num_rows} rows into {table}", exc) from exc
    return int(rows.num_rows)

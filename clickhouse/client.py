"""The one way to reach ClickHouse: clickhouse-connect over HTTP, embedded or server alike."""

from typing import Any

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from clickhouse.failures import cannot_connect, require_version
from tillstream.errors import ConfigError
from tillstream.settings import WarehouseSettings

__all__ = ["ClickHouseError", "Client", "connect"]

# Rows and their tokens must be durable when an insert returns, and one insert must be one block:
# tokens name whole blocks. Poisoned dates may touch any month, so partitions are not limited.
_SESSION_SETTINGS: dict[str, Any] = {
    "async_insert": 0,
    "max_partitions_per_insert_block": 0,
    "deduplicate_blocks_in_dependent_materialized_views": 1,
    "insert_null_as_default": 0,
    "min_insert_block_size_rows": 1_000_000_000,
    "min_insert_block_size_bytes": 1_000_000_000_000,
    "max_query_size": 16_777_216,
    "date_time_input_format": "best_effort",
}


# Through Distributed tables. An insert returns once every shard has its rows on most of its
# replicas, not once this server means to send them. Whoever asks what is stored must be told by the
# replica that took the inserts, whichever server is asked. A join or IN of two such tables is
# asked of all shards.
_CLUSTER_SETTINGS: dict[str, Any] = {
    "distributed_foreground_insert": 1,
    "insert_quorum": "auto",
    "load_balancing": "in_order",
    "prefer_localhost_replica": 0,
    "distributed_product_mode": "global",
}


def connect(
    warehouse: WarehouseSettings, *, database: str | None = None, timeout_s: float = 300.0
) -> Client:
    """A client on `database` (default: the configured one).

    Raises ConfigError when the server refuses the user or password or is too old, ServiceError when
    it cannot be reached; both name the setting to correct.
    """
    try:
        client = clickhouse_connect.get_client(
            host=warehouse.host,
            port=warehouse.port,
            username=warehouse.user,
            password=warehouse.password.get_secret_value(),
            database=warehouse.database if database is None else database,
            secure=warehouse.secure,
            ca_cert=str(warehouse.ca_file) if warehouse.ca_file else None,
            send_receive_timeout=timeout_s,
            connect_timeout=5,
            query_retries=0,
            autogenerate_session_id=False,
            settings=_SESSION_SETTINGS | (_CLUSTER_SETTINGS if warehouse.cluster else {}),
            # Compressing costs a writer more than sending a few megabytes a second does.
            compress=False,
        )
    except (ClickHouseError, OSError) as exc:
        raise cannot_connect(exc, warehouse, database or warehouse.database) from exc
    try:
        require_version(str(client.server_version), warehouse)
    except ConfigError:
        client.close()
        raise
    return client

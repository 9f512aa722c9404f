"""Loading dimensions: whole tables, the newest row of a key wins."""

from collections.abc import Mapping

import pyarrow as pa

from clickhouse.client import Client
from clickhouse.queries import select
from clickhouse.writer import insert

TABLES = (
    *("dim_product", "dim_store", "dim_supplier", "demand_prior", "purchase_orders"),
    "delisted_items",
)


def load_dimensions(client: Client, dims: Mapping[str, pa.Table]) -> dict[str, int]:
    """Insert `dims` (table name -> rows, columns named as in the table). Loading the same rows
    again changes nothing. Returns the number of rows by table."""
    return {name: insert(client, name, rows) for name, rows in dims.items()}


def read_dimension(client: Client, table: str) -> pa.Table:
    """The current rows of one dimension, as `load_dimensions` takes them."""
    columns = select(client, f"DESCRIBE TABLE {table}")
    derived = {"product_key", "store_key", "loaded_at"}
    names = [name for name in columns["name"].to_pylist() if name not in derived]
    return select(client, f"SELECT {', '.join(names)} FROM {table} FINAL ORDER BY ALL")

"""Statements about parts and rows of one table go to its local tables where there is a cluster."""

from clickhouse.client import Client
from clickhouse.queries import select


def placed(client: Client, table: str) -> tuple[str, str]:
    """(the table whose parts hold the rows, ` ON CLUSTER …` or nothing), for an ALTER."""
    engine = select(
        client,
        "SELECT extract(engine_full, 'Distributed\\(\\'([^\\']+)') AS cluster FROM system.tables"
        " WHERE database = currentDatabase() AND name = {table:String}",
        parameters={"table": table},
    )["cluster"].to_pylist()
    cluster = engine[0] if engine else ""
    return (f"{table}_local", f" ON CLUSTER '{cluster}'") if cluster else (table, "")

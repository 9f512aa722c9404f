"""One number per table, to tell whether two warehouses hold the same."""

from dataclasses import dataclass

from clickhouse.client import Client
from clickhouse.queries import select

# What two independent runs cannot share: the topic's UUID and the broker's clock. The schema id
# stays in: the same bytes were sent.
_NOT_COMPARED = ("topic_id", "winner_topic_id", "arrival")

_TABLES = (
    "fact_sales",
    "fact_inventory",
    "price_changes",
    "customer_events",
    "duplicates",
    "quarantine",
    "velocity_5m",
    "current_stock",
)


@dataclass(frozen=True, slots=True)
class Digest:
    table: str
    rows: int
    sha: str


def digests(client: Client) -> tuple[Digest, ...]:
    """A hash of each table's rows, whatever their order. Equal rows hash equal; a row that is
    twice there changes the sum."""
    result = []
    for table in _TABLES:
        described = select(client, f"DESCRIBE TABLE {table}")
        columns = [
            f"`{name}`" for name in described["name"].to_pylist() if name not in _NOT_COMPARED
        ]
        row = f"tuple({', '.join(columns)})"
        found = select(
            client,
            f"SELECT count() AS n, hex(sum(reinterpretAsUInt128(sipHash128({row})))) AS sha"
            f" FROM {table}",
        ).to_pylist()[0]
        result.append(Digest(table, found["n"], found["sha"]))
    return tuple(result)

"""What is compared: the ways to keep 5-minute windows, the tables they need, the workloads."""

from enum import StrEnum

STATE_TABLE = "velocity_5m_replaced"


class Way(StrEnum):
    """`partials`, `view` store every fact too, as the platform does; the others windows alone.

    `partials` is what the platform does: sums of each batch, added up by the engine. `view` lets
    the engine sum each insert of facts. The `state` ways keep every window in Spark and write the
    windows a batch changed, the newest version replacing older ones.
    """

    PARTIALS = "partials"
    VIEW = "view"
    PARTIALS_ALONE = "partials-alone"
    STATE_MEMORY = "state-memory"
    STATE_ROCKSDB = "state-rocksdb"

    @property
    def stores_facts(self) -> bool:
        return self in (Way.PARTIALS, Way.VIEW)

    @property
    def state_store(self) -> str | None:
        """The class of Spark's that keeps the windows, None where Spark keeps none."""
        package = "org.apache.spark.sql.execution.streaming.state"
        return {
            Way.STATE_MEMORY: f"{package}.HDFSBackedStateStoreProvider",
            Way.STATE_ROCKSDB: f"{package}.RocksDBStateStoreProvider",
        }.get(self)


class Workload(StrEnum):
    """`spread`: 1,000 stores and 50,000 products in a few windows, so that nearly every line has a
    window of its own. `skewed`: 50 shops of unequal size for two hours, where the product of rank
    r sells in proportion to 1/r."""

    SPREAD = "spread"
    SKEWED = "skewed"


def extra_tables(way: Way) -> list[str]:
    """Statements to run after the migrations, in an empty database."""
    if way is Way.VIEW:
        return [
            "CREATE MATERIALIZED VIEW velocity_5m_feed TO velocity_5m_sums AS"
            " SELECT store_id, product_id, window_start, sum(toInt64(quantity)) AS units,"
            " sum(toDecimal128(revenue, 4)) AS revenue, toInt64(count()) AS lines"
            " FROM fact_sales GROUP BY store_id, product_id, window_start"
        ]
    if way.state_store:
        return [
            f"CREATE TABLE {STATE_TABLE} (store_id LowCardinality(String), product_id String,"
            " window_start DateTime('UTC'), units Int64, revenue Decimal(38, 4), lines Int64,"
            " version Int64) ENGINE = ReplacingMergeTree(version)"
            " ORDER BY (store_id, product_id, window_start)"
        ]
    return []


def stored_windows(way: Way) -> str:
    """A query for every stored window: (store_id, product_id, window_s, units, cents, lines)."""
    table = f"{STATE_TABLE} FINAL" if way.state_store else "velocity_5m"
    return (
        "SELECT toString(store_id) AS store_id, product_id,"
        " toInt64(toUnixTimestamp(window_start)) AS window_s, toInt64(units) AS units,"
        " toInt64(revenue * 100) AS cents, toInt64(lines) AS lines"
        f" FROM {table}"
    )

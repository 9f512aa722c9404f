"""Which days must be done again, because events of theirs came after they had been rolled up.

A day is rolled up at a cut: everything below one offset of each partition. A fact of that day with
a higher offset came late. The day it belongs to is done again, and also the days whose estimates it
changes: a late sale changes the rate by which lost sales of the next 28 days were estimated, where
that item's shelf was empty; a late movement that emptied or filled a shelf may change every day
after it.
"""

from datetime import date

from clickhouse.client import Client
from clickhouse.queries import Cut, command, committed_cuts, select

# A rate looks back 28 UTC days, which overlap the stores' own days by one on either side.
_REACH_DAYS = 29
_TURN = "(quantity_on_hand <= 0) != (quantity_on_hand - quantity_change <= 0)"


def stage_cuts(client: Client, day: date) -> None:
    """Remember how far the stream is, before `day` is rolled up."""
    _insert_cuts(client, "night_cuts_staging", [day], committed_cuts(client, "live"))


def publish_cuts(client: Client, day: date) -> None:
    """What was staged now counts: the rollup that was made after it is served."""
    command(
        client,
        "INSERT INTO night_cuts (date_key, topic_id, partition, next_offset)"
        " SELECT date_key, topic_id, partition, next_offset FROM night_cuts_staging FINAL"
        " WHERE date_key = {day:Date}",
        parameters={"day": day},
    )


def loaded_days(client: Client) -> list[date]:
    rows = select(client, "SELECT date_key FROM night_loads FINAL ORDER BY date_key")
    return list(rows["date_key"].to_pylist())


def late_days(client: Client) -> list[date]:
    """The loaded days that late events changed, in order."""
    days = loaded_days(client)
    late = set(_days(client, _late("fact_sales")))
    late |= set(_days(client, _late("fact_inventory")))
    late |= set(_days(client, _estimated_with_late_sales()))
    turned = _days(client, _late("fact_inventory", f"AND {_TURN}"))
    if turned:
        late |= {day for day in days if day >= min(turned)}
    return [day for day in days if day in late]


def settle(client: Client, cuts: list[Cut], *, but: set[date]) -> None:
    """No loaded day besides `but` has a late event below `cuts`: look only above, the next time."""
    _insert_cuts(client, "night_cuts", [d for d in loaded_days(client) if d not in but], cuts)


def newest_cuts(client: Client) -> list[Cut]:
    return committed_cuts(client, "live")


def _late(table: str, condition: str = "", columns: str = "f.date_key AS date_key") -> str:
    return (
        f"SELECT DISTINCT {columns} FROM {table} AS f"
        " LEFT JOIN (SELECT date_key, topic_id, partition, next_offset FROM night_cuts FINAL) AS c"
        " ON c.date_key = f.date_key AND c.topic_id = f.topic_id AND c.partition = f.partition"
        " WHERE f.date_key IN (SELECT date_key FROM night_loads)"
        # Nobody need look below the lowest cut of a partition, which is what makes this quick.
        "  AND (f.offset >= (SELECT min(next_offset) FROM night_cuts FINAL)"
        "       OR f.topic_id NOT IN (SELECT topic_id FROM night_cuts))"
        f"  AND f.offset >= c.next_offset {condition}"
    )


def _estimated_with_late_sales() -> str:
    items = _late(
        "fact_sales",
        columns="f.date_key AS sold_on, toString(f.store_id) AS store_id,"
        " f.product_id AS product_id",
    )
    return (
        "SELECT DISTINCT r.date_key AS date_key FROM rollup_daily AS r"
        f" INNER JOIN ({items}) AS s"
        " ON s.store_id = r.store_id AND s.product_id = r.product_id"
        " WHERE r.empty_hours > 0 AND r.date_key > s.sold_on"
        f" AND r.date_key <= s.sold_on + {_REACH_DAYS}"
    )


def _days(client: Client, sql: str) -> list[date]:
    return list(select(client, sql)["date_key"].to_pylist())


def _insert_cuts(client: Client, table: str, days: list[date], cuts: list[Cut]) -> None:
    rows = [[day, cut.topic_id, cut.partition, cut.next_offset] for day in days for cut in cuts]
    if rows:
        columns = ["date_key", "topic_id", "partition", "next_offset"]
        client.insert(table, rows, column_names=columns)

"""What the warehouse knows of an item that is about to wake somebody: names, who supplies it, and
whether it is sold there at all."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime

import pyarrow as pa

from clickhouse.client import Client
from clickhouse.queries import select
from streaming.alerts import Item

_ASK_AGAIN_S = 60.0


@dataclass(frozen=True, slots=True)
class Standing:
    """What is not known is empty. The dates are the first on which it is not sold any more."""

    product_name: str = ""
    region: str = ""
    category: str = ""
    supplier_id: str = ""
    supplier_name: str = ""
    discontinued_on: date | None = None
    closed_on: date | None = None
    delisted_on: date | None = None

    def not_sold(self, at_ms: int) -> str:
        """Why nobody should be woken for it, in words; empty when it is sold."""
        today = datetime.fromtimestamp(at_ms / 1000, UTC).date()
        for since, what in (
            (self.closed_on, "the store is closed"),
            (self.discontinued_on, "the product is discontinued"),
            (self.delisted_on, "the store does not sell it any more"),
        ):
            if since is not None and since <= today:
                return f"{what} (since {since})"
        return ""


UNKNOWN = Standing()


class Standings:
    """Asks for few items at a time, and remembers the answers for a minute."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._known: dict[Item, Standing] = {}
        self._shares: dict[str, float] = {}
        self._since = float("-inf")

    def of(self, items: Iterable[Item]) -> dict[Item, Standing]:
        self._forget_what_is_old()
        wanted = list(items)
        missing = sorted({item for item in wanted if item not in self._known})
        if missing:
            self._known.update(_standings(self._client, missing))
        return {item: self._known.get(item, UNKNOWN) for item in wanted}

    def supplier_shares(self) -> dict[str, float]:
        """Each supplier's share of the chain's products, 0 to 1."""
        self._forget_what_is_old()
        if not self._shares:
            rows = select(
                self._client,
                "SELECT supplier_id, count() AS n FROM dim_product FINAL GROUP BY supplier_id",
            ).to_pylist()
            total = sum(row["n"] for row in rows) or 1
            self._shares = {row["supplier_id"]: row["n"] / total for row in rows}
        return self._shares

    def _forget_what_is_old(self) -> None:
        if time.monotonic() - self._since > _ASK_AGAIN_S:
            self._known.clear()
            self._shares = {}
            self._since = time.monotonic()


def _standings(client: Client, items: list[Item]) -> dict[Item, Standing]:
    stores, products = zip(*items, strict=True)
    keys = pa.table({"store_id": pa.array(stores), "product_id": pa.array(products)})
    rows = select(
        client,
        "SELECT k.store_id AS store_id, k.product_id AS product_id,"
        " p.product_name AS product_name, toString(s.region) AS region,"
        " toString(p.category) AS category, p.supplier_id AS supplier_id,"
        " v.supplier_name AS supplier_name, p.discontinued_on AS discontinued_on,"
        " s.closed_on AS closed_on, l.delisted_on AS delisted_on FROM keys AS k"
        " LEFT JOIN (SELECT * FROM dim_product FINAL"
        "  WHERE product_id IN (SELECT product_id FROM keys)) AS p ON p.product_id = k.product_id"
        " LEFT JOIN (SELECT * FROM dim_store FINAL"
        "  WHERE store_id IN (SELECT store_id FROM keys)) AS s ON s.store_id = k.store_id"
        " LEFT JOIN (SELECT supplier_id, supplier_name FROM dim_supplier FINAL) AS v"
        "  ON v.supplier_id = p.supplier_id"
        " LEFT JOIN (SELECT * FROM delisted_items FINAL"
        "  WHERE (store_id, product_id) IN (SELECT store_id, product_id FROM keys)) AS l"
        "  ON l.store_id = k.store_id AND l.product_id = k.product_id",
        keys=(keys, "store_id String, product_id String"),
    ).to_pylist()
    return {(row.pop("store_id"), row.pop("product_id")): Standing(**row) for row in rows}

"""What stores and products are called, and where they belong: read now and then, kept in memory."""

from dataclasses import dataclass

from tillstream.web.people import Scope
from tillstream.web.reads.warehouse import Remembered, Warehouse

_EVERY_S = 60.0


@dataclass(frozen=True, slots=True)
class StoreName:
    store_id: str
    name: str
    region: str
    time_zone: str


@dataclass(frozen=True, slots=True)
class ProductName:
    product_id: str
    name: str
    category: str
    department: str


NO_PRODUCT = ProductName("", "", "", "")


class Names:
    """Raises ServiceError only as long as nothing was ever read."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse
        self._kept = Remembered(_EVERY_S)

    def stores(self, scope: Scope) -> dict[str, StoreName]:
        every = self._kept.get("stores", self._read_stores)
        return {key: one for key, one in every.items() if scope.sees(key)}

    def store(self, store_id: str) -> StoreName:
        """What is not known is called by its id."""
        every = self._kept.get("stores", self._read_stores)
        return every.get(store_id, StoreName(store_id, f"Store {store_id}", "", "UTC"))

    def product(self, product_id: str) -> ProductName:
        every = self._kept.get("products", self._read_products)
        return every.get(product_id, NO_PRODUCT)

    def categories(self) -> list[str]:
        every = self._kept.get("products", self._read_products)
        return sorted({one.category for one in every.values()} - {""})

    def _read_stores(self) -> dict[str, StoreName]:
        rows = self._warehouse.rows(
            "SELECT s.store_id AS store_id, d.store_name AS name, d.region AS region,"
            " d.time_zone AS time_zone"
            " FROM (SELECT DISTINCT toString(store_id) AS store_id FROM current_stock_states"
            "  UNION DISTINCT SELECT store_id FROM dim_store) AS s"
            " LEFT JOIN (SELECT store_id, store_name, toString(region) AS region,"
            "  toString(time_zone) AS time_zone FROM dim_store FINAL) AS d"
            " ON d.store_id = s.store_id ORDER BY length(store_id), store_id"
        )
        return {
            row["store_id"]: StoreName(
                row["store_id"],
                row["name"] or f"Store {row['store_id']}",
                row["region"],
                row["time_zone"] or "UTC",
            )
            for row in rows
        }

    def _read_products(self) -> dict[str, ProductName]:
        rows = self._warehouse.rows(
            "SELECT product_id, product_name AS name, toString(category) AS category,"
            " toString(department) AS department FROM dim_product FINAL"
        )
        return {row["product_id"]: ProductName(**row) for row in rows}

"""Sale lines that stand out from their product's own history. They are marked, never dropped."""

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clickhouse.client import Client
from clickhouse.queries import select
from clickhouse.writer import insert
from streaming.batch import Batch, sale_lines
from streaming.enrich import Dimensions
from streaming.money import SCALE, to_units
from streaming.sinks import Follower
from streaming.stock_findings import find_negative_stock

# A product is judged by its own history once that has this many lines; before, by the fixed limits.
MIN_LINES = 30
# Counts and prices are skewed, so distance is measured on a log scale, in standard deviations.
MAX_DEVIATIONS = 6.0
# A line above these is marked whatever the product's history: a shop counts in tens, a fuel pump in
# thousands of millilitres or cents.
MAX_UNITS = 500.0
MAX_AMOUNT = 2_000.0

_MEASURES = ("quantity", "amount", "price")
_LIMITS = {"quantity": MAX_UNITS, "amount": MAX_AMOUNT, "price": MAX_AMOUNT}


@dataclass(slots=True)
class History:
    """Per product: number of lines, and sum and sum of squares of log(1 + x) for each measure.

    It lives in memory, is loaded from the facts, and grows with each batch that is stored.
    """

    products: pa.Array = field(default_factory=lambda: pa.array([], pa.string()))
    sums: np.ndarray = field(default_factory=lambda: np.zeros((0, 1 + 2 * len(_MEASURES))))

    @classmethod
    def load(cls, client: Client) -> "History":
        logs = {
            "quantity": "log1p(greatest(toFloat64(quantity), 0))",
            "amount": "log1p(greatest(toFloat64(revenue), 0))",
            "price": "log1p(toFloat64(unit_price))",
        }
        sums = ", ".join(
            f"sum({logs[m]}) AS {m}_1, sum({logs[m]} * {logs[m]}) AS {m}_2" for m in _MEASURES
        )
        rows = select(
            client,
            f"SELECT product_id, toFloat64(count()) AS lines, {sums} FROM fact_sales"
            " GROUP BY product_id",
        )
        ids = rows["product_id"].combine_chunks().cast(pa.string())
        columns = [rows[name].to_numpy() for name in rows.column_names[1:]]
        return cls(ids, np.column_stack(columns) if len(ids) else cls().sums)

    def rows(self, product_ids: pa.Array) -> np.ndarray:
        """Row numbers of distinct products, making room for new ones."""
        at = pc.index_in(product_ids, self.products)
        if at.null_count:
            self.products = pa.concat_arrays([self.products, product_ids.filter(at.is_null())])
            at = pc.index_in(product_ids, self.products)
        missing = len(self.products) - len(self.sums)
        if missing > 0:
            # Grow by at least half, so that new products do not copy the table every batch.
            grown = np.zeros((max(missing, len(self.sums) // 2), self.sums.shape[1]))
            self.sums = np.concatenate([self.sums, grown])
        return np.asarray(at.to_numpy(zero_copy_only=False), dtype=np.int64)


def find_anomalies(sales: pa.Table, history: History) -> pa.Table:
    """The outliers of a batch, as rows for the table `anomalies`; then adds the batch to
    `history`."""
    products = sales["product_id"].combine_chunks().dictionary_encode()
    rows = history.rows(products.dictionary)[products.indices.to_numpy()]
    values = {
        "quantity": sales["quantity"].to_numpy().astype(np.float64),
        "amount": to_units(sales["revenue"]) / SCALE,
        "price": to_units(sales["unit_price"]) / SCALE,
    }
    found = []
    lines = history.sums[rows, 0]
    for i, measure in enumerate(_MEASURES):
        value = values[measure]
        bound = _bound(lines, history.sums[rows, 1 + 2 * i], history.sums[rows, 2 + 2 * i])
        bound = np.minimum(np.where(lines >= MIN_LINES, bound, np.inf), _LIMITS[measure])
        if (outlying := value > bound).any():
            found.append(_marked(sales, measure, value, bound, outlying))
    for i, measure in enumerate(_MEASURES):
        log = np.log1p(np.maximum(values[measure], 0.0))
        np.add.at(history.sums, (rows, 1 + 2 * i), log)
        np.add.at(history.sums, (rows, 2 + 2 * i), log * log)
    np.add.at(history.sums, (rows, 0), 1.0)
    return pa.concat_tables(found) if found else _marked(sales.slice(0, 0), "quantity", *_NONE)


class AnomalyMarks(Follower):
    """A follower of the warehouse sink that marks the outliers of each batch, and stock below 0.
    The same mark twice is one, so a batch that is seen again does no harm."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._history = History()

    def open(self) -> None:
        self._history = History.load(self._client)

    def __call__(self, batch: Batch, dimensions: Dimensions) -> None:
        sales = sale_lines(batch.winners)
        if sales.num_rows and (found := find_anomalies(sales, self._history)).num_rows:
            insert(self._client, "anomalies", found)
        if (below := find_negative_stock(batch.winners)).num_rows:
            insert(self._client, "anomalies", below)


_NONE = (np.empty(0), np.empty(0), np.empty(0, dtype=bool))


def _bound(lines: np.ndarray, total: np.ndarray, squares: np.ndarray) -> np.ndarray:
    n = np.maximum(lines, 1.0)
    mean = total / n
    # A product always sold by the one would have no spread at all; a quarter on the log scale
    # keeps a second unit from being an outlier.
    deviation = np.maximum(np.sqrt(np.maximum(squares / n - mean * mean, 0.0)), 0.25)
    return np.asarray(np.expm1(mean + MAX_DEVIATIONS * deviation))


def _marked(
    sales: pa.Table, measure: str, value: np.ndarray, bound: np.ndarray, outlying: np.ndarray
) -> pa.Table:
    rows = sales.filter(pa.array(outlying)) if len(outlying) else sales
    value, bound = value[outlying], bound[outlying]
    details = [
        f"{measure} {v:g} is above {b:.4g}, what this product's history allows"
        for v, b in zip(value, bound, strict=True)
    ]
    return pa.table(
        {
            "topic_id": rows["topic_id"],
            "partition": rows["partition"],
            "offset": rows["offset"],
            "kind": pa.array([f"{measure}_outlier"] * rows.num_rows, pa.string()),
            "store_id": rows["store_id"],
            "product_id": rows["product_id"],
            "value": pa.array(value, pa.float64()),
            "expected": pa.array(bound, pa.float64()),
            "detail": pa.array(details, pa.string()),
            "event_time": pc.cast(rows["event_time"], pa.timestamp("ms", tz="UTC")),
        }
    )

"""Made-up sale lines to measure with, and the window sums they must give."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from tillstream.bench.ways import Workload

WINDOW_MS = 300_000
_SPREAD_STORES, _SPREAD_PRODUCTS = 1_000, 50_000
# Ten events a millisecond of event time: a few windows hold all, so their keys are the products.
_SPREAD_EVENTS_PER_MS = 10
_SHOPS, _SHOP_PRODUCTS = 50, 5_000
_SHOP_HOURS = 2


@dataclass(frozen=True, slots=True)
class SaleLines:
    """Columns of equal length, in sending order; amounts are whole cents, times UTC ms."""

    store: np.ndarray
    product: np.ndarray
    quantity: np.ndarray
    unit_cents: np.ndarray
    at_ms: np.ndarray

    def __len__(self) -> int:
        return len(self.store)


def make_lines(workload: Workload, events: int, *, start_ms: int, seed: int = 1) -> SaleLines:
    """The same arguments give the same lines. Their times begin at `start_ms`."""
    random = np.random.default_rng(seed)
    number = np.arange(events)
    if workload is Workload.SPREAD:
        store = random.integers(0, _SPREAD_STORES, events)
        product = (_SPREAD_PRODUCTS * random.random(events) ** 3).astype(np.int64)
        at_ms = start_ms + number // _SPREAD_EVENTS_PER_MS
    else:
        store = _zipf(random, _SHOPS, events, exponent=0.5)
        product = _zipf(random, _SHOP_PRODUCTS, events, exponent=1.0)
        at_ms = start_ms + number * (_SHOP_HOURS * 3_600_000) // events
    quantity = random.integers(1, 5, events)
    return SaleLines(store, product, quantity, 99 + product % 900, at_ms)


def sale_events(lines: SaleLines) -> Iterator[dict[str, Any]]:
    """Events of the sale contract, each receipt a line of its own."""
    columns = (lines.store, lines.product, lines.quantity, lines.unit_cents, lines.at_ms)
    for i, (store, product, quantity, cents, at_ms) in enumerate(
        zip(*(column.tolist() for column in columns), strict=True)
    ):
        yield {
            "transaction_id": f"{i:032x}",
            "store_id": f"S{store:04}",
            "product_id": f"P{product:05}",
            "quantity": quantity,
            "unit_price": Decimal(cents).scaleb(-2),
            "timestamp": at_ms,
            "payment_method": "card",
            "line_number": 1,
            "line_amount": Decimal(cents * quantity).scaleb(-2),
        }


def expected_windows(lines: SaleLines) -> pd.DataFrame:
    """(store_id, product_id, window_s, units, cents, lines) of every window, sorted by its key."""
    frame = pd.DataFrame(
        {
            "store": lines.store,
            "product": lines.product,
            "window_s": lines.at_ms // WINDOW_MS * (WINDOW_MS // 1000),
            "units": lines.quantity,
            "cents": lines.quantity * lines.unit_cents,
        }
    )
    keys = ["store", "product", "window_s"]
    sums = frame.groupby(keys, as_index=False).agg(
        units=("units", "sum"), cents=("cents", "sum"), lines=("units", "size")
    )
    sums.insert(0, "store_id", sums.pop("store").map("S{:04}".format))
    sums.insert(1, "product_id", sums.pop("product").map("P{:05}".format))
    return sums.sort_values(["store_id", "product_id", "window_s"], ignore_index=True)


def count_wrong(expected: pd.DataFrame, stored: pd.DataFrame) -> int:
    """How many windows are missing, superfluous or different; both as `expected_windows` gives."""
    keys = ["store_id", "product_id", "window_s"]
    both = expected.merge(stored, on=keys, how="outer", suffixes=("", "_stored"), indicator=True)
    wrong = both["_merge"] != "both"
    for name in ("units", "cents", "lines"):
        wrong |= both[name] != both[f"{name}_stored"]
    return int(wrong.sum())


def _zipf(random: np.random.Generator, ranks: int, events: int, *, exponent: float) -> np.ndarray:
    weights = 1.0 / np.arange(1, ranks + 1) ** exponent
    return random.choice(ranks, events, p=weights / weights.sum())

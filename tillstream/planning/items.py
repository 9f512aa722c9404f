"""The items a plan is made for: one Arrow row each, and what is assumed where a fact is missing."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tillstream.demand.belief import Belief
from tillstream.demand.horizon import Horizon
from tillstream.demand.replenish import Limits
from tillstream.errors import ConfigError

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

ITEMS = pa.schema(
    [
        ("store_id", pa.string()),
        ("product_id", pa.string()),
        ("product_name", pa.string()),
        ("category", pa.string()),
        ("region", pa.string()),
        ("a", pa.float64()),  # demand rate per demand day ~ Gamma(a, b)
        ("b", pa.float64()),
        ("dispersion", pa.float64()),  # variance over mean of demand
        ("on_hand", pa.float64()),  # as the books say; may be below zero
        ("on_order_units", pa.float64()),
        ("next_receipt_days", pa.float64()),  # null: nothing known to be due
        ("lead_days", pa.float64()),
        ("lead_late_share", pa.float64()),
        ("pack_units", pa.int64()),
        ("min_order_units", pa.int64()),
        ("capacity_units", pa.float64()),  # null: no limit
        ("shelf_life_days", pa.float64()),  # null: keeps
        ("unit_cost", pa.float64()),
        ("unit_price", pa.float64()),
    ]
)

# What stands in for a fact that is not known. A pack of one never orders more than is needed.
DEFAULTS = {
    "a": 0.5,
    "b": 7.0,
    "dispersion": 1.5,
    "on_hand": 0.0,  # and nothing is ordered: the shelf must be counted first
    "on_order_units": 0.0,
    "lead_days": 2.0,
    "lead_late_share": 0.05,
    "pack_units": 1.0,
    "min_order_units": 1.0,
    "capacity_units": np.inf,
    "shelf_life_days": np.inf,
}
# Gross margin where cost or price is missing; the cost where both are.
DEFAULT_MARGIN = 0.25
DEFAULT_UNIT_COST = 1.0
# By how much a late delivery is late.
LATE_DAYS = 2.0
# Missing, these make a suggestion doubtful, and are said of it so.
_TELLING = {
    "a": "demand",
    "on_hand": "stock",
    "on_order_units": "orders on their way",
    "lead_days": "lead time",
    "pack_units": "pack size",
    "unit_cost": "cost",
    "unit_price": "price",
}


@dataclass(frozen=True, slots=True)
class Items:
    """`table` has ITEMS' columns; the arrays (n,) are complete, with `assumed` saying which facts
    of a row are not known or doubtful, in words ("" when none)."""

    table: pa.Table
    belief: Belief
    on_hand: Floats
    stock_known: Bools
    on_order_units: Floats
    next_receipt_days: Floats  # infinite: nothing due
    lead_days: Floats
    late_share: Floats
    limits: Limits
    unit_cost: Floats
    unit_price: Floats
    assumed: list[str]

    def __len__(self) -> int:
        return len(self.on_hand)

    @property
    def position(self) -> Floats:
        """Inventory position: what is there, were the books right, and what is on its way."""
        return np.maximum(self.on_hand, 0.0) + self.on_order_units

    def horizon(self, *, review_days: float, ahead_days: float) -> Horizon:
        """Lead times of orders that are placed `ahead_days` from now: usual, or LATE_DAYS more."""
        usual = self.lead_days + ahead_days
        return Horizon(
            lead_days=np.stack([usual, usual + LATE_DAYS], axis=1),
            lead_weight=np.stack([1.0 - self.late_share, self.late_share], axis=1),
            review_days=np.full(len(self), review_days),
        )

    def available(self, horizon: Horizon) -> Floats:
        """Units to sell before each lead time of `horizon` ends, (n, K): an order on its way counts
        when it is due before."""
        due = self.next_receipt_days[:, None] < horizon.lead_days
        there = np.maximum(self.on_hand, 0.0)[:, None] + due * self.on_order_units[:, None]
        return np.asarray(there, dtype=np.float64)


def completed(table: pa.Table) -> Items:
    """`table` with DEFAULTS where it has nulls or impossible numbers (a negative lead time, a pack
    of none). Raises ConfigError when a column is missing or of another kind."""
    missing = [name for name in ITEMS.names if name not in table.column_names]
    if missing:
        raise ConfigError(f"the items have no column {', '.join(missing)}")
    try:
        table = table.select(ITEMS.names).cast(ITEMS)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as exc:
        raise ConfigError(f"the items are not as they should be: {exc}") from exc
    given = {
        field.name: _numbers(table, field.name) for field in ITEMS if field.type != pa.string()
    }
    known = {name: np.isfinite(values) for name, values in given.items()}
    for name in ("b", "dispersion", "pack_units", "min_order_units", "shelf_life_days"):
        known[name] &= given[name] > 0
    for name in ("a", "on_order_units", "lead_days", "unit_cost", "unit_price", "capacity_units"):
        known[name] &= given[name] >= 0
    known["a"] &= known["b"]  # one without the other says nothing
    known["b"] = known["a"]
    share = given["lead_late_share"]
    known["lead_late_share"] &= (share >= 0) & (share <= 1)
    full = {name: np.where(known[name], given[name], value) for name, value in DEFAULTS.items()}
    cost, price = _money(given, known)
    due = known["next_receipt_days"] & (full["on_order_units"] > 0)
    return Items(
        table=table,
        belief=Belief(
            a=np.maximum(full["a"], 1e-9), b=full["b"], dispersion=np.maximum(full["dispersion"], 1)
        ),
        on_hand=full["on_hand"],
        stock_known=known["on_hand"],
        on_order_units=full["on_order_units"],
        next_receipt_days=np.where(due, np.maximum(given["next_receipt_days"], 0.0), np.inf),
        lead_days=full["lead_days"],
        late_share=full["lead_late_share"],
        limits=Limits(
            pack_units=full["pack_units"].astype(np.int64),
            min_order_units=full["min_order_units"].astype(np.int64),
            capacity_units=full["capacity_units"],
            shelf_life_days=full["shelf_life_days"],
        ),
        unit_cost=cost,
        unit_price=price,
        assumed=_assumed(known, below_zero=full["on_hand"] < 0),
    )


def _numbers(table: pa.Table, name: str) -> Floats:
    return np.asarray(
        table[name].cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64
    )


def _money(given: dict[str, Floats], known: dict[str, Bools]) -> tuple[Floats, Floats]:
    """Cost and price of a unit, each by the usual margin from the other where it is missing."""
    has_cost, has_price = known["unit_cost"], known["unit_price"]
    cost = np.where(has_price, given["unit_price"] * (1 - DEFAULT_MARGIN), DEFAULT_UNIT_COST)
    cost = np.where(has_cost, given["unit_cost"], cost)
    return cost, np.where(has_price, given["unit_price"], cost / (1 - DEFAULT_MARGIN))


def _assumed(known: dict[str, Bools], *, below_zero: Bools) -> list[str]:
    lacking = [(words, ~known[name]) for name, words in _TELLING.items()]
    words = np.full(len(below_zero), "", dtype=object)
    for name, rows in lacking:
        words[rows] += f", {name}"
    told = [f"not known: {text[2:]}" if text else "" for text in words.tolist()]
    below = "stock below zero in the books"
    return [
        "; ".join(filter(None, [text, below * wrong]))
        for text, wrong in zip(told, below_zero.tolist(), strict=True)
    ]

"""The mean of demand, by gradient-boosted trees over all items at once.

The trees correct a simple estimate (`Rows.anchor`), so what they need to learn is small, and an
item without a history of its own falls back on its kind's.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from tillstream.ml.features import HORIZON_DAYS, NAMES, History, Rows
from tillstream.ml.panel import LEAST_IN_STOCK

if TYPE_CHECKING:  # it takes a second, and features need no trees
    import xgboost

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How trees are grown. Of the days without a sale only `share_of_zeros` is used, and counts
    that much more; so it is with all days where there would be over `most_examples`. Items with
    fewer than `least_sale_days` before an origin are left out."""

    rounds: int = 200
    depth: int = 6
    learning_rate: float = 0.06
    least_child_weight: float = 20.0
    tweedie_power: float = 1.2
    share_of_zeros: float = 0.1
    most_examples: int = 2_000_000
    least_sale_days: int = 1
    threads: int = 2
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Examples:
    """`values` (m, len(NAMES)), what was sold (m,), the anchor's logarithm (m,), weight (m,), and
    the origin whose week each is of (m,)."""

    values: Floats
    units: Floats
    anchor: Floats
    weight: Floats
    origin: Floats

    def __len__(self) -> int:
        return len(self.units)

    def over_by(self, day: int) -> "Examples":
        """Those whose week was over on the morning of `day`."""
        over = self.origin + HORIZON_DAYS <= day
        return Examples(*(getattr(self, field.name)[over] for field in fields(self)))


_NONE: Final = np.empty(0, dtype=np.float32)


def examples(history: History, origins: Sequence[int], recipe: Recipe) -> Examples:
    """What was sold in the days after each origin, where that says something: days on which an item
    could be bought, of items that were listed before."""
    panel, draw = history.panel, np.random.default_rng(recipe.seed)
    budget = recipe.most_examples / max(1, len(origins))
    parts = []
    for origin in origins:
        rows = history.before(origin)
        days = slice(origin, origin + HORIZON_DAYS)
        units, in_stock = panel.units[:, days], panel.in_stock[:, days]
        tells = in_stock >= LEAST_IN_STOCK
        tells &= (history.sale_days(origin) >= recipe.least_sale_days)[:, None]
        some = units > 0
        kept = tells & (some | (draw.random(units.shape, dtype=np.float32) < recipe.share_of_zeros))
        share = min(1.0, budget / max(1, kept.sum()))
        if share < 1:
            kept &= draw.random(units.shape, dtype=np.float32) < share
        weight = np.where(some, 1.0, 1.0 / recipe.share_of_zeros)[kept] / share
        of = np.full(len(weight), origin)
        parts.append((rows.values[kept], units[kept], np.log(rows.anchor[kept]), weight, of))
    if not parts:
        return Examples(np.empty((0, len(NAMES)), dtype=np.float32), *[_NONE] * 4)
    return Examples(
        *(np.concatenate(column).astype(np.float32) for column in zip(*parts, strict=True))
    )


@dataclass(frozen=True, slots=True)
class Boosted:
    """A trained booster."""

    booster: "xgboost.Booster"

    @classmethod
    def loaded(cls, content: bytes) -> Self:
        import xgboost

        booster = xgboost.Booster()
        booster.load_model(bytearray(content))
        return cls(booster)

    def saved(self) -> bytes:
        return bytes(self.booster.save_raw("ubj"))

    def gains(self) -> dict[str, float]:
        """Total gain by feature, as a share of all; most first."""
        scores = self.booster.get_score(importance_type="total_gain")
        gain = {name: float(np.sum(value)) for name, value in scores.items()}
        total = sum(gain.values()) or 1.0
        ordered = sorted(gain.items(), key=lambda pair: -pair[1])
        return {name: value / total for name, value in ordered}


class Trees(Boosted):
    """The mean of demand."""

    __slots__ = ()

    @classmethod
    def grown(cls, examples: Examples, recipe: Recipe) -> "Trees":
        import xgboost

        data = xgboost.DMatrix(
            examples.values,
            label=np.maximum(examples.units, 0.0),
            base_margin=examples.anchor,
            weight=examples.weight,
            feature_names=list(NAMES),
            nthread=recipe.threads,
        )
        settings = {
            **parameters(recipe),
            "objective": "reg:tweedie",
            "tweedie_variance_power": recipe.tweedie_power,
        }
        return cls(xgboost.train(settings, data, recipe.rounds))

    def mean(self, rows: Rows, *, threads: int = 2) -> Floats:
        """Expected units, (items, HORIZON_DAYS)."""
        self.booster.set_param({"nthread": threads})
        found = self.booster.inplace_predict(
            rows.values.reshape(-1, len(NAMES)), base_margin=np.log(rows.anchor).ravel()
        )
        return np.asarray(found, dtype=np.float32).reshape(rows.anchor.shape)


def parameters(recipe: Recipe) -> dict[str, Any]:
    """How XGBoost is to grow trees, but for their objective."""
    return {
        "tree_method": "hist",
        "max_depth": recipe.depth,
        "eta": recipe.learning_rate,
        "min_child_weight": recipe.least_child_weight,
        "subsample": 0.7,
        "colsample_bytree": 0.6,
        "lambda": 5.0,
        "nthread": recipe.threads,
        "seed": recipe.seed,
    }

"""Which shelves will sell nothing in the next four weeks: a classifier over all of them.

Gradient-boosted trees correct a rule (`rule`) that knows each shelf's own sales and no more.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import xgboost
from numpy.typing import NDArray
from scipy.special import logit

from tillstream.errors import ConfigError
from tillstream.ml.boosting import Boosted, Recipe, parameters
from tillstream.ml.features import NAMES, History
from tillstream.ml.panel import LEAST_IN_STOCK

Floats = NDArray[np.float64]
Rows = NDArray[np.float32]
Bools = NDArray[np.bool_]

UNSOLD_DAYS: Final = 28
# Before the first origin something must have been seen, and the last weeks are held out.
LEAST_TRAINING_DAYS: Final = 3 * UNSOLD_DAYS
RECIPE: Final = Recipe(rounds=150, depth=5, learning_rate=0.05)

_STEP_DAYS: Final = 7
_MOST_ORIGINS: Final = 26
# So many days of its kind's sales count beside a shelf's own (`features._Past`).
_PRIOR_DAYS: Final = 14.0
_MOST_DAYS: Final = 90.0
_LEAST: Final = 1e-4
_EDGES: Final = (0.0, 0.05, 0.2, 0.5, 0.8, 0.95, 1.0)
_AT: Final = {name: number for number, name in enumerate(NAMES)}


@dataclass(frozen=True, slots=True)
class Cases:
    """Shelves on mornings when they had stock: `values` (m, len(NAMES)), and whether nothing was
    sold in the UNSOLD_DAYS from then on (m,)."""

    values: Rows
    unsold: Bools


class SlowMovers(Boosted):
    """A trained classifier."""

    __slots__ = ()

    def chance(self, values: Rows) -> Floats:
        """Of selling nothing in UNSOLD_DAYS, (m,), for features (m, len(NAMES))."""
        margin = logit(rule(values)).astype(np.float32)
        found = self.booster.inplace_predict(values, base_margin=margin)
        return np.asarray(found, dtype=np.float64)


def rule(values: Rows) -> Floats:
    """The chance of no sale that follows from a shelf's own rate alone, (m,).

    Sales occur at a rate with a Gamma belief, which has seen up to 90 days of the shelf, by the
    share of the last 30 on which it had stock, and 14 of its kind; none in d days then has
    probability (b / (b + d))^a. Kept from 0 and 1 by 0.0001.
    """
    listed = np.minimum(values[:, _AT["days_listed"]].astype(np.float64), _MOST_DAYS)
    seen = listed * values[:, _AT["item_in_stock_30"]] + _PRIOR_DAYS
    units_a_day = np.exp(values[:, _AT["item_rate_90"]].astype(np.float64))
    units_a_sale = np.exp(values[:, _AT["item_size"]].astype(np.float64))
    sales = units_a_day / units_a_sale * seen
    chance = (seen / (seen + UNSOLD_DAYS)) ** sales
    return np.asarray(np.clip(chance, _LEAST, 1 - _LEAST))


def origins(days: int) -> list[int]:
    """Mornings, counted from a panel's first day, whose UNSOLD_DAYS are over; ascending."""
    last = days - UNSOLD_DAYS
    return list(range(last, UNSOLD_DAYS - 1, -_STEP_DAYS))[:_MOST_ORIGINS][::-1]


def cases(history: History, at: Sequence[int], *, most: int | None = None) -> Cases:
    """What became of every shelf that had stock the day before one of the mornings `at` and had
    ever sold by then, or of `most` of them. A shelf that sold nothing and was not on the shelf all
    the time says nothing."""
    panel, draw = history.panel, np.random.default_rng(0)
    parts = []
    for origin in at:
        days = slice(origin, origin + UNSOLD_DAYS)
        unsold = np.asarray((panel.units[:, days] <= 0).all(axis=1))
        tells = (panel.in_stock[:, origin - 1] > 0) & (history.sale_days(origin) > 0)
        tells &= ~unsold | (panel.in_stock[:, days].mean(axis=1) >= LEAST_IN_STOCK)
        if most is not None and tells.sum() > most / len(at):
            tells &= draw.random(len(tells)) < most / len(at) / tells.sum()
        parts.append((features(history, origin)[tells], unsold[tells]))
    if not parts:
        return Cases(np.empty((0, len(NAMES)), dtype=np.float32), np.empty(0, dtype=np.bool_))
    values, unsold = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Cases(values, unsold)


def features(history: History, origin: int) -> Rows:
    """The features of the first day from `origin` on, (items, len(NAMES))."""
    return history.before(origin, days=1).values[:, 0, :]


def grown(history: History, at: Sequence[int], recipe: Recipe = RECIPE) -> SlowMovers:
    """Trees of what became of shelves on the mornings `at`. Raises ConfigError when that is
    nothing."""
    seen = cases(history, at, most=recipe.most_examples)
    if not len(seen.unsold):
        raise ConfigError("no shelf with stock has sold anything: there is nothing to learn from")
    data = xgboost.DMatrix(
        seen.values,
        label=seen.unsold,
        base_margin=logit(rule(seen.values)),
        feature_names=list(NAMES),
        nthread=recipe.threads,
    )
    settings = {**parameters(recipe), "objective": "binary:logistic", "base_score": 0.5}
    return SlowMovers(xgboost.train(settings, data, recipe.rounds))


@dataclass(frozen=True, slots=True)
class Scores:
    """Means over cases. `log_loss` (nats) and `brier` (0 to 1): lower is better. `share_unsold` is
    what happened, `mean_chance` what was said of it."""

    log_loss: float
    brier: float
    share_unsold: float
    mean_chance: float


@dataclass(frozen=True, slots=True)
class Band:
    """Cases whose chance was between `low` and `high`: what was said of them, what happened."""

    low: float
    high: float
    cases: int
    mean_chance: float
    share_unsold: float


@dataclass(frozen=True, slots=True)
class Judged:
    """Scores on the last UNSOLD_DAYS: of trees grown without them, of the rule, and of the version
    in service; None where there is none."""

    trees: Scores
    rule: Scores
    before: Scores | None
    calibration: list[Band]

    @property
    def is_better(self) -> bool:
        rivals = [self.rule] if self.before is None else [self.rule, self.before]
        return all(self.trees.log_loss < rival.log_loss for rival in rivals)


def judged(history: History, recipe: Recipe, *, before: SlowMovers | None) -> Judged:
    """What trees would have said four weeks ago, knowing only what was over by then. Raises
    ConfigError when there is too little to know or to judge."""
    last = history.panel.days - UNSOLD_DAYS
    if history.panel.days < LEAST_TRAINING_DAYS:
        raise ConfigError(
            f"{history.panel.days} days of sales are too few, {LEAST_TRAINING_DAYS} are needed"
        )
    known = [at for at in origins(history.panel.days) if at + UNSOLD_DAYS <= last]
    trees, held = grown(history, known, recipe), cases(history, [last])
    if not len(held.unsold):
        raise ConfigError(f"no shelf had stock {UNSOLD_DAYS} days ago: nothing to judge by")
    chance = trees.chance(held.values)
    return Judged(
        trees=scores(chance, held.unsold),
        rule=scores(rule(held.values), held.unsold),
        before=None if before is None else scores(before.chance(held.values), held.unsold),
        calibration=bands(chance, held.unsold),
    )


def scores(chance: Floats, unsold: Bools) -> Scores:
    """How good the chances (m,) were."""
    sure = np.clip(chance, _LEAST, 1 - _LEAST)
    loss = -np.where(unsold, np.log(sure), np.log1p(-sure))
    return Scores(
        log_loss=float(loss.mean()),
        brier=float(np.mean((chance - unsold) ** 2)),
        share_unsold=float(unsold.mean()),
        mean_chance=float(chance.mean()),
    )


def bands(chance: Floats, unsold: Bools) -> list[Band]:
    """Of the bands between _EDGES that have cases."""
    within = np.digitize(chance, _EDGES[1:-1])
    return [
        Band(low, high, len(some), float(chance[some].mean()), float(unsold[some].mean()))
        for number, (low, high) in enumerate(pairwise(_EDGES))
        if len(some := np.flatnonzero(within == number))
    ]

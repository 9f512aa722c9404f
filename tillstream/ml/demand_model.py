"""The demand forecast as a whole: trees for the mean, a spread around it."""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tillstream.errors import ConfigError
from tillstream.ml import spread
from tillstream.ml.boosting import Recipe, Trees, examples
from tillstream.ml.calendar import is_calm
from tillstream.ml.features import HORIZON_DAYS, History
from tillstream.ml.panel import LEAST_IN_STOCK
from tillstream.ml.spread import Spread

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Before the first origin something must have been seen.
LEAST_HISTORY_DAYS: Final = 28
_STEP_DAYS: Final = 7
# The last origins are held back, to see how far forecasts stray.
SPREAD_ORIGINS: Final = 4
LEAST_TRAINING_DAYS: Final = LEAST_HISTORY_DAYS + (SPREAD_ORIGINS + 1) * _STEP_DAYS


@dataclass(frozen=True, slots=True)
class DemandModel:
    """`spread` is that of a day's demand, `week_spread` that of the sum of HORIZON_DAYS."""

    trees: Trees
    spread: Spread
    week_spread: Spread


@dataclass(frozen=True, slots=True)
class Forecast:
    """`mean` and `variance` of each day (items, HORIZON_DAYS), and of their sum (items,)."""

    mean: Floats
    variance: Floats
    week_mean: Floats
    week_variance: Floats


def training_origins(days: int, *, most: int = 40) -> list[int]:
    """Days, counted from the panel's first, whose week after is known; a week apart, ascending."""
    first = min(LEAST_HISTORY_DAYS, max(days - HORIZON_DAYS, 0))
    origins = list(range(days - HORIZON_DAYS, first - 1, -_STEP_DAYS))[:most]
    return origins[::-1]


class Growing:
    """Grows trees from the weeks after `origins`, as many of them as were over by some day, and
    remembers those that it has grown. Examples are drawn once."""

    def __init__(self, history: History, origins: list[int], recipe: Recipe) -> None:
        self.history = history
        self.origins = origins
        self.recipe = recipe
        self._examples = examples(history, origins, recipe)
        self._grown: dict[int, Trees] = {}

    @classmethod
    def on_all(cls, history: History, recipe: Recipe, *, most_origins: int = 40) -> "Growing":
        """From every week of the history. Raises ConfigError when it is too short to train on."""
        origins = training_origins(history.panel.days, most=most_origins)
        if len(origins) <= SPREAD_ORIGINS:
            raise ConfigError(
                f"{history.panel.days} days of sales are too few to train on,"
                f" {LEAST_TRAINING_DAYS} are needed",
                hint="wait, or import history: tillstream simulate --history, or a replay",
            )
        return cls(history, origins, recipe)

    def by(self, day: int) -> Trees:
        """Trees that know what was over on the morning of `day`. Raises ConfigError when that says
        nothing."""
        if day not in self._grown:
            found = self._examples.over_by(day)
            if not len(found):
                raise ConfigError("no item was in stock on any day: there is nothing to train on")
            # On little data, a leaf may be smaller.
            least = min(self.recipe.least_child_weight, max(1.0, float(found.units.sum()) / 500))
            recipe = replace(self.recipe, least_child_weight=least)
            self._grown[day] = Trees.grown(found, recipe)
        return self._grown[day]


def train(growing: Growing) -> DemandModel:
    """A model of all that is known. Its spread comes from trees that did not see the last
    SPREAD_ORIGINS weeks; the trees that are kept saw all."""
    last = growing.origins[-SPREAD_ORIGINS:]
    day, week = spreads(growing.history, growing.by(last[0]), last, growing.recipe)
    return DemandModel(growing.by(growing.history.panel.days), day, week)


def spreads(
    history: History, trees: Trees, origins: list[int], recipe: Recipe
) -> tuple[Spread, Spread]:
    """How far a day's demand, and a week's, strays from what the trees say at `origins`. Holidays
    and the days before them go wrong in ways of their own, and are left out where they can be."""
    days, weeks = [], []
    for origin in origins:
        rows = history.before(origin)
        mean = trees.mean(rows, threads=recipe.threads).astype(np.float64)
        after = slice(origin, origin + HORIZON_DAYS)
        units = history.panel.units[:, after]
        tells = history.panel.in_stock[:, after] >= LEAST_IN_STOCK
        tells &= (history.sale_days(origin) >= recipe.least_sale_days)[:, None]
        calm = is_calm(history.panel.first_day + origin + np.arange(HORIZON_DAYS), history.country)
        size = np.broadcast_to(rows.size[:, None], mean.shape)
        whole = tells.all(axis=1)
        tells &= calm | ~calm.any()
        days.append(np.stack([units[tells], mean[tells], size[tells]]))
        week = (units[whole].sum(axis=1), mean[whole].sum(axis=1), rows.size[whole])
        weeks.append(np.stack(week))
    return (
        spread.fitted(*np.concatenate(days, axis=1).astype(np.float64)),
        spread.fitted(*np.concatenate(weeks, axis=1).astype(np.float64)),
    )


def predict(model: DemandModel, history: History, origin: int, *, threads: int = 2) -> Forecast:
    """The forecast of the HORIZON_DAYS from day `origin` on."""
    means, sizes = [], []
    for rows in history.parts(origin):
        means.append(model.trees.mean(rows, threads=threads))
        sizes.append(rows.size)
    mean = np.concatenate(means).astype(np.float64)
    size = np.concatenate(sizes).astype(np.float64)
    week = mean.sum(axis=1)
    return Forecast(
        mean=mean,
        variance=model.spread.variance(mean, np.broadcast_to(size[:, None], mean.shape)),
        week_mean=week,
        week_variance=model.week_spread.variance(week, size),
    )

"""Forecasts of weeks that were held out, ours and others', level by level.

Trees are grown once, on everything before the first held-out week, and then asked at the start of
each; baselines are fitted anew each time. How far each strays is fitted on the four weeks before,
for all in the same way: a negative binomial around the mean.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tillstream.evaluation.forecast import baselines
from tillstream.evaluation.forecast.recorded import Recorded
from tillstream.ml import metrics, spread
from tillstream.ml.boosting import Recipe
from tillstream.ml.calendar import is_calm
from tillstream.ml.demand_model import SPREAD_ORIGINS, Growing, training_origins
from tillstream.ml.features import HORIZON_DAYS, History
from tillstream.ml.metrics import Case, Estimate, Sums

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
OnPhase = Callable[[str, float | None], None]

OURS: Final = "tillstream"
LEVELS: Final = ("store × product", "store × category", "category", "store", "chain")
# ETS with all its trends is slow; below this many series it may have them.
_FEW_SERIES: Final = 50
# For the spread of a baseline, so many series do.
_SPREAD_SERIES: Final = 500
_FLOOR: Final = 0.05


@dataclass(frozen=True, slots=True)
class Level:
    """Series to be judged: sums of items by `group` (items,), of which `rows` are judged, and which
    `cluster` (rows,) each belongs to when stores are drawn again."""

    name: str
    group: Ints
    rows: Ints
    cluster: Ints

    def summed(self, values: NDArray[np.floating]) -> Floats:
        total = np.zeros((int(self.group.max()) + 1, *values.shape[1:]))
        np.add.at(total, self.group, values)
        return total[self.rows]


@dataclass(frozen=True, slots=True)
class Result:
    """Of one method at one level: scores, and ours less its."""

    level: str
    method: str
    series: int
    scores: dict[str, Estimate]
    ours_less: dict[str, Estimate]


@dataclass(frozen=True, slots=True)
class Plan:
    """`weeks` are held out; at each level `series` are judged at most, drawn by `seed`."""

    weeks: int = 8
    series: int = 500
    draws: int = 200
    seed: int = 0
    methods: tuple[str, ...] = baselines.NAMES


def backtest(
    data: Recorded,
    plan: Plan,
    recipe: Recipe,
    *,
    on_phase: OnPhase = lambda _name, _share: None,
) -> list[Result]:
    first = data.panel.days - plan.weeks * HORIZON_DAYS
    tests = list(range(first, data.panel.days, HORIZON_DAYS))
    spreads = [first - (at + 1) * HORIZON_DAYS for at in reversed(range(SPREAD_ORIGINS))]
    on_phase("training", None)
    mean, size = _ours(data, spreads, tests, recipe)
    results = []
    levels = _levels(data, plan)
    for number, level in enumerate(levels):
        sold = level.summed(data.panel.units)
        truth = level.summed(data.truth)
        usual = level.summed(size[:, None])[:, 0] if number == 0 else np.ones(len(sold))
        judge = _Judge.of(level, sold=sold, truth=truth, data=data, tests=tests, size=usual)
        ours = judge.scored(level.summed(mean), spreads, np.arange(len(sold)))
        found = {OURS: ours}
        for at, name in enumerate(plan.methods):
            share = (number + at / len(plan.methods)) / len(levels)
            on_phase(f"{name} by {level.name}", share)
            trends = len(sold) <= _FEW_SERIES
            some = np.arange(len(sold))[:_SPREAD_SERIES]
            before = baselines.forecast(name, sold[some], spreads, trends=trends)
            after = baselines.forecast(name, sold, tests, trends=trends)
            both = np.zeros((len(sold), len(spreads) + len(tests), HORIZON_DAYS))
            both[some, : len(spreads)] = before
            both[:, len(spreads) :] = after
            found[name] = judge.scored(both, spreads, some)
        for name, sums in found.items():
            results.append(
                Result(
                    level=level.name,
                    method=name,
                    series=len(sold),
                    scores=metrics.estimates(sums, level.cluster, draws=plan.draws),
                    ours_less=metrics.differences(ours, sums, level.cluster, draws=plan.draws),
                )
            )
    return results


@dataclass(frozen=True, slots=True)
class _Judge:
    case: Case
    sold: Floats
    size: Floats
    floor: Floats
    first_day: int

    @classmethod
    def of(
        cls,
        level: Level,
        *,
        sold: Floats,
        truth: Floats,
        data: Recorded,
        tests: list[int],
        size: Floats,
    ) -> "_Judge":
        first = tests[0]
        past = sold[:, :first].copy()
        begun = np.maximum.accumulate(past > 0, axis=1)
        # A series that began late has at least four weeks to be scaled by.
        begun[:, -4 * HORIZON_DAYS :] = True
        past[~begun] = np.nan
        case = Case.of(_weeks(truth, tests), past, level.summed(data.revenue)[:, :first])
        floor = _FLOOR * sold[:, :first].mean(axis=1)
        return cls(case, sold, size, floor, data.panel.first_day)

    def scored(self, mean: Floats, spreads: list[int], some: Ints) -> Sums:
        """`mean` (n, weeks, days) of the weeks at `spreads`, to fit the spread on for `some`, on
        calm days where there are any, and then of those that are judged. What says that nothing at
        all can sell counts as 5 % of what used to, or one sale would refute it for ever."""
        count, known = len(spreads), _weeks(self.sold, spreads)
        days = self.first_day + np.array(spreads)[:, None] + np.arange(HORIZON_DAYS)
        calm = is_calm(days, "US")
        calm |= not calm.any()
        least = np.maximum(mean, self.floor[:, None, None])
        size = np.broadcast_to(self.size[:, None, None], mean.shape)
        strays = spread.fitted(
            *(values[some, :count][:, calm].ravel() for values in (known, least, size))
        )
        variance = strays.variance(least, size)[:, count:]
        return metrics.sums(self.case, mean[:, count:], np.maximum(variance, 1e-9))


def _weeks(units: Floats, origins: list[int]) -> Floats:
    return np.stack([units[:, origin : origin + HORIZON_DAYS] for origin in origins], axis=1)


def _ours(
    data: Recorded, spreads: list[int], tests: list[int], recipe: Recipe
) -> tuple[Floats, Floats]:
    """Means (items, spreads and tests, days), and the usual sale of each item (items,)."""
    history = History(data.panel)
    growing = Growing(history, training_origins(tests[0]), recipe)
    early, late = growing.by(spreads[0]), growing.by(tests[0])
    parts = [early.mean(history.before(origin)) for origin in spreads]
    parts += [late.mean(history.before(origin)) for origin in tests]
    return np.stack(parts, axis=1).astype(np.float64), history.before(tests[0]).size.astype(float)


def _levels(data: Recorded, plan: Plan) -> list[Level]:
    panel = data.panel
    shelf = np.unique(
        panel.store * (int(panel.category.max()) + 1) + panel.category, return_inverse=True
    )[1]
    groups = {
        LEVELS[0]: np.arange(panel.items),
        LEVELS[1]: shelf,
        LEVELS[2]: panel.category,
        LEVELS[3]: panel.store,
        LEVELS[4]: np.zeros(panel.items, dtype=np.int64),
    }
    draw = np.random.default_rng(plan.seed)
    levels = []
    for name, group in groups.items():
        count = int(group.max()) + 1
        rows = np.sort(draw.permutation(count)[: plan.series])
        store = np.zeros(count, dtype=np.int64)
        store[group] = panel.store
        # Where a series spans stores, series are drawn again.
        spans = name in LEVELS[2:]
        cluster = np.arange(len(rows)) if spans else np.unique(store[rows], return_inverse=True)[1]
        levels.append(Level(name, group, rows, cluster))
    return levels

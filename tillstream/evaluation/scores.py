"""The scores of one predictor over all decisions, as functions of how often each store counts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from tillstream.evaluation import metrics
from tillstream.evaluation.rules import Scored

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
# Weights of the stores (stores,) -> the score.
Statistic = Callable[[Floats], float]

SCORES: Final[Mapping[str, str]] = {
    "brier": "Brier score",
    "skill": "Brier skill over the base rate",
    "calibration_error": "expected calibration error, 20 bins",
    "pr_auc": "area under precision and recall",
    "precision": "precision at the budget of alerts",
    "recall": "recall at the budget of alerts",
    "warning_median_hours": "hours of warning, median, at the budget",
    "warning_p10_hours": "hours of warning, one in ten has less, at the budget",
    "false_alerts": "false alerts a store-day at the budget",
    "lost_margin_avoided": "share of the lost margin that alerts at the budget would have avoided",
    "own_alerts": "alerts a store-day, as the rule itself fires",
    "own_precision": "precision, as the rule itself fires",
    "own_recall": "recall, as the rule itself fires",
    "own_false_alerts": "false alerts a store-day, as the rule itself fires",
}


@dataclass(frozen=True, slots=True)
class Judged:
    """Items at moments (n,): all decisions one after another. `group` numbers a store's day,
    `hours` until it was empty, infinite where it was not in time, `gap` names the time it was
    empty (row and start: an item warned of twice has one). `lost` spans slots `first_slot` to
    `last_slot` of the item `row`; `unmet_margin` (items, slots) is in money."""

    store: Ints
    row: Ints
    group: Ints
    ran_out: Bools
    hours: Floats
    gap: Ints
    first_slot: Ints
    last_slot: Ints
    unmet_margin: Floats
    stores: int
    store_days: int

    def __len__(self) -> int:
        return len(self.store)


def statistics(judged: Judged, found: Scored, *, budget: int) -> dict[str, Statistic]:
    """Those of SCORES that a predictor has; a rule without probability lacks the first three."""
    chosen = metrics.warned(found.rank, judged.group, budget)
    by_name: dict[str, Statistic] = {}
    if found.risk is not None:
        by_name |= _of_probability(judged, found.risk)
    by_name["pr_auc"] = _pr_auc(judged, found.rank)
    by_name |= {
        "precision": metrics.rates(chosen & judged.ran_out, chosen, judged.store),
        "recall": metrics.rates(chosen & judged.ran_out, judged.ran_out, judged.store),
        "false_alerts": _a_store_day(judged, chosen & ~judged.ran_out),
        "lost_margin_avoided": _avoided(judged, chosen),
        "warning_median_hours": _warning(judged, chosen, 0.5),
        "warning_p10_hours": _warning(judged, chosen, 0.1),
        "own_alerts": _a_store_day(judged, found.fires),
        "own_precision": metrics.rates(found.fires & judged.ran_out, found.fires, judged.store),
        "own_recall": metrics.rates(found.fires & judged.ran_out, judged.ran_out, judged.store),
        "own_false_alerts": _a_store_day(judged, found.fires & ~judged.ran_out),
    }
    return {name: by_name[name] for name in SCORES if name in by_name}


def _of_probability(judged: Judged, risk: Floats) -> dict[str, Statistic]:
    ones = np.ones(len(judged))
    ran_out = judged.ran_out.astype(np.float64)
    score = metrics.rates((risk - ran_out) ** 2, ones, judged.store)
    base = metrics.rates(ran_out, ones, judged.store)
    bins = metrics.quantile_bins(risk)
    size = int(bins.max()) + 1
    cell = judged.store * size + bins
    shape = (judged.stores, size)
    gap = np.bincount(cell, weights=risk - ran_out, minlength=shape[0] * size).reshape(shape)
    rows = np.bincount(judged.store, minlength=judged.stores)

    def skill(weight: Floats) -> float:
        rate = base(weight)
        return 1 - score(weight) / (rate * (1 - rate)) if 0 < rate < 1 else 0.0

    def calibration_error(weight: Floats) -> float:
        return float(np.abs(weight @ gap).sum() / (weight @ rows))

    return {"brier": score, "skill": skill, "calibration_error": calibration_error}


def _pr_auc(judged: Judged, rank: Floats) -> Statistic:
    """As `metrics.average_precision`, sorted once."""
    order = np.argsort(-rank, kind="stable")
    ranked, store, ran_out = rank[order], judged.store[order], judged.ran_out[order]
    last = np.append(ranked[1:] != ranked[:-1], True)

    def area(weight: Floats) -> float:
        each = weight[store]
        hits, all_ = np.cumsum(each * ran_out)[last], np.cumsum(each)[last]
        if not hits[-1]:
            return 0.0
        precision = hits / np.maximum(all_, 1e-12)
        return float(np.diff(hits, prepend=0.0) @ precision / hits[-1])

    return area


def _a_store_day(judged: Judged, rows: Bools) -> Statistic:
    counts = np.bincount(judged.store[rows], minlength=judged.stores)
    days = judged.store_days / judged.stores

    def mean(weight: Floats) -> float:
        return float(weight @ counts / (weight.sum() * days))

    return mean


def _warning(judged: Judged, chosen: Bools, probability: float) -> Statistic:
    """From the first warning to the gap, of gaps that were warned of."""
    rows = np.flatnonzero(chosen & judged.ran_out)
    rows = rows[np.lexsort((-judged.hours[rows], judged.gap[rows]))]
    _, first = np.unique(judged.gap[rows], return_index=True)
    hours, store = judged.hours[rows[first]], judged.store[rows[first]]
    return lambda weight: metrics.weighted_quantile(hours, weight[store], probability)


def _avoided(judged: Judged, chosen: Bools) -> Statistic:
    """Margin lost in gaps that were warned of, over that in all; a slot counts once. As if acting
    on a warning had filled the shelf until an order came."""
    store_of = np.zeros(len(judged.unmet_margin), dtype=np.int64)
    store_of[judged.row] = judged.store

    def lost(rows: Ints) -> Floats:
        edge = np.zeros((judged.unmet_margin.shape[0], judged.unmet_margin.shape[1] + 1))
        np.add.at(edge, (judged.row[rows], judged.first_slot[rows]), 1)
        np.add.at(edge, (judged.row[rows], judged.last_slot[rows] + 1), -1)
        covered = np.cumsum(edge, axis=1)[:, :-1] > 0
        return np.asarray((judged.unmet_margin * covered).sum(axis=1))

    warned = lost(np.flatnonzero(chosen & judged.ran_out))
    return metrics.rates(warned, lost(np.flatnonzero(judged.ran_out)), store_of)


def gap_numbers(row: Ints, empty_ms: Sequence[int] | Ints) -> Ints:
    """Equal for one item's one gap."""
    pairs = np.stack([row, np.asarray(empty_ms)], axis=1)
    return np.unique(pairs, axis=0, return_inverse=True)[1].ravel()

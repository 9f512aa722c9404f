"""Is a new model better than the one in service? Judged on weeks that neither was trained on."""

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from tillstream.ml import metrics
from tillstream.ml.demand_model import DemandModel, Growing, predict
from tillstream.ml.features import HORIZON_DAYS, History
from tillstream.ml.panel import LEAST_IN_STOCK

MOST_WEEKS: Final = 4


@dataclass(frozen=True, slots=True)
class Judged:
    """Scores (`metrics.NAMES`) over the last `weeks`, of the new model as it would have been
    without them, and of the one before; None where there is none to compare with."""

    weeks: int
    scores: dict[str, float]
    before: dict[str, float] | None

    @property
    def pinball(self) -> float:
        return self.scores["pinball"]

    def told(self) -> dict[str, Any]:
        return {
            "weeks": self.weeks,
            "pinball": self.pinball,
            "pinball_before": None if self.before is None else self.before["pinball"],
            "scores": self.scores,
        }


def judged(
    growing: Growing, model: DemandModel, *, rival: DemandModel | None, unseen_weeks: int
) -> Judged:
    """`model` on the last weeks, up to MOST_WEEKS of those the rival has not seen, with trees grown
    again without them. A rival that has seen them all (it was trained on the same days) is compared
    on the last one all the same, which favours the rival."""
    weeks = min(max(unseen_weeks, 1), MOST_WEEKS)
    held = growing.origins[-weeks:]
    ours = _scores(growing.history, replace(model, trees=growing.by(held[0])), held)
    theirs = None if rival is None else _scores(growing.history, rival, held)
    return Judged(weeks, ours, theirs)


def _scores(history: History, model: DemandModel, origins: list[int]) -> dict[str, float]:
    """On days that a shelf was in stock; a day that it was not counts as forecast rightly."""
    panel = history.panel
    found = [predict(model, history, origin) for origin in origins]
    weeks = [slice(origin, origin + HORIZON_DAYS) for origin in origins]
    mean = np.stack([one.mean for one in found], axis=1)
    variance = np.stack([one.variance for one in found], axis=1)
    sold = np.stack([panel.units[:, week] for week in weeks], axis=1).astype(np.float64)
    tells = np.stack([panel.in_stock[:, week] for week in weeks], axis=1) >= LEAST_IN_STOCK
    units = np.where(tells, sold, np.rint(mean))
    past = panel.units[:, : origins[0]].astype(np.float64)
    case = metrics.Case.of(units, past, past)
    values = metrics.sums(case, mean, variance).scores()
    return dict(zip(metrics.NAMES, values.tolist(), strict=True))

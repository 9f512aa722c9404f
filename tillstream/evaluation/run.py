"""Predictors against the truth: each is asked at every moment, and judged by what then happened."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from simulators.world.scenario import SupplierStrike
from simulators.world.seasons import HOUR_MS
from tillstream.errors import ConfigError
from tillstream.evaluation import metrics
from tillstream.evaluation.arrivals import arrivals
from tillstream.evaluation.books import Books, OrderBook, Snapshot
from tillstream.evaluation.metrics import Band, Estimate
from tillstream.evaluation.oracle import Oracle
from tillstream.evaluation.rules import RULES, Scored, scored
from tillstream.evaluation.scores import Judged, Statistic, gap_numbers, statistics
from tillstream.evaluation.truth import Outcome, Truth
from tillstream.evaluation.world import Case
from tillstream.learning.shelves import HELD_UP_CHANCES

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
# A moment (UTC ms) -> store_id, product_id, risk; items it leaves out have a risk of 0.
Predictor = Callable[[int], pa.Table]

ORACLE: Final = "oracle"
ORACLE_WITH_ERRORS: Final = "oracle, errors by law"
ORACLE_STRIKES_OPEN: Final = "oracle, strikes of unknown end"
ORACLE_PHYSICAL: Final = "oracle, physical stock"
BUDGET: Final = 5
# What a predictor is compared with the oracle by.
COMPARED: Final = ("skill", "pr_auc", "recall")
_ERROR_POINTS: Final = 9
_ERROR_EDGES: Final = (1, 2, 3, 5, 8, 12, 18, 27, 40, 60, 100)


@dataclass(frozen=True, slots=True)
class Report:
    """One predictor's scores (names of `scores.SCORES`) with 95 % intervals by resampling stores
    (those of `bands`: stores and days), its `bands` of risk (empty without probabilities), its
    ratios to the oracle, and the share of judged items that it said nothing about."""

    name: str
    judged: int
    base_rate: float
    missing: float
    scores: Mapping[str, Estimate]
    ratios: Mapping[str, Estimate]
    bands: tuple[Band, ...]


class Trial:
    """A finished run, its books and its truth."""

    def __init__(self, case: Case, books: Books, folder: Path) -> None:
        self.case = case
        self.truth = Truth(case.world, case.items, folder)
        self._books = books
        self._orders = OrderBook.read(folder, case.items)

    def snapshot(self, as_of_ms: int) -> Snapshot:
        """What is known at one of the case's moments."""
        items, world = self.case.items, self.case.world
        rows, recorded = self._books.at(as_of_ms)
        return Snapshot(
            as_of_ms=as_of_ms,
            row=rows,
            store=items.store[rows],
            product=items.product[rows],
            recorded=recorded,
            promised_ms=arrivals(world, items, as_of_ms).promised_ms[rows],
            sold=self._books.sold_before(as_of_ms, rows),
            days_known=int((as_of_ms - world.start_ms) // (24 * HOUR_MS)),
            on_the_way=self._orders.open_at(as_of_ms, rows),
            received=self._orders.received_at(as_of_ms, rows),
        )

    def keeps(self) -> Bools:
        """Which of the case's items have no shelf life."""
        life = self.case.world.catalogue.shelf_life_days
        return np.asarray(life[self.case.items.product] == 0)

    def unit_margin(self) -> Floats:
        """Price less cost of each item, in money."""
        catalogue, product = self.case.world.catalogue, self.case.items.product
        return np.asarray((catalogue.price_cents - catalogue.cost_cents)[product] / 100)


def evaluate(
    trial: Trial,
    predictors: Mapping[str, Predictor],
    *,
    among: Bools | None = None,
    budget: int = BUDGET,
    draws: int = 500,
    seed: int = 0,
) -> tuple[list[Report], dict[str, Scored], Judged]:
    """Reports of the predictors, the oracles and the rules, in that order; with what each said of
    all judged items, for curves.

    `among` (the case's items) leaves the others out. Raises ConfigError for a prediction without
    the columns it needs, or that is no probability.
    """
    oracle = Oracle(trial.case.world, trial.case.items)
    outcomes: list[Outcome] = []
    said: dict[str, list[Scored]] = {}
    missing = dict.fromkeys(predictors, 0)
    for as_of_ms in trial.case.moments.tolist():
        snapshot = trial.snapshot(as_of_ms)
        rows = snapshot.row if among is None else snapshot.row[among[snapshot.row]]
        outcome = trial.truth.outcome(as_of_ms, rows)
        at = np.searchsorted(snapshot.row, outcome.row)
        for name, predictor in predictors.items():
            risk, absent = _aligned(trial, name, predictor(as_of_ms), outcome.row)
            missing[name] += absent
            said.setdefault(name, []).append(scored(risk))
        for name, one in _known(trial, oracle, snapshot).items():
            said.setdefault(name, []).append(_taken(one, at))
        outcomes.append(outcome)
    judged = _judged(trial, outcomes)
    found = {name: _together(parts) for name, parts in said.items()}
    by_name = {name: statistics(judged, one, budget=budget) for name, one in found.items()}
    reports = [
        _report(
            name,
            judged,
            found[name],
            by_name[name],
            by_name[ORACLE],
            missing=missing.get(name, 0),
            draws=draws,
            seed=seed,
        )
        for name in found
    ]
    return reports, found, judged


def _known(trial: Trial, oracle: Oracle, snapshot: Snapshot) -> dict[str, Scored]:
    error = trial.truth.error(snapshot.row, snapshot.as_of_ms)
    units, weight = pooled_errors(error, snapshot.recorded)
    return {
        ORACLE: scored(oracle.risk(snapshot)),
        **_without_ends(trial, oracle, snapshot),
        ORACLE_WITH_ERRORS: scored(oracle.risk(snapshot, error_units=units, error_weight=weight)),
        ORACLE_PHYSICAL: scored(oracle.risk(snapshot, stock=snapshot.recorded + error)),
        **{name: rule(snapshot) for name, rule in RULES.items()},
    }


def _without_ends(trial: Trial, oracle: Oracle, snapshot: Snapshot) -> dict[str, Scored]:
    """In a scenario with strikes, an oracle that is not told when they end."""
    if not any(isinstance(shock, SupplierStrike) for shock in trial.case.world.scenario.shocks):
        return {}
    risks = [oracle.risk(snapshot, ends=chance) for chance in HELD_UP_CHANCES]
    return {ORACLE_STRIKES_OPEN: scored(np.mean(risks, axis=0))}


def pooled_errors(error: Ints, recorded: Ints) -> tuple[Floats, Floats]:
    """The law of `error` (n,) among items of about as many `recorded` units, as nine equally likely
    means of its ninths: (units, weight), (n, 9) each. The truth's own, for an oracle."""
    band = np.searchsorted(_ERROR_EDGES, recorded, side="right")
    units = np.zeros((len(error), _ERROR_POINTS))
    for number in np.unique(band):
        here = np.flatnonzero(band == number)
        parts = np.array_split(np.sort(error[here]), _ERROR_POINTS)
        units[here] = [np.rint(part.mean()) if len(part) else 0.0 for part in parts]
    return units, np.full(units.shape, 1 / _ERROR_POINTS)


def _aligned(trial: Trial, name: str, table: pa.Table, rows: Ints) -> tuple[Floats, int]:
    """(risk of `rows`, how many of them are missing)."""
    lacking = {"store_id", "product_id", "risk"} - set(table.column_names)
    if lacking:
        raise ConfigError(f"the predictions of {name} lack {', '.join(sorted(lacking))}")
    items = trial.case.items
    risk = np.full(len(items), np.nan)
    told, values = items.rows_of(table), table["risk"].to_numpy().astype(np.float64)
    risk[told[told >= 0]] = values[told >= 0]
    found = risk[rows]
    if ((found < 0) | (found > 1)).any():
        raise ConfigError(f"the predictions of {name} are no probabilities: not from 0 to 1")
    return np.nan_to_num(found, nan=0.0), int(np.isnan(found).sum())


def _taken(one: Scored, at: Ints) -> Scored:
    return Scored(one.rank[at], one.fires[at], None if one.risk is None else one.risk[at])


def _together(parts: list[Scored]) -> Scored:
    risks = [part.risk for part in parts if part.risk is not None]
    return Scored(
        rank=np.concatenate([part.rank for part in parts]),
        fires=np.concatenate([part.fires for part in parts]),
        risk=np.concatenate(risks) if risks else None,
    )


def _judged(trial: Trial, outcomes: list[Outcome]) -> Judged:
    items, stores = trial.case.items, len(trial.case.world.stores)
    row = np.concatenate([one.row for one in outcomes])
    number = np.repeat(np.arange(len(outcomes)), [len(one.row) for one in outcomes])
    return Judged(
        store=items.store[row],
        row=row,
        group=number * stores + items.store[row],
        ran_out=np.concatenate([one.ran_out for one in outcomes]),
        hours=np.concatenate([trial.truth.hours_until_empty(one) for one in outcomes]),
        gap=gap_numbers(row, np.concatenate([one.empty_ms for one in outcomes])),
        first_slot=np.concatenate([one.first_slot for one in outcomes]),
        last_slot=np.concatenate([one.last_slot for one in outcomes]),
        unmet_margin=trial.truth.unmet * trial.unit_margin()[:, None],
        stores=stores,
        store_days=stores * len(outcomes),
    )


def _report(
    name: str,
    judged: Judged,
    found: Scored,
    own: Mapping[str, Statistic],
    oracle: Mapping[str, Statistic],
    *,
    missing: int,
    draws: int,
    seed: int,
) -> Report:
    def estimate(statistic: Statistic) -> Estimate:
        return metrics.bootstrapped(statistic, judged.stores, draws=draws, seed=seed)

    def ratio(score: str) -> Statistic:
        return lambda weight: own[score](weight) / (oracle[score](weight) or float("nan"))

    of_risk: list[Band] = []
    if found.risk is not None:
        day = judged.group // judged.stores
        of_risk = metrics.bands(
            found.risk, judged.ran_out, judged.store, day, draws=draws, seed=seed
        )
    return Report(
        name=name,
        judged=len(judged),
        base_rate=float(judged.ran_out.mean()),
        missing=missing / max(1, len(judged)),
        scores={score: estimate(one) for score, one in own.items()},
        ratios={score: estimate(ratio(score)) for score in COMPARED if score in own},
        bands=tuple(of_risk),
    )

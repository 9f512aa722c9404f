"""The nights' slow movers: how likely each shelf is to sell nothing in the next four weeks.

Each function may be run again for its day: it leaves the same rows, and no second version of the
same model.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, Final

import numpy as np
import pyarrow as pa

from clickhouse.client import Client
from lake.client import Lake
from lake.models import SLOW_MOVERS, Registry
from orchestration import forecast_tables, model_files
from orchestration.demand_panel import Sales
from orchestration.model_steps import features_file, model_step, settle, training_sales, version_of
from tillstream.errors import ConfigError
from tillstream.ml import slow_movers
from tillstream.ml.boosting import Recipe
from tillstream.ml.features import NAMES, PART_ITEMS, History
from tillstream.ml.slow_movers import LEAST_TRAINING_DAYS, RECIPE, UNSOLD_DAYS, Judged, SlowMovers
from tillstream.settings import Settings

# What scores are made with while no version is in service: `slow_movers.rule`.
THE_RULE: Final = 0


@dataclass(frozen=True, slots=True)
class Trained:
    """Whether `version` went into service, and its log loss beside those it had to beat."""

    version: int
    promoted: bool
    is_new: bool
    log_loss: float
    log_loss_rule: float
    log_loss_before: float | None


def train(settings: Settings, day: date, *, recipe: Recipe = RECIPE) -> Trained | None:
    """A model of all days up to `day`, saved under models/slow-movers/v<N>. It goes into service
    when it beats the rule and the version that is there on the last four weeks. Until these are
    over since the version in service was trained, there is nothing to judge by, and that one is
    returned. None before there are twelve weeks of sales."""
    with model_step(
        settings, "slow_movers.train", writes=["model_metrics"], in_lake=f"models/{SLOW_MOVERS}"
    ) as (client, lake):
        registry = Registry(lake, SLOW_MOVERS)
        sales = training_sales(client, day)
        stamp = model_files.fingerprint(sales.panel, recipe, day)
        if (known := version_of(registry, stamp) or _too_young(registry, day)) is not None:
            return _finished(client, registry, known, is_new=False)
        if sales.panel.days < LEAST_TRAINING_DAYS:
            return None
        history = History(sales.panel)
        judged = slow_movers.judged(history, recipe, before=_in_service(registry))
        model = slow_movers.grown(history, slow_movers.origins(sales.panel.days), recipe)
        card = _card(sales, day, recipe=recipe, model=model, stamp=stamp, judged=judged)
        files = {model_files.TREES_FILE: model.saved(), model_files.CARD_TEXT: _told(card).encode()}
        version = registry.save(card, files)
        return _finished(client, registry, registry.card(version), is_new=True)


def score(settings: Settings, day: date) -> int:
    """The chance of each shelf to sell nothing in the four weeks after `day`, into
    slow_mover_scores, by the version in service or, before there is one, by the rule. Returns the
    number of shelves. Raises ConfigError when the day's features are not there."""
    reads, writes = ["forecast_features"], ["slow_mover_scores"]
    with model_step(settings, "slow_movers.score", reads=reads, writes=writes) as (client, lake):
        model, version = None, THE_RULE
        registry = Registry(lake, SLOW_MOVERS)
        if (current := registry.current()) is not None:
            model, version = _loaded(registry, current), current
        shelves = _features(lake, day)
        for start in range(0, shelves.num_rows, PART_ITEMS):
            part = shelves.slice(start, PART_ITEMS)
            values = np.column_stack([part[name].to_numpy() for name in NAMES])
            chance = slow_movers.rule(values) if model is None else model.chance(values)
            forecast_tables.save_chances(client, part, chance, day, version)
        return int(shelves.num_rows)


def _finished(
    client: Client, registry: Registry, card: Mapping[str, Any], *, is_new: bool
) -> Trained:
    backtest = card["backtest"]
    promoted = settle(client, registry, card, better=backtest["is_better"])
    return Trained(
        int(card["version"]),
        promoted,
        is_new,
        log_loss=backtest["log_loss"],
        log_loss_rule=backtest["log_loss_rule"],
        log_loss_before=backtest["log_loss_before"],
    )


def _too_young(registry: Registry, day: date) -> dict[str, Any] | None:
    """The card of the version in service, if it knows some of the last UNSOLD_DAYS."""
    version = registry.current()
    if version is None:
        return None
    card = registry.card(version)
    known = date.fromisoformat(card["data"]["last_day"])
    return card if (day - known).days < UNSOLD_DAYS else None


def _in_service(registry: Registry) -> SlowMovers | None:
    version = registry.current()
    return None if version is None else _loaded(registry, version)


def _loaded(registry: Registry, version: int) -> SlowMovers:
    return SlowMovers.loaded(registry.file(version, model_files.TREES_FILE))


def _features(lake: Lake, day: date) -> pa.Table:
    name = features_file(day)
    if not lake.exists(name):
        raise ConfigError(
            f"the lake has no features of {day}", hint=f"tillstream forecast predict --day {day}"
        )
    return lake.read(name)


def _card(
    sales: Sales, day: date, *, recipe: Recipe, model: SlowMovers, stamp: str, judged: Judged
) -> dict[str, Any]:
    trees, rule, before = judged.trees, judged.rule, judged.before
    return {
        "model": SLOW_MOVERS,
        "fingerprint": stamp,
        **model_files.made_with(),
        "data": model_files.data_told(sales.panel, day),
        "recipe": model_files.recipe_told(recipe),
        "judged_by": "log_loss",
        "backtest": {
            "is_better": judged.is_better,
            "log_loss": trees.log_loss,
            "log_loss_rule": rule.log_loss,
            "log_loss_before": None if before is None else before.log_loss,
            "scores": {
                **asdict(trees),
                "log_loss_rule": rule.log_loss,
                "brier_rule": rule.brier,
            },
            "calibration": [asdict(band) for band in judged.calibration],
        },
        "gains": model.gains(),
    }


def _told(card: Mapping[str, Any]) -> str:
    """The card for a person."""
    backtest = card["backtest"]
    lines = [
        f"# {card['model']}",
        "",
        f"The chance that a shelf with stock sells nothing in the next {UNSOLD_DAYS} days.",
        "Gradient-boosted trees over all shelves (logistic), which correct each shelf's own rate.",
        "",
        *model_files.data_lines(card),
        f"- Judged on its last {UNSOLD_DAYS} days, which the judged trees had not seen:",
        *(f"  - {name} {value:.4f}" for name, value in backtest["scores"].items()),
        "- What was said, and what happened:",
        *(
            f"  - {band['low']:.0%} to {band['high']:.0%}: {band['mean_chance']:.1%} said,"
            f" {band['share_unsold']:.1%} sold nothing, {band['cases']:,} shelves"
            for band in backtest["calibration"]
        ),
        model_files.gains_line(card),
        "",
        "Shelves that never sold count like those that long have not: it has learned from none.",
        "Not meant for: shelves of a chain it was not trained on.",
        "",
    ]
    return "\n".join(lines)

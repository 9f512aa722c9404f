"""The nights' forecasting: features, training, prediction and drift of one day.

A day is the last one whose sales are complete; forecasts are of the seven after it. Each function
may be run again for its day: it leaves the same rows, and no second version of the same model.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import pyarrow as pa

from clickhouse.client import Client
from lake.models import DEMAND_FORECAST, Registry
from orchestration import forecast_tables, model_files
from orchestration.demand_panel import Sales, StoreGroup
from orchestration.model_steps import (
    features_file,
    known_groups,
    known_sales,
    model_step,
    save_metrics,
    settle,
    training_sales,
    version_of,
)
from tillstream.errors import ConfigError
from tillstream.ml import contest
from tillstream.ml.boosting import Recipe
from tillstream.ml.demand_model import DemandModel, Growing
from tillstream.ml.demand_model import predict as predicted
from tillstream.ml.demand_model import train as trained
from tillstream.ml.features import NAMES, History
from tillstream.settings import Settings


@dataclass(frozen=True, slots=True)
class Trained:
    """Whether `version` went into service, and how it did beside the one before, where there was
    one: pinball losses of weeks that neither had seen."""

    version: int
    promoted: bool
    is_new: bool
    pinball: float
    pinball_before: float | None


def build_features(settings: Settings, day: date) -> int:
    """Features of every shelf for the forecast of `day`, into the lake
    (features/inference/day=…/items.parquet) and forecast_features. Returns how many shelves."""
    with model_step(
        settings, "forecast.features", writes=["forecast_features"], in_lake="features/inference"
    ) as (client, lake):
        groups = known_groups(client, day)
        table = pa.concat_tables(_features(client, day, group) for group in groups)
        lake.write(features_file(day), table)
        return int(table.num_rows)


def train(settings: Settings, day: date, *, recipe: Recipe | None = None) -> Trained:
    """A model of all days up to `day`, saved under models/demand-forecast/v<N>. It goes into
    service when it beats the one that is there on the weeks that neither has seen, or when there is
    none. Raises ConfigError when the history is too short."""
    with model_step(
        settings, "forecast.train", writes=["model_metrics"], in_lake=f"models/{DEMAND_FORECAST}"
    ) as (client, lake):
        recipe = recipe or Recipe()
        registry = Registry(lake, DEMAND_FORECAST)
        sales = training_sales(client, day)
        stamp = model_files.fingerprint(sales.panel, recipe, day)
        if (known := version_of(registry, stamp)) is not None:
            return _finished(client, registry, known, is_new=False)
        trees = Growing.on_all(History(sales.panel), recipe)
        model = trained(trees)
        rival, unseen_weeks = _rival(registry, day)
        judged = contest.judged(trees, model, rival=rival, unseen_weeks=unseen_weeks)
        card = _card(sales, day, recipe=recipe, model=model, stamp=stamp, judged=judged)
        version = registry.save(card, model_files.packed(model, card))
        return _finished(client, registry, registry.card(version), is_new=True)


def predict(settings: Settings, day: date) -> int:
    """The seven days after `day`, of every shelf, by the model in service, into forecasts and
    forecast_weeks. With TILLSTREAM_RISK__FORECAST_PRIORS the live risk begins from it too. Returns
    the number of shelves. Raises ConfigError when no model was trained."""
    with model_step(settings, "forecast.predict", writes=["forecasts", "forecast_weeks"]) as (
        client,
        lake,
    ):
        registry = Registry(lake, DEMAND_FORECAST)
        version = registry.current()
        if version is None:
            raise ConfigError(
                "no demand forecast is in service", hint=f"tillstream forecast train --day {day}"
            )
        model = _loaded(registry, version)
        groups = known_groups(client, day)
        shelves = sum(_forecast(client, day, group, model, version) for group in groups)
        if settings.risk.forecast_priors:
            forecast_tables.centre_beliefs(client, day)
        return shelves


def watch_drift(settings: Settings, day: date) -> dict[str, float]:
    """How the forecasts made seven days before `day` turned out, and how far the features of today
    lie from those trained on (population stability index; above 0.25 is another world), in a large
    chain those of its first group of stores. Written to model_metrics as live and drift."""
    with model_step(settings, "forecast.drift", writes=["model_metrics"]) as (client, lake):
        registry = Registry(lake, DEMAND_FORECAST)
        version = registry.current()
        if version is None:
            raise ConfigError("no demand forecast is in service", hint="tillstream forecast train")
        sales = known_sales(client, day, known_groups(client, day)[0])
        live = forecast_tables.outcome(client, day)
        moved = model_files.drift(registry.card(version), History(sales.panel))
        for kind, values in (("live", live), ("drift", moved)):
            save_metrics(client, DEMAND_FORECAST, version, day, kind, values)
        return live | moved


def _features(client: Client, day: date, group: StoreGroup) -> pa.Table:
    """Of the next day; the main ones go into forecast_features."""
    sales = known_sales(client, day, group)
    parts, done = [], 0
    for rows in History(sales.panel).parts(sales.panel.days):
        items = sales.items.slice(done, len(rows.size))
        done += items.num_rows
        forecast_tables.save_features(client, items, rows, day)
        figures = {name: rows.values[:, 0, at] for at, name in enumerate(NAMES)}
        parts.append(pa.table({name: items[name] for name in ("store_id", "product_id")} | figures))
    return pa.concat_tables(parts)


def _forecast(
    client: Client, day: date, group: StoreGroup, model: DemandModel, version: int
) -> int:
    """Of one group of stores, stored; how many shelves."""
    sales = known_sales(client, day, group)
    found = predicted(model, History(sales.panel), sales.panel.days)
    forecast_tables.save_forecasts(client, sales.items, found, day, version)
    return int(sales.items.num_rows)


def _finished(
    client: Client, registry: Registry, card: Mapping[str, Any], *, is_new: bool
) -> Trained:
    pinball, before = card["backtest"]["pinball"], card["backtest"]["pinball_before"]
    promoted = settle(client, registry, card, better=before is None or pinball < before)
    return Trained(int(card["version"]), promoted, is_new, pinball, before)


def _loaded(registry: Registry, version: int) -> DemandModel:
    return model_files.unpacked(
        registry.card(version), registry.file(version, model_files.TREES_FILE)
    )


def _rival(registry: Registry, day: date) -> tuple[DemandModel | None, int]:
    """The model in service, and for how many whole weeks before `day` it has not been trained."""
    version = registry.current()
    if version is None:
        return None, contest.MOST_WEEKS
    known = date.fromisoformat(registry.card(version)["data"]["last_day"])
    return _loaded(registry, version), (day - known).days // 7


def _card(
    sales: Sales,
    day: date,
    *,
    recipe: Recipe,
    model: DemandModel,
    stamp: str,
    judged: contest.Judged,
) -> dict[str, Any]:
    panel = sales.panel
    return {
        "model": DEMAND_FORECAST,
        "fingerprint": stamp,
        **model_files.made_with(),
        "data": model_files.data_told(panel, day),
        "recipe": model_files.recipe_told(recipe),
        "spread": model_files.spreads_told(model),
        "backtest": judged.told(),
        "features": model_files.reference(History(panel)),
        "gains": model.trees.gains(),
    }

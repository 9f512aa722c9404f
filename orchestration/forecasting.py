"""The nights' forecasting: features, training, prediction and drift of one day.

A day is the last one whose sales are complete; forecasts are of the seven after it. Each function
may be run again for its day: it leaves the same rows, and no second version of the same model.
"""

import platform
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import date
from importlib import metadata
from typing import Any, Final

import pyarrow as pa

from clickhouse.client import Client, connect
from lake.client import Lake
from lake.client import connect as connect_lake
from lake.models import DEMAND_FORECAST, Registry
from orchestration import demand_panel, forecast_tables, model_files
from orchestration.demand_panel import Sales
from orchestration.lineage import WRITTEN
from tillstream.errors import ConfigError
from tillstream.ml import contest
from tillstream.ml.boosting import Recipe
from tillstream.ml.calendar import date_of
from tillstream.ml.demand_model import DemandModel
from tillstream.ml.demand_model import predict as predicted
from tillstream.ml.demand_model import train as trained
from tillstream.ml.features import NAMES, History
from tillstream.settings import Settings
from tillstream.telemetry.lineage import LineageLog, lake_folder, tables

# Features look back this far at most; training looks for as many weeks as there are.
PREDICTION_DAYS: Final = 180
TRAINING_DAYS: Final = 400
# Of shelves times days, in memory at once: about 3 GiB.
_MOST_CELLS: Final = 60_000_000


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
    with _run(settings, "features") as (client, lake):
        sales = demand_panel.read(client, last_day=day, days=PREDICTION_DAYS)
        rows = History(sales.panel).before(sales.panel.days)
        first = rows.values[:, 0, :]
        columns = {name: first[:, at] for at, name in enumerate(NAMES)}
        table = pa.table({name: sales.items[name] for name in ("store_id", "product_id")} | columns)
        lake.write(f"features/inference/day={day}/items.parquet", table)
        forecast_tables.save_features(client, sales.items, rows, day)
        return int(table.num_rows)


def train(settings: Settings, day: date, *, recipe: Recipe | None = None) -> Trained:
    """A model of all days up to `day`, saved under models/demand-forecast/v<N>. It goes into
    service when it beats the one that is there on the weeks that neither has seen, or when there is
    none. Raises ConfigError when the history is too short."""
    with _run(settings, "train") as (client, lake):
        recipe = recipe or Recipe()
        registry = Registry(lake, DEMAND_FORECAST)
        sales = demand_panel.read(client, last_day=day, days=_training_days(client))
        stamp = model_files.fingerprint(sales.panel, recipe, day)
        for version in reversed(registry.versions()):
            card = registry.card(version)
            if card["fingerprint"] == stamp:
                return _finished(client, registry, card, is_new=False)
        history = History(sales.panel)
        model = trained(history, recipe)
        rival, unseen_weeks = _rival(registry, day)
        judged = contest.judged(history, recipe, model, rival=rival, unseen_weeks=unseen_weeks)
        card = _card(sales, day, recipe=recipe, model=model, stamp=stamp, judged=judged)
        version = registry.save(card, model_files.packed(model, card))
        return _finished(client, registry, registry.card(version), is_new=True)


def predict(settings: Settings, day: date) -> int:
    """The seven days after `day`, of every shelf, by the model in service, into forecasts and
    forecast_weeks. With TILLSTREAM_RISK__FORECAST_PRIORS the live risk begins from it too. Returns
    the number of shelves. Raises ConfigError when no model was trained."""
    with _run(settings, "predict") as (client, lake):
        registry = Registry(lake, DEMAND_FORECAST)
        version = registry.current()
        if version is None:
            raise ConfigError(
                "no demand forecast is in service", hint=f"tillstream forecast train --day {day}"
            )
        model = _loaded(registry, version)
        sales = demand_panel.read(client, last_day=day, days=PREDICTION_DAYS)
        found = predicted(model, History(sales.panel), sales.panel.days)
        forecast_tables.save_forecasts(client, sales.items, found, day, version)
        if settings.risk.forecast_priors:
            forecast_tables.centre_beliefs(client, day)
        return int(sales.items.num_rows)


def watch_drift(settings: Settings, day: date) -> dict[str, float]:
    """How the forecasts made seven days before `day` turned out, and how far the features of today
    lie from those trained on (population stability index; above 0.25 is another world). Written to
    model_metrics as live and drift."""
    with _run(settings, "drift") as (client, lake):
        registry = Registry(lake, DEMAND_FORECAST)
        version = registry.current()
        if version is None:
            raise ConfigError("no demand forecast is in service", hint="tillstream forecast train")
        sales = demand_panel.read(client, last_day=day, days=PREDICTION_DAYS)
        live = forecast_tables.outcome(client, day)
        moved = model_files.drift(registry.card(version), History(sales.panel))
        forecast_tables.save_metrics(client, version, day, "live", live)
        forecast_tables.save_metrics(client, version, day, "drift", moved)
        return live | moved


# What each of them writes in the warehouse; what that is made from is in `lineage.WRITTEN`.
_WRITES: Final[Mapping[str, tuple[str, ...]]] = {
    "features": ("forecast_features",),
    "train": ("model_metrics",),
    "predict": ("forecasts", "forecast_weeks"),
    "drift": ("model_metrics",),
}
_IN_LAKE: Final[Mapping[str, str]] = {
    "features": "features/inference",
    "train": f"models/{DEMAND_FORECAST}",
}
_SALES: Final = WRITTEN["forecast_features"]


@contextmanager
def _run(settings: Settings, step: str) -> Iterator[tuple[Client, Lake]]:
    """Warehouse and lake while a step is at work, which the lineage tells of."""
    writes = tables(settings, _WRITES[step])
    if step in _IN_LAKE:
        writes += (lake_folder(settings, _IN_LAKE[step]),)
    log = LineageLog.of(settings)
    with (
        closing(connect(settings.warehouse)) as client,
        log.run(f"forecast.{step}", reads=tables(settings, _SALES), writes=writes),
    ):
        yield client, connect_lake(settings.lake, url=settings.lake_url)


def _finished(
    client: Client, registry: Registry, card: Mapping[str, Any], *, is_new: bool
) -> Trained:
    """What follows the saving of a version: into service if it is better, then its scores. These
    come last, so a version that lacks them is one whose run died, and has this done by the next
    one; a version that has them is not promoted again behind the operator's back."""
    version, backtest = int(card["version"]), card["backtest"]
    pinball, before = backtest["pinball"], backtest["pinball_before"]
    day = date.fromisoformat(card["data"]["last_day"])
    if registry.current() is None or not forecast_tables.has_metrics(client, version, day):
        if before is None or pinball < before:
            registry.promote(version)
        forecast_tables.save_metrics(client, version, day, "backtest", backtest["scores"])
    return Trained(
        version,
        promoted=registry.current() == version,
        is_new=is_new,
        pinball=pinball,
        pinball_before=before,
    )


def _training_days(client: Client) -> int:
    """As many days as fit into memory, but those that features need at least."""
    shelves = max(1, demand_panel.shelves(client))
    return max(min(TRAINING_DAYS, _MOST_CELLS // shelves), 120)


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
        "code_version": metadata.version("tillstream"),
        "python": platform.python_version(),
        "xgboost": metadata.version("xgboost-cpu"),
        "data": {
            "first_day": str(date_of(panel.first_day)),
            "last_day": str(day),
            "shelves": panel.items,
            "units": round(float(panel.units.sum()), 1),
            "share_of_days_in_stock": round(float(panel.in_stock.mean()), 4),
        },
        "recipe": model_files.recipe_told(recipe),
        "spread": model_files.spreads_told(model),
        "backtest": judged.told(),
        "features": model_files.reference(History(panel)),
        "gains": model.trees.gains(),
    }

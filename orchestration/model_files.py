"""Models as files of the registry, and what their cards say of them."""

import hashlib
import platform
from collections.abc import Mapping
from dataclasses import asdict
from datetime import date
from importlib import metadata
from typing import Any, Final

import numpy as np

from tillstream.ml.boosting import Recipe, Trees
from tillstream.ml.calendar import date_of
from tillstream.ml.demand_model import DemandModel
from tillstream.ml.features import NAMES, History
from tillstream.ml.panel import Panel
from tillstream.ml.spread import Spread

TREES_FILE: Final = "trees.ubj"
CARD_TEXT: Final = "README.md"
# What drift is watched by: how much is sold, how often, and what is planned.
_WATCHED: Final = ("item_rate_30", "item_size", "days_since_sale", "promotion", "weekday_index")
_BINS: Final = 10
_LEAST_SHARE: Final = 1e-4


def packed(model: DemandModel, card: Mapping[str, Any]) -> dict[str, bytes]:
    """File name -> content. The spreads are part of the card."""
    return {TREES_FILE: model.trees.saved(), CARD_TEXT: told(card).encode()}


def unpacked(card: Mapping[str, Any], trees: bytes) -> DemandModel:
    spread = card["spread"]
    return DemandModel(Trees.loaded(trees), Spread(**spread["day"]), Spread(**spread["week"]))


def spreads_told(model: DemandModel) -> dict[str, dict[str, float]]:
    return {"day": asdict(model.spread), "week": asdict(model.week_spread)}


def recipe_told(recipe: Recipe) -> dict[str, Any]:
    return asdict(recipe)


def fingerprint(panel: Panel, recipe: Recipe, day: date) -> str:
    """The same for the same data, recipe and code: training again would give the same trees."""
    found = hashlib.sha256()
    version = metadata.version("tillstream")
    found.update(repr((str(day), version, NAMES, sorted(asdict(recipe).items()))).encode())
    for values in (panel.units, panel.in_stock, panel.promotion, panel.price, panel.category):
        found.update(np.ascontiguousarray(values).tobytes())
    return found.hexdigest()


def made_with() -> dict[str, str]:
    """What code and libraries a card names."""
    return {
        "code_version": metadata.version("tillstream"),
        "python": platform.python_version(),
        "xgboost": metadata.version("xgboost-cpu"),
    }


def data_told(panel: Panel, day: date) -> dict[str, Any]:
    return {
        "first_day": str(date_of(panel.first_day)),
        "last_day": str(day),
        "shelves": panel.items,
        "units": round(float(panel.units.sum()), 1),
        "share_of_days_in_stock": round(float(panel.in_stock.mean()), 4),
    }


def data_lines(card: Mapping[str, Any]) -> list[str]:
    """Data and code, as lines of a card's text."""
    data = card["data"]
    return [
        f"- Data: {data['first_day']} to {data['last_day']}, {data['shelves']:,} shelves,"
        f" {data['units']:,} units.",
        f"- Code: tillstream {card['code_version']}, xgboost {card['xgboost']}.",
    ]


def gains_line(card: Mapping[str, Any]) -> str:
    most = list(card["gains"].items())[:6]
    return "- Matters most: " + ", ".join(f"{name} {share:.0%}" for name, share in most)


def reference(history: History) -> dict[str, Any]:
    """Deciles of the watched features on the last day of training, and the shares between them."""
    values = _watched(history)
    found = {}
    for name, column in values.items():
        edges = np.unique(np.quantile(column, np.arange(1, _BINS) / _BINS))
        found[name] = {"edges": edges.tolist(), "shares": _shares(column, edges).tolist()}
    return found


def drift(card: Mapping[str, Any], history: History) -> dict[str, float]:
    """`psi_<feature>`: the population stability index of each watched feature against the card's
    reference, Σ (now - then) · ln(now / then) over its bins. Under 0.1 nothing has moved, above
    0.25 much has (Siddiqi, Credit Risk Scorecards, 2006)."""
    values = _watched(history)
    found = {}
    for name, then in card["features"].items():
        now = _shares(values[name], np.array(then["edges"]))
        old = np.array(then["shares"])
        found[f"psi_{name}"] = float(np.sum((now - old) * np.log(now / old)))
    return found


def told(card: Mapping[str, Any]) -> str:
    """The card for a person."""
    backtest = card["backtest"]
    lines = [
        f"# {card['model']}",
        "",
        "Units that each shelf sells on each of the next seven days, and how far that strays.",
        "Gradient-boosted trees over all shelves (Tweedie), a negative binomial around their mean.",
        "",
        *data_lines(card),
        f"- Judged on its last {backtest['weeks']} weeks, which the judged trees had not seen:",
        *(f"  - {name} {value:.4f}" for name, value in backtest["scores"].items()),
        gains_line(card),
        "",
        "Not meant for: more than seven days ahead; shelves of a chain it was not trained on.",
        "Days on which a shelf was empty by its books are left out; books are wrong at times.",
        "",
    ]
    return "\n".join(lines)


def _watched(history: History) -> dict[str, np.ndarray[Any, np.dtype[np.float64]]]:
    rows = history.before(history.panel.days)
    return {
        name: rows.values[:, :, NAMES.index(name)].ravel().astype(np.float64) for name in _WATCHED
    }


def _shares(
    column: np.ndarray[Any, np.dtype[np.float64]], edges: np.ndarray[Any, np.dtype[np.float64]]
) -> np.ndarray[Any, np.dtype[np.float64]]:
    count = np.bincount(np.searchsorted(edges, column, side="right"), minlength=len(edges) + 1)
    return np.asarray(np.maximum(count / max(1, len(column)), _LEAST_SHARE))

"""What others forecast with, from statsforecast: series by series, each method by itself."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tillstream.errors import ConfigError
from tillstream.ml.features import HORIZON_DAYS

Floats = NDArray[np.float64]

NAMES: Final = ("SeasonalNaive", "ETS", "CrostonOptimized", "TSB", "ADIDA", "IMAPA")


def forecast(name: str, units: Floats, origins: Sequence[int], *, trends: bool) -> Floats:
    """(n, origins, HORIZON_DAYS) from the days (n, days) before each origin. Below zero is zero.

    ETS chooses error, trend and season by AICc. Without `trends` it has no trend to choose, which
    makes it eight times as fast, for thousands of series that mostly do not sell. Raises
    ConfigError when statsforecast is not installed.
    """
    model = _model(name, trends=trends)
    found = np.empty((len(units), len(origins), HORIZON_DAYS))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for at, origin in enumerate(origins):
            for row, series in enumerate(units[:, :origin].astype(np.float64)):
                found[row, at] = model.forecast(y=_begun(series), h=HORIZON_DAYS)["mean"]
    return np.maximum(np.nan_to_num(found), 0.0)


def _begun(series: Floats) -> Floats:
    """From the first sale on, but four weeks at least."""
    first = int(np.argmax(series > 0)) if series.any() else 0
    return series[min(first, len(series) - 4 * HORIZON_DAYS) :]


def _model(name: str, *, trends: bool) -> Any:
    try:
        from statsforecast import models
    except ImportError as exc:
        raise ConfigError(
            "statsforecast is not installed, and the baselines come from it",
            hint="uv sync --group dev, or leave them out: --methods none",
        ) from exc
    made: dict[str, Callable[[], Any]] = {
        "SeasonalNaive": lambda: models.SeasonalNaive(season_length=7),
        "ETS": lambda: models.AutoETS(season_length=7, model="ZZZ" if trends else "ZNZ"),
        "CrostonOptimized": models.CrostonOptimized,
        "TSB": lambda: models.TSB(alpha_d=0.1, alpha_p=0.1),
        "ADIDA": models.ADIDA,
        "IMAPA": models.IMAPA,
    }
    return made[name]()

"""What forecasts are judged on: recorded sales, or a made-up chain's."""

import numpy as np

from tillstream.evaluation.forecast.recorded import Recorded, recorded
from tillstream.evaluation.forecast.simulated import simulated
from tillstream.ml.panel import Ints
from tillstream.settings import Settings


def history_of(
    settings: Settings, on: str, *, held_out_days: int, least_sale_days: int, seed: int
) -> Recorded:
    """The Complete Journey data (`on` is "recorded"), or the past of a scenario by its name. Only
    shelves that sold on at least so many days before the held-out ones. Raises ConfigError for a
    scenario that there is not."""
    if on == "recorded":
        return recorded(
            held_out_days=held_out_days, least_sale_days=least_sale_days, cache=settings.cache
        )
    return simulated(
        settings, on, held_out_days=held_out_days, least_sale_days=least_sale_days, seed=seed
    )


def some_stores(store: Ints, *, shelves: int, seed: int) -> Ints:
    """The rows of the stores (n,) that are drawn, whole, until there are so many shelves; at least
    one store."""
    count = np.bincount(store)
    drawn = np.random.default_rng(seed).permutation(len(count))
    kept = drawn[: max(1, int(np.searchsorted(np.cumsum(count[drawn]), shelves, side="right")))]
    return np.flatnonzero(np.isin(store, kept))

"""What is believed of each item's demand before it has sold anything, held in memory: the table is
loaded once a night, and asked for by thousands of items a second."""

import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clickhouse import queries
from clickhouse.client import Client

_LOOK_AGAIN_S = 10.0

Floats = npt.NDArray[np.float64]
Keys = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Priors:
    """Rows by item key, ascending; 20 bytes each."""

    item_key: Keys
    daily_units: npt.NDArray[np.float32]
    dispersion: npt.NDArray[np.float32]
    lead_time_days: npt.NDArray[np.float32]

    @classmethod
    def load(cls, client: Client) -> "Priors":
        rows = queries.demand_priors(client)
        key = rows["item_key"].to_numpy()
        order = np.argsort(key)
        values = (
            rows[name].to_numpy().astype(np.float32)[order]
            for name in ("daily_units", "dispersion", "lead_time_days")
        )
        return cls(key[order], *values)

    def of(
        self, item_key: Keys, *, daily_units: float, dispersion: float, lead_time_days: float
    ) -> tuple[Floats, Floats, Floats]:
        """(units a day, dispersion, lead time in days) of items; the numbers given for those that
        have no prior."""
        at = np.searchsorted(self.item_key, item_key)
        known = at < len(self.item_key)
        known[known] = self.item_key[at[known]] == item_key[known]

        def each(column: npt.NDArray[np.float32], default: float) -> Floats:
            values = np.full(len(at), default)
            values[known] = column[at[known]]
            return values

        return (
            each(self.daily_units, daily_units),
            each(self.dispersion, dispersion),
            each(self.lead_time_days, lead_time_days),
        )


class CurrentPriors:
    """The priors as they are in the warehouse, at most ten seconds old."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._priors: Priors | None = None
        self._version: tuple[int, int] | None = None
        self._looked_at = float("-inf")

    def __call__(self) -> Priors:
        if self._priors is None or time.monotonic() - self._looked_at > _LOOK_AGAIN_S:
            version = queries.demand_priors_version(self._client)
            if self._priors is None or version != self._version:
                self._priors, self._version = Priors.load(self._client), version
            self._looked_at = time.monotonic()
        return self._priors

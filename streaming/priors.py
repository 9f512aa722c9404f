"""What is believed of each item's demand before it has sold anything, held in memory: the table is
loaded once a night, and asked for by thousands of items a second."""

import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clickhouse import live_inputs
from clickhouse.client import Client
from tillstream.settings import RiskSettings

_LOOK_AGAIN_S = 10.0

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Keys = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Known:
    """What is believed of items (n,) before the sales since then: units a day, the days of sales
    that counts for, dispersion, the item's own lead time in days and its first report (UTC ms); 0
    where these two are not known. Where nothing `is_known`, the rules' defaults stand in."""

    daily_units: Floats
    weight_days: Floats
    dispersion: Floats
    lead_time_days: Floats
    first_seen_ms: Ints
    is_known: Bools


@dataclass(frozen=True, slots=True)
class Priors:
    """Rows by item key, ascending; 32 bytes each. A weight or lead time of 0 is not known. Sales
    before `until_ms` are in them; None where they are not from sales."""

    item_key: Keys
    daily_units: npt.NDArray[np.float32]
    weight_days: npt.NDArray[np.float32]
    dispersion: npt.NDArray[np.float32]
    lead_time_days: npt.NDArray[np.float32]
    first_seen_ms: Ints
    until_ms: int | None = None

    @classmethod
    def load(cls, client: Client) -> "Priors":
        rows = live_inputs.demand_priors(client)
        key = rows["item_key"].to_numpy()
        order = np.argsort(key)

        def each(name: str) -> npt.NDArray[np.float32]:
            return np.asarray(rows[name].to_numpy(), dtype=np.float32)[order]

        return cls(
            item_key=key[order],
            daily_units=each("daily_units"),
            weight_days=each("weight_days"),
            dispersion=each("dispersion"),
            lead_time_days=each("lead_time_days"),
            first_seen_ms=rows["first_seen_ms"].to_numpy().astype(np.int64)[order],
            until_ms=live_inputs.learned_until_ms(client),
        )

    def of(self, item_key: Keys, rules: RiskSettings) -> Known:
        """What is known of items, and the rules' defaults where nothing is."""
        at = np.searchsorted(self.item_key, item_key)
        known = at < len(self.item_key)
        known[known] = self.item_key[at[known]] == item_key[known]

        def each(column: npt.NDArray[np.float32], default: float) -> Floats:
            values = np.zeros(len(at))
            values[known] = column[at[known]]
            return np.where(values > 0, values, default)

        first_seen_ms = np.zeros(len(at), dtype=np.int64)
        first_seen_ms[known] = self.first_seen_ms[at[known]]
        return Known(
            daily_units=np.where(known, each(self.daily_units, 0.0), rules.default_daily_units),
            weight_days=each(self.weight_days, rules.prior_weight_days),
            dispersion=each(self.dispersion, 1.0),
            lead_time_days=each(self.lead_time_days, 0.0),
            first_seen_ms=first_seen_ms,
            is_known=known,
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
            version = live_inputs.demand_priors_version(self._client)
            if self._priors is None or version != self._version:
                self._priors, self._version = Priors.load(self._client), version
            self._looked_at = time.monotonic()
        return self._priors

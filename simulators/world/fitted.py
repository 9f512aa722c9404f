"""The shape of shopping, fitted to recorded sales by tools/fit_simulator.py."""

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Fitted:
    """`weekday_hour` (7 x 24, Monday first, local time) is in shares of an average day's baskets;
    `month` is relative to an average month; `units` is the chance of 1, 2, … units on a line."""

    source: str
    mission_share: Floats
    mission_mean_lines: Floats
    units: Floats
    shift: float
    exponent: float
    tail: float
    weekday_hour: Floats
    month: Floats

    @property
    def lines_per_basket(self) -> float:
        return float(self.mission_share @ self.mission_mean_lines)

    @property
    def units_per_line(self) -> float:
        return float(self.units @ np.arange(1, len(self.units) + 1))

    def popularity(self, products: int) -> Floats:
        """The share of sale lines by rank, most popular first; sums to 1."""
        rank = np.arange(products, dtype=np.float64)
        weight = (rank + self.shift) ** -self.exponent * np.exp(-rank / (self.tail * products))
        return np.asarray(weight / weight.sum())


@cache
def fitted() -> Fitted:
    text = (files("simulators.world") / "fitted.json").read_text(encoding="utf-8")
    found = json.loads(text)
    share = np.array([one["share"] for one in found["missions"]])
    units = np.array(found["units"])
    return Fitted(
        source=found["source"],
        mission_share=share / share.sum(),
        mission_mean_lines=np.array([one["mean_lines"] for one in found["missions"]]),
        units=units / units.sum(),
        **found["popularity"],
        weekday_hour=np.array(found["weekday_hour"]),
        month=np.array(found["month"]),
    )

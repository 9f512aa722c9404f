"""The chance that a shelf runs empty before an order comes, when everything but chance is known.

Demand is compound Poisson: lines come at random, with the units of a line as jumps, and a store's
day shares a gamma factor of shape k. A day of m mean lines then has the characteristic function
(1 - m(φ - 1)/k)^-k with φ that of a line's units; a part of a day is taken as the same power of it,
so that demand is a process of independent increments. What is left on the shelf is followed as a
distribution from one receipt or arrival to the next by discrete Fourier transform (Embrechts and
Frei, Panjer recursion versus FFT for compound distributions, 2009); what has reached 0 is dropped.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_CELLS = 300_000
# Deviations above mean demand at which a shelf is called full.
_FAR = 10.0


@dataclass(frozen=True, slots=True)
class Lines:
    """`chance` of 1, 2, … units on a line, and the shape of a store-day's own factor."""

    chance: Floats
    day_shape: float

    @property
    def mean(self) -> float:
        return float(self.chance @ np.arange(1, len(self.chance) + 1))

    @property
    def dispersion(self) -> float:
        """Variance over mean of demand, but for the shared factor."""
        return float(self.chance @ np.arange(1, len(self.chance) + 1) ** 2) / self.mean


@dataclass(frozen=True, slots=True)
class Events:
    """In order of time by item, padded (n, T): `at_units` is the mean demand until then, `comes`
    the units received, `weight` the chance that the order placed now arrives."""

    at_units: Floats
    comes: Ints
    weight: Floats

    def of_rows(self, rows: Ints, most: int) -> "Events":
        """The first `most` of some items."""
        return Events(self.at_units[rows, :most], self.comes[rows, :most], self.weight[rows, :most])

    @classmethod
    def of(
        cls, lead: Floats, weight: Floats, *, item: Ints, at_units: Floats, units: Ints
    ) -> "Events":
        """From a lead-time law (n, K) and receipts (m,) of items."""
        n, k = lead.shape
        items = np.concatenate([np.repeat(np.arange(n), k), item])
        times = np.concatenate([lead.ravel(), np.maximum(at_units, 0.0)])
        order = np.lexsort((times, items))
        items = items[order]
        place = np.arange(len(items)) - np.searchsorted(items, items)
        shape = (n, int(place.max(initial=0)) + 1)
        found = cls(
            np.repeat(lead.max(axis=1)[:, None], shape[1], axis=1),
            np.zeros(shape, dtype=np.int64),
            np.zeros(shape),
        )
        found.at_units[items, place] = times[order]
        found.comes[items, place] = np.concatenate([np.zeros(n * k, np.int64), units])[order]
        found.weight[items, place] = np.concatenate([weight.ravel(), np.zeros(len(item))])[order]
        return found


def runs_empty(
    lines: Lines, events: Events, *, daily_units: Floats, stock: Ints, chance: Floats
) -> Floats:
    """(n,) of shelves with something on them: `stock` (n, E) units with `chance` (n, E), of which
    those not above 0 are left out; 1 where there are no others."""
    chance = np.where(stock > 0, chance, 0.0)
    present = chance.sum(axis=1)
    horizon = np.where(events.weight > 0, events.at_units, 0.0).max(axis=1)
    spread = lines.dispersion + daily_units / lines.day_shape
    full = np.ceil(horizon + _FAR * np.sqrt(horizon * spread) + 2.0 * len(lines.chance))
    # What comes after the last arrival does not matter: those with few events go together.
    needed = events.weight.shape[1] - np.argmax(events.weight[:, ::-1] > 0, axis=1)
    size = (2 ** np.ceil(np.log2(full + 2))).astype(np.int64)
    risk = np.ones(len(stock))
    for levels in np.unique(size):
        rows = np.flatnonzero((size == levels) & (present > 0))
        rows = rows[np.argsort(needed[rows], kind="stable")]
        step = max(1, _CELLS // int(2 * levels))
        for start in range(0, len(rows), step):
            here = rows[start : start + step]
            most = int(needed[here].max())
            own = events.of_rows(here, most)
            law = chance[here] / present[here, None]
            risk[here] = _followed(lines, own, daily_units[here], stock[here], law, int(levels))
    return np.clip(risk, 0.0, 1.0)


def _followed(
    lines: Lines, events: Events, daily: Floats, stock: Ints, chance: Floats, levels: int
) -> Floats:
    """One size of shelves: a full one holds `levels` - 1, and never runs empty."""
    n = len(stock)
    left = np.zeros((n, levels))
    for one in range(stock.shape[1]):
        np.add.at(left, (np.arange(n), np.clip(stock[:, one], 0, levels - 1)), chance[:, one])
    exponent = _exponent(lines, daily, 2 * levels)
    through, now = np.zeros(n), np.zeros(n)
    for at in range(events.at_units.shape[1]):
        span = np.maximum(events.at_units[:, at] - now, 0.0)
        # Backwards: demand takes away. What is below 0 comes out in the upper half.
        spectrum = np.fft.rfft(left, 2 * levels, axis=1) * np.exp(span[:, None] * exponent)
        left = np.maximum(np.fft.irfft(spectrum, 2 * levels, axis=1)[:, :levels], 0.0)
        left[:, 0] = 0.0
        now = np.maximum(now, events.at_units[:, at])
        through += events.weight[:, at] * left.sum(axis=1)
        if events.comes[:, at].any():
            left = _received(left, events.comes[:, at])
    return 1.0 - through


def _exponent(lines: Lines, daily: Floats, length: int) -> npt.NDArray[np.complex128]:
    """Logarithm of the characteristic function of less demand, a unit of mean demand."""
    chance = np.zeros(length)
    chance[-len(lines.chance) :] = lines.chance[::-1]
    a_line = np.fft.rfft(chance) - 1.0
    per_day = np.maximum(daily, 1e-9)[:, None] / lines.mean
    day = -lines.day_shape * np.log1p(-per_day / lines.day_shape * a_line)
    return np.asarray(day / np.maximum(daily, 1e-9)[:, None])


def _received(left: Floats, units: Ints) -> Floats:
    levels = left.shape[1]
    source = np.arange(levels) - units[:, None]
    more = np.where(source >= 0, np.take_along_axis(left, np.maximum(source, 0), axis=1), 0.0)
    more[:, -1] += left.sum(axis=1) - more.sum(axis=1)
    return more

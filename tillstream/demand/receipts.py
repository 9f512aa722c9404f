"""Goods on their way, and the risk that a shelf runs empty between their arrivals.

With receipts at t_1 < … < t_J and L_j what was there or came before t_j, the shelf runs empty when
demand D reaches L_j by t_j for some j, the horizon being the last. Given the rate, demand has
independent increments (a negative binomial process), so the chance of getting through is a sum over
the units sold by each receipt; the rate is integrated out by the trapezoid rule in its logarithm,
which converges fast for smooth integrands (Trefethen & Weideman, SIAM Review 56, 2014).
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.special import gammaln

from tillstream.demand.belief import Belief, Floats
from tillstream.demand.passage import sold_within

Rows = NDArray[np.int64]

# Where the bounds of the risk are so near each other their middle is taken.
CLOSE = 2e-3
# Levels above this are counted in bundles of several units.
MOST_UNITS = 400.0
# The rate is known to about one in a hundred.
_SUREST = 8_000.0
# Cells of the working arrays at a time: they stay in the processor's cache.
_CELLS = 200_000


@dataclass(frozen=True, slots=True)
class Receipts:
    """Goods on their way, flat: row of the item (ascending), demand days from now (ascending
    within an item) and units; arrays (m,)."""

    item: Rows
    at_days: Floats
    units: Floats

    @classmethod
    def none(cls) -> Self:
        return cls(np.empty(0, dtype=np.int64), np.empty(0), np.empty(0))

    def useful(self) -> "Receipts":
        """Those that bring anything."""
        bring = self.units > 0
        return self if bring.all() else self._where(bring)

    def of(self, rows: Rows, days: Floats) -> "Receipts":
        """Those of the items `rows` (ascending) that come before their `days`, renumbered."""
        if not len(self.item):
            return self
        place = np.minimum(np.searchsorted(rows, self.item), len(rows) - 1)
        if not len(rows):
            return Receipts.none()
        kept = (rows[place] == self.item) & (self.at_days < days[place])
        return Receipts(place[kept], self.at_days[kept], self.units[kept])

    def stretch(self, start: int, stop: int) -> "Receipts":
        """Those of the items from `start` to before `stop`, renumbered."""
        here = slice(*np.searchsorted(self.item, [start, stop]))
        return Receipts(self.item[here] - start, self.at_days[here], self.units[here])

    def _where(self, chosen: NDArray[np.bool_]) -> "Receipts":
        return Receipts(self.item[chosen], self.at_days[chosen], self.units[chosen])


def sold_out_within(
    belief: Belief, receipts: Receipts, *, days: Floats, units: Floats, risk: Floats
) -> None:
    """Puts into `risk` (n,), which holds the risk without receipts, that of the items with some:
    P(D(t) >= units + receipts before t, for some t <= days). `days`, `units` (n,), units > 0."""
    if not len(receipts.item):
        return
    items, starts, counts = np.unique(receipts.item, return_index=True, return_counts=True)
    for count in np.unique(counts):
        group = np.flatnonzero(counts == count)
        at = starts[group][:, None] + np.arange(count)
        rows = items[group]
        times = np.column_stack([np.maximum(receipts.at_days[at], 0.0), days[rows]])
        coming = np.cumsum(receipts.units[at], axis=1)
        levels = np.ceil(units[rows, None] + np.column_stack([np.zeros(len(rows)), coming]))
        some = belief.of_rows(rows)
        risk[rows] = _path_risk(some, times, levels, most=risk[rows])


def _path_risk(belief: Belief, times: Floats, levels: Floats, *, most: Floats) -> Floats:
    """P(D(times[:, j]) >= levels[:, j] for some j), (n,), at most `most`.

    The events are positively associated (all rise with demand), so their union lies between the
    likeliest of them and 1 - Π(1 - P): only where these differ is the path followed.
    """
    least, none = np.zeros_like(most), np.ones_like(most)
    for j in range(times.shape[1]):
        reached = sold_within(belief, days=times[:, j], units=levels[:, j])
        least, none = np.maximum(least, reached), none * (1.0 - reached)
    least = np.minimum(least, most)
    most = np.maximum(np.minimum(1.0 - none, most), least)
    risk = (least + most) / 2.0
    open_ = np.flatnonzero(most - least > CLOSE)
    if len(open_):
        known = belief.of_rows(open_)
        followed = follow(known, times[open_], levels[open_])
        risk[open_] = np.clip(followed, least[open_], most[open_])
    return risk


def follow(belief: Belief, times: Floats, levels: Floats) -> Floats:
    """P(D(times[:, j]) >= levels[:, j] for some j), (n,), by following the units sold."""
    bundle = np.maximum(np.ceil(levels[:, -1] / MOST_UNITS), 1.0)
    levels = np.ceil(levels / bundle[:, None])
    spread = np.maximum(belief.dispersion / bundle, np.where(bundle > 1.0, 0.5, 1.0))
    # A surer belief than this changes nothing but the number of nodes it would take.
    sure = np.minimum(_SUREST / belief.a, 1.0)
    known = Belief(belief.a * sure, belief.b * bundle * sure, spread)
    low, count, step = _log_rates(known, times, levels)
    risk = np.empty(len(levels))
    # Alike items go together, so that little is padded.
    order = np.lexsort((levels[:, 0], levels[:, -1], count))
    start = 0
    while start < len(order):
        nodes = count[order[start]]
        alike = np.searchsorted(count[order], nodes, side="right")
        size = max(int(_CELLS / nodes / (levels[order[start:alike], -1].max())), 1)
        rows = order[start : min(start + size, alike)]
        log_rate = low[rows, None] + step[rows, None] * np.arange(nodes)
        a = known.a[rows, None]
        weight = step[rows, None] * np.exp(a * log_rate - np.exp(log_rate) - gammaln(a))
        rate = np.exp(log_rate) / known.b[rows, None]
        empty = _given_rate(rate, spread[rows], times[rows], levels[rows])
        risk[rows] = (weight * empty).sum(1)
        start += len(rows)
    return np.clip(risk, 0.0, 1.0)


def _log_rates(belief: Belief, times: Floats, levels: Floats) -> tuple[Floats, Rows, Floats]:
    """(lowest ln(b·rate), number of nodes, step) for the trapezoid rule, each (n,).

    Left out are rates too low to be likely, and those too low to sell the stock: the chance there
    is below 1e-3 of the whole. The step is fine enough for the steeper of the belief (relative
    width 1/√a) and the chance of selling `levels` at a rate (relative width √(d/level)).
    """
    a, d = belief.a, belief.dispersion
    high = np.log(a + 4.5 * np.sqrt(a) + 8.0)
    unlikely = np.maximum((np.log(1e-4) + gammaln(a + 1.0)) / a, -700.0)
    narrow = np.log(np.maximum(a - 4.5 * np.sqrt(a), 1e-300))
    clumps = np.maximum(levels[:, 0] / (d + 1.0), 1.0)
    idle = np.log(belief.b * levels[:, 0] / times[:, -1]) + np.log(3e-4) / clumps - 0.7
    low = np.minimum(np.maximum(np.maximum(unlikely, narrow), idle), high - 1.0)
    step = np.minimum(1.4 / np.sqrt(a + levels[:, -1] / d + 2.0), 0.7)
    wanted = np.ceil((high - low) / step) + 1.0
    count = 2 ** np.clip(np.ceil(np.log2(wanted)), 3, 6).astype(np.int64)
    return low, count, (high - low) / (count - 1)


def _given_rate(rate: Floats, spread: Floats, times: Floats, levels: Floats) -> Floats:
    """P(the shelf runs empty | rate), (n, nodes)."""
    spans = np.diff(times, axis=1, prepend=0.0)
    sold = _units_sold(rate * spans[:, :1], spread, int(levels[:, 0].max()))
    for j in range(1, times.shape[1]):
        _forget_empty(sold, levels[:, j - 1])
        most = int(levels[:, j].max())
        if j == times.shape[1] - 1:
            return 1.0 - _gets_through(sold, rate * spans[:, [j]], spread, levels[:, j])
        more = _units_sold(rate * spans[:, [j]], spread, most)
        length = fft.next_fast_len(len(sold) + most - 1, real=True)
        both = fft.rfft(sold, length, axis=0) * fft.rfft(more, length, axis=0)
        sold = fft.irfft(both, length, axis=0)[:most]
    raise AssertionError("a path has a receipt and a horizon")


def _units_sold(mean: Floats, spread: Floats, limit: int) -> Floats:
    """P(k units are sold), (limit, n, nodes), of the negative binomial with `mean` (n, nodes) and
    variance/mean `spread` (n,); Poisson at 1, and binomial below."""
    excess = (spread - 1.0)[:, None]
    plain = np.abs(excess) < 1e-9
    speed = np.where(plain, 1.0, np.log1p(excess) / np.where(plain, 1.0, excess))
    # So much is sold for sure beyond every limit; further on exp() would underflow.
    mean = np.minimum(mean, 700.0 / speed)
    chance = np.empty((limit, *mean.shape))
    chance[0] = np.exp(-speed * mean)
    binomial = bool(excess.min() < 0.0)
    first, each = mean / (1.0 + excess), excess / (1.0 + excess)
    for k in range(1, limit):
        np.multiply(first + (k - 1) * each, chance[k - 1] / k, out=chance[k])
        if binomial:
            np.maximum(chance[k], 0.0, out=chance[k])
    return chance


def _forget_empty(sold: Floats, level: Floats) -> None:
    """Drops the paths on which `level` (n,) has been reached."""
    sold[np.arange(len(sold))[:, None] >= level] = 0.0


def _gets_through(sold: Floats, mean: Floats, spread: Floats, level: Floats) -> Floats:
    """P(alive and in the last span fewer units are sold than are left), (n, nodes)."""
    most = int(level.max())
    at_most = _units_sold(mean, spread, most)
    for k in range(1, most):
        at_most[k] += at_most[k - 1]
    left = level[None, :] - 1.0 - np.arange(len(sold))[:, None]
    place = np.clip(left, 0, most - 1).astype(np.int64)
    through: Floats = (sold * at_most[place, np.arange(len(level))]).sum(0)
    return through

"""How likely a shelf is to run empty before an order placed now can arrive."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, betaincinv, ndtri

from tillstream.demand.belief import Belief, Floats
from tillstream.demand.passage import sold_within
from tillstream.demand.receipts import Receipts, sold_out_within

# Time to empty is reported up to this many days: beyond it, nobody acts on the difference.
FAR_DAYS = 3650.0
# Keeps every formula finite for an order that arrives at once.
_LEAST_DAYS = 1e-9
# A risk that cannot be above this is not looked at more closely.
_NEGLIGIBLE = 1e-4
# Items taken at a time: the arrays of one turn stay in the processor's cache.
_CHUNK = 32_768


def stockout_risk(
    belief: Belief,
    *,
    stock: Floats,
    lead_days: Floats,
    lead_weight: Floats,
    receipts: Receipts | None = None,
    error_units: Floats | None = None,
    error_weight: Floats | None = None,
) -> Floats:
    """P(physical stock reaches 0 before an order placed now arrives), (n,) in [0, 1].

    `stock` (n,) is what the record says; the order arrives after `lead_days` (n, K) demand days
    with chance `lead_weight` (n, K). `receipts` on their way count from when they come; those with
    no units or due after the horizon do not matter. Physical stock is the record plus
    `error_units` (n, E) with chance `error_weight` (n, E), no error when left out; the risk is
    that of a shelf with something on it (physical stock > 0), and 1 where that cannot be.
    """
    n = len(stock)
    receipts = Receipts.none() if receipts is None else receipts.useful()
    if error_units is None or error_weight is None:
        error_units, error_weight = np.zeros((n, 1)), np.ones((n, 1))
    risk = np.empty(n)
    first = np.searchsorted(receipts.item, np.arange(0, n + _CHUNK, _CHUNK))
    for turn, start in enumerate(range(0, n, _CHUNK)):
        rows = slice(start, start + _CHUNK)
        due = slice(first[turn], first[turn + 1])
        risk[rows] = _risk(
            belief.of_rows(rows),
            Receipts(receipts.item[due] - start, receipts.at_days[due], receipts.units[due]),
            physical=stock[rows, None] + error_units[rows],
            chance=error_weight[rows],
            lead_days=lead_days[rows],
            lead_weight=lead_weight[rows],
        )
    return risk


def _risk(
    belief: Belief,
    receipts: Receipts,
    *,
    physical: Floats,
    chance: Floats,
    lead_days: Floats,
    lead_weight: Floats,
) -> Floats:
    """One turn of `stockout_risk`; `physical` and `chance` are (n, E)."""
    chance = _merged(physical, np.where(physical > 0, chance, 0.0))
    total = _at_worst(belief, physical, chance, lead_days, lead_weight)
    doubtful = total > _NEGLIGIBLE
    total[doubtful] = 0.0
    for k in range(lead_days.shape[1]):
        for e in range(physical.shape[1]):
            weight = chance[:, e] * lead_weight[:, k]
            rows = np.flatnonzero(doubtful & (weight > 0))
            known = belief.of_rows(rows)
            days, units = lead_days[rows, k], physical[rows, e]
            out = sold_within(known, days=days, units=units)
            sold_out_within(known, receipts.of(rows, days), days=days, units=units, risk=out)
            total[rows] += weight[rows] * out
    known_chance = chance.sum(1)
    present = known_chance > 0
    return np.where(present, np.minimum(total / np.where(present, known_chance, 1.0), 1.0), 1.0)


def _merged(physical: Floats, chance: Floats) -> Floats:
    """`chance` (n, E) with that of equal neighbours in `physical` moved to the first of them:
    errors of a small shelf are mostly the same few units, and each costs a look."""
    chance = chance.copy()
    for e in range(physical.shape[1] - 1, 0, -1):
        same = physical[:, e] == physical[:, e - 1]
        chance[:, e - 1] += np.where(same, chance[:, e], 0.0)
        chance[same, e] = 0.0
    return chance


def _at_worst(
    belief: Belief, physical: Floats, chance: Floats, lead_days: Floats, lead_weight: Floats
) -> Floats:
    """The risk if least stands there and the order takes longest, times the chance of any stock:
    never less than the risk (receipts only lower it, and are left out)."""
    least = np.where(chance > 0, physical, np.inf).min(1)
    longest = np.where(lead_weight > 0, lead_days, 0.0).max(1)
    worst = np.zeros(len(physical))
    some = np.flatnonzero(np.isfinite(least))
    worst[some] = sold_within(belief.of_rows(some), days=longest[some], units=least[some])
    return np.asarray(worst * chance.sum(1))


def _negative_binomial(belief: Belief, days: Floats) -> tuple[Floats, Floats, Floats]:
    """(mean, r, q) of demand over `days`; P(D >= s) = I_q(s, r) for s >= 1."""
    days = np.maximum(days, _LEAST_DAYS)
    mean = days * belief.daily_units
    excess = belief.dispersion - 1.0 + days / belief.b
    r = mean / excess
    return mean, r, excess / (1.0 + excess)


def demand_at_least(belief: Belief, days: Floats, units: Floats) -> Floats:
    """P(demand over `days` >= `units`), all (n,), by the negative binomial with demand's
    mean m and variance m·(d + days/b): exact at d = 1, else as good as two moments can be (up to
    0.06 off for a < 1 and d = 4; `passage.sold_within` is nearer, and dearer to invert)."""
    _, r, q = _negative_binomial(belief, days)
    return np.where(units <= 0, 1.0, betainc(np.maximum(units, 1.0), r, q))


def demand_quantile(belief: Belief, days: Floats, probability: float) -> NDArray[np.int64]:
    """The smallest x with P(demand over `days` <= x) >= `probability`, (n,)."""
    mean, _, q = _negative_binomial(belief, days)
    deviation = np.sqrt(mean / (1.0 - q))
    low = np.zeros_like(mean)
    high = np.maximum(np.ceil(mean + ndtri(probability) * deviation + 3.0), 1.0)

    def reached(rows: NDArray[np.int64], x: Floats) -> NDArray[np.bool_]:
        return 1.0 - demand_at_least(belief.of_rows(rows), days[rows], x + 1.0) >= probability

    left = np.arange(len(mean))
    while len(left := left[~reached(left, high[left])]):
        high[left] = 2.0 * high[left] + 1.0
    left = np.flatnonzero(low < high)
    while len(left):  # bisection: `high` always reaches the probability
        middle = np.floor((low[left] + high[left]) / 2.0)
        enough = reached(left, middle)
        high[left] = np.where(enough, middle, high[left])
        low[left] = np.where(enough, low[left], middle + 1.0)
        left = left[low[left] < high[left]]
    return high.astype(np.int64)


def time_to_empty(belief: Belief, stock: Floats, probability: float) -> Floats:
    """The `probability` quantile of the demand days until `stock` units are sold, (n,), at most
    FAR_DAYS.

    With demand in clumps of d units, stock/d clumps must be sold at a rate of Gamma(a, b·d) clumps
    a day: T = b·d·BetaPrime(stock/d, a).
    """
    clumps = np.maximum(stock, 0.0) / belief.dispersion
    x = betaincinv(np.maximum(clumps, 1e-9), belief.a, probability)
    with np.errstate(divide="ignore"):
        days = belief.b * belief.dispersion * x / (1.0 - x)
    return np.where(stock <= 0, 0.0, np.minimum(days, FAR_DAYS))


def expected_shortfall(belief: Belief, days: Floats, stock: Floats) -> Floats:
    """E[(demand over `days` - stock)+], in units, (n,)."""
    mean, r, q = _negative_binomial(belief, days)
    s = np.maximum(stock, 0.0)
    above = np.where(s <= 1, 1.0, betainc(np.maximum(s - 1.0, 1.0), r + 1.0, q))
    return np.maximum(mean * above - s * demand_at_least(belief, days, s), 0.0)

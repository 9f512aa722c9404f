"""How likely a shelf is to run empty before an order placed now can arrive."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, betaincinv, betaln, ndtri

from tillstream.demand.belief import Belief, Floats
from tillstream.demand.passage import sold_within
from tillstream.demand.receipts import Receipts, sold_out_within
from tillstream.demand.search import smallest_whole

# Time to empty is reported up to this many days: beyond it, nobody acts on the difference.
FAR_DAYS = 3650.0
# Keeps every formula finite for an order that arrives at once.
_LEAST_DAYS = 1e-9
# A risk that cannot be above this is not looked at more closely.
_NEGLIGIBLE = 1e-4
# Parts of a risk that cannot come to more than this are left out.
_WORTH = 3e-4
# Newton's method settles in two or three steps, or not at all.
_MOST_STEPS = 8
# Items taken at a time: the arrays of one turn stay in the processor's cache.
_CHUNK = 32_768


@dataclass(frozen=True, slots=True)
class LateReceipts:
    """With a chance of `chance` (n,) all that is on an item's way comes as `receipts` say, which
    must not be sooner."""

    receipts: Receipts
    chance: Floats


def risk_by_lead(
    belief: Belief,
    *,
    stock: Floats,
    lead_days: Floats,
    lead_weight: Floats,
    receipts: Receipts | None = None,
    late: LateReceipts | None = None,
    error_units: Floats | None = None,
    error_weight: Floats | None = None,
) -> Floats:
    """P(physical stock reaches 0 within `lead_days`), (n, K) in [0, 1]; what is left out comes to
    less than 1e-3 of their mean.

    `stock` (n,) is what the record says; the order arrives after `lead_days` (n, K) demand days
    with chance `lead_weight` (n, K), by which it is decided what is worth a close look. `receipts`
    on their way count from when they come; those with no units or due after the horizon do not
    matter. Physical stock is the record plus `error_units` (n, E) with chance `error_weight`
    (n, E), no error when left out; the risk is that of a shelf with something on it (physical
    stock > 0), and 1 where that cannot be.
    """
    n = len(stock)
    receipts = Receipts.none() if receipts is None else receipts.useful()
    late = LateReceipts(receipts, np.zeros(n)) if late is None else late
    delayed = late.receipts.useful()
    if error_units is None or error_weight is None:
        error_units, error_weight = np.zeros((n, 1)), np.ones((n, 1))
    if (np.diff(error_units) < 0).any():
        order = np.argsort(error_units, axis=1)
        error_units = np.take_along_axis(error_units, order, axis=1)
        error_weight = np.take_along_axis(error_weight, order, axis=1)
    risk = np.empty(lead_days.shape)
    for start in range(0, n, _CHUNK):
        rows = slice(start, start + _CHUNK)
        risk[rows] = _risk(
            belief.of_rows(rows),
            receipts.stretch(start, start + _CHUNK),
            LateReceipts(delayed.stretch(start, start + _CHUNK), late.chance[rows]),
            physical=stock[rows, None] + error_units[rows],
            chance=error_weight[rows],
            lead_days=lead_days[rows],
            lead_weight=lead_weight[rows],
        )
    return risk


def _risk(
    belief: Belief,
    receipts: Receipts,
    late: LateReceipts,
    *,
    physical: Floats,
    chance: Floats,
    lead_days: Floats,
    lead_weight: Floats,
) -> Floats:
    """One turn of `risk_by_lead`; `physical`, ascending, and `chance` are (n, E)."""
    chance = np.where(physical > 0, chance, 0.0)
    known_chance = chance.sum(1, keepdims=True)
    chance = _merged(physical, chance / np.where(known_chance > 0, known_chance, 1.0))
    worst = _at_worst(belief, physical, chance, lead_days, lead_weight)
    doubtful = worst > _NEGLIGIBLE
    total = np.where(doubtful, 0.0, worst)[:, None] * np.ones(lead_days.shape[1])
    # The more stands there, the lower the risk: what is left of it may not be worth a look.
    left = np.cumsum(chance[:, ::-1], axis=1)[:, ::-1]
    for k in range(lead_days.shape[1]):
        most = np.where(doubtful, 1.0, 0.0)
        for e in range(physical.shape[1]):
            weight = left[:, e] * lead_weight[:, k]
            rows = np.flatnonzero((chance[:, e] > 0) & (weight * most > _WORTH))
            known = belief.of_rows(rows)
            days, units = lead_days[rows, k], physical[rows, e]
            alone = sold_within(known, days=days, units=units)
            out = alone.copy()
            sold_out_within(known, receipts.of(rows, days), days=days, units=units, risk=out)
            # Goods that come late are worth no more than none.
            doubt = late.chance[rows] * (alone - out)
            most[rows] = out + doubt
            may = np.flatnonzero(weight[rows] * doubt > _NEGLIGIBLE)
            if len(may):
                items, horizon, worse = rows[may], days[may], alone[may]
                delayed, those = late.receipts.of(items, horizon), known.of_rows(may)
                sold_out_within(those, delayed, days=horizon, units=units[may], risk=worse)
                out[may] += late.chance[items] * (worse - out[may])
            total[rows, k] += chance[rows, e] * out
    return np.where(known_chance > 0, np.minimum(total, 1.0), 1.0)


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
    # The normal quantile, and Cornish and Fisher's correction for skewness: mostly right or one too
    # low, and then two looks do.
    z = ndtri(probability)
    near = mean + z * deviation + (z * z - 1.0) / 6.0 * (1.0 + q) / (1.0 - q)
    near = np.floor(np.maximum(near, 0.0))

    def enough(rows: NDArray[np.int64], units: Floats) -> NDArray[np.bool_]:
        found = demand_at_least(belief.of_rows(rows), days[rows], units + 1.0)
        return np.asarray(1.0 - found >= probability)

    step = np.maximum(np.ceil(deviation / 8.0), 1.0)
    return smallest_whole(enough, near=near, step=step).astype(np.int64)


def time_to_empty(belief: Belief, stock: Floats, probability: float) -> Floats:
    """The `probability` quantile of the demand days until `stock` units are sold, (n,), at most
    FAR_DAYS.

    With demand in clumps of d units, stock/d clumps must be sold at a rate of Gamma(a, b·d) clumps
    a day: T = b·d·BetaPrime(stock/d, a).
    """
    days = np.zeros(len(stock))
    some = np.flatnonzero(stock > 0)
    known = belief.of_rows(some)
    with np.errstate(over="ignore"):
        odds = np.exp(beta_log_odds(stock[some] / known.dispersion, known.a, probability))
        days[some] = np.minimum(known.b * known.dispersion * odds, FAR_DAYS)
    return days


def beta_log_odds(p: Floats, q: Floats, probability: float) -> Floats:
    """ln(x / (1 - x)) at the `probability` quantile x of Beta(p, q), (n,), to 1e-4.

    Newton's method on the logarithm of the nearer tail, which is concave in the log odds, from
    Paulson's approximation (Annals of Mathematical Statistics 13, 1942): some 0.6 of the time of
    the general inverse, which takes over where it does not settle.
    """
    z, below = ndtri(probability), probability <= 0.5
    tail = probability if below else 1.0 - probability
    u, v, spread = 1.0 - 1.0 / (9.0 * p), 1.0 - 1.0 / (9.0 * q), z * z / 9.0
    with np.errstate(all="ignore"):
        first, second = v * v - spread / q, u * u - spread / p
        root = (u * v + np.sign(z) * np.sqrt(u * u * v * v - first * second)) / first
        odds = np.where(first > 0, 3.0 * np.log(root), 0.0) + np.log(p / q)
        odds = np.where(np.isfinite(odds), odds, np.log(p / q))
        log_beta = betaln(p, q)
        left = np.arange(len(p))
        for _ in range(_MOST_STEPS):
            a, b, at = p[left], q[left], odds[left]
            x, rest = 1.0 / (1.0 + np.exp(-at)), 1.0 / (1.0 + np.exp(at))
            reached = betainc(a, b, x) if below else betainc(b, a, rest)
            slope = np.exp(a * np.log(x) + b * np.log(rest) - log_beta[left])
            step = np.log(tail / reached) * reached / slope
            odds[left] += step if below else -step
            # What is left over is of the order of the last step squared.
            left = left[~(np.abs(step) < 1e-3)]
            if not len(left):
                return odds
        x = betaincinv(p[left], q[left], probability)
        odds[left] = np.log(x / (1.0 - x))
    return odds


def expected_shortfall(belief: Belief, days: Floats, stock: Floats) -> Floats:
    """E[(demand over `days` - stock)+], in units, (n,)."""
    mean, r, q = _negative_binomial(belief, days)
    s = np.maximum(stock, 0.0)
    above = np.where(s <= 1, 1.0, betainc(np.maximum(s - 1.0, 1.0), r + 1.0, q))
    return np.maximum(mean * above - s * demand_at_least(belief, days, s), 0.0)

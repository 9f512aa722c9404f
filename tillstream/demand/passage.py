"""How soon a given number of units is sold, in closed form.

Demand at a known rate is a negative binomial process: clumps come as a Poisson process, and the
units in a clump have Fisher's logarithmic law, so that variance/mean is the dispersion d
(Quenouille, Biometrics 5, 1949). Clumps come c = ln d/(d-1) times as fast as units. If M_s is the
number of clumps that first reach s units, and the rate is Gamma(a, b),

    P(D(t) >= s) = E[ I_x(M_s, a) ],   x = c·t/(b + c·t),   I the regularised incomplete beta.

At d = 1 M_s is s, which is the exact Polya process. Otherwise the expectation over M_s is taken at
three Gauss points of its law (exact up to s = 3; Golub & Welsch, Math. Comp. 23, 1969): the error
is below 0.004 for d <= 4 and 0.009 for d = 8. It rises with time and falls with b exactly.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc

from tillstream.demand.belief import Belief, Floats

Rows = NDArray[np.int64]

POINTS = 3
# Beyond so many units the law of M_s is close to normal and is carried on as such.
TABLE_UNITS = 256
# Dispersions are taken to the nearest of a geometric grid of d - 1: steps of 4 %, far below what is
# known of a dispersion.
_LEAST_EXCESS, _MOST_EXCESS, _GRID = 0.01, 40.0, 200
# Risks this close to 0 or 1 are called certain and cost no incomplete beta.
CERTAIN = 1e-6


def sold_within(belief: Belief, *, days: Floats, units: Floats) -> Floats:
    """P(demand in `days` >= `units`), all (n,); 1 where `units` <= 0."""
    units = np.ceil(units)
    answer = np.where(units <= 0, 1.0, 0.0)
    open_ = np.flatnonzero((units > 0) & (days > 0))
    a, b, s, t = belief.a[open_], belief.b[open_], units[open_], days[open_]
    excess = belief.dispersion[open_] - 1.0
    clumped = excess > _LEAST_EXCESS / 2
    for rows, in_clumps in ((~clumped, False), (clumped, True)):
        chosen = np.flatnonzero(rows)
        if not len(chosen):
            continue
        row = _row(excess[chosen]) if in_clumps else None
        answer[open_[chosen]] = _mixture(a[chosen], b[chosen], s[chosen], t[chosen], row)
    return answer


def _row(excess: Floats) -> Rows:
    place = np.log(np.maximum(excess, _LEAST_EXCESS) / _LEAST_EXCESS)
    step = np.log(_MOST_EXCESS / _LEAST_EXCESS) / (_GRID - 1)
    row: Rows = np.minimum(np.rint(place / step), _GRID - 1).astype(np.int64)
    return row


def _mixture(a: Floats, b: Floats, s: Floats, t: Floats, row: Rows | None) -> Floats:
    """E[I_x(M_s, a)] where `row` names the dispersion; M_s = s where there is none."""
    if row is None:
        return _beta(s, a, t / (b + t))
    table = _table()
    speed = table.speed[row] * t
    x = speed / (b + speed)
    at = np.minimum(s, TABLE_UNITS).astype(np.int64) - 1
    beyond = s > TABLE_UNITS
    answer = np.zeros_like(a)
    for j in range(POINTS):
        clumps, weight = table.clumps[j, row, at], table.weight[j, row, at]
        if beyond.any():
            far, d = np.flatnonzero(beyond), row[beyond]
            grown = table.mean[d] + (s[far] - TABLE_UNITS) * table.per_unit[d]
            stretch = np.sqrt(s[far] / TABLE_UNITS)
            clumps[far] = np.maximum(grown + (clumps[far] - table.mean[d]) * stretch, 1.0)
        used = np.flatnonzero(weight > 0)  # one or two units need fewer points
        answer[used] += weight[used] * _beta(clumps[used], a[used], x[used])
    return np.minimum(answer, 1.0)


def _beta(clumps: Floats, a: Floats, x: Floats) -> Floats:
    """I_x(clumps, a), cut to 0 and 1 where Chernoff's bound says it is within CERTAIN of them:
    both tails of a Beta(p, q) beyond x are at most exp(-(p+q)·KL(p/(p+q) | x))."""
    middle = clumps / (clumps + a)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        bound = clumps * np.log(middle / x) + a * np.log((1.0 - middle) / (1.0 - x))
    sure = bound > -np.log(CERTAIN)
    answer = np.where(x < middle, 0.0, 1.0)
    doubt = np.flatnonzero(~sure)
    answer[doubt] = betainc(clumps[doubt], a[doubt], x[doubt])
    return answer


@dataclass(frozen=True, slots=True)
class _Table:
    """Gauss points of the law of M_s: `clumps` and `weight` are (point, dispersion, s - 1)."""

    clumps: Floats
    weight: Floats
    mean: Floats  # of M_s at the last s, by dispersion
    per_unit: Floats  # clumps a unit
    speed: Floats  # clumps come so much faster than units


@lru_cache(maxsize=1)
def _table() -> _Table:
    excess = np.geomspace(_LEAST_EXCESS, _MOST_EXCESS, _GRID)
    spread, log = 1.0 + excess, np.log1p(excess)
    m = np.arange(TABLE_UNITS + 1.0)
    exactly = np.zeros((_GRID, TABLE_UNITS + 1))  # P(m clumps hold k units), from k = 0 on
    exactly[:, 0] = 1.0
    fewer = np.zeros_like(exactly)  # P(m clumps hold fewer than s units) = P(M_s > m)
    clumps = np.zeros((POINTS, _GRID, TABLE_UNITS))
    weight = np.zeros_like(clumps)
    for k in range(TABLE_UNITS):
        fewer += exactly
        law = -np.diff(fewer, axis=1, prepend=1.0)
        points, weights = gauss_points(m, law)
        clumps[:, :, k], weight[:, :, k] = points.T, weights.T
        # |Stirling numbers of the first kind|: f_m(k+1) = [k f_m(k) + m f_(m-1)(k)/ln d]·q/(k+1)
        one_more = np.zeros_like(exactly)
        one_more[:, 1:] = k * exactly[:, 1:] + m[1:] / log[:, None] * exactly[:, :-1]
        exactly = one_more * (excess / spread / (k + 1))[:, None]
    return _Table(
        clumps=clumps,
        weight=weight,
        mean=(clumps[:, :, -1] * weight[:, :, -1]).sum(0),
        per_unit=log / excess,
        speed=log / excess,
    )


def gauss_points(m: Floats, law: Floats) -> tuple[Floats, Floats]:
    """POINTS nodes and weights (rows, POINTS) that integrate polynomials up to degree
    2·POINTS - 1 against each row of `law` (rows, len(m)), by the Stieltjes recurrence. A law on
    fewer values than that leaves the points over with no weight."""
    rows = len(law)
    alpha, beta = np.zeros((rows, POINTS)), np.zeros((rows, POINTS))
    mean = law @ m
    before, now = np.zeros_like(law), np.ones_like(law)
    size_before = np.ones(rows)
    for j in range(POINTS):
        size = (law * now * now).sum(1)
        beta[:, j] = size / size_before
        over = beta[:, j] < 1e-9
        if j:
            beta[over, j] = 0.0
        alpha[:, j] = np.where(over, mean, (law * m * now * now).sum(1) / np.where(over, 1.0, size))
        after = (m - alpha[:, [j]]) * now - beta[:, [j]] * before
        after[over] = 0.0
        before, now, size_before = now, after, np.where(over, 1.0, size)
    jacobi = np.zeros((rows, POINTS, POINTS))
    at = np.arange(POINTS)
    jacobi[:, at, at] = alpha
    jacobi[:, at[1:], at[:-1]] = jacobi[:, at[:-1], at[1:]] = np.sqrt(beta[:, 1:])
    points, vectors = np.linalg.eigh(jacobi)
    weights = vectors[:, 0, :] ** 2
    return points, np.where(weights < 1e-12, 0.0, weights)

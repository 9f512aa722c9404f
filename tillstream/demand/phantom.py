"""Phantom stock: the record says there are units, the shelf says nothing by selling nothing."""

import numpy as np

from tillstream.demand.belief import Belief, Floats


def phantom_probability(at_last_sale: Belief, *, exposure: Floats, prior: Floats | float) -> Floats:
    """P(nothing is there | nothing was sold in `exposure` demand days), (n,).

    With `prior` the chance that the record is false to begin with, Bayes' rule gives
    π/(π + (1 - π)·P(no sale)), and P(no sale) = (b/(b + c·e))^a for the rate Gamma(a, b), with
    c = ln d/(d - 1) clumps a unit (1 at d = 1). `at_last_sale` is the belief as it was then:
    updating it by the silence itself would count the silence twice, and a known rate would make
    us too sure.
    """
    excess = np.maximum(at_last_sale.dispersion - 1.0, 0.0)
    clumps = np.where(excess > 1e-9, np.log1p(excess) / np.maximum(excess, 1e-9), 1.0)
    e = clumps * np.maximum(exposure, 0.0)
    silent = np.exp(-at_last_sale.a * np.log1p(e / at_last_sale.b))
    none = np.asarray(prior, dtype=np.float64)
    weight = none + (1.0 - none) * silent
    return np.where(weight > 0, none / np.where(weight > 0, weight, 1.0), 0.0)

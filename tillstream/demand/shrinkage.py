"""What demand to expect of an item before, and beside, its own sales.

An item's rate is the demand of its category in its store, times the product's share of that
category in the chain. How far items stray from that product is measured, and decides how much an
item's own sales count against it (empirical Bayes: Robbins 1956; Efron and Morris 1973). A product
or a store that is new so starts where others of its kind stand.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_ROUNDS = 4
# Sales that a product's share is taken to have shown already, at its category's mean.
_PRIOR_UNITS = 2.0
_LEAST_SHAPE, _MOST_SHAPE = 0.2, 200.0
_LEAST = 1e-9


@dataclass(frozen=True, slots=True)
class Expected:
    """`rate` (n,) in units a demand day; `shape` is the Gamma shape of items around it: small when
    they stray far. As a prior: Gamma(shape, shape / rate)."""

    rate: Floats
    shape: float


@dataclass(frozen=True, slots=True)
class Items:
    """By item (n,): its store, product and category as numbers from 0, its units sold, its exposure
    in demand days, and the dispersion (variance over mean) of its demand."""

    store: Ints
    product: Ints
    category: Ints
    units: Floats
    exposure: Floats
    dispersion: Floats


def expected(items: Items) -> Expected:
    """What each item is expected to sell by its store, category and product."""
    if not len(items.units):
        return Expected(np.empty(0), 1.0)
    units = np.maximum(items.units, 0.0)
    by_product = int(items.product.max()) + 1
    group = items.store * (int(items.category.max()) + 1) + items.category
    _, group = np.unique(group, return_inverse=True)
    category_of = np.zeros(by_product, dtype=np.int64)
    category_of[items.product] = items.category
    share = np.ones(by_product)
    level = np.ones(int(group.max()) + 1)
    for _ in range(_ROUNDS):
        level = _ratio(group, units, items.exposure * share[items.product])
        basis = items.exposure * level[group]
        sold = _sums(items.product, units, by_product)
        could = _sums(items.product, basis, by_product)
        mean = _ratio(category_of, sold, could)[category_of]
        # A product of few sales is taken for an average one of its category.
        ghost = np.divide(_PRIOR_UNITS, mean, out=np.zeros(by_product), where=mean > 0)
        share = (sold + np.where(ghost > 0, _PRIOR_UNITS, 0.0)) / np.maximum(could + ghost, _LEAST)
    rate = np.maximum(level[group] * share[items.product], _LEAST)
    return Expected(rate, _shape(items, units, rate))


def _sums(group: Ints, values: Floats, groups: int) -> Floats:
    return np.bincount(group, weights=values, minlength=groups).astype(np.float64)


def _ratio(group: Ints, above: Floats, below: Floats) -> Floats:
    """Sums of `above` over sums of `below`, by group."""
    groups = int(group.max()) + 1
    return np.asarray(_sums(group, above, groups) / np.maximum(_sums(group, below, groups), _LEAST))


def _shape(items: Items, units: Floats, rate: Floats) -> float:
    """By the method of moments: items' sales vary by chance (mean times dispersion) and because
    their rates differ (mean squared over shape)."""
    mean = rate * items.exposure
    by_chance = items.dispersion * mean
    strays = float(((units - mean) ** 2 - by_chance).sum())
    if strays <= 0:
        return _MOST_SHAPE
    return float(np.clip((mean**2).sum() / strays, _LEAST_SHAPE, _MOST_SHAPE))

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
# Sales that a group is taken to have shown already, at the usual rate.
_PRIOR_UNITS = 2.0
# Until sales have shown how far items stray, they are taken to stray as widely as this.
_USUAL_SHAPE = 2.0
_PRIOR_SQUARES = 1_000.0
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
    products = int(items.product.max()) + 1
    categories = int(items.category.max()) + 1
    _, group = np.unique(items.store * categories + items.category, return_inverse=True)
    groups = int(group.max()) + 1
    category_of_group = np.zeros(groups, dtype=np.int64)
    category_of_group[group] = items.category
    category_of = np.zeros(products, dtype=np.int64)
    category_of[items.product] = items.category
    share = np.ones(products)
    level = np.ones(groups)
    for _ in range(_ROUNDS):
        could = items.exposure * share[items.product]
        usual = _rates(items.category, units, could, categories)
        level = _rates(group, units, could, groups, usual[category_of_group])
        could = items.exposure * level[group]
        usual = _rates(items.category, units, could, categories)
        share = _rates(items.product, units, could, products, usual[category_of])
    rate = np.maximum(level[group] * share[items.product], _LEAST)
    return Expected(rate, _shape(items, units, rate))


def _rates(
    group: Ints, units: Floats, could: Floats, groups: int, usual: Floats | None = None
) -> Floats:
    """What was sold over what `could` have been, by group. A group of few sales is taken for a
    `usual` one, (groups,); the chain as a whole stands in where nothing else is known."""
    if usual is None:
        usual = np.full(groups, units.sum() / max(float(could.sum()), _LEAST))
    usual = np.maximum(usual, _LEAST)
    return (_sums(group, units, groups) + _PRIOR_UNITS) / (
        _sums(group, could, groups) + _PRIOR_UNITS / usual
    )


def _sums(group: Ints, values: Floats, groups: int) -> Floats:
    return np.bincount(group, weights=values, minlength=groups).astype(np.float64)


def _shape(items: Items, units: Floats, rate: Floats) -> float:
    """By the method of moments: items' sales vary by chance (mean times dispersion) and because
    their rates differ (mean squared over shape)."""
    mean = rate * items.exposure
    by_chance = items.dispersion * mean
    strays = max(float(((units - mean) ** 2 - by_chance).sum()), 0.0)
    shape = ((mean**2).sum() + _PRIOR_SQUARES) / (strays + _PRIOR_SQUARES / _USUAL_SHAPE)
    return float(np.clip(shape, _LEAST_SHAPE, _MOST_SHAPE))

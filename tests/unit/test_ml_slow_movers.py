"""The classifier of slow movers: what it learns that a shelf's own rate cannot say."""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from scipy.stats import nbinom

from tillstream.errors import ConfigError
from tillstream.ml import slow_movers
from tillstream.ml.boosting import Recipe
from tillstream.ml.calendar import number_of
from tillstream.ml.features import NAMES, History
from tillstream.ml.panel import Panel
from tillstream.ml.slow_movers import UNSOLD_DAYS, SlowMovers

DAYS = 182
RECIPE = Recipe(rounds=40, depth=3, learning_rate=0.1, least_child_weight=5, threads=1)


def fading_panel(*, products: int = 120, stores: int = 5) -> Panel:
    """Every product sells a unit in 20 days in each store, until it goes out of fashion everywhere
    on one day of its own. A shelf that has not sold for three weeks says little; that nobody has
    sold the product says much."""
    draw = np.random.default_rng(3)
    items = products * stores
    product = np.repeat(np.arange(products), stores)
    out_of_fashion = draw.integers(40, 3 * DAYS, products)[product]
    wanted = np.arange(DAYS) < out_of_fashion[:, None]
    units = (draw.random((items, DAYS)) < 0.05) & wanted
    plans = np.zeros((items, DAYS + 7), dtype=np.float32)
    return Panel(
        first_day=number_of(date(2026, 1, 5)),
        units=units.astype(np.float32),
        in_stock=np.ones((items, DAYS), dtype=np.float32),
        promotion=plans,
        price=plans + 1,
        store=np.tile(np.arange(stores), products),
        product=product,
        category=product % 6,
    )


@pytest.fixture(scope="module")
def history() -> History:
    return History(fading_panel())


def row(**features: float) -> np.ndarray:
    values = np.zeros((1, len(NAMES)), dtype=np.float32)
    for name, value in features.items():
        values[0, NAMES.index(name)] = value
    return values


@pytest.mark.parametrize(
    ("listed_days", "in_stock"), [(10.0, 1.0), (90.0, 1.0), (150.0, 1.0), (90.0, 0.2)]
)
def test_the_rule_is_a_negative_binomials_chance_of_none(
    listed_days: float, in_stock: float
) -> None:
    """Gamma-distributed rates make counts negative binomial (scipy's)."""
    units_a_day, units_a_sale = 0.06, 2.0
    seen = min(listed_days, 90) * in_stock + 14
    found = slow_movers.rule(
        row(
            item_rate_90=np.log(units_a_day),
            item_size=np.log(units_a_sale),
            days_listed=listed_days,
            item_in_stock_30=in_stock,
        )
    )
    sales = units_a_day / units_a_sale * seen
    expected = nbinom.pmf(0, sales, seen / (seen + UNSOLD_DAYS))
    assert found == pytest.approx(expected, rel=1e-4)


def test_trees_beat_the_rule_where_others_know_more(history: History) -> None:
    found = slow_movers.judged(history, RECIPE, before=None)
    assert found.is_better
    assert found.trees.log_loss < 0.9 * found.rule.log_loss
    assert found.trees.mean_chance == pytest.approx(found.trees.share_unsold, abs=0.05)
    held = slow_movers.cases(history, [DAYS - UNSOLD_DAYS])
    assert sum(band.cases for band in found.calibration) == len(held.unsold)
    assert all(band.low <= band.mean_chance <= band.high for band in found.calibration)


def test_a_version_in_service_must_be_beaten_too(history: History) -> None:
    """The same trees grown on the very weeks that are judged."""
    seen_all = slow_movers.grown(history, [DAYS - UNSOLD_DAYS], replace(RECIPE, rounds=300))
    found = slow_movers.judged(history, RECIPE, before=seen_all)
    assert found.before is not None
    assert found.before.log_loss < found.trees.log_loss < found.rule.log_loss
    assert not found.is_better


def test_a_saved_model_says_the_same(history: History) -> None:
    model = slow_movers.grown(history, slow_movers.origins(DAYS), RECIPE)
    values = slow_movers.features(history, DAYS)
    chance = model.chance(values)
    assert SlowMovers.loaded(model.saved()).chance(values).tolist() == chance.tolist()
    assert ((chance > 0) & (chance < 1)).all()
    assert abs(sum(model.gains().values()) - 1) < 1e-6


def test_an_empty_shelf_says_nothing_and_a_sale_says_all(history: History) -> None:
    origin = DAYS - UNSOLD_DAYS
    units, in_stock = history.panel.units.copy(), history.panel.in_stock.copy()
    units[:4, origin:] = 0
    units[:4, 0] = 1
    in_stock[0, origin - 1 :] = 0  # empty the day before
    in_stock[1, origin + 3 :] = 0  # emptied, though nothing was sold: by a count
    units[2, origin + 2] = 1  # sold out
    in_stock[2, origin + 3 :] = 0
    units[4:] = 0  # never sold
    panel = replace(history.panel, units=units, in_stock=in_stock)
    found = slow_movers.cases(History(panel), [origin])
    assert found.unsold.tolist() == [False, True]


def test_no_more_cases_than_allowed(history: History) -> None:
    origins = slow_movers.origins(DAYS)
    every = slow_movers.cases(history, origins)
    some = slow_movers.cases(history, origins, most=1_000)
    assert len(every.unsold) > 9_000
    assert 900 < len(some.unsold) < 1_100
    assert some.unsold.mean() == pytest.approx(every.unsold.mean(), abs=0.05)


def test_mornings_to_learn_from_are_over_and_have_a_past() -> None:
    found = slow_movers.origins(DAYS)
    assert found[-1] == DAYS - UNSOLD_DAYS
    assert found[0] >= UNSOLD_DAYS
    assert set(np.diff(found)) == {7}
    assert slow_movers.origins(UNSOLD_DAYS) == []


def test_too_little_to_learn_from_is_told(history: History) -> None:
    nothing = History(replace(history.panel, units=np.zeros_like(history.panel.units)))
    with pytest.raises(ConfigError, match="nothing to learn from"):
        slow_movers.judged(nothing, RECIPE, before=None)


def test_scores_are_those_of_the_textbook() -> None:
    found = slow_movers.scores(np.array([0.9, 0.2]), np.array([True, False]))
    assert found.brier == pytest.approx((0.01 + 0.04) / 2)
    assert found.log_loss == pytest.approx(-(np.log(0.9) + np.log(0.8)) / 2)
    assert found.share_unsold == 0.5
    assert found.mean_chance == pytest.approx(0.55)
    sure_and_wrong = slow_movers.scores(np.array([1.0]), np.array([False]))
    assert np.isfinite(sure_and_wrong.log_loss)

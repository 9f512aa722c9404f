"""Trees and spread together, on sales with a rule that can be found."""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from tillstream.errors import ConfigError
from tillstream.ml.boosting import Recipe, Trees, examples
from tillstream.ml.calendar import number_of
from tillstream.ml.contest import judged
from tillstream.ml.demand_model import DemandModel, Growing, predict, train
from tillstream.ml.features import HORIZON_DAYS, History
from tillstream.ml.panel import Panel

DAYS = 126
RECIPE = Recipe(rounds=40, depth=3, share_of_zeros=0.5, threads=1)


def promoted_panel(*, items: int = 60, days: int = DAYS) -> Panel:
    """Demand of 1 unit a day, 4 under a promotion; item 0 is sold out for the last two months."""
    draw = np.random.default_rng(11)
    promotion = (draw.random((items, days + HORIZON_DAYS)) < 0.15).astype(np.float32)
    units = draw.poisson(1 + 3 * promotion[:, :days]).astype(np.float32)
    in_stock = np.ones((items, days), dtype=np.float32)
    in_stock[0, -60:] = 0
    units[0, -60:] = 0
    return Panel(
        first_day=number_of(date(2026, 1, 5)),
        units=units,
        in_stock=in_stock,
        promotion=promotion,
        price=np.ones_like(promotion),
        store=np.arange(items) % 4,
        product=np.arange(items) // 4,
        category=np.arange(items) // 20,
    )


@pytest.fixture(scope="module")
def history() -> History:
    return History(promoted_panel())


@pytest.fixture(scope="module")
def growing(history: History) -> Growing:
    return Growing.on_all(history, RECIPE)


@pytest.fixture(scope="module")
def model(growing: Growing) -> DemandModel:
    return train(growing)


def test_what_a_promotion_does_is_learned(history: History, model: DemandModel) -> None:
    found = predict(model, history, DAYS, threads=1)
    promoted = history.panel.promotion[:, DAYS:] > 0
    assert found.mean[promoted].mean() == pytest.approx(4.0, rel=0.15)
    assert found.mean[~promoted].mean() == pytest.approx(1.0, rel=0.2)
    assert found.week_mean == pytest.approx(found.mean.sum(axis=1))
    assert (found.variance > found.mean).all()


def test_days_without_stock_do_not_teach_that_nothing_sells(
    history: History, model: DemandModel
) -> None:
    found = predict(model, history, DAYS, threads=1)
    calm = history.panel.promotion[0, DAYS:] == 0
    assert found.mean[0][calm].mean() == pytest.approx(1.0, rel=0.35)
    rows = examples(history, [DAYS - 7], RECIPE)
    all_days = (history.panel.items - 1) * HORIZON_DAYS
    assert len(rows) <= all_days


def test_sampled_zeros_keep_the_sum(history: History) -> None:
    every = examples(history, [60, 67], Recipe(share_of_zeros=1.0))
    some = examples(history, [60, 67], Recipe(share_of_zeros=0.3))
    assert len(some) < len(every)
    assert some.weight.sum() == pytest.approx(every.weight.sum(), rel=0.1)
    assert (some.units * some.weight).sum() == (every.units * every.weight).sum()


def test_too_many_examples_are_thinned_and_count_for_more(history: History) -> None:
    every = examples(history, [60, 67], Recipe())
    some = examples(history, [60, 67], Recipe(most_examples=300))
    assert len(some) == pytest.approx(300, rel=0.15)
    assert some.weight.sum() == pytest.approx(every.weight.sum(), rel=0.15)


def test_training_again_gives_the_same_and_saving_keeps_it(
    history: History, model: DemandModel
) -> None:
    again = train(Growing.on_all(history, RECIPE))
    rows = history.before(DAYS)
    assert np.array_equal(again.trees.mean(rows), model.trees.mean(rows))
    loaded = Trees.loaded(model.trees.saved())
    assert np.array_equal(loaded.mean(rows), model.trees.mean(rows))


def test_trees_know_what_was_over_and_nothing_later(history: History, growing: Growing) -> None:
    """The same trees as of a history that ends there."""
    early = growing.by(DAYS - 28)
    assert growing.by(DAYS - 28) is early
    later = replace(history.panel, units=history.panel.units.copy())
    later.units[:, DAYS - 28 :] = 50
    same = Growing.on_all(History(later), RECIPE).by(DAYS - 28)
    rows = history.before(DAYS - 28)
    assert np.array_equal(early.mean(rows), same.mean(rows))
    assert not np.array_equal(early.mean(rows), growing.by(DAYS).mean(rows))


def test_a_model_that_knows_less_does_not_win(
    history: History, growing: Growing, model: DemandModel
) -> None:
    stump = Recipe(rounds=1, depth=1, learning_rate=0.01, threads=1)
    knows_little = Growing.on_all(history, stump)
    worse = judged(knows_little, train(knows_little), rival=model, unseen_weeks=2)
    assert worse.before is not None
    assert worse.pinball > worse.before["pinball"]
    assert worse.weeks == 2
    alone = judged(growing, model, rival=None, unseen_weeks=4)
    assert alone.before is None


def test_a_short_history_is_told() -> None:
    with pytest.raises(ConfigError, match="40 days of sales are too few"):
        Growing.on_all(History(promoted_panel(days=40)), RECIPE)

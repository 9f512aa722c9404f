"""Demand days by brute force, hour by hour."""

from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tillstream.demand.belief import Floats
from tillstream.demand.rhythm import Milliseconds, Rhythm
from tillstream.errors import ConfigError

HOUR = 3_600_000
DAY = 24 * HOUR


def at(year: int, month: int, day: int, hour: int = 0, minute: int = 0) -> Milliseconds:
    moment = datetime(year, month, day, hour, minute, tzinfo=UTC)
    return np.array([int(moment.timestamp() * 1000)])


def uneven() -> Floats:
    weights = np.random.default_rng(2).gamma(2.0, 1.0, (7, 24))
    weights[6] = 0.0
    weights[:, :6] = 0.0
    scaled: Floats = weights * (7.0 / weights.sum())
    return scaled


def test_open_hours_of_a_monday_count_and_a_closed_sunday_does_not() -> None:
    weights = np.zeros((7, 24))
    weights[:6, 8:20] = 7.0 / 72.0
    rhythm = Rhythm(weights)
    monday = at(2024, 1, 1)  # a Monday
    assert rhythm.days_between(monday, monday + 8 * HOUR, 0)[0] == 0.0
    assert rhythm.days_between(monday, monday + 14 * HOUR, 0)[0] == pytest.approx(7 / 12)
    assert rhythm.days_between(monday, monday + 14 * HOUR + HOUR // 4, 0)[0] == pytest.approx(
        7 / 12 * (6.25 / 6)
    )
    sunday = at(2024, 1, 7)
    assert rhythm.days_between(sunday, sunday + DAY, 0)[0] == pytest.approx(0.0, abs=1e-12)


def test_local_time_is_what_counts() -> None:
    weights = np.zeros((7, 24))
    weights[0, 0] = 7.0  # all demand comes on Mondays, in the first hour
    midnight_in_tokyo = at(2023, 12, 31, 15)
    passed = Rhythm(weights).days_between(
        midnight_in_tokyo, midnight_in_tokyo + HOUR, np.array([9 * HOUR, 0])
    )
    assert passed.tolist() == [7.0, 0.0]


@given(st.integers(0, 60 * DAY), st.integers(0, 20 * DAY), st.integers(-12, 14))
def test_days_are_the_sum_of_their_minutes(start: int, length: int, zone: int) -> None:
    weights = uneven()
    edges = np.unique([start, start + length, *range(start - start % HOUR, start + length, HOUR)])
    edges = edges[edges >= start]
    total = 0.0
    for low, high in pairwise(edges):
        hours = int(low) // HOUR + zone + 72  # the epoch was a Thursday
        total += weights[hours // 24 % 7, hours % 24] * (int(high) - int(low)) / HOUR
    found = Rhythm(weights).days_between(np.array([start]), np.array([start + length]), zone * HOUR)
    assert found[0] == pytest.approx(total, abs=1e-9)


def test_years_are_exact_and_backwards_is_negative() -> None:
    rhythm = Rhythm(uneven())
    start = at(2001, 2, 3, 4, 5)
    assert rhythm.days_between(start, start + 520 * 7 * DAY, 0)[0] == pytest.approx(3640.0)
    there = rhythm.days_between(start, start + 31 * HOUR, 0)
    assert rhythm.days_between(start + 31 * HOUR, start, 0) == pytest.approx(-there)


def test_flat_rhythm_is_the_clock() -> None:
    found = Rhythm.flat().days_between(at(2024, 2, 28), at(2024, 3, 1, 6), 0)
    assert found[0] == pytest.approx(2.25)


def test_fitted_rhythm_follows_many_sales_and_smooths_few() -> None:
    weights = uneven()
    fitted = Rhythm.fitted(weights * 1e6).weights
    assert fitted == pytest.approx(weights, abs=2e-3)
    few = np.zeros((7, 24))
    few[0, 10], few[1, 11] = 1.0, 1.0
    few_weights = Rhythm.fitted(few).weights
    assert few_weights.sum() == pytest.approx(7.0)
    # As independent, each of the four hours would hold a quarter of the week.
    assert few_weights[0, 10] == pytest.approx(7 / 4, abs=0.1)
    assert few_weights[0, 11] == pytest.approx(7 / 4, abs=0.1)
    assert few_weights[2].sum() == 0.0
    assert Rhythm.fitted(np.zeros((7, 24))).weights[3, 3] == pytest.approx(1 / 24)


@pytest.mark.parametrize(
    "weights", [np.ones((24, 7)), np.full((7, 24), 1.0), np.eye(7, 24) - 0.1 * np.eye(7, 24, 1)]
)
def test_what_is_no_rhythm_is_refused(weights: Floats) -> None:
    with pytest.raises(ConfigError) as caught:
        Rhythm(weights)
    assert caught.value.hint

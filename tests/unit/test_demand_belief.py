"""Beliefs and phantom stock: by hand and against simulation."""

import numpy as np
import pytest
from scipy import stats

from tillstream.demand.belief import Belief, updated
from tillstream.demand.phantom import phantom_probability


def belief(a: float, b: float, dispersion: float = 1.0) -> Belief:
    return Belief(np.array([a]), np.array([b]), np.array([dispersion]))


def test_evidence_is_divided_by_its_clumps() -> None:
    prior = Belief(np.full(3, 14.0), np.full(3, 7.0), np.array([1.0, 3.0, 0.5]))
    known = updated(prior, units=np.array([30.0, 30.0, -5.0]), exposure=np.full(3, 10.0))
    assert known.a.tolist() == [44.0, 24.0, 14.0]
    assert known.b.tolist() == [17.0, pytest.approx(7 + 10 / 3), 17.0]
    assert known.dispersion.tolist() == [1.0, 3.0, 1.0]


def test_silence_raises_the_suspicion_as_the_gamma_says() -> None:
    found = phantom_probability(belief(2.0, 10.0), exposure=np.array([20.0]), prior=0.1)
    assert found[0] == pytest.approx(0.1 / (0.1 + 0.9 / 9))
    known_rate = phantom_probability(belief(2e9, 1e10), exposure=np.array([20.0]), prior=0.1)
    assert known_rate[0] == pytest.approx(0.1 / (0.1 + 0.9 * np.exp(-4.0)))
    assert phantom_probability(belief(2.0, 10.0), exposure=np.zeros(1), prior=0.1)[0] == 0.1


def test_silence_of_an_item_that_sells_in_clumps_says_less() -> None:
    dispersion, days = 3.0, 20.0
    mean = np.random.default_rng(3).gamma(2.0, 1 / 10.0, 200_000) * days
    silent = np.mean(stats.nbinom.pmf(0, mean / (dispersion - 1), 1 / dispersion))
    found = phantom_probability(belief(2.0, 10.0, 3.0), exposure=np.array([days]), prior=0.1)
    assert found[0] == pytest.approx(0.1 / (0.1 + 0.9 * silent), abs=0.002)


@pytest.mark.parametrize("prior", [0.0, 1.0])
def test_certainty_stays(prior: float) -> None:
    assert phantom_probability(belief(9.0, 1.0), exposure=np.array([1e9]), prior=prior)[0] == prior

"""The bench of scoring scores what it says, whatever its rounds and threads."""

import pytest

from tillstream.bench import scoring
from tillstream.bench.scoring import made_up_chain, made_up_shelves, measure_scoring
from tillstream.learning.shelves import look_ahead


def test_every_shelf_is_scored_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "_CHUNK", 100)
    shares: list[float] = []
    run = measure_scoring(items=250, threads=2, on_share=shares.append)
    chain = made_up_chain()
    risks = [
        look_ahead(made_up_shelves(size, seed=seed), chain).risk.sum()
        for seed, size in enumerate((100, 100, 50))
    ]
    assert run.mean_risk == pytest.approx(sum(risks) / 250)
    assert shares == [pytest.approx(0.8), 1.0]
    assert run.busy_s > 0
    assert run.items_per_s == pytest.approx(250 / run.wall_s)

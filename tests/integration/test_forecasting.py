"""Features, training, prediction and drift over a made-up past in a real warehouse."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from clickhouse.client import Client, connect
from clickhouse.queries import select
from lake.client import connect as connect_lake
from lake.models import DEMAND_FORECAST, SLOW_MOVERS, Registry
from orchestration import demand_panel, forecasting, model_steps, night, slow_movers
from orchestration.model_steps import KNOWN_DAYS
from tests.fixtures.nights import rollup_hashes
from tests.fixtures.past import write_past
from tests.fixtures.warehouse import WarehouseProcess, environment_of, own_database
from tillstream.cli.main import app
from tillstream.errors import ConfigError
from tillstream.ml.boosting import Recipe
from tillstream.ml.calendar import number_of
from tillstream.settings import LakeSettings, Settings, load_settings

pytestmark = pytest.mark.integration

DAYS = 98
LAST = date(2026, 3, 8)  # the tenth begins in the west before the ninth has ended there
WEEK_AGO = LAST - timedelta(days=7)
RECIPE = Recipe(rounds=30, depth=4, threads=1)


@dataclass(frozen=True, slots=True)
class Past:
    settings: Settings
    client: Client


@pytest.fixture(scope="module")
def past(
    warehouse_server: WarehouseProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Past]:
    """Fourteen weeks of four stores."""
    home = tmp_path_factory.mktemp("nights")
    lake = connect_lake(LakeSettings(), url=(home / "raw").as_uri())
    with own_database(warehouse_server, "nights") as own, closing(connect(own)) as client:
        write_past(client, lake, days=DAYS, stores=4, products=80, rate=1.0, seed=7)
        yield Past(load_settings(home=home, warehouse=own), client)


@pytest.fixture(scope="module")
def trained(past: Past) -> forecasting.Trained:
    return forecasting.train(past.settings, WEEK_AGO, recipe=RECIPE)


def rows(past: Past, table: str) -> list[dict[str, object]]:
    keys = "store_id, product_id, as_of" + (", date_key" if table == "forecasts" else "")
    return list(
        select(
            past.client, f"SELECT * EXCEPT (made_at) FROM {table} FINAL ORDER BY {keys}"
        ).to_pylist()
    )


def test_the_panel_holds_what_was_sold_and_when_it_could_be(past: Past) -> None:
    sales = demand_panel.read(past.client, last_day=LAST, days=60)
    sold = select(
        past.client,
        "SELECT toFloat64(sum(quantity)) AS units, uniq(store_id, product_id) AS shelves"
        " FROM fact_sales WHERE date_key > {first:Date} AND date_key <= {last:Date}",
        parameters={"first": str(LAST - timedelta(days=60)), "last": str(LAST)},
    ).to_pylist()[0]
    assert sales.panel.units.sum() == pytest.approx(sold["units"], rel=0.01)
    assert sales.panel.items >= sold["shelves"]
    assert sales.panel.first_day == number_of(LAST) - 59
    empty = sales.panel.in_stock < 0.02
    assert 0.001 < empty.mean() < 0.3
    assert sales.panel.units[empty].mean() < 0.3 * sales.panel.units[~empty].mean()
    assert 0 < sales.panel.promotion.mean() < 0.2
    assert sales.panel.price[sales.panel.promotion == 1].max() < 1


def test_the_first_model_goes_into_service(past: Past, trained: forecasting.Trained) -> None:
    assert trained.promoted
    assert trained.is_new
    assert trained.pinball_before is None
    metrics = select(
        past.client, "SELECT metric, value FROM model_metrics FINAL WHERE kind = 'backtest'"
    )
    found = dict(zip(metrics["metric"].to_pylist(), metrics["value"].to_pylist(), strict=True))
    assert found["pinball"] == trained.pinball
    assert 0.85 < found["coverage_95"] <= 1


def test_training_a_day_again_makes_no_second_version(
    past: Past, trained: forecasting.Trained
) -> None:
    again = forecasting.train(past.settings, WEEK_AGO, recipe=RECIPE)
    assert again == replace(trained, is_new=False)


def test_a_model_that_is_worse_is_kept_but_does_not_serve(
    past: Past, trained: forecasting.Trained
) -> None:
    # Steps so large that trees overshoot.
    bad = Recipe(rounds=3, depth=8, learning_rate=3.0, threads=1)
    worse = forecasting.train(past.settings, LAST, recipe=bad)
    assert not worse.promoted
    assert worse.pinball_before is not None
    assert worse.pinball > worse.pinball_before
    lake = connect_lake(past.settings.lake, url=past.settings.lake_url)
    registry = Registry(lake, DEMAND_FORECAST)
    assert registry.current() == trained.version
    assert registry.versions() == [trained.version, worse.version]


def test_forecasts_come_close_and_a_second_run_changes_nothing(
    past: Past, trained: forecasting.Trained
) -> None:
    shelves = forecasting.build_features(past.settings, WEEK_AGO)
    assert forecasting.predict(past.settings, WEEK_AGO) == shelves
    before = {name: rows(past, name) for name in TABLES}
    assert [len(before[name]) for name in TABLES] == [7 * shelves, shelves, shelves]
    forecasting.build_features(past.settings, WEEK_AGO)
    forecasting.predict(past.settings, WEEK_AGO)
    assert {name: rows(past, name) for name in TABLES} == before
    first = before["forecasts"][0]
    assert first["date_key"] == WEEK_AGO + timedelta(days=1)
    quantiles = np.array([row["quantiles"] for row in before["forecasts"]])
    assert quantiles.shape == (7 * shelves, 9)
    assert (np.diff(quantiles, axis=1) >= 0).all()


def test_a_large_chain_is_forecast_in_groups_of_stores(
    past: Past, trained: forecasting.Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelves = forecasting.build_features(past.settings, WEEK_AGO)
    forecasting.predict(past.settings, WEEK_AGO)
    whole = rows(past, "forecast_weeks")
    cells = KNOWN_DAYS * 2 * shelves // 3
    monkeypatch.setattr(model_steps, "MOST_CELLS", cells)
    groups = model_steps.known_groups(past.client, WEEK_AGO)
    assert [len(group.stores) for group in groups] == [2, 2]
    assert forecasting.build_features(past.settings, WEEK_AGO) == shelves
    assert forecasting.predict(past.settings, WEEK_AGO) == shelves
    parted = rows(past, "forecast_weeks")
    assert [(row["store_id"], row["product_id"]) for row in parted] == [
        (row["store_id"], row["product_id"]) for row in whole
    ]
    means = [np.array([row["mean"] for row in found], dtype=float) for found in (whole, parted)]
    # What the other group's stores sell is not known to it.
    assert 0 < abs(means[0] - means[1]).mean() < 0.1 * means[0].mean()


def test_how_forecasts_turned_out_is_told(past: Past, trained: forecasting.Trained) -> None:
    forecasting.predict(past.settings, WEEK_AGO)
    found = forecasting.watch_drift(past.settings, LAST)
    assert 0 < found["wape"] < 1
    assert abs(found["bias"]) < 0.3
    assert 0.85 < found["inside_95"] <= 1
    assert 0 <= found["psi_item_rate_30"] < 0.25


def test_slow_shelves_and_surprising_days_are_named(
    past: Past, trained: forecasting.Trained
) -> None:
    forecasting.build_features(past.settings, WEEK_AGO)
    forecasting.predict(past.settings, WEEK_AGO)
    cover = select(
        past.client,
        "SELECT class, min(weeks_of_cover) AS least, max(weeks_of_cover) AS most, count() AS n"
        " FROM slow_movers GROUP BY class",
    ).to_pylist()
    by_class = {row["class"]: row for row in cover}
    assert by_class["moving"]["n"] > 100
    assert by_class["moving"]["most"] <= 12
    assert all(row["least"] > 12 for name, row in by_class.items() if name != "moving")
    odd = select(past.client, "SELECT units, least, most FROM forecast_surprises").to_pylist()
    assert 0 < len(odd) < 0.1 * by_class["moving"]["n"]
    assert all(not row["least"] <= row["units"] <= row["most"] for row in odd)


def test_the_live_risk_can_begin_from_the_forecast(
    past: Past, trained: forecasting.Trained
) -> None:
    """Only beliefs that know the same sales are moved, and they keep their weight."""
    shelves = [(row["store_id"], row["product_id"]) for row in rows(past, "forecast_weeks")[:2]]
    for shelf, as_of in zip(shelves, (WEEK_AGO + timedelta(days=1), WEEK_AGO), strict=True):
        past.client.command(
            "INSERT INTO demand_belief"
            " (store_id, product_id, a, b, dispersion, as_of, learned_at) VALUES"
            f" ('{shelf[0]}', '{shelf[1]}', 40, 20, 1.5, '{as_of} 00:00:00', now64(6))"
        )
    risk = past.settings.risk.model_copy(update={"forecast_priors": True})
    forecasting.predict(past.settings.model_copy(update={"risk": risk}), WEEK_AGO)
    found = select(
        past.client,
        "SELECT a, b, w.mean AS mean FROM demand_belief AS d FINAL"
        " JOIN (SELECT * FROM forecast_weeks FINAL WHERE as_of = {day:Date}) AS w"
        " ON w.store_id = d.store_id AND w.product_id = d.product_id ORDER BY d.as_of DESC",
        parameters={"day": str(WEEK_AGO)},
    ).to_pylist()
    past.client.command("TRUNCATE TABLE demand_belief")
    moved, kept = found
    assert moved["a"] == pytest.approx(20 * moved["mean"] / 7, rel=1e-5)
    assert (moved["b"], kept["a"], kept["b"]) == (20, 40, 20)


def test_thirty_nights_are_backfilled_and_any_of_them_again(past: Past) -> None:
    days = [LAST - timedelta(days=ago) for ago in range(29, -1, -1)]
    span = ("--from", str(days[0]), "--to", str(days[-1]))
    code, said = run(past, "night", "backfill", *span, "--no-close", "--json")
    assert code == 0, said
    once = rollup_hashes(past.client)
    sold = select(
        past.client,
        "SELECT sum(units) AS rolled, (SELECT sum(quantity) FROM fact_sales"
        " WHERE date_key >= {first:Date} AND date_key <= {last:Date}) AS sold,"
        " uniqExact(date_key) AS days FROM rollup_daily",
        parameters={"first": str(days[0]), "last": str(days[-1])},
    ).to_pylist()[0]
    assert sold["rolled"] == sold["sold"] > 1_000
    assert sold["days"] == len(days)
    for day in (days[20], days[3], days[-1]):
        night.run_night(past.settings, day, skip=("close", "learn", "report"))
    assert rollup_hashes(past.client) == once


def test_the_commands_tell_what_there_is(past: Past, trained: forecasting.Trained) -> None:
    code, said = run(past, "models", "list", "--json")
    assert code == 0, said
    assert json.loads(said)[0]["in_service"] is True
    code, said = run(past, "models", "show", "1")
    assert code == 0, said
    assert "shelves" in said
    code, said = run(past, "models", "rollback")
    assert code == 1
    assert "was in service before" in said
    code, said = run(past, "forecast", "predict", "--day", "soon")
    assert code == 1
    assert "'soon' is not a date" in said


def test_a_day_without_sales_is_told(past: Past, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing was sold from"):
        forecasting.predict(past.settings, date(2020, 1, 1))
    other = past.settings.model_copy(update={"home": tmp_path})
    with pytest.raises(ConfigError, match="no demand forecast is in service"):
        forecasting.predict(other, LAST)


def die(settings: Settings, day: date, step: str, before: str) -> None:
    env = os.environ | environment_of(settings.warehouse) | {"TILLSTREAM_HOME": str(settings.home)}
    program = [sys.executable, "-m", "tests.integration.killed_night"]
    killed = subprocess.run([*program, str(day), step, before, "1"], env=env, check=False)
    assert killed.returncode == -signal.SIGKILL


@pytest.mark.parametrize(
    "before",
    [
        "card.json",  # trees are saved, which is no version yet
        "current.json",  # a version, not in service
        "INSERT INTO model_metrics",  # in service, but nobody knows how good it is
    ],
)
def test_killed_in_training_the_next_one_ends_the_same(
    past: Past, tmp_path: Path, before: str
) -> None:
    past.client.command("TRUNCATE TABLE model_metrics")
    settings = past.settings.model_copy(update={"home": tmp_path})
    die(settings, WEEK_AGO, "forecasting.train", before)
    quick = Recipe(rounds=5, depth=3, threads=1)
    again = forecasting.train(settings, WEEK_AGO, recipe=quick)
    assert (again.version, again.promoted) == (1, True)
    registry = Registry(connect_lake(settings.lake, url=settings.lake_url), DEMAND_FORECAST)
    assert (registry.versions(), registry.current()) == ([1], 1)
    metrics = select(past.client, "SELECT value FROM model_metrics WHERE metric = 'pinball'")
    assert metrics["value"].to_pylist() == [again.pinball]


def test_who_was_rolled_back_is_not_promoted_by_the_same_training(
    past: Past, tmp_path: Path
) -> None:
    past.client.command("TRUNCATE TABLE model_metrics")
    settings = past.settings.model_copy(update={"home": tmp_path})
    quick = Recipe(rounds=5, depth=3, threads=1)
    forecasting.train(settings, WEEK_AGO - timedelta(days=7), recipe=quick)
    registry = Registry(connect_lake(settings.lake, url=settings.lake_url), DEMAND_FORECAST)
    better = forecasting.train(settings, WEEK_AGO, recipe=RECIPE)
    assert better.promoted
    assert registry.rollback() == 1
    assert not forecasting.train(settings, WEEK_AGO, recipe=RECIPE).promoted
    assert registry.current() == 1


@pytest.mark.parametrize(
    ("step", "before"),
    [
        (
            "forecasting.build_features",
            "INSERT INTO forecast_features",
        ),  # nothing is there
        ("forecasting.predict", "INSERT INTO forecast_weeks"),  # days are there, their sums are not
    ],
)
def test_killed_in_a_prediction_the_next_one_ends_the_same(
    past: Past, trained: forecasting.Trained, step: str, before: str
) -> None:
    forecasting.build_features(past.settings, WEEK_AGO)
    forecasting.predict(past.settings, WEEK_AGO)
    whole = {name: rows(past, name) for name in TABLES}
    for table in TABLES:
        past.client.command(f"TRUNCATE TABLE {table}")
    die(past.settings, WEEK_AGO, step, before)
    forecasting.build_features(past.settings, WEEK_AGO)
    forecasting.predict(past.settings, WEEK_AGO)
    assert {name: rows(past, name) for name in TABLES} == whole


SLOW_RECIPE = Recipe(rounds=5, depth=3, threads=1)


def test_slow_movers_are_scored_by_the_rule_and_then_by_a_version(
    past: Past, trained: forecasting.Trained, tmp_path: Path
) -> None:
    settings = past.settings.model_copy(update={"home": tmp_path})
    registry = Registry(connect_lake(settings.lake, url=settings.lake_url), SLOW_MOVERS)
    with pytest.raises(ConfigError, match=f"no features of {LAST}"):
        slow_movers.score(settings, LAST)
    shelves = forecasting.build_features(settings, LAST)
    assert slow_movers.score(settings, LAST) == shelves
    by_rule = scored(past)
    assert {row["model_version"] for row in by_rule} == {0}
    chances = np.array([row["unsold_28"] for row in by_rule])
    assert ((chances > 0) & (chances < 1)).all()

    found = slow_movers.train(settings, LAST, recipe=SLOW_RECIPE)
    assert found is not None and found.is_new
    assert found.promoted is (found.log_loss < found.log_loss_rule)
    code, said = run(past, "--home", str(tmp_path), "models", "list", "--model", "slow-movers")
    assert code == 0, said
    assert "the rule" in said and f"{found.log_loss_rule:.4f}" in said
    registry.promote(found.version)
    slow_movers.score(settings, LAST)
    by_version = scored(past)
    assert {row["model_version"] for row in by_version} == {1}
    assert [row["unsold_28"] for row in by_version] != [row["unsold_28"] for row in by_rule]
    slow_movers.score(settings, LAST)
    assert scored(past) == by_version
    past.client.command("TRUNCATE TABLE slow_mover_scores")


def test_slow_movers_are_trained_when_four_new_weeks_are_over(past: Past, tmp_path: Path) -> None:
    settings = past.settings.model_copy(update={"home": tmp_path})
    registry = Registry(connect_lake(settings.lake, url=settings.lake_url), SLOW_MOVERS)
    assert slow_movers.train(settings, LAST - timedelta(days=20), recipe=SLOW_RECIPE) is None
    early = slow_movers.train(settings, LAST - timedelta(days=7), recipe=SLOW_RECIPE)
    assert early is not None
    registry.promote(early.version)
    served = replace(early, is_new=False, promoted=True)
    assert slow_movers.train(settings, LAST, recipe=SLOW_RECIPE) == served
    assert registry.versions() == [early.version]
    again = ("slow-movers", "train", "--day", str(LAST))
    code, said = run(past, "--home", str(tmp_path), *again)
    assert code == 0, said
    assert "nothing new is trained" in said
    code, said = run(past, "--home", str(tmp_path), "models", "rollback", "--model", "slow-movers")
    assert code == 0, said
    assert "a plain rule stands in" in said
    assert registry.current() is None


@pytest.mark.parametrize("before", ["card.json", "INSERT INTO model_metrics"])
def test_killed_in_training_slow_movers_the_next_one_ends_the_same(
    past: Past, tmp_path: Path, before: str
) -> None:
    past.client.command("TRUNCATE TABLE model_metrics")
    settings = past.settings.model_copy(update={"home": tmp_path})
    die(settings, LAST, "slow_movers.train", before)
    again = slow_movers.train(settings, LAST, recipe=SLOW_RECIPE)
    assert again is not None
    registry = Registry(connect_lake(settings.lake, url=settings.lake_url), SLOW_MOVERS)
    assert registry.versions() == [again.version] == [1]
    metrics = select(past.client, "SELECT value FROM model_metrics WHERE metric = 'log_loss'")
    assert metrics["value"].to_pylist() == [again.log_loss]


def test_slow_movers_are_listed_with_their_chance_and_cost(
    past: Past, trained: forecasting.Trained
) -> None:
    for command in (("forecast", "predict"), ("slow-movers", "score")):
        code, said = run(past, *command, "--day", str(LAST), "--json")
        assert code == 0, said
    code, said = run(past, "slow-movers", "list", "--limit", "5", "--json")
    assert code == 0, said
    found = json.loads(said)
    assert 0 < len(found) <= 5
    assert all(row["weeks_of_cover"] > 12 and 0 < row["unsold_28"] < 1 for row in found)
    stakes = [row["tied_up"] * row["unsold_28"] for row in found]
    assert stakes == sorted(stakes, reverse=True) and stakes[0] > 0
    code, said = run(past, "slow-movers", "list", "--limit", "3")
    assert code == 0, said
    assert found[0]["store_id"] in said and "none sold" in said
    code, said = run(past, "slow-movers", "list", "--store", "nowhere")
    assert "no shelf has stock" in said
    code, said = run(past, "models", "list", "--model", "slow-movers")
    assert "tillstream slow-movers train" in said
    past.client.command("TRUNCATE TABLE slow_mover_scores")


def scored(past: Past) -> list[dict[str, object]]:
    return rows(past, "slow_mover_scores")


TABLES = ("forecasts", "forecast_weeks", "forecast_features")


def run(past: Past, *arguments: str) -> tuple[int, str]:
    environment = environment_of(past.settings.warehouse)
    result = CliRunner().invoke(
        app, ["--home", str(past.settings.home), *arguments], env=environment
    )
    return result.exit_code, result.output + str(result.exception or "")

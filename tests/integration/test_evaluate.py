"""The judge over a small chain, with everything real but its size."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from clickhouse.client import Client
from lake.client import connect as connect_lake
from simulators.world.scenario import Scenario, load_scenario
from tests.fixtures.warehouse import WarehouseProcess, own_client
from tillstream.cli.evaluate import _show, _told
from tillstream.contracts.catalogue import load_catalogue
from tillstream.errors import ConfigError
from tillstream.evaluation.judge import CENTRED, OURS, Verdict, judge
from tillstream.evaluation.rules import RULES
from tillstream.evaluation.run import (
    ORACLE,
    ORACLE_PHYSICAL,
    ORACLE_STRIKES_OPEN,
    ORACLE_WITH_ERRORS,
)
from tillstream.settings import LakeSettings

pytestmark = pytest.mark.integration

SMALL = {"stores": 6, "products": 150, "rate": 3.0, "seed": 5}


@pytest.fixture(scope="module")
def client(warehouse_server: WarehouseProcess) -> Iterator[Client]:
    with own_client(warehouse_server, "judged") as client:
        yield client


def judged(
    scenario: Scenario,
    client: Client,
    folder: Path,
    *,
    warmup_days: int = 21,
    test_days: int = 4,
    draws: int = 50,
    with_forecast: bool = False,
) -> Verdict:
    return judge(
        scenario,
        client=client,
        lake=connect_lake(LakeSettings(), url=(folder / "lake").as_uri()),
        catalogue=load_catalogue(),
        folder=folder,
        warmup_days=warmup_days,
        test_days=test_days,
        budget=5,
        draws=draws,
        with_forecast=with_forecast,
    )


@pytest.fixture(scope="module")
def verdict(client: Client, tmp_path_factory: pytest.TempPathFactory) -> Verdict:
    strike = load_scenario("supplier-strike").model_copy(update=SMALL)
    return judged(strike, client, tmp_path_factory.mktemp("truth"))


def test_everyone_is_judged_by_the_same_decisions(verdict: Verdict) -> None:
    names = [report.name for report in verdict.reports]
    assert names == [
        OURS,
        ORACLE,
        ORACLE_STRIKES_OPEN,
        ORACLE_WITH_ERRORS,
        ORACLE_PHYSICAL,
        *RULES,
    ]
    assert {report.judged for report in verdict.reports} == {verdict.decisions}
    assert verdict.decisions > 1_000
    assert verdict.reports[0].missing == 0


def test_who_knows_the_shelf_is_better_than_who_knows_the_books(verdict: Verdict) -> None:
    by_name = {report.name: report.scores for report in verdict.reports}
    assert by_name[ORACLE_PHYSICAL]["skill"].value > by_name[ORACLE]["skill"].value
    assert by_name[ORACLE]["pr_auc"].value > by_name["fixed threshold"]["pr_auc"].value


def test_our_risks_say_more_than_the_base_rate_and_than_a_threshold(verdict: Verdict) -> None:
    by_name = {report.name: report.scores for report in verdict.reports}
    assert by_name[OURS]["skill"].value > 0.1
    for rule in ("fixed threshold", "reorder point", "normal approximation"):
        assert by_name[OURS]["pr_auc"].value > by_name[rule]["pr_auc"].value


def test_a_strike_is_noticed_by_what_does_not_come(verdict: Verdict) -> None:
    """Only the oracle knows when it will end, and that is worth something."""
    assert verdict.reports[0].ratios["skill"].value > 0.8
    by_name = {report.name: report.scores for report in verdict.reports}
    assert by_name[ORACLE]["skill"].value > by_name[ORACLE_STRIKES_OPEN]["skill"].value


def test_the_table_and_the_script_s_answer_hold_the_figures(
    verdict: Verdict, capsys: pytest.CaptureFixture[str]
) -> None:
    told = json.loads(json.dumps(_told(verdict)))
    assert told["reports"][0]["scores"]["skill"]["value"] == pytest.approx(
        verdict.reports[0].scores["skill"].value
    )
    _show(verdict, 5)
    shown = capsys.readouterr().out
    assert "supplier-strike, seed 5" in shown
    assert "0% to 1%" in shown


def test_a_scenario_without_a_start_cannot_be_judged(client: Client, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no start"):
        judged(load_scenario("load-1000x500"), client, tmp_path)


def test_rates_by_the_forecast_are_judged_beside_ours(
    warehouse_server: WarehouseProcess, tmp_path: Path
) -> None:
    smaller = SMALL | {"stores": 3, "products": 60}
    quiet = load_scenario("quiet-tuesday").model_copy(update=smaller)
    with own_client(warehouse_server, "forecast_judged") as client:
        verdict = judged(
            quiet, client, tmp_path, warmup_days=63, test_days=2, draws=10, with_forecast=True
        )
    ours, centred = (verdict.said[name].risk for name in (OURS, CENTRED))
    assert ours is not None
    assert centred is not None
    assert (ours != centred).any()
    assert np.corrcoef(ours, centred)[0, 1] > 0.8


def test_a_forecast_needs_days_to_learn_from(client: Client, tmp_path: Path) -> None:
    quiet = load_scenario("quiet-tuesday").model_copy(update=SMALL)
    with pytest.raises(ConfigError, match="needs 63 days to learn from, not 42") as caught:
        judged(quiet, client, tmp_path, warmup_days=42, with_forecast=True)
    assert caught.value.hint == "add --warmup-days 63"

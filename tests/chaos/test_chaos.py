"""Short storms over the whole platform, judged by a second computation of what must be stored."""

import os
import shutil
from pathlib import Path

import pytest

from tillstream.chaos.arena import Wiring
from tillstream.chaos.faults import Action, Pair, Target
from tillstream.chaos.run import Outcome, Plan, run_seed
from tillstream.chaos.schedule import parse_pair
from tillstream.cli.audit import open_parts
from tillstream.cli.warehouse import provision_services
from tillstream.settings import load_settings

pytestmark = [pytest.mark.e2e, pytest.mark.integration]

_SEEDS = Path(__file__).with_name("seeds.txt")
_WIRING = Wiring(provision=provision_services, open_parts=open_parts)
# The other parts are killed in tests/e2e/test_recorded_week.py.
_UNSURE = (Pair(Action.KILL, Target.DRIVER), Pair(Action.LOSE_ANSWER, Target.COMMIT))
_DOUBLES = (Pair(Action.DUPLICATE, Target.PRODUCER),)


def _storm(plan: Plan) -> Outcome:
    return run_seed(load_settings(), plan, _WIRING)


def _minio() -> Path | None:
    named = os.environ.get("TILLSTREAM_MINIO") or shutil.which("minio")
    return Path(named) if named else None


def _listed() -> list[Plan]:
    plans = []
    for line in _SEEDS.read_text(encoding="utf-8").splitlines():
        numbers, _, pairs = line.partition("#")[0].partition(":")
        if numbers.strip():
            seed, minutes, rate = numbers.split()
            chosen = tuple(parse_pair(one.strip()) for one in pairs.split(","))
            plans.append(Plan(int(seed), float(minutes), float(rate), pairs=chosen, minio=_minio()))
    return plans


def test_a_killed_driver_and_a_lost_answer_lose_and_double_nothing() -> None:
    found = _storm(Plan(0, minutes=0.2, rate=1_000, pairs=_UNSURE))
    assert found.findings == []
    assert found.covered == sorted(_UNSURE)
    assert {verdict.table for verdict in found.tables} == {
        *("fact_sales", "fact_inventory", "duplicates", "quarantine"),
        *("velocity_5m", "current_stock", "lake"),
    }
    assert all(verdict.digest_expected == verdict.digest_stored for verdict in found.tables)
    assert found.events["facts"] > 10_000
    assert found.events["duplicates"] > 0
    assert found.events["quarantine"] > 0


def test_a_platform_that_does_not_deduplicate_is_found_out() -> None:
    found = _storm(Plan(0, minutes=0.2, rate=1_000, pairs=_DOUBLES, deduplicate=False))
    assert not found.clean
    assert any("verify identities" in finding for finding in found.findings), found.findings
    wrong = {verdict.table: verdict for verdict in found.tables if not verdict.clean}
    assert wrong["fact_sales"].unexpected > 0
    assert wrong["duplicates"].missing > 0
    assert "lake" not in wrong


@pytest.mark.parametrize("plan", _listed(), ids=lambda plan: f"seed-{plan.seed}")
@pytest.mark.timeout(1800)
def test_a_schedule_that_once_failed_does_not_fail_again(plan: Plan) -> None:
    assert _storm(plan).findings == []

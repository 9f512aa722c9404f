"""The nightly DAGs in a real Airflow, on the running platform's broker, warehouse and lake."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from functools import partial
from pathlib import Path

import httpx
import pytest

from clickhouse.client import connect
from clickhouse.queries import select
from lake.client import connect as connect_lake
from lake.coverage import archived
from lake.models import DEMAND_FORECAST, Registry
from orchestration.close import close_day
from orchestration.night import perform, step_named
from tests.fixtures.nights import DAYS, rollup_hashes, table_hash
from tests.fixtures.past import write_past
from tests.fixtures.platform import wait_for
from tillstream.cli.audit import open_parts
from tillstream.cli.warehouse import provision_services
from tillstream.clock import FakeClock, SystemClock
from tillstream.devstack import airflow
from tillstream.devstack.stack import SERVING, Stack
from tillstream.settings import Settings, load_settings

pytestmark = pytest.mark.e2e

NIGHTLY = ("daily_etl_pipeline", "lake_maintenance", "governance")
LEARNING = ("feature_engineering", "model_training", "batch_predictions")
LEARNED = (
    *("forecast_features", "model_metrics"),
    *("forecasts", "forecast_weeks", "slow_mover_scores"),
)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Kafka, warehouse and lake with ten past weeks, as many as a model needs; no stream is needed
    to roll up a past."""
    defaults = load_settings(home=tmp_path_factory.mktemp("airflow"))
    started = Stack(defaults)
    try:
        settings = started.up(parts=SERVING, provision=provision_services)
        lake = connect_lake(settings.lake, url=settings.lake_url)
        with closing(connect(settings.warehouse)) as client:
            write_past(client, lake, days=70, stores=4, products=80, rate=2.0)
        yield settings
    finally:
        airflow.down(defaults)
        started.down()


def commands(settings: Settings, *arguments: list[str]) -> str:
    """Run `airflow` commands one after another in one process; what they printed."""
    env = airflow.environment(settings, port=9, paused=True)
    done = subprocess.run(
        [sys.executable, "-m", "tests.integration.airflow_program", json.dumps(arguments)],
        env=env,
        cwd=Path(__file__).parents[2],
        text=True,
        capture_output=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


def dag_test(dag_id: str, day: object) -> list[str]:
    return ["dags", "test", dag_id, "--conf", json.dumps({"date": str(day)})]


PREPARE = ["db", "migrate"], ["pools", "set", airflow.POOL, "1", "nights"]


def test_every_dag_runs_and_twice_in_any_order_the_tables_are_identical(stack: Settings) -> None:
    first = [dag_test(dag_id, DAYS[0]) for dag_id in NIGHTLY]
    commands(stack, *PREPARE, *first, dag_test("daily_etl_pipeline", DAYS[1]))
    with closing(connect(stack.warehouse)) as client:
        once = rollup_hashes(client)
        assert once["rollup_daily"][0] > 400
    lake = connect_lake(stack.lake, url=stack.lake_url)
    objects = archived(lake)[0]
    commands(
        stack,
        dag_test("lake_maintenance", DAYS[1]),
        dag_test("daily_etl_pipeline", DAYS[1]),
        dag_test("governance", DAYS[1]),
        dag_test("daily_etl_pipeline", DAYS[0]),
    )
    with closing(connect(stack.warehouse)) as client:
        assert rollup_hashes(client) == once
        states = select(client, "SELECT DISTINCT toString(state) AS s FROM night_steps")
        assert set(states["s"].to_pylist()) == {"running", "done"}
    assert archived(lake)[0] == objects
    assert (stack.home / "reports" / DAYS[1].isoformat() / "chain.html").stat().st_size > 1000


def test_nights_of_a_backfill_share_a_verification_for_a_quarter_of_an_hour(
    stack: Settings,
) -> None:
    close = partial(perform, stack, DAYS[0], run_id="backfill")
    assert "records verified, nothing missing" in close(step_named("close"))
    assert "not again so soon" in close(step_named("close", in_backfill=True))
    assert "records verified, nothing missing" in close(step_named("close"))
    with closing(connect(stack.warehouse)) as client:
        failed = ["failed", DAYS[1], "close", "failed", 1.0, "something is missing", ""]
        columns = ["run_id", "date_key", "step", "state", "seconds", "detail", "hint"]
        client.insert("night_steps", [failed], column_names=columns)
    assert "records verified, nothing missing" in close(step_named("close", in_backfill=True))
    assert "not again so soon" in close(step_named("close", in_backfill=True))
    later = FakeClock(SystemClock().now_ms() + 16 * 60_000)
    with open_parts(stack) as parts:
        told = close_day(parts, DAYS[0], clock=later, trust=timedelta(minutes=15))
    assert "records verified, nothing missing" in told


def test_the_learning_dags_run_and_twice_the_tables_are_identical(stack: Settings) -> None:
    def learned() -> dict[str, tuple[int, str]]:
        with closing(connect(stack.warehouse)) as client:
            return {table: table_hash(client, table) for table in LEARNED}

    asked = [dag_test(dag_id, DAYS[1]) for dag_id in LEARNING]
    commands(stack, *PREPARE, *asked)
    once = learned()
    assert once["forecasts"][0] == 7 * once["forecast_weeks"][0] > 7 * 200
    assert once["model_metrics"][0] > 0
    assert once["slow_mover_scores"][0] == once["forecast_weeks"][0]
    commands(stack, *reversed(asked))
    assert learned() == once
    registry = Registry(connect_lake(stack.lake, url=stack.lake_url), DEMAND_FORECAST)
    assert (registry.versions(), registry.current()) == ([1], 1)


def test_the_scheduler_runs_a_night_in_standalone(stack: Settings) -> None:
    found = airflow.up(stack, paused=True)
    with httpx.Client(base_url=found.url, timeout=30, trust_env=False) as http:
        sign_in = {"username": found.user, "password": found.password}
        token = http.post("/auth/token", json=sign_in).json()["access_token"]
        http.headers["Authorization"] = f"Bearer {token}"
        dags = "/api/v2/dags"

        def known() -> set[str]:
            listed = http.get(dags).json().get("dags", [])
            return {one["dag_id"] for one in listed if not one["has_import_errors"]}

        wait_for(lambda: known() == {*NIGHTLY, *LEARNING}, timeout_s=180, what="six DAGs")
        dag = f"{dags}/daily_etl_pipeline"
        http.patch(dag, params={"update_mask": "is_paused"}, json={"is_paused": False})
        asked = {"logical_date": None, "conf": {"date": str(DAYS[2])}}
        run = http.post(f"{dag}/dagRuns", json=asked).json()["dag_run_id"]

        def state() -> str:
            """Of the run asked for. The scheduled one, of a day without data, must not go first."""
            runs = {
                one["dag_run_id"]: one["state"]
                for one in http.get(f"{dag}/dagRuns").json()["dag_runs"]
            }
            for other in runs.keys() - {run}:
                if runs[other] in ("queued", "running"):
                    http.patch(f"{dag}/dagRuns/{other}", json={"state": "failed"})
            return str(runs[run])

        wait_for(lambda: state() in ("success", "failed"), timeout_s=400, what="the night")
        assert state() == "success"
    with closing(connect(stack.warehouse)) as client:
        loaded = select(
            client, "SELECT run_id FROM night_loads FINAL WHERE date_key = '2026-03-08'"
        )
        assert loaded["run_id"].to_pylist() == [run]
    assert airflow.status(stack).running
    airflow.down(stack)
    assert not airflow.status(stack).running

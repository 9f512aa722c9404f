"""What the DAGs say of themselves, without running them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("airflow")

# Airflow is asked in a process of its own: importing it here would change logging for all tests.
_ASK = """
import json
from datetime import UTC, datetime
from airflow.dag_processing.dagbag import DagBag
from airflow.timetables.interval import CronDataIntervalTimetable
from airflow.timetables.base import TimeRestriction
bag = DagBag(dag_folder="orchestration/dags")
found = {}
for dag_id, dag in bag.dags.items():
    found[dag_id] = {
        "tasks": [
            {"id": t.task_id, "retries": t.retries, "pool": t.pool,
             "down": sorted(t.downstream_task_ids),
             "timeout_s": t.execution_timeout.total_seconds()}
            for t in dag.topological_sort()
        ],
        "catchup": dag.catchup, "active": dag.max_active_runs, "deadlines": len(dag.deadline or []),
        "timetable": type(dag.timetable).__name__, "summary": getattr(dag.timetable, "summary", ""),
    }
print("ANSWER", json.dumps({"errors": bag.import_errors, "dags": found}))
"""


@pytest.fixture(scope="module")
def answer(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:  # type: ignore[type-arg]
    env = os.environ | {
        "AIRFLOW_HOME": str(tmp_path_factory.mktemp("airflow")),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "300",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    }
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", _ASK], env=env, cwd=root, text=True, capture_output=True, check=False
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("ANSWER ")]
    assert lines, done.stderr[-3000:]
    found: dict[str, dict] = json.loads(lines[0].removeprefix("ANSWER "))  # type: ignore[type-arg]
    return found


def test_all_six_dags_load(answer: dict[str, dict]) -> None:  # type: ignore[type-arg]
    assert answer["errors"] == {}
    assert set(answer["dags"]) == {
        *("daily_etl_pipeline", "feature_engineering", "model_training", "batch_predictions"),
        *("lake_maintenance", "governance"),
    }


def test_every_task_is_tried_again_in_time_and_alone(answer: dict[str, dict]) -> None:  # type: ignore[type-arg]
    for dag_id, dag in answer["dags"].items():
        assert (dag["catchup"], dag["active"], dag["deadlines"]) == (False, 1, 1), dag_id
        for task in dag["tasks"]:
            assert task["retries"] >= 2, task
            assert 0 < task["timeout_s"] <= 3600, task
            assert task["pool"] == "tillstream_nights", task


def test_a_night_closes_the_day_before_it_loads_it(answer: dict[str, dict]) -> None:  # type: ignore[type-arg]
    tasks = [task["id"] for task in answer["dags"]["daily_etl_pipeline"]["tasks"]]
    assert tasks == ["close", "check", "transform", "load", "correct", "report", "learn"]
    down = {t["id"]: t["down"] for t in answer["dags"]["daily_etl_pipeline"]["tasks"]}
    assert down["transform"] == ["load"]


def test_runs_have_an_interval_or_follow_what_was_made(answer: dict[str, dict]) -> None:  # type: ignore[type-arg]
    dags = answer["dags"]
    timed = {n for n, dag in dags.items() if dag["timetable"] == "CronDataIntervalTimetable"}
    assert timed == {"daily_etl_pipeline", "model_training", "lake_maintenance", "governance"}
    assert dags["daily_etl_pipeline"]["summary"] == "0 8 * * *"

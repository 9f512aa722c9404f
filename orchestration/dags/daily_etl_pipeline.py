"""Every night: close the day, check it, roll it up, put it in service, correct earlier days."""

from airflow.sdk import DAG, chain, get_current_context, task

from orchestration.dags.arranging import (
    DEFAULTS,
    ROLLUPS,
    START,
    day_and_settings,
    deadline,
    every_night,
    run_id,
    told,
)
from orchestration.night import STEPS, perform, step_named

# Somebody may be running a night by hand: wait for that rather than fail.
_WAIT_S = 600.0


def _perform(name: str) -> None:
    day, settings = day_and_settings()
    with told():
        print(perform(settings, day, step_named(name), run_id=run_id(), wait_s=_WAIT_S))
    if name == "load":
        get_current_context()["outlet_events"][ROLLUPS].extra = {"date": day.isoformat()}


with DAG(
    "daily_etl_pipeline",
    description=__doc__,
    schedule=every_night(),
    start_date=START,
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULTS,
    deadline=deadline("daily_etl_pipeline", hours=2),
    tags=["tillstream", "night"],
):
    chain(
        *(
            task(task_id=step.name, outlets=[ROLLUPS] if step.name == "load" else [])(_perform)(
                step.name
            )
            for step in STEPS
        )
    )

"""Every night: close the day, check it, roll it up, put it in service, correct earlier days,
report, learn."""

from airflow.sdk import chain, task

from orchestration.dags.arranging import (
    ROLLUPS,
    day_and_settings,
    every_night,
    is_backfill,
    made,
    night_dag,
    run_id,
    told,
)
from orchestration.night import STEPS, perform, step_named

# Somebody may be running a night by hand: wait for that rather than fail.
_WAIT_S = 600.0


def _perform(name: str) -> None:
    day, settings = day_and_settings()
    step = step_named(name, in_backfill=is_backfill())
    with told():
        print(perform(settings, day, step, run_id=run_id(), wait_s=_WAIT_S))
    if name == "load":
        made(ROLLUPS, day)


with night_dag("daily_etl_pipeline", __doc__, every_night(), hours=2, tag="night"):
    chain(
        *(
            task(task_id=step.name, outlets=[ROLLUPS] if step.name == "load" else [])(_perform)(
                step.name
            )
            for step in STEPS
        )
    )

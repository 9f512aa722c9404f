"""Every week: train the models again; one is promoted only if it beats the current one."""

from airflow.sdk import DAG, get_current_context, task

from orchestration.dags.arranging import (
    DEFAULTS,
    MODELS,
    START,
    day_and_settings,
    deadline,
    every_night,
    forecasting,
    told,
)

with DAG(
    "model_training",
    description=__doc__,
    schedule=every_night("0 9 * * 1"),
    start_date=START,
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULTS,
    deadline=deadline("model_training", hours=4),
    tags=["tillstream", "forecast"],
):

    @task(task_id="train", outlets=[MODELS])
    def _train() -> None:
        day, settings = day_and_settings()
        with told():
            forecasting("train")(settings, day)
        get_current_context()["outlet_events"][MODELS].extra = {"date": day.isoformat()}

    _train()

"""After each night's features: what each product will sell in each store, the next 7 days."""

from airflow.sdk import DAG, get_current_context, task

from orchestration.dags.arranging import (
    DEFAULTS,
    FEATURES,
    FORECASTS,
    START,
    day_and_settings,
    deadline,
    forecasting,
    told,
)

with DAG(
    "batch_predictions",
    description=__doc__,
    schedule=[FEATURES],
    start_date=START,
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULTS,
    deadline=deadline("batch_predictions", hours=2),
    tags=["tillstream", "forecast"],
):

    @task(task_id="predict", outlets=[FORECASTS])
    def _predict() -> None:
        day, settings = day_and_settings()
        with told():
            forecasting("predict")(settings, day)
        get_current_context()["outlet_events"][FORECASTS].extra = {"date": day.isoformat()}

    _predict()

"""After each night: what the models learn from and predict with, as it was known then."""

from airflow.sdk import DAG, get_current_context, task

from orchestration.dags.arranging import (
    DEFAULTS,
    FEATURES,
    ROLLUPS,
    START,
    day_and_settings,
    deadline,
    forecasting,
    told,
)

with DAG(
    "feature_engineering",
    description=__doc__,
    schedule=[ROLLUPS],
    start_date=START,
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULTS,
    deadline=deadline("feature_engineering", hours=2),
    tags=["tillstream", "forecast"],
):

    @task(task_id="build_features", outlets=[FEATURES])
    def _build_features() -> None:
        day, settings = day_and_settings()
        with told():
            forecasting("build_features")(settings, day)
        get_current_context()["outlet_events"][FEATURES].extra = {"date": day.isoformat()}

    _build_features()

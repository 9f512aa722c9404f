"""Every night: small objects of the lake become large ones, and what is too old is forgotten."""

from airflow.sdk import DAG, chain, task

from orchestration.dags.arranging import (
    DEFAULTS,
    START,
    day_and_settings,
    deadline,
    every_night,
    told,
)
from orchestration.maintenance import compact_lake, expire_lake

with DAG(
    "lake_maintenance",
    description=__doc__,
    schedule=every_night("30 8 * * *"),
    start_date=START,
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULTS,
    deadline=deadline("lake_maintenance", hours=3),
    tags=["tillstream", "lake"],
):

    @task(task_id="compact")
    def _compact() -> None:
        day, settings = day_and_settings()
        with told():
            print(compact_lake(settings, day))

    @task(task_id="expire")
    def _expire() -> None:
        day, settings = day_and_settings()
        print(f"{expire_lake(settings, day)} objects were older than the lake keeps them")

    chain(_compact(), _expire())

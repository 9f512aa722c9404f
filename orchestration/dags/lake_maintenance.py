"""Every night: small objects of the lake become large ones, and what is too old is forgotten."""

from airflow.sdk import chain, task

from orchestration.dags.arranging import day_and_settings, every_night, night_dag, told
from orchestration.maintenance import compact_lake, expire_lake, expire_models

with night_dag("lake_maintenance", __doc__, every_night("30 8 * * *"), hours=3, tag="lake"):

    @task(task_id="compact")
    def _compact() -> None:
        day, settings = day_and_settings()
        with told():
            print(compact_lake(settings, day))

    @task(task_id="expire")
    def _expire() -> None:
        day, settings = day_and_settings()
        print(f"{expire_lake(settings, day)} objects were older than the lake keeps them")

    @task(task_id="expire_models")
    def _expire_models() -> None:
        day, settings = day_and_settings()
        with told():
            print(f"versions deleted: {expire_models(settings, day) or 'none'}")

    chain(_compact(), _expire(), _expire_models())

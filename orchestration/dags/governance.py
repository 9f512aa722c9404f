"""Every night: erase again whoever a rebuild or a late event has brought back."""

from airflow.sdk import task

from orchestration.dags.arranging import every_night, night_dag, told
from orchestration.governance import apply_erasures
from tillstream.settings import load_settings

with night_dag("governance", __doc__, every_night("0 10 * * *"), hours=3, tag="privacy"):

    @task(task_id="apply_erasures")
    def _apply_erasures() -> None:
        with told():
            for record in apply_erasures(load_settings()):
                print(record)

    _apply_erasures()

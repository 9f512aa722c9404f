"""Every night: erase again whoever a rebuild or a late event has brought back."""

from airflow.sdk import DAG, task

from orchestration.dags.arranging import DEFAULTS, START, deadline, every_night, told
from orchestration.governance import apply_erasures
from tillstream.settings import load_settings

with DAG(
    "governance",
    description=__doc__,
    schedule=every_night("0 10 * * *"),
    start_date=START,
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULTS,
    deadline=deadline("governance", hours=3),
    tags=["tillstream", "privacy"],
):

    @task(task_id="apply_erasures")
    def _apply_erasures() -> None:
        with told():
            for record in apply_erasures(load_settings()):
                print(record)

    _apply_erasures()

"""What all nightly DAGs share: how often they try, how long they may take, and which day it is.

The work is in `orchestration`, without Airflow. A DAG only says what follows what.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from importlib import import_module
from typing import Any

from airflow.sdk import DAG, Asset, chain, get_current_context, task
from airflow.sdk.definitions.callback import SyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference
from airflow.timetables.interval import CronDataIntervalTimetable

from orchestration.day import CRON, day_of_run
from tillstream.errors import TillstreamError
from tillstream.settings import Settings, load_settings

START = datetime(2026, 1, 1, tzinfo=UTC)

# One night at a time at a warehouse, whichever DAG it belongs to: `tillstream airflow up` makes
# this pool, with one slot.
POOL = "tillstream_nights"

ROLLUPS = Asset(name="rollups", uri="tillstream://warehouse/rollups")
FEATURES = Asset(name="features", uri="tillstream://lake/features")
MODELS = Asset(name="models", uri="tillstream://lake/models")
FORECASTS = Asset(name="forecasts", uri="tillstream://warehouse/forecasts")

DEFAULTS: dict[str, Any] = {
    "owner": "tillstream",
    "retries": 2,
    "retry_delay": timedelta(minutes=1),
    "retry_exponential_backoff": True,
    "execution_timeout": timedelta(minutes=45),
    "pool": POOL,
}


Schedule = CronDataIntervalTimetable | list[Asset]


def night_dag(
    dag_id: str,
    description: str | None,
    schedule: Schedule,
    *,
    hours: float,
    tag: str,
) -> DAG:
    """A DAG as all of ours are; late when not done `hours` after it was queued."""
    return DAG(
        dag_id,
        description=description,
        schedule=schedule,
        start_date=START,
        catchup=False,
        max_active_runs=1,
        default_args=DEFAULTS,
        deadline=deadline(dag_id, hours=hours),
        tags=["tillstream", tag],
    )


def models_dag(
    dag_id: str,
    description: str | None,
    schedule: Schedule,
    *,
    steps: Mapping[str, str],
    makes: Asset,
    hours: float = 2,
) -> DAG:
    """A DAG of tasks one after another, by name: functions of `orchestration`, each written as
    module.function; the last of them makes `makes`.

    A function is found when its task runs: reading a DAG must not load the models' libraries.
    """

    def performing(step: str, *, is_last: bool) -> Callable[[], None]:
        def perform() -> None:
            day, settings = day_and_settings()
            module, function = step.split(".")
            with told():
                found = getattr(import_module(f"orchestration.{module}"), function)(settings, day)
            print(f"{step} of {day}: {found}")
            if is_last:
                made(makes, day)

        return perform

    with night_dag(dag_id, description, schedule, hours=hours, tag="forecast") as dag:
        last = list(steps)[-1]
        chain(
            *(
                task(task_id=name, outlets=[makes] if name == last else [])(
                    performing(step, is_last=name == last)
                )()
                for name, step in steps.items()
            )
        )
    return dag


def every_night(cron: str = CRON) -> CronDataIntervalTimetable:
    """A run about the time since the run before. A plain cron string would give Airflow 3 an
    interval of no length, and the run no day."""
    return CronDataIntervalTimetable(cron, timezone="UTC")


def deadline(dag_id: str, *, hours: float) -> DeadlineAlert | None:
    """An alert in the warehouse when a run is not done so long after it was queued.

    None in `airflow dags test`, where nobody waits, and where Airflow 3.3.2 calls a good run a
    failure when its DAG has a deadline (apache/airflow#73428).
    """
    if sys.argv[1:3] == ["dags", "test"]:
        return None
    return DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=timedelta(hours=hours),
        callback=SyncCallback(
            "orchestration.alarm.night_is_late", kwargs={"dag_id": dag_id, "hours": hours}
        ),
        name=f"{dag_id} is late",
    )


@contextmanager
def told() -> Iterator[None]:
    """Print what the operator can do, since Airflow's log shows an error without its hint."""
    try:
        yield
    except TillstreamError as exc:
        print(f"error: {exc}")
        if exc.hint:
            print(f"try: {exc.hint}")
        raise


def day_and_settings() -> tuple[date, Settings]:
    """The day of the running task, and how to reach everything."""
    context: Mapping[str, Any] = get_current_context()
    asked = dict(context["dag_run"].conf or {})
    for events in (context.get("triggering_asset_events") or {}).values():
        for event in events:
            asked.setdefault("date", (event.extra or {}).get("date"))
    start = context.get("data_interval_start") or context.get("logical_date")
    return day_of_run(start, asked), load_settings()


def made(asset: Asset, day: date) -> None:
    """Tell the DAGs that wait for `asset` which day it is about."""
    get_current_context()["outlet_events"][asset].extra = {"date": day.isoformat()}


def is_backfill() -> bool:
    """Whether the running task belongs to one of many nights that somebody wants done again."""
    return bool(get_current_context()["dag_run"].run_type == "backfill")


def run_id() -> str:
    """One name for all steps of a run."""
    return str(get_current_context()["run_id"])

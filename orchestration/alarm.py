"""What Airflow calls when a night is not done in time."""

from contextlib import closing
from datetime import UTC, datetime
from typing import Any

from clickhouse.client import connect
from tillstream.settings import load_settings


def night_is_late(dag_id: str, hours: float, **_context: Any) -> None:
    """Open an alert of today in `night_alerts`; the load of the day resolves it."""
    message = f"{dag_id} was not done {hours:g} hours after it was queued"
    hint = "look at its log in Airflow (`tillstream airflow status`), and `tillstream night status`"
    with closing(connect(load_settings().warehouse)) as client:
        client.insert(
            "night_alerts",
            [[datetime.now(tz=UTC).date(), dag_id, "open", message, hint]],
            column_names=["date_key", "step", "state", "message", "hint"],
        )

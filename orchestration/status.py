"""What the nights have put in service, and what is wrong."""

from dataclasses import dataclass
from typing import Any

from clickhouse.client import Client
from clickhouse.queries import select
from orchestration.journal import open_alerts


@dataclass(frozen=True, slots=True)
class NightStatus:
    """`days` are the newest 60 in service, in order; `alerts` what keeps a day out of service."""

    days: list[dict[str, Any]]
    alerts: list[dict[str, Any]]


def night_status(client: Client) -> NightStatus:
    days = select(
        client,
        "SELECT l.date_key AS date_key, sale_lines, movements, units, revenue, loaded_at,"
        " toString(reason) AS reason, q.score AS score FROM night_loads AS l FINAL"
        # The day is as good as the worst of its tables.
        " LEFT JOIN (SELECT date_key, toNullable(min(score)) AS score FROM quality_scores"
        "  GROUP BY date_key) AS q ON q.date_key = l.date_key"
        " ORDER BY date_key DESC LIMIT 60",
    ).to_pylist()
    return NightStatus(days[::-1], open_alerts(client))

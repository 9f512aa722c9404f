"""Faults that a simulation made on purpose, and whether each ended where it must."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from clickhouse.client import Client
from clickhouse.queries import FACT_TABLES, LANDING_TABLES, select
from tillstream.audit.findings import LISTED, Check, Finding

COUNTED = "counted"
DUPLICATE = "duplicate"
_KEYS = "t String, p Int32, o Int64"
_PLACES = " UNION ALL ".join(
    f"SELECT '{table}' AS source, {'toString(reason)' if table == 'quarantine' else repr('')}"
    " AS reason, toString(topic_id) AS t, partition AS p, offset AS o"
    f" FROM {table} WHERE (topic_id, partition, offset) IN (SELECT t, p, o FROM keys)"
    for table in LANDING_TABLES
)


def check_manifest(client: Client, manifest: pa.Table, topic_ids: Mapping[str, str]) -> Check:
    """`manifest` has kind, expected, topic, partition, offset, identity: a message that is expected
    to be counted is in a fact table, a duplicate among the duplicates, any other in quarantine for
    the reason that is expected. `topic_ids` are those of the topics it was sent to."""
    rows = manifest.to_pylist()
    keys = pa.table(
        {
            "t": pa.array([topic_ids.get(row["topic"], "") for row in rows], pa.string()),
            "p": manifest["partition"].cast(pa.int32()),
            "o": manifest["offset"].cast(pa.int64()),
        }
    )
    stored = select(client, _PLACES, keys=(keys, _KEYS)).to_pylist() if rows else []
    found: dict[tuple[str, int, int], list[tuple[str, str]]] = {}
    for one in stored:
        place = (one["t"], one["p"], one["o"])
        found.setdefault(place, []).append((one["source"], one["reason"]))
    wrong = []
    for row in rows:
        place = (topic_ids.get(row["topic"], ""), row["partition"], row["offset"])
        where = found.get(place, [])
        if len(where) != 1 or not _as_expected(row["expected"], *where[0]):
            wrong.append(_finding(row, where))
    return Check("faults", len(rows), len(wrong), tuple(wrong[:LISTED]))


def _as_expected(expected: str, source: str, reason: str) -> bool:
    if expected == COUNTED:
        return source in FACT_TABLES
    if expected == DUPLICATE:
        return source == "duplicates"
    return source == "quarantine" and reason == expected


def _finding(row: Mapping[str, Any], where: list[tuple[str, str]]) -> Finding:
    places = ", ".join(f"{source} {reason}".strip() for source, reason in where) or "no table"
    return Finding(
        "fault not handled",
        f"{row['topic']}-{row['partition']} offset {row['offset']} ({row['kind']}): expected "
        f"{row['expected']}, is in {places}",
        {"topic": row["topic"], "partition": row["partition"], "offset": row["offset"]},
    )

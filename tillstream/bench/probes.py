"""Time from an event's own timestamp until what follows from it can be queried, by probes.

A probe is the sale of the last unit of a shelf that no other event touches, and the movement that
leaves the shelf empty. The engine itself notes when the probe's fact, window, risk (of an empty
shelf) and alert are stored: views over the four tables write the moment of each insert into a table
in memory, which is read once a second. Asking ten times a second instead cost a third of a core.

The moment is that of the inserted block; the rows can be queried a few milliseconds later, when the
insert returns.
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from clickhouse.client import Client
from tillstream.bench.generator import PROBE_STORES
from tillstream.bench.reading import Reader

LOOK_S = 1.0
# One that is not complete so long after its fact is no longer looked for, and told as missing.
_GIVE_UP_S = 120.0
# Rows that wait to be read, of some 80 a second. Keeping all would make each look dearer than the
# one before; what was dropped unread would be told as missing.
_KEPT = 5_000
_STORES = ", ".join(f"'{store}'" for store in PROBE_STORES)


class Kind(StrEnum):
    FACT = "fact"
    WINDOW = "window"
    RISK = "risk"
    ALERT = "alert"


_SEEN = "bench_seen"
_FEEDS = {
    Kind.FACT: ("fact_sales", "toUnixTimestamp64Milli(event_time)", ""),
    Kind.WINDOW: ("velocity_5m_sums", "toInt64(0)", ""),
    Kind.RISK: ("stockout_risk_history", "toInt64(0)", " AND on_hand <= 0"),
    Kind.ALERT: ("restock_alert_history", "toInt64(0)", ""),
}
_LOOK = (
    "SELECT kind, store_id, product_id, at_ms, toUnixTimestamp64Milli(seen_at) AS seen_ms"
    f" FROM {_SEEN} WHERE product_id >= {{floor:String}}"
)


def install(client: Client) -> None:
    """Let the warehouse of a benchmark note when probes are stored."""
    client.command(
        f"CREATE TABLE {_SEEN} (kind String, store_id String, product_id String, at_ms Int64,"
        " seen_at DateTime64(3)) ENGINE = Memory"
        f" SETTINGS min_rows_to_keep = {_KEPT}, max_rows_to_keep = {2 * _KEPT}"
    )
    for kind, (table, at_ms, condition) in _FEEDS.items():
        client.command(
            f"CREATE MATERIALIZED VIEW {_SEEN}_{kind.value} TO {_SEEN} AS"
            f" SELECT '{kind.value}' AS kind, toString(store_id) AS store_id, product_id,"
            f" {at_ms} AS at_ms, nowInBlock64(3) AS seen_at"
            f" FROM {table} WHERE store_id IN ({_STORES}){condition}"
        )


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Of latencies, in milliseconds."""

    count: int
    p50: float
    p95: float
    p99: float
    max: float


def percentiles(latencies_ms: Iterable[float]) -> Percentiles | None:
    """None when there are none."""
    values = np.fromiter(latencies_ms, np.float64)
    if not len(values):
        return None
    p50, p95, p99 = (round(float(x), 1) for x in np.percentile(values, (50, 95, 99)))
    return Percentiles(len(values), p50, p95, p99, round(float(values.max()), 1))


class Probes:
    """What was seen of each probe, and when. `look` is for a Poller."""

    def __init__(self) -> None:
        self._sent_ms: dict[int, int] = {}
        self._seen_ms: dict[Kind, dict[int, int]] = {kind: {} for kind in Kind}
        self._floor = 0

    def look(self, reader: Reader) -> None:
        rows = reader.rows(_LOOK, floor=_product(self._floor))
        self.note(rows, now_ms=time.time_ns() // 1_000_000)

    def note(self, rows: Iterable[Mapping[str, Any]], *, now_ms: int) -> None:
        """Rows of (kind, store_id, product_id, at_ms, seen_ms) that were read at `now_ms`."""
        for row in rows:
            number = _number(row["store_id"], row["product_id"])
            kind = Kind(row["kind"])
            if kind is Kind.FACT:
                self._sent_ms.setdefault(number, int(row["at_ms"]))
            self._seen_ms[kind].setdefault(number, int(row["seen_ms"]))
        while self._is_over(self._floor, now_ms):
            self._floor += 1

    def latencies_ms(self, kind: Kind, *, from_ms: int, to_ms: int) -> list[int]:
        """Of the probes sent in that time (`to_ms` excluded) and seen by now."""
        seen = self._seen_ms[kind]
        return [
            seen[number] - sent
            for number, sent in list(self._sent_ms.items())
            if from_ms <= sent < to_ms and number in seen
        ]

    def complete(self, probes: int) -> bool:
        """Whether all of so many probes were seen in every way."""
        return all(len(seen) >= probes for seen in self._seen_ms.values())

    def missing(self, probes: int) -> dict[str, int]:
        """Of so many probes, how many were never seen, by kind."""
        return {
            kind.value: probes - len(seen)
            for kind, seen in self._seen_ms.items()
            if len(seen) < probes
        }

    def _is_over(self, number: int, now_ms: int) -> bool:
        if all(number in seen for seen in self._seen_ms.values()):
            return True
        # Since its fact was seen, not since it was sent: after an outage that is long ago.
        stored = self._seen_ms[Kind.FACT].get(number)
        return stored is not None and now_ms - stored > _GIVE_UP_S * 1000


def _product(number: int) -> str:
    return f"P{number // len(PROBE_STORES):05}"


def _number(store_id: str, product_id: str) -> int:
    return int(product_id[1:]) * len(PROBE_STORES) + PROBE_STORES.index(store_id)

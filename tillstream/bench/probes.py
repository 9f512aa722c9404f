"""Time from an event's own timestamp until what follows from it can be queried, by probes.

A probe is the sale of the last unit of a shelf that no other event touches, and the movement that
leaves the shelf empty. Its fact, its window, its risk (of an empty shelf) and its alert are looked
for ten times a second by one narrow query. It counts as seen when the answer that holds it has
arrived: so a figure is too high by half the pause between two looks on average (50 ms), never too
low, and includes the query's own time.
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from tillstream.bench.generator import PROBE_STORES
from tillstream.bench.reading import Reader

LOOK_S = 0.1
# One that is not complete so long after its fact is no longer looked for, and told as missing.
_GIVE_UP_S = 120.0
_STORES = ", ".join(f"'{store}'" for store in PROBE_STORES)
_STORE_KEYS = ", ".join(f"xxHash64('{store}')" for store in PROBE_STORES)


class Kind(StrEnum):
    FACT = "fact"
    WINDOW = "window"
    RISK = "risk"
    ALERT = "alert"


_NEW = "toString(store_id) AS store_id, product_id"
_LATER = "product_id >= {floor:String}"
_LOOK = (
    f"SELECT 'fact' AS kind, {_NEW}, toUnixTimestamp64Milli(event_time) AS at_ms FROM fact_sales"
    f" WHERE date_key >= today() - 1 AND store_key IN ({_STORE_KEYS}) AND {_LATER}"
    f" UNION ALL SELECT 'window', {_NEW}, 0 FROM velocity_5m_sums"
    f" WHERE store_id IN ({_STORES}) AND {_LATER}"
    f" UNION ALL SELECT 'risk', {_NEW}, 0 FROM stockout_risk"
    f" WHERE store_id IN ({_STORES}) AND {_LATER} AND on_hand <= 0"
    f" UNION ALL SELECT 'alert', {_NEW}, 0 FROM restock_alert_history"
    f" WHERE store_id IN ({_STORES}) AND {_LATER}"
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
        self.look_ms: list[float] = []

    def look(self, reader: Reader) -> None:
        began = time.perf_counter()
        rows = reader.rows(_LOOK, floor=_product(self._floor))
        self.look_ms.append((time.perf_counter() - began) * 1000)
        self.note(rows, now_ms=time.time_ns() // 1_000_000)

    def note(self, rows: Iterable[Mapping[str, Any]], *, now_ms: int) -> None:
        """Rows of (kind, store_id, product_id, at_ms) that an answer arriving at `now_ms` held."""
        for row in rows:
            number = _number(row["store_id"], row["product_id"])
            kind = Kind(row["kind"])
            if kind is Kind.FACT:
                self._sent_ms.setdefault(number, int(row["at_ms"]))
            self._seen_ms[kind].setdefault(number, now_ms)
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

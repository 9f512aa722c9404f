"""Scores as rows of `stockout_risk_history`, with everything they were made from."""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from streaming import risk as model
from streaming.keyed import Bools, Floats
from streaming.money import SCALE, from_units
from tillstream.learning.exposure import DAY_MS
from tillstream.learning.shelves import NEVER_MS, Outlook, Shelves

_MILLIS = pa.timestamp("ms", tz="UTC")
# What a default can stand in for, in the order in which a score names them.
DOUBTS = ("lead time", "cost", "price", "history")
_DOUBT_WORDS = pa.array(
    [
        ", ".join(name for bit, name in enumerate(DOUBTS) if code >> bit & 1)
        for code in range(1 << len(DOUBTS))
    ]
)


@dataclass(frozen=True, slots=True)
class Evidence:
    """Sales that count beside the prior: units (n,) since `since_ms`, and the demand days (n,) in
    which they could have been sold."""

    since_ms: int
    units: Floats
    days: Floats


def score_rows(
    known: pa.Table,
    shelves: Shelves,
    evidence: Evidence,
    outlook: Outlook,
    *,
    lost_margin: Floats,
    doubts: list[Bools],
) -> pa.Table:
    """`known` names the items (store_id, product_id, on_hand); `doubts` (n,) say for each of DOUBTS
    where a default stood in."""
    n = known.num_rows
    belief = shelves.belief
    shown = model.levels(
        belief,
        on_hand=shelves.recorded.astype(np.float64),
        lead_time_days=shelves.lead_days,
    )
    code = sum(doubt.astype(np.int64) << bit for bit, doubt in enumerate(doubts))
    due = outlook.next_receipt_ms
    columns: dict[str, Any] = {
        "as_of": pa.array(np.full(n, shelves.as_of_ms), _MILLIS),
        "computed_at": pa.array(np.full(n, time.time_ns() // 1000), pa.timestamp("us", tz="UTC")),
        "store_id": known["store_id"],
        "product_id": known["product_id"].combine_chunks(),
        "risk": outlook.risk,
        "on_hand": known["on_hand"],
        "days_of_cover": shown.days_of_cover,
        "empty_p10_days": shown.empty_p10_days,
        "empty_p50_days": shown.empty_p50_days,
        "empty_p90_days": shown.empty_p90_days,
        "daily_units": belief.daily_units,
        "belief_a": belief.a,
        "belief_b": belief.b,
        "dispersion": belief.dispersion,
        "evidence_units": evidence.units,
        "evidence_days": evidence.days,
        "evidence_since": pa.array(np.full(n, evidence.since_ms), _MILLIS),
        "lead_time_days": shelves.lead_days,
        "reorder_point": shown.reorder_point.astype(np.int32),
        "safety_stock": shown.safety_stock,
        "expected_lost_units": outlook.lost_units,
        "expected_lost_margin": from_units(
            np.rint(np.maximum(lost_margin, 0) * SCALE).astype("i8")
        ),
        "low_confidence": _DOUBT_WORDS.take(pa.array(code)),
        "arrives_at": pa.array(outlook.arrives_ms, _MILLIS),
        "horizon_days": outlook.horizon_days,
        "late_share": shelves.late_share,
        "held_up_days": shelves.held_ms / DAY_MS,
        "coming_units": outlook.coming_units.astype(np.int32),
        "next_receipt_at": pa.array(due, _MILLIS, mask=due == NEVER_MS),
        "spoilt_risk": outlook.spoilt,
        "promotion_boost": shelves.boost,
    }
    return pa.table(columns)

"""Why an item has the risk it has, and why it did or did not wake anybody: every number with where
it comes from."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import numpy as np

from clickhouse.client import Client
from clickhouse.queries import select
from tillstream.contracts.topics import Topic
from tillstream.demand.intermittent import PATTERNS, pattern, tallied, tsb
from tillstream.errors import ConfigError
from tillstream.settings import RiskSettings

_DAY_S = 86_400
# What is called the last days, and what is too few of them.
_SEEN_DAYS, _LEAST_SEEN_DAYS = 56, 7


@dataclass(frozen=True, slots=True)
class Records:
    """Records of one partition of Kafka, first to last offset."""

    topic: str
    partition: int
    first: int
    last: int

    def __str__(self) -> str:
        span = str(self.first) if self.first == self.last else f"{self.first}-{self.last}"
        return f"{self.topic}:{self.partition}:{span}"


@dataclass(frozen=True, slots=True)
class Stock:
    """The newest report of the shelf."""

    on_hand: int
    change: int
    reason: str
    at: datetime
    record: Records


@dataclass(frozen=True, slots=True)
class Sales:
    """What was sold since `since`."""

    since: datetime
    lines: int
    units: int
    last_at: datetime | None
    records: Sequence[Records]


@dataclass(frozen=True, slots=True)
class SaleDays:
    """On how many of the last `days` (UTC, before the score's) anything was sold, the class of such
    demand (`demand.intermittent.PATTERNS`), and units a day by the last days alone (TSB)."""

    days: int
    sold_on: int
    pattern: str
    daily_units: float


@dataclass(frozen=True, slots=True)
class Prior:
    """What was believed of the item's demand before; `given` is False for the default. Sales before
    `as_of` are in it, where it was learned."""

    daily_units: float
    weight_days: float
    given: bool
    as_of: datetime | None = None


@dataclass(frozen=True, slots=True)
class Score:
    """The newest score, with everything that it was made from. Days are days of demand."""

    as_of: datetime
    risk: float
    on_hand: int
    daily_units: float
    dispersion: float
    evidence_units: float
    evidence_days: float
    evidence_since: datetime
    lead_time_days: float
    empty_p10_days: float
    empty_p50_days: float
    empty_p90_days: float
    reorder_point: int
    arrives_at: datetime
    late_share: float
    held_up_days: float
    coming_units: int
    next_receipt_at: datetime | None
    spoilt_risk: float
    promotion_boost: float
    expected_lost_units: float
    expected_lost_margin: Decimal
    low_confidence: str


@dataclass(frozen=True, slots=True)
class Alert:
    """The newest alert of the item, open or not."""

    alert_id: str
    version: int
    state: str
    opened_at: datetime
    at: datetime


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything behind an item's risk. `score` is None for a shelf that was never scored."""

    store_id: str
    product_id: str
    product_name: str
    stock: Stock
    prior: Prior
    sales: Sales | None
    sale_days: SaleDays | None
    score: Score | None
    alert: Alert | None
    open_above: float
    resolve_below: float


def explain(client: Client, rules: RiskSettings, store_id: str, product_id: str) -> Explanation:
    """Raises ConfigError for an item that nobody has reported, and ServiceError."""
    item = {"store": store_id, "product": product_id}
    stock = _stock(client, item)
    score = _score(client, item)
    names = select(
        client,
        "SELECT product_name FROM dim_product FINAL WHERE product_id = {product:String}",
        parameters=item,
    )["product_name"].to_pylist()
    return Explanation(
        store_id=store_id,
        product_id=product_id,
        product_name=names[0] if names and names[0] else product_id,
        stock=stock,
        prior=_prior(client, rules, item),
        sales=_sales(client, item, score) if score else None,
        sale_days=_sale_days(client, item, score) if score else None,
        score=score,
        alert=_alert(client, item),
        open_above=rules.open_above,
        resolve_below=rules.resolve_below,
    )


_ITEM = "store_id = {store:String} AND product_id = {product:String}"


def _stock(client: Client, item: dict[str, str]) -> Stock:
    found = select(
        client,
        "SELECT quantity_on_hand, quantity_change, toString(reason) AS reason,"
        " toTimeZone(event_time, 'UTC') AS at, partition, offset FROM fact_inventory"
        f" WHERE {_ITEM} ORDER BY sequence DESC, event_time DESC, offset DESC LIMIT 1",
        parameters=item,
    ).to_pylist()
    if not found:
        raise ConfigError(
            f"no stock of product {item['product']} was ever reported by store {item['store']}",
            hint="`tillstream sql 'SELECT store_id, product_id, on_hand FROM current_stock'` lists"
            " what is known",
        )
    row = found[0]
    return Stock(
        on_hand=row["quantity_on_hand"],
        change=row["quantity_change"],
        reason=row["reason"],
        at=row["at"],
        record=Records(Topic.INVENTORY.value, row["partition"], row["offset"], row["offset"]),
    )


def _score(client: Client, item: dict[str, str]) -> Score | None:
    columns = (
        *("risk", "on_hand", "daily_units", "dispersion", "evidence_units", "evidence_days"),
        *("lead_time_days", "empty_p10_days", "empty_p50_days", "empty_p90_days", "reorder_point"),
        *("late_share", "held_up_days", "coming_units", "spoilt_risk", "promotion_boost"),
        *("expected_lost_units", "expected_lost_margin"),
    )
    moments = ("as_of", "evidence_since", "arrives_at", "next_receipt_at")
    in_utc = ", ".join(f"toTimeZone({name}, 'UTC') AS {name}" for name in moments)
    found = select(
        client,
        f"SELECT {in_utc}, {', '.join(columns)}, toString(low_confidence) AS low_confidence"
        f" FROM stockout_risk FINAL WHERE {_ITEM}",
        parameters=item,
    ).to_pylist()
    return Score(**found[0]) if found else None


def _prior(client: Client, rules: RiskSettings, item: dict[str, str]) -> Prior:
    learned = select(
        client,
        "SELECT a / b AS daily_units, b AS weight_days, as_of FROM demand_belief FINAL"
        f" WHERE {_ITEM}",
        parameters=item,
    ).to_pylist()
    if learned:
        return Prior(**learned[0], given=True)
    found = select(
        client,
        f"SELECT daily_units FROM demand_prior FINAL WHERE {_ITEM}",
        parameters=item,
    )["daily_units"].to_pylist()
    daily = found[0] if found else rules.default_daily_units
    return Prior(daily, rules.prior_weight_days, given=bool(found))


def _sales(client: Client, item: dict[str, str], score: Score) -> Sales:
    # Evidence is kept by whole UTC days.
    since = score.evidence_since.replace(hour=0, minute=0, second=0, microsecond=0)
    span = {**item, "since": int(since.timestamp()), "until": int(score.as_of.timestamp() * 1000)}
    found = select(
        client,
        "SELECT partition, count() AS lines, sum(quantity) AS units, min(offset) AS first,"
        " max(offset) AS last, toTimeZone(max(event_time), 'UTC') AS last_at FROM fact_sales"
        f" WHERE {_ITEM} AND event_time >= toDateTime({{since:Int64}}, 'UTC')"
        " AND event_time <= fromUnixTimestamp64Milli({until:Int64}, 'UTC')"
        " GROUP BY partition ORDER BY partition",
        parameters=span,
    ).to_pylist()
    return Sales(
        since=since,
        lines=sum(row["lines"] for row in found),
        units=sum(row["units"] for row in found),
        last_at=max((row["last_at"] for row in found), default=None),
        records=tuple(
            Records(Topic.SALES.value, row["partition"], row["first"], row["last"]) for row in found
        ),
    )


def _sale_days(client: Client, item: dict[str, str], score: Score) -> SaleDays | None:
    """None for an item that was not watched for a week."""
    until = int(score.as_of.timestamp()) // _DAY_S
    found = select(
        client,
        "SELECT intDiv(toInt64(toUnixTimestamp(event_time)), 86400) AS day,"
        " toInt64(sum(quantity)) AS units FROM fact_sales"
        f" WHERE {_ITEM} AND event_time >= toDateTime({{since:Int64}}, 'UTC')"
        " AND event_time < toDateTime({until:Int64}, 'UTC') GROUP BY day",
        parameters={**item, "since": (until - _SEEN_DAYS) * _DAY_S, "until": until * _DAY_S},
    )
    first = select(
        client,
        f"SELECT toInt64(toUnixTimestamp(min(event_time))) AS at FROM fact_inventory WHERE {_ITEM}",
        parameters=item,
    )["at"][0].as_py()
    days = min(_SEEN_DAYS, until - first // _DAY_S)
    if days < _LEAST_SEEN_DAYS:
        return None
    day = found["day"].to_numpy() - (until - days)
    units = np.zeros(days)
    units[day[day >= 0]] = np.maximum(found["units"].to_numpy()[day >= 0], 0)
    series = tallied(np.zeros(days, dtype=np.int64), units, items=1)
    before = tallied(np.zeros(days // 2, dtype=np.int64), units[: days // 2], items=1)
    return SaleDays(
        days=days,
        sold_on=int(series.demand_days[0]),
        pattern=PATTERNS[int(pattern(series)[0])],
        daily_units=float(tsb(units[None, days // 2 :], start=before).mean[0]),
    )


def _alert(client: Client, item: dict[str, str]) -> Alert | None:
    found = select(
        client,
        "SELECT alert_id, version, toString(state) AS state,"
        " toTimeZone(opened_at, 'UTC') AS opened_at, toTimeZone(at, 'UTC') AS at"
        f" FROM restock_alerts WHERE {_ITEM} ORDER BY at DESC LIMIT 1",
        parameters=item,
    ).to_pylist()
    return Alert(**found[0]) if found else None

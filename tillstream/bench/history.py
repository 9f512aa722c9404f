"""120 days of a chain's past, made by the engine: what dashboards look at."""

from collections.abc import Callable, Iterator

import httpx

from tillstream.bench.reading import http_options
from tillstream.bench.traffic import PRODUCTS, STORES
from tillstream.contracts.topics import HISTORY_PREFIX, Topic
from tillstream.errors import ServiceError
from tillstream.settings import WarehouseSettings

DAYS = 120
# Every store has stock and risk of so many products.
_SHELVES = 2_000 * STORES
_WINDOW_DAYS = 2
_ALERTS = 25_000
_TIMEOUT_S = 900.0
_TOPIC_ID = f"{HISTORY_PREFIX}bench"

# Hashes of the row's number stand in for chance, so the same day always has the same rows.
_STORE = f"concat('S', leftPad(toString(cityHash64(n, 1) % {STORES}), 4, '0'))"
_PRODUCT_NUMBER = f"toUInt32({PRODUCTS} * pow(cityHash64(n, 2) % 1000000 / 1000000, 3))"
_SHELF = (
    f"SELECT concat('S', leftPad(toString(number % {STORES}), 4, '0')) AS store,"
    f" concat('P', leftPad(toString(intDiv(number, {STORES})), 5, '0')) AS product,"
    " number AS n, now64(3) AS now, toInt32(cityHash64(number, 5) % 60) AS left,"
    " cityHash64(number, 6) % 1000 / 1000 AS chance"
)


def statements(rows: int, *, shelves: int = _SHELVES) -> Iterator[str]:
    """One INSERT after another, about `rows` sales in all; the days are equally large. They are
    committed, or a start would take them for what a killed stream left behind."""
    for day in range(DAYS):
        yield _sales(day, rows // DAYS)
        yield (
            "INSERT INTO event_index SELECT event_key, arrival, topic_id, partition, offset"
            f" FROM fact_sales WHERE date_key = today() - {day}"
        )
    for query in ("live", "watch"):
        yield (
            "INSERT INTO stream_commits SELECT"
            f" '{query}', '{Topic.SALES}', '{_TOPIC_ID}', 0, {max(rows, shelves)}, 0, now64(6)"
        )
    yield (
        "INSERT INTO velocity_5m_sums SELECT store_id, product_id, window_start,"
        " sum(toInt64(quantity)), sum(toDecimal128(revenue, 4)), toInt64(count()) FROM fact_sales"
        f" WHERE date_key > today() - {_WINDOW_DAYS} GROUP BY store_id, product_id, window_start"
    )
    every_shelf = f"{_SHELF} FROM numbers({shelves})"
    yield (
        "INSERT INTO fact_inventory (inventory_id, date_key, quantity_on_hand, quantity_change,"
        " reason, sequence, store_id, product_id, event_time, arrival, schema_id, event_key,"
        " topic_id, partition, offset) SELECT toString(n), today() - 1, left, 0, 'count', 0, store,"
        f" product, now - toIntervalDay(1), now, 0, sipHash128(n, 'i'), '{_TOPIC_ID}', 0, n"
        f" FROM ({every_shelf})"
    )
    risk = (
        "now, now64(6), store, product, chance * chance, left, left / 2, left / 4, left / 2, left,"
        " 2, 1, 1, 1, 10, 28, 2, 12, 4, toDecimal64(chance * 100, 4)"
    )
    columns = (
        "as_of, computed_at, store_id, product_id, risk, on_hand, days_of_cover, empty_p10_days,"
        " empty_p50_days, empty_p90_days, daily_units, belief_a, belief_b, dispersion,"
        " evidence_units, evidence_days, lead_time_days, reorder_point, safety_stock,"
        " expected_lost_margin"
    )
    yield f"INSERT INTO stockout_risk_history ({columns}) SELECT {risk} FROM ({every_shelf})"
    state = "if(cityHash64(n, 8) % 5 = 0, 'opened', 'resolved')"
    yield (
        "INSERT INTO restock_alert_history (alert_id, version, store_id, product_id, state, risk,"
        " on_hand, expected_lost_margin, explanation, opened_at, at, recorded_at)"
        " SELECT toString(n), 1, store, product,"
        f" {state}, 0.8, left, 10, concat(product, ' at store ', store, ' will run out soon.'),"
        f" now, now, now64(6) FROM ({_SHELF} FROM numbers({_ALERTS}))"
    )


def _sales(day: int, rows: int) -> str:
    """The sales of the day that many days ago; today's are over already."""
    ago = f"today() - {day}"
    seconds = "greatest(toUnixTimestamp(now()) - toUnixTimestamp(today()), 1)" if not day else 86400
    return (
        "INSERT INTO fact_sales (sale_id, date_key, quantity, revenue, cost, profit, store_id,"
        " product_id, transaction_id, line_number, unit_price, discount, promotion_id, customer_id,"
        " payment_method, window_start, event_time, arrival, schema_id, event_key, topic_id,"
        " partition, offset) SELECT concat(ticket, ':1'), date, units, price * units,"
        " price * units * toDecimal64(0.7, 1), price * units * toDecimal64(0.3, 1), store, product,"
        " ticket, 1, price, NULL, NULL, hex(cityHash64(n, 4)), 'card',"
        f" toStartOfFiveMinutes(at), at, at, 0, sipHash128(n), '{_TOPIC_ID}', 0, n"
        f" FROM (SELECT number + {day * rows} AS n, {ago} AS date, {_STORE} AS store,"
        f" {_PRODUCT_NUMBER} AS p, concat('P', leftPad(toString(p), 5, '0')) AS product,"
        " lower(leftPad(hex(n), 32, '0')) AS ticket, toInt32(1 + cityHash64(n, 3) % 4) AS units,"
        " toDecimal64((99 + p % 900) / 100, 4) AS price,"
        f" toDateTime64({ago}, 3, 'UTC') + cityHash64(n, 7) % ({seconds}) AS at"
        f" FROM numbers({rows}))"
    )


def fill_history(
    warehouse: WarehouseSettings,
    rows: int,
    *,
    shelves: int = _SHELVES,
    on_progress: Callable[[float], None] = lambda _: None,
) -> None:
    """Run them all, telling the share that is done. Raises ServiceError."""
    todo = list(statements(rows, shelves=shelves))
    with httpx.Client(**http_options(warehouse, timeout_s=_TIMEOUT_S)) as http:
        for number, statement in enumerate(todo):
            on_progress(number / len(todo))
            answer = http.post("/", content=statement)
            if answer.is_error:
                raise ServiceError(f"cannot make the past: {answer.text.strip()}")

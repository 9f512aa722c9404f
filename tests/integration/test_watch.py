"""Risk and alerts of the shelves that batches touch, on a real warehouse."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from clickhouse.client import Client
from clickhouse.queries import committed_cuts
from producers.memory import MemoryPublisher
from producers.publisher import Publisher
from streaming import priors
from streaming.rows import LIVE
from streaming.sinks import WarehouseSink
from streaming.watch import WATCH, StockWatch
from tests.builders import AT, CODEC, TOPIC_IDS, decoded, moved, refused, sold
from tests.fixtures.platform import wait_for
from tests.fixtures.warehouse import WarehouseProcess, own_client
from tillstream.clock import FakeClock
from tillstream.contracts.topics import Topic
from tillstream.errors import ServiceError
from tillstream.settings import RiskSettings

pytestmark = pytest.mark.integration

WEEK = timedelta(days=7)
RULES = RiskSettings(lead_time_days=2.0, default_daily_units=4.0, prior_weight_days=7.0)
# As long ago as the recorded week itself, so the stream is a replay.
CLOCK = FakeClock(round((AT + timedelta(days=3000)).timestamp() * 1000))


@pytest.fixture
def client(warehouse_server: WarehouseProcess) -> Iterator[Client]:
    with own_client(warehouse_server, "watch") as client:
        yield client


@pytest.fixture
def outbox() -> MemoryPublisher:
    return MemoryPublisher(CODEC, customer_key=b"a key for tests")


def stored(client: Client, table: str, columns: str) -> list[tuple[Any, ...]]:
    found = client.query(f"SELECT {columns} FROM {table} ORDER BY ALL")
    return [tuple(row) for row in found.result_rows]


def sent(outbox: MemoryPublisher) -> list[tuple[str, int, int]]:
    events = [CODEC.decode(Topic.ALERTS, raw.value).record for raw in outbox.records(Topic.ALERTS)]
    return [(event["state"], event["version"], event["on_hand"]) for event in events]


def start(client: Client, publisher: Publisher | None) -> WarehouseSink:
    sink = WarehouseSink(client, followers=(StockWatch(client, RULES, publisher, clock=CLOCK),))
    sink.open()
    return sink


def write(sink: WarehouseSink, *rows: dict[str, Any]) -> None:
    sink.write(decoded(*rows), TOPIC_IDS, batch_id=0)


def test_shelf_that_empties_is_scored_alerted_and_published_once(
    client: Client, outbox: MemoryPublisher
) -> None:
    sink = start(client, outbox)
    write(sink, moved(0, quantity_on_hand=30), moved(1, quantity_on_hand=50, product_id="full"))
    assert stored(client, "restock_alerts", "state") == []
    write(sink, moved(2, quantity_on_hand=2))
    write(sink, moved(3, quantity_on_hand=0))
    write(sink, moved(4, quantity_on_hand=0))
    write(sink, moved(5, quantity_on_hand=40))
    sink.close()
    steps = [("opened", 1, 2), ("updated", 2, 0), ("resolved", 3, 40)]
    assert sent(outbox) == steps
    columns = "version, toString(state), on_hand, product_id"
    assert stored(client, "restock_alert_history", columns) == [
        (version, state, on_hand, "1095275") for state, version, on_hand in steps
    ]
    assert stored(client, "restock_alerts", "toString(state), version") == [("resolved", 3)]
    assert stored(client, "restock_alerts_published", "version") == [(1,), (2,), (3,)]
    current = stored(client, "stockout_risk FINAL", "product_id, on_hand, risk < 0.01")
    assert current == [("1095275", 40, True), ("full", 50, True)]
    gone = client.query("SELECT DISTINCT risk FROM stockout_risk_history WHERE on_hand = 0")
    assert gone.result_rows == [(1.0,)]
    (explanation,) = client.query(
        "SELECT explanation FROM restock_alert_history WHERE version = 2"
    ).result_rows[0]
    assert explanation.startswith("1095275 at store 304 is sold out; it sells about 4.0 a day")


def test_score_is_told_with_its_evidence(client: Client) -> None:
    client.command(
        "INSERT INTO demand_prior (store_id, product_id, daily_units, dispersion, lead_time_days)"
        " VALUES ('304', '1095275', 3.0, 2.0, 5.0)"
    )
    sink = start(client, None)
    write(sink, moved(0, quantity_on_hand=9), sold(0, quantity=1, event_time=AT))
    write(sink, sold(1, quantity=10, event_time=AT + timedelta(days=2)))
    sink.close()
    columns = "evidence_units, round(evidence_days, 3), lead_time_days, dispersion, belief_a"
    assert stored(client, "stockout_risk FINAL", f"{columns}, belief_b, on_hand") == [
        (11.0, 2.0, 5.0, 2.0, 3.0 * 7 + 11 / 2, 7 + 2 / 2, 9)
    ]
    as_of = client.query("SELECT max(as_of) FROM stockout_risk").result_rows[0][0]
    assert as_of.replace(tzinfo=None) == (AT + timedelta(days=2)).replace(tzinfo=None)


def test_what_was_learned_is_where_scores_begin(client: Client) -> None:
    """Sales before the learning are in it already, and count once."""
    midnight = AT.replace(hour=0, minute=0, second=0, microsecond=0)
    client.command(
        "INSERT INTO dim_product (product_id, supplier_id) VALUES ('1095275', 'V1'),"
        " ('loaded', 'V1'), ('new', 'V1')"
    )
    client.command("INSERT INTO dim_supplier VALUES ('V1', 'Mill', 5.0, now64(6))")
    client.insert(
        "demand_belief",
        [["304", "1095275", 60.0, 30.0, 1.5, midnight, midnight]],
        column_names=["store_id", "product_id", "a", "b", "dispersion", "as_of", "learned_at"],
    )
    client.command(
        "INSERT INTO demand_prior (store_id, product_id, daily_units, dispersion, lead_time_days)"
        " VALUES ('304', 'loaded', 3.0, 2.0, 4.0)"
    )
    sink = start(client, None)
    write(sink, moved(0, quantity_on_hand=9), sold(0, quantity=100, event_time=AT - WEEK))
    write(
        sink,
        sold(1, quantity=3, event_time=midnight + timedelta(days=2)),
        moved(1, quantity_on_hand=9, product_id="loaded"),
        moved(2, quantity_on_hand=9, product_id="new"),
    )
    sink.close()
    columns = (
        "product_id, evidence_units, round(evidence_days, 9), belief_a, round(belief_b, 9),"
        " lead_time_days"
    )
    assert stored(client, "stockout_risk FINAL", columns) == [
        ("1095275", 3.0, 2.0, 60 + 3 / 1.5, round(30 + 2 / 1.5, 9), 5.0),
        ("loaded", 0.0, 2.0, 3.0 * 7, 7 + 2 / 2, 4.0),
        ("new", 0.0, 2.0, 4.0 * 7, 7 + 2.0, 5.0),
    ]


def test_priors_that_are_loaded_while_the_stream_runs_are_used(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(priors, "_LOOK_AGAIN_S", 0.0)
    sink = start(client, None)
    write(sink, moved(0, quantity_on_hand=9))
    client.command(
        "INSERT INTO demand_prior (store_id, product_id, daily_units, dispersion, lead_time_days)"
        " VALUES ('304', '1095275', 3.0, 2.0, 5.0), ('304', 'other', 9.0, 9.0, 9.0)"
    )
    write(sink, moved(1, quantity_on_hand=8))
    sink.close()
    columns = "on_hand, lead_time_days, dispersion, belief_a"
    assert stored(client, "stockout_risk_history", columns) == [
        (8, 5.0, 2.0, 3.0 * 7),
        (9, 2.0, 1.0, 4.0 * 7),
    ]


def test_product_that_was_never_counted_is_not_scored(
    client: Client, outbox: MemoryPublisher
) -> None:
    sink = start(client, outbox)
    write(sink, sold(0))
    sink.close()
    assert stored(client, "stockout_risk", "risk") == []


def test_alert_stored_but_not_sent_is_sent_after_a_restart(
    client: Client, outbox: MemoryPublisher
) -> None:
    broken = MemoryPublisher(CODEC, customer_key=b"k", fail_when=lambda _: "no broker")
    sink = start(client, broken)
    with pytest.raises(ServiceError, match="undelivered"):
        write(sink, moved(0, quantity_on_hand=1))
    sink.close()
    assert stored(client, "restock_alert_history", "version") == [(1,)]
    assert stored(client, "restock_alerts_published", "version") == []

    for _ in range(2):
        sink = start(client, outbox)
        write(sink, moved(0, quantity_on_hand=1))
        sink.close()
    assert sent(outbox) == [("opened", 1, 1)]
    assert stored(client, "restock_alert_history FINAL", "version") == [(1,)]
    assert stored(client, "restock_alerts_published FINAL", "version") == [(1,)]


def test_open_alert_is_continued_after_a_restart(client: Client, outbox: MemoryPublisher) -> None:
    sink = start(client, outbox)
    write(sink, moved(0, quantity_on_hand=1))
    sink.close()
    sink = start(client, outbox)
    write(sink, moved(1, quantity_on_hand=90))
    sink.close()
    assert sent(outbox) == [("opened", 1, 1), ("resolved", 2, 90)]
    assert len(stored(client, "restock_alert_history", "DISTINCT alert_id")) == 1
    sink = start(client, outbox)
    write(sink, moved(2, quantity_on_hand=0))
    sink.close()
    assert sent(outbox)[2:] == [("opened", 3, 0)]
    assert len(stored(client, "restock_alert_history", "DISTINCT alert_id")) == 1
    places = "version, partition, offset"
    assert stored(client, "restock_alerts_published", places) == [(1, 0, 0), (2, 0, 1), (3, 0, 2)]


def test_rebuild_scores_and_wakes_nobody(client: Client) -> None:
    sink = start(client, None)
    write(sink, moved(0, quantity_on_hand=0))
    sink.close()
    assert stored(client, "stockout_risk", "risk") == [(1.0,)]
    assert stored(client, "restock_alert_history", "version") == []


def test_what_was_left_unscored_is_scored_with_the_batch_that_follows(client: Client) -> None:
    without = WarehouseSink(client)
    without.open()
    write(without, moved(0, product_id="left", quantity_on_hand=3))
    without.close()
    sink = start(client, None)
    write(sink, moved(1, product_id="next", quantity_on_hand=5))
    assert stored(client, "stockout_risk", "product_id, on_hand") == [("left", 3), ("next", 5)]
    sink.close()


def test_in_the_background_what_was_left_unscored_waits_for_no_batch(client: Client) -> None:
    without = WarehouseSink(client)
    without.open()
    write(without, moved(0, product_id="left", quantity_on_hand=3))
    without.close()
    follower = StockWatch(client, RULES, None, clock=CLOCK, background=True)
    sink = WarehouseSink(client, followers=(follower,))
    sink.open()
    wait_for(
        lambda: stored(client, "stockout_risk", "product_id, on_hand") == [("left", 3)],
        timeout_s=30,
        what="a score without a batch",
    )
    sink.close()


def test_the_score_keeps_pace_over_batches_with_nothing_to_score(client: Client) -> None:
    sink = start(client, None)
    write(sink, moved(0, quantity_on_hand=3))
    write(sink, refused(1))
    sink.close()
    assert set(committed_cuts(client, WATCH)) == set(committed_cuts(client, LIVE)) != set()

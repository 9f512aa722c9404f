"""What is shown of a running platform, against the real services."""

import asyncio
import math
import uuid
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from clickhouse.client import Client, connect
from clickhouse.queries import Cut
from clickhouse.writer import insert
from producers.kafka_publisher import KafkaPublisher
from producers.topics import TopicInspector
from streaming.observe import LagWatch
from streaming.rows import LIVE, commit_rows
from tests.builders import CODEC
from tests.contracts_suite.events import EVENTS
from tests.fixtures.platform import wait_for
from tests.fixtures.warehouse import WarehouseProcess, free_port, own_database
from tillstream.contracts.topics import Topic
from tillstream.settings import KafkaSettings, Settings, WarehouseSettings, load_settings
from tillstream.telemetry.stream import StreamMetrics
from tillstream.watching.app import Sources, WatchApp
from tillstream.watching.readings import StreamReading
from tillstream.watching.scrape import Scrape
from tillstream.watching.sources import WarehouseSource, read_kafka

pytestmark = pytest.mark.integration


@pytest.fixture
def warehouse(warehouse_server: WarehouseProcess) -> Iterator[WarehouseSettings]:
    with own_database(warehouse_server, "seeing") as settings:
        yield settings


@pytest.fixture
def platform_settings(
    kafka: KafkaSettings, warehouse: WarehouseSettings, tmp_path: Path
) -> Settings:
    return load_settings(home=tmp_path, kafka=kafka, warehouse=warehouse)


def test_lag_is_what_kafka_has_and_the_warehouse_has_not(platform_settings: Settings) -> None:
    settings = platform_settings
    registry = CollectorRegistry()
    said: list[dict[str, dict[str, Any]]] = []
    watch = LagWatch(settings, StreamMetrics(registry), queries={LIVE: 5.0}, on_lag=said.append)
    topics = [Topic.SALES.value]

    def sales_behind() -> float:
        return sum(
            registry.get_sample_value(
                "tillstream_stream_lag_records",
                {"query": LIVE, "topic": Topic.SALES.value, "partition": str(number)},
            )
            or 0.0
            for number in range(3)
        )

    with (
        TopicInspector(settings.kafka) as inspector,
        closing(connect(settings.warehouse)) as client,
    ):
        ids = inspector.topic_ids(topics)

        def commit_everything() -> None:
            cuts = [
                Cut(topic, str(ids[topic]), number, end)
                for (topic, number), (_, end) in inspector.offset_ranges(topics).items()
            ]
            insert(client, "stream_commits", commit_rows(LIVE, cuts, batch_id=0))

        commit_everything()
        with KafkaPublisher(settings.kafka, CODEC, customer_key=b"test") as publisher:
            for _ in range(7):
                publisher.publish(Topic.SALES, EVENTS[Topic.SALES])
        watch.start()
        wait_for(lambda: sales_behind() == 7, timeout_s=30, what="seven records wait")
        commit_everything()
        wait_for(lambda: sales_behind() == 0, timeout_s=30, what="nothing waits")
        wait_for(lambda: bool(said), timeout_s=30, what="the state file is told")
    watch.close()
    assert said[-1][LIVE]["records"] >= 0
    assert registry.get_sample_value("tillstream_kafka_up") == 1


def test_a_broker_that_is_away_is_told_and_forgotten(
    warehouse: WarehouseSettings, tmp_path: Path
) -> None:
    kafka = KafkaSettings(bootstrap=f"127.0.0.1:{free_port()}")
    settings = load_settings(home=tmp_path, kafka=kafka, warehouse=warehouse)
    registry = CollectorRegistry()
    watch = LagWatch(settings, StreamMetrics(registry), queries={LIVE: 5.0}, on_lag=lambda _: None)
    watch.start()
    wait_for(
        lambda: registry.get_sample_value("tillstream_kafka_up") == 0,
        timeout_s=30,
        what="kafka is down",
    )
    watch.close()


def test_the_front_counts_what_clients_ask(own_warehouse: WarehouseProcess) -> None:
    def figures() -> Scrape:
        page = httpx.get(f"{own_warehouse.url}/metrics", trust_env=False)
        assert page.status_code == 200
        return Scrape.of(page.text, at_s=0.0)

    settings = own_warehouse.settings("default")
    requests = "tillstream_warehouse_requests_total"
    with closing(connect(settings)) as client:
        before = figures()
        assert client.query("SELECT 1 + 1").first_row == (2,)
        with pytest.raises(Exception, match="nothing_like_it"):
            client.query("SELECT * FROM nothing_like_it")
        after = figures()

    def grew(**labels: str) -> float:
        return (after.total(requests, **labels) or 0) - (before.total(requests, **labels) or 0)

    assert grew(kind="select", code="0") == 1
    assert grew(kind="select", code="60") == 1
    assert (after.total("process_resident_memory_bytes") or 0) > 50e6
    secret = settings.password.get_secret_value()
    assert secret not in httpx.get(f"{own_warehouse.url}/metrics", trust_env=False).text


NOW = datetime(2026, 1, 31, 17, 40, tzinfo=UTC)


def fill(client: Client) -> None:
    client.insert(
        "dim_product", [["p1", "WHOLE MILK"]], column_names=["product_id", "product_name"]
    )
    columns = {
        "as_of": NOW,
        "computed_at": NOW,
        "store_id": "304",
        "product_id": "p1",
        "risk": 0.93,
        "on_hand": 3,
        "empty_p50_days": 0.7,
        "daily_units": 41.2,
        "expected_lost_margin": 77.5,
    }
    rows = [
        list(columns.values()),
        list({**columns, "product_id": "p2", "risk": 0.2, "expected_lost_margin": 99.0}.values()),
        list({**columns, "product_id": "gone", "on_hand": 0, "risk": 1.0}.values()),
    ]
    client.insert("stockout_risk_history", rows, column_names=list(columns))
    alert = {
        "alert_id": "a1",
        "version": 1,
        "store_id": "304",
        "product_id": "p1",
        "state": "opened",
        "risk": 0.93,
        "on_hand": 3,
        "explanation": "3 left, 41.2 sell a day",
        "at": NOW,
        "recorded_at": NOW,
    }
    client.insert("restock_alert_history", [list(alert.values())], column_names=list(alert))
    insert(
        client,
        "stream_commits",
        commit_rows(LIVE, [Cut("sales", str(uuid.uuid4()), 0, 500)], batch_id=1),
    )


def test_the_live_view_shows_what_the_warehouse_holds(
    platform_settings: Settings,
) -> None:
    settings = platform_settings
    with closing(connect(settings.warehouse)) as client:
        fill(client)
    source = WarehouseSource(settings.warehouse)
    reading = source.read()
    assert reading.problem == ""
    assert (reading.stored, reading.open_alerts, reading.risky_shelves) == (500, 1, 2)
    assert [(one.product, one.margin) for one in reading.risks] == [
        *(("p2", 99.0), ("WHOLE MILK", 77.5)),
    ]
    assert reading.committed_ago_s is not None
    assert math.isfinite(reading.committed_ago_s)
    again = source.read()
    assert again.events_per_s == 0.0
    assert read_kafka(settings.kafka).problem == ""

    app = WatchApp(
        Sources(
            kafka=lambda: read_kafka(settings.kafka),
            stream=lambda: StreamReading(problem="not running here"),
            warehouse=source.read,
        ),
        where="here",
    )

    async def look() -> str:
        async with app.run_test(size=(120, 34)) as pilot:
            for _ in range(1500):
                text = "\n".join(
                    "".join(part.text for part in strip)
                    for strip in app.screen._compositor.render_strips()
                )
                if "1 open" in text and "answers at" in text and "not running here" in text:
                    return text
                await pilot.pause(0.02)
            raise AssertionError(text)

    text = asyncio.run(look())
    assert "3 left, 41.2 sell a day" in text
    assert "WHOLE MILK" in text
    source.close()


def test_a_wrong_password_is_a_reading_too(warehouse_server: WarehouseProcess) -> None:
    settings = warehouse_server.settings("default")
    wrong = settings.model_copy(update={"password": SecretStr("not-the-password")})
    problem = WarehouseSource(wrong).read().problem
    assert "refused user 'tillstream'" in problem
    assert "not-the-password" not in problem

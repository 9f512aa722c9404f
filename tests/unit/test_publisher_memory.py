"""The in-memory publisher keeps the publishers' contract."""

import pytest

from producers.memory import MemoryPublisher
from producers.publisher import Delivery, Publisher
from tests.contracts_suite.events import sale
from tests.contracts_suite.publisher import CODEC, CUSTOMER_KEY, Bench, PublisherContract
from tillstream.clock import FakeClock
from tillstream.contracts.topics import Topic
from tillstream.errors import ConfigError, ServiceError


class TestMemoryPublisher(PublisherContract):
    @pytest.fixture
    def bench(self) -> Bench:
        opened: list[MemoryPublisher] = []

        def open_one() -> Publisher:
            opened.append(MemoryPublisher(CODEC, customer_key=CUSTOMER_KEY))
            return opened[-1]

        return Bench(open_one, lambda topic: [raw for one in opened for raw in one.records(topic)])


def test_a_failed_delivery_is_reported_and_makes_flush_raise_once() -> None:
    reports: list[Delivery] = []
    publisher = MemoryPublisher(
        CODEC,
        customer_key=CUSTOMER_KEY,
        fail_when=lambda identity: "broker is gone" if identity == "bad" else None,
    )
    publisher.publish(Topic.SALES, sale(event_id="good"), on_delivery=reports.append)
    publisher.publish(Topic.SALES, sale(event_id="bad"), on_delivery=reports.append)

    assert [(report.identity, report.offset, report.error) for report in reports] == [
        ("good", 0, None),
        ("bad", -1, "broker is gone"),
    ]
    with pytest.raises(ServiceError, match="1 events are undelivered"):
        publisher.flush()
    publisher.flush()
    stats = publisher.stats
    assert (stats.sent, stats.acknowledged, stats.failed) == (2, 1, 1)


def test_arrival_is_the_clocks_time() -> None:
    publisher = MemoryPublisher(CODEC, customer_key=CUSTOMER_KEY, clock=FakeClock(12_345))
    publisher.publish(Topic.SALES, sale())
    assert [raw.timestamp_ms for raw in publisher.records(Topic.SALES)] == [12_345]


def test_a_customer_without_a_key_to_hide_them_is_never_published() -> None:
    publisher = MemoryPublisher(CODEC, customer_key=b"")
    with pytest.raises(ConfigError, match="no key to pseudonymise"):
        publisher.publish(Topic.SALES, sale(customer_id="2375"))
    publisher.publish(Topic.SALES, sale(customer_id=None))
    assert len(publisher.records(Topic.SALES)) == 1

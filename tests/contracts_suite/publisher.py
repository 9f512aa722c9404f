"""What every Publisher must do. Subclass it and give it a `bench` fixture."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from producers.publisher import Delivery, Publisher
from producers.records import RawRecord
from tests.contracts_suite.events import EVENTS, old_sale, sale, update
from tillstream.contracts.catalogue import load_catalogue
from tillstream.contracts.codec import Codec
from tillstream.contracts.identity import is_pseudonym, pseudonym
from tillstream.contracts.topics import Topic
from tillstream.errors import ContractError, ServiceError

CUSTOMER_KEY = b"a key for tests"
CODEC = Codec(load_catalogue())


@dataclass(frozen=True, slots=True)
class Bench:
    """Opens publishers, and reads back what was stored since the test began."""

    open: Callable[[], Publisher]
    records: Callable[[Topic], list[RawRecord]]

    def events(self, topic: Topic) -> list[dict[str, Any]]:
        return [CODEC.decode(topic, raw.value).record for raw in self.records(topic)]


class PublisherContract:
    @pytest.mark.parametrize("topic", list(Topic))
    def test_an_event_arrives_as_it_was_published(self, bench: Bench, topic: Topic) -> None:
        event = EVENTS[topic] | ({"customer_id": None} if topic == Topic.SALES else {})
        with bench.open() as publisher:
            publisher.publish(topic, event)
        assert bench.events(topic) == [event]

    @pytest.mark.parametrize(
        ("topic", "key"),
        [
            (Topic.SALES, b"304"),
            (Topic.ALERTS, b"304:1095275"),
            (Topic.ALERT_ACTIONS, b"al-1"),
            (Topic.QUARANTINE, b"retail-sales-transactions"),
        ],
    )
    def test_the_key_is_the_designed_one(self, bench: Bench, topic: Topic, key: bytes) -> None:
        with bench.open() as publisher:
            publisher.publish(topic, EVENTS[topic])
        assert [raw.key for raw in bench.records(topic)] == [key]

    def test_a_delivery_report_leads_to_the_record(self, bench: Bench) -> None:
        reports: list[Delivery] = []
        with bench.open() as publisher:
            for number in range(50):
                event = update(inventory_id=f"i{number}", store_id=str(number))
                publisher.publish(Topic.INVENTORY, event, on_delivery=reports.append)
            publisher.flush()
            assert len(reports) == 50
        stored = {
            (raw.partition, raw.offset): CODEC.decode(Topic.INVENTORY, raw.value).record
            for raw in bench.records(Topic.INVENTORY)
        }
        assert {partition for partition, _ in stored} == {0, 1, 2}
        assert {
            (report.topic, report.identity, report.error): stored[report.partition, report.offset][
                "inventory_id"
            ]
            for report in reports
        } == {(Topic.INVENTORY, f"i{number}", None): f"i{number}" for number in range(50)}

    def test_events_of_one_store_stay_in_order_in_one_partition(self, bench: Bench) -> None:
        with bench.open() as publisher:
            for number in range(300):
                store = str(number % 3)
                publisher.publish(Topic.INVENTORY, update(store_id=store, sequence=number))
        for store in "012":
            mine = [raw for raw in bench.records(Topic.INVENTORY) if raw.key == store.encode()]
            assert len({raw.partition for raw in mine}) == 1
            decoded = [CODEC.decode(Topic.INVENTORY, raw.value).record for raw in mine]
            assert [event["sequence"] for event in decoded] == list(range(int(store), 300, 3))

    def test_a_bad_event_is_refused_and_counted_and_nothing_of_it_is_sent(
        self, bench: Bench
    ) -> None:
        reports: list[Delivery] = []
        with bench.open() as publisher:
            with pytest.raises(ContractError, match="field 'quantity' is 'two'"):
                publisher.publish(Topic.SALES, sale(quantity="two"), on_delivery=reports.append)
            with pytest.raises(ContractError, match="field 'quantity' is"):
                publisher.publish(Topic.SALES, sale(quantity=2**31))
            with pytest.raises(ContractError, match="field 'reason' is 'lost'"):
                publisher.publish(Topic.INVENTORY, update(reason="lost"))
            publisher.publish(Topic.SALES, sale(quantity=7))
            publisher.flush()
            assert publisher.stats.rejected == {
                (Topic.SALES, "quantity"): 2,
                (Topic.INVENTORY, "reason"): 1,
            }
            assert (publisher.stats.sent, publisher.stats.acknowledged) == (1, 1)
        assert reports == []
        assert [event["quantity"] for event in bench.events(Topic.SALES)] == [7]
        assert bench.records(Topic.INVENTORY) == []

    def test_a_customer_leaves_only_as_a_pseudonym(self, bench: Bench) -> None:
        already = pseudonym(CUSTOMER_KEY, "2375")
        with bench.open() as publisher:
            publisher.publish(Topic.SALES, sale(customer_id="2375"))
            publisher.publish(Topic.SALES, sale(customer_id=already))
            publisher.publish(Topic.SALES, sale(customer_id=None))
        stored = [event["customer_id"] for event in bench.events(Topic.SALES)]
        assert stored == [already, already, None]
        assert is_pseudonym(already)
        assert not any(b"2375" in (raw.value or b"") for raw in bench.records(Topic.SALES))

    @pytest.mark.parametrize("wrong", ["", "  ", "x" * 257, 2375, "\ud800"])
    def test_hashing_does_not_hide_a_wrong_customer_id(self, bench: Bench, wrong: object) -> None:
        with bench.open() as publisher:
            with pytest.raises(ContractError, match="field 'customer_id'"):
                publisher.publish(Topic.SALES, sale(customer_id=wrong))
            assert publisher.stats.rejected == {(Topic.SALES, "customer_id"): 1}

    def test_the_callers_record_is_not_changed(self, bench: Bench) -> None:
        event = sale(customer_id="2375")
        with bench.open() as publisher:
            publisher.publish(Topic.SALES, event)
        assert event == sale(customer_id="2375")

    def test_tills_of_both_generations_share_a_topic(self, bench: Bench) -> None:
        with bench.open() as publisher:
            publisher.publish(Topic.SALES, old_sale(), version=1)
            publisher.publish(Topic.SALES, sale())
        decoded = [CODEC.decode(Topic.SALES, raw.value) for raw in bench.records(Topic.SALES)]
        assert [event.schema.version for event in decoded] == [1, 2]
        assert [event.record["line_number"] for event in decoded] == [0, 3]

    def test_leaving_the_context_flushes_even_on_an_interrupt(self, bench: Bench) -> None:
        with pytest.raises(KeyboardInterrupt), bench.open() as publisher:
            for number in range(200):
                publisher.publish(Topic.SALES, sale(line_number=number))
            raise KeyboardInterrupt
        assert [event["line_number"] for event in bench.events(Topic.SALES)] == list(range(200))

    def test_a_closed_publisher_refuses_and_closes_twice(self, bench: Bench) -> None:
        publisher = bench.open()
        publisher.close()
        publisher.close()
        with pytest.raises(ServiceError, match="the publisher is closed"):
            publisher.publish(Topic.SALES, sale())
        assert bench.records(Topic.SALES) == []

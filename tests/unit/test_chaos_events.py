"""The events of chaos: the same again from their number, and where a producer goes on."""

from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest

from simulators.ledger import Ledger
from tillstream.chaos.events import Event, EventSource, Poison
from tillstream.chaos.fleet import acknowledged_in, resume_at
from tillstream.contracts.catalogue import load_catalogue
from tillstream.contracts.codec import Codec
from tillstream.contracts.topics import Topic

CODEC = Codec(load_catalogue())
EPOCH_MS = 1_700_000_000_000


def source(*, seed: int = 1, producer: int = 0) -> EventSource:
    return EventSource(seed, producer, EPOCH_MS, 1_000.0, CODEC)


def test_a_number_always_gives_the_same_event() -> None:
    first = [source().slot(number) for number in range(3_000)]
    assert first == [source().slot(number) for number in range(3_000)]
    assert first != [source(seed=2).slot(number) for number in range(3_000)]


def test_half_are_sales_and_the_shares_of_trouble_are_as_promised() -> None:
    slots = [source().slot(number) for number in range(100_000)]
    events = [slot for slot in slots if isinstance(slot, Event)]
    kinds = Counter(event.topic for event in events)
    assert abs(kinds[Topic.SALES] - kinds[Topic.INVENTORY]) < 500
    assert 20 < len(slots) - len(events) < 90
    copies = sum(count - 1 for count in Counter(event.identity for event in events).values())
    assert 350 < copies < 650
    late = [
        number
        for number, slot in enumerate(slots)
        if isinstance(slot, Event) and slot.record["timestamp"] < EPOCH_MS + number - 86_400_000
    ]
    assert 40 < len(late) < 140


def test_an_event_sent_again_has_other_figures_and_the_same_store() -> None:
    events = [one for n in range(20_000) if isinstance(one := source().slot(n), Event)]
    seen: dict[str, Event] = {}
    copies = 0
    for event in events:
        first = seen.setdefault(event.identity, event)
        if first is not event:
            copies += 1
            assert first.topic == event.topic
            assert first.record["store_id"] == event.record["store_id"]
            assert first.record != event.record
    assert copies > 50


def test_every_event_fits_its_contract() -> None:
    for number in range(5_000):
        slot = source().slot(number)
        if isinstance(slot, Event):
            assert CODEC.encode(slot.topic, slot.record)
        else:
            assert isinstance(slot, Poison)


def test_money_has_two_decimals() -> None:
    amounts = {
        slot.record["line_amount"].as_tuple().exponent
        for number in range(2_000)
        if isinstance(slot := source().slot(number), Event)
        and isinstance(slot.record.get("line_amount"), Decimal)
    }
    assert amounts == {-2}


def test_what_is_due_follows_the_clock() -> None:
    assert source().due(EPOCH_MS - 5) == 0
    assert source().due(EPOCH_MS + 1_500) == 1_500


@pytest.mark.parametrize("missing", [0, 7, 40])
def test_a_producer_goes_on_at_the_first_event_that_is_not_known_to_be_stored(
    missing: int, tmp_path: Path
) -> None:
    path = tmp_path / "one.jsonl"
    with Ledger.create(path) as ledger:
        for number in range(100, 160):
            slot = source().slot(number)
            assert isinstance(slot, Event)
            ledger.attempted(slot.topic, slot.identity)
            if number != 100 + missing:
                ledger.acknowledged(slot.topic, slot.identity, 0, number)
    assert resume_at(source(), 100, acknowledged_in(path)) == 100 + missing


def test_a_producer_that_never_wrote_begins_where_it_began(tmp_path: Path) -> None:
    assert resume_at(source(), 100, acknowledged_in(tmp_path / "none.jsonl")) == 100

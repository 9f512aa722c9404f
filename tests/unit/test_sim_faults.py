"""Faults on the way, and the manifest of them."""

from collections import Counter
from typing import Any

import numpy as np
import pytest

from simulators.world.faults import EXPECTED, FIRST_REFUSED, Fault
from simulators.world.messages import Messages, all_of
from simulators.world.preview import messages_of
from simulators.world.scenario import Faults, load_scenario
from simulators.world.world import World, make_world
from tillstream.contracts.catalogue import load_catalogue
from tillstream.contracts.codec import Codec
from tillstream.contracts.identity import event_identity
from tillstream.contracts.topics import SOURCE_TOPICS
from tillstream.errors import ContractError

CODEC = Codec(load_catalogue())


def world_of(faults: Faults, **fields: Any) -> World:
    scenario = load_scenario("quiet-tuesday").model_copy(
        update={"stores": 6, "products": 300, "rate": 20.0, "minutes": 960.0, "faults": faults}
        | fields
    )
    return make_world(scenario, start_ms=scenario.start_ms(0))


def sent(world: World) -> Messages:
    """All messages of a run, in the order they were sent."""
    return all_of(list(messages_of(world, load_catalogue(), b"key")))


def of_kind(messages: Messages, *kinds: Fault) -> Messages:
    return messages.take(np.flatnonzero(np.isin(messages.fault, kinds)))


def records(messages: Messages) -> list[dict[str, Any]]:
    rows = zip(messages.topic, messages.value, strict=True)
    return [CODEC.decode(SOURCE_TOPICS[topic], value).record for topic, value in rows]


def test_a_copy_is_the_same_bytes_and_comes_after_its_original() -> None:
    messages = sent(world_of(Faults(duplicates=0.05, reordered=0.1, late=0.2, resent=0.3)))
    first: dict[tuple[int, bytes], tuple[int, bytes]] = {}
    copies = Counter[str]()
    for row in range(len(messages)):
        key = (int(messages.topic[row]), bytes(messages.identity[row]))
        fault = Fault(int(messages.fault[row]))
        if fault in (Fault.DUPLICATE, Fault.RESENT):
            at, value = first[key]
            assert value == messages.value[row]
            assert at < row
            copies[fault.name] += 1
        else:
            assert key not in first
            first[key] = (row, messages.value[row])
    assert copies["DUPLICATE"] > 50
    assert copies["RESENT"] > 50


def test_messages_are_sent_in_the_order_they_are_due() -> None:
    messages = sent(world_of(Faults(reordered=0.2, late=0.2)))
    assert (np.diff(messages.due_ms) >= 0).all()
    # Reordered and late ones really do come out of order.
    assert (np.diff(messages.at_ms) < 0).any()
    late = of_kind(messages, Fault.LATE)
    assert len(late) > 50
    assert (late.due_ms - late.at_ms).min() >= 30 * 60_000


def test_broken_bytes_are_no_event() -> None:
    messages = sent(world_of(Faults(corrupted=0.05)))
    broken = of_kind(messages, *(f for f in Fault if f > Fault.CLOCK_RESET))
    assert set(broken.fault.tolist()) == {9, 10, 11, 12}
    for topic, value in zip(broken.topic, broken.value, strict=True):
        with pytest.raises(ContractError):
            CODEC.decode(SOURCE_TOPICS[topic], value)
    records(messages.take(np.flatnonzero(messages.fault == 0)))


def test_clocks_are_wrong_by_little_or_by_decades() -> None:
    messages = sent(world_of(Faults(clock_wrong=0.4)))
    kinds = (Fault.CLOCK_SLOW, Fault.CLOCK_AHEAD, Fault.CLOCK_RESET)
    for kind in kinds:
        wrong = of_kind(messages, kind)
        assert len(wrong), kind
        for record, at_ms in zip(records(wrong), wrong.at_ms, strict=True):
            off = record["timestamp"] - at_ms
            if kind is Fault.CLOCK_SLOW:
                assert off == -7 * 60_000
            elif kind is Fault.CLOCK_AHEAD:
                assert off > 50 * 365 * 86_400_000
            else:
                assert 0 <= record["timestamp"] < 86_400_000


def test_old_tills_send_the_old_schema_and_have_no_identities() -> None:
    messages = sent(world_of(Faults(old_tills=0.5)))
    old = of_kind(messages, Fault.OLD_SCHEMA)
    assert 0 < len(old) < len(messages) / 2
    for topic_at, identity, value in zip(old.topic, old.identity, old.value, strict=True):
        topic = SOURCE_TOPICS[topic_at]
        decoded = CODEC.decode(topic, value)
        assert decoded.schema.version == 1
        assert decoded.record["event_id"] is None
        assert event_identity(topic, decoded.record) == identity.decode()
    assert len(set(old.identity.tolist())) == len(old)


def test_a_store_that_was_offline_sends_everything_in_order_when_it_is_back() -> None:
    scenario = load_scenario("store-offline").model_copy(
        update={"stores": 10, "products": 300, "faults": "none"}
    )
    world = make_world(scenario, start_ms=scenario.start_ms(0))
    messages = sent(world)
    began = world.start_ms + 240 * 60_000
    ended = began + 120 * 60_000
    late = of_kind(messages, Fault.LATE)
    assert set(late.store.tolist()) < set(range(10))
    assert ((late.at_ms >= began) & (late.at_ms < ended)).all()
    assert late.due_ms.min() >= ended
    for store in set(late.store.tolist()):
        here = messages.take(np.flatnonzero(messages.store == store))
        outage = (here.due_ms >= began) & (here.due_ms < ended)
        assert not outage.any()
        own = late.take(np.flatnonzero(late.store == store))
        assert (np.diff(own.at_ms) >= 0).all()


def test_no_faults_means_none() -> None:
    messages = sent(world_of(Faults()))
    assert (messages.fault == 0).all()
    assert (messages.due_ms == messages.at_ms).all()


def test_every_fault_has_its_place() -> None:
    assert set(EXPECTED) == set(Fault) - {Fault.NONE}
    refused = {fault for fault in Fault if fault >= FIRST_REFUSED}
    assert {f for f, place in EXPECTED.items() if place not in ("counted", "duplicate")} == refused

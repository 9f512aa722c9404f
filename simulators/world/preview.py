"""The events of a scenario without Kafka: for people, and for tests."""

from collections.abc import Iterator
from typing import Any

from simulators.world.chain import Chain
from simulators.world.faults import Fault, Mishaps
from simulators.world.messages import Messages, Writer, all_of
from simulators.world.scenario import Scenario
from simulators.world.world import World, make_world
from tillstream.contracts.catalogue import Catalogue
from tillstream.contracts.codec import Codec
from tillstream.contracts.topics import SOURCE_TOPICS
from tillstream.errors import ContractError


def messages_of(
    world: World, catalogue: Catalogue, customer_key: bytes, *, chain: Chain | None = None
) -> Iterator[Messages]:
    """Every message of a run, in the order they would be sent."""
    writer = Writer(catalogue, world.run_tag, world.start_ms, world.slot_ms, customer_key)
    mishaps = Mishaps(world, writer)
    chain = chain or Chain(world, world.stores)
    waiting = Messages.none()
    starts = range(world.start_ms, world.end_ms, world.slot_ms)
    for start_ms, events in zip(starts, chain.slots(), strict=True):
        waiting = all_of([waiting, mishaps.messages(events, start_ms)]).by_due()
        due = int((waiting.due_ms < start_ms + world.slot_ms).sum())
        yield waiting.between(0, due)
        waiting = waiting.between(due, None)
    yield waiting


def preview(
    scenario: Scenario, start_ms: int, catalogue: Catalogue, customer_key: bytes
) -> Iterator[dict[str, Any]]:
    """Each message as its topic, the event as it would be decoded (or, when its bytes are broken,
    why not), and what is wrong with it, if anything."""
    codec = Codec(catalogue)
    world = make_world(scenario, start_ms=start_ms)
    for messages in messages_of(world, catalogue, customer_key):
        rows = zip(messages.topic.tolist(), messages.fault.tolist(), messages.value, strict=True)
        for topic_at, fault, value in rows:
            topic = SOURCE_TOPICS[topic_at]
            row: dict[str, Any] = {"topic": topic.value}
            try:
                row["event"] = codec.decode(topic, value).record
            except ContractError as exc:
                row["undecodable"] = str(exc)
            if fault:
                row["fault"] = Fault(fault).name.lower()
            yield row

"""The Python types say what the .avsc files say."""

from decimal import Decimal
from typing import Any, Literal, get_args, get_type_hints

import pytest

from tests.contracts_suite.events import EVENTS
from tillstream.contracts.catalogue import load_catalogue
from tillstream.contracts.events import EVENT_TYPES, record_key
from tillstream.contracts.topics import TOPIC_SPECS, Topic

CATALOGUE = load_catalogue()


def python_type(avro: Any) -> Any:
    if isinstance(avro, list):
        (inner,) = [branch for branch in avro if branch != "null"]
        return python_type(inner) | None
    if isinstance(avro, dict):
        if avro["type"] == "enum":
            return Literal[tuple(avro["symbols"])]
        return Decimal if avro.get("logicalType") == "decimal" else python_type(avro["type"])
    return {"string": str, "int": int, "long": int, "double": float, "bytes": bytes}[avro]


@pytest.mark.parametrize("topic", list(Topic))
def test_a_typed_dict_matches_its_newest_schema(topic: Topic) -> None:
    fields = CATALOGUE.latest(topic).schema["fields"]
    event: Any = EVENT_TYPES[topic]
    assert get_type_hints(event) == {f["name"]: python_type(f["type"]) for f in fields}
    assert event.__required_keys__ == {f["name"] for f in fields if "default" not in f}
    assert event.__name__ == CATALOGUE.latest(topic).schema["name"]


def test_every_topic_has_a_layout_a_schema_and_a_type() -> None:
    assert set(TOPIC_SPECS) == set(EVENT_TYPES) == {ref.topic for ref in CATALOGUE} == set(Topic)


def test_keys_are_as_designed() -> None:
    assert {topic.value: record_key(topic, EVENTS[topic]) for topic in Topic} == {
        "retail-sales-transactions": "304",
        "retail-inventory-updates": "304",
        "retail-price-changes": "304",
        "retail-customer-events": "304",
        "retail-restock-alerts": "304:1095275",
        "retail-alert-actions": "al-1",
        "retail-events-quarantine": "retail-sales-transactions",
    }


def test_literals_are_not_empty() -> None:
    hints = get_type_hints(EVENT_TYPES[Topic.INVENTORY])
    assert len(get_args(hints["reason"])) == 8

"""Schema evolution: what we checked in may be deployed in any order."""

import copy
import io
from collections.abc import Callable
from typing import Any

import pytest
from fastavro import parse_schema, schemaless_reader, schemaless_writer
from fastavro.utils import generate_many

from tillstream.contracts.catalogue import SchemaRef, load_catalogue
from tillstream.contracts.compat import check
from tillstream.contracts.topics import Topic

CATALOGUE = load_catalogue()
PAIRS = [
    pytest.param(reader, writer, id=f"{topic}: v{reader.version} reads v{writer.version}")
    for topic in Topic
    for reader in CATALOGUE.versions(topic)
    for writer in CATALOGUE.versions(topic)
]


@pytest.mark.parametrize(("reader", "writer"), PAIRS)
def test_every_version_reads_every_other(reader: SchemaRef, writer: SchemaRef) -> None:
    assert check(reader.schema, writer.schema) == []
    read_as, written_as = parse_schema(reader.schema), parse_schema(writer.schema)
    for record in generate_many(written_as, 10):
        buffer = io.BytesIO()
        schemaless_writer(buffer, written_as, record)
        buffer.seek(0)
        read = schemaless_reader(buffer, written_as, read_as)
        assert isinstance(read, dict)
        assert set(read) == {field["name"] for field in reader.schema["fields"]}


def field(schema: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(f for f in schema["fields"] if f["name"] == name)
    return found


def drop_symbol(schema: dict[str, Any]) -> None:
    field(schema, "reason")["type"]["symbols"].remove("shrinkage")


def add_without_default(schema: dict[str, Any]) -> None:
    schema["fields"].append({"name": "colour", "type": "string"})


def retype(schema: dict[str, Any]) -> None:
    field(schema, "quantity_change")["type"] = "string"


def narrow(schema: dict[str, Any]) -> None:
    field(schema, "sequence")["type"] = ["null", "int"]


def require(schema: dict[str, Any]) -> None:
    field(schema, "sequence")["type"] = "long"


def rename(schema: dict[str, Any]) -> None:
    schema["name"] = "StockMovement"


def forget_time(schema: dict[str, Any]) -> None:
    field(schema, "timestamp")["type"] = "long"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (drop_symbol, "InventoryUpdate.reason: reader lacks the symbols shrinkage"),
        (
            add_without_default,
            "InventoryUpdate.colour: the writer has no such field and the reader has no default",
        ),
        (retype, "InventoryUpdate.quantity_change: written as int, read as string"),
        (narrow, "InventoryUpdate.sequence: written as long, which none of null, int can read"),
        (require, "InventoryUpdate.sequence: written as null, read as long"),
        (rename, "StockMovement: written as InventoryUpdate, read as StockMovement"),
        (
            forget_time,
            "InventoryUpdate.timestamp: written with logicalType timestamp-millis, read with None",
        ),
    ],
)
def test_a_breaking_change_is_found(change: Callable[[dict[str, Any]], None], said: str) -> None:
    old = CATALOGUE.latest(Topic.INVENTORY).schema
    new = copy.deepcopy(old)
    change(new)
    assert [problem[: len(said)] for problem in check(new, old)] == [said]


@pytest.mark.parametrize(("key", "value"), [("scale", 2), ("precision", 9)])
def test_money_may_not_change_its_meaning(key: str, value: int) -> None:
    old = CATALOGUE.latest(Topic.PRICES).schema
    new = copy.deepcopy(old)
    field(new, "new_price")["type"][key] = value
    (problem,) = check(new, old)
    assert problem.startswith(f"PriceChange.new_price: written with {key} ")


def test_a_reader_may_be_wider_than_its_writer() -> None:
    old = CATALOGUE.latest(Topic.INVENTORY).schema
    new = copy.deepcopy(old)
    field(new, "new_quantity")["type"] = "long"
    field(new, "reason")["type"]["symbols"].append("theft")
    assert check(new, old) == []
    assert check(old, new) != []

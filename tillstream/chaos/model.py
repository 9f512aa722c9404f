"""What must be stored, worked out a second time: from Kafka's own records, with plain Python.

Nothing of the stream is used here, so that a mistake there is not made again when judging it. It
knows the two kinds of event that chaos sends, and the rules that its poison breaks.
"""

import io
import json
import struct
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

from fastavro import parse_schema, schemaless_reader

from tillstream.chaos.witness import Place, Seen

SALES, INVENTORY = "retail-sales-transactions", "retail-inventory-updates"
_FUTURE_MS = 300_000
_OLDEST_MS = int(datetime(2000, 1, 1, tzinfo=UTC).timestamp() * 1000)
_MOST_UNITS = 10_000_000
_WINDOW_S = 300
_AVRO = files("tillstream.contracts") / "avro"

# (store, product, window start in seconds)
Window = tuple[str, str, int]
Shelf = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Expected:
    """Every record in exactly one of the first four, by its place; money in ten-thousandths.

    sales: (identity, store, product, quantity, revenue, event ms, arrival ms)
    moves: (identity, store, product, on hand, change, sequence, event ms, arrival ms)
    duplicates: (identity, place of the one that counts); quarantine: reason
    windows: (units, revenue, lines); stock: on hand
    """

    sales: dict[Place, tuple[Any, ...]] = field(default_factory=dict)
    moves: dict[Place, tuple[Any, ...]] = field(default_factory=dict)
    duplicates: dict[Place, tuple[str, Place]] = field(default_factory=dict)
    quarantine: dict[Place, str] = field(default_factory=dict)
    windows: dict[Window, tuple[int, int, int]] = field(default_factory=dict)
    stock: dict[Shelf, int] = field(default_factory=dict)


def expect(records: Iterable[Seen], *, counted: Collection[Place]) -> Expected:
    """The state that `records` must lead to. They come with a topic's older incarnations first.

    The first of an identity counts: in its partition by offset, in an older incarnation before a
    newer one. Partitions of one incarnation have no common order, and an identity is in several
    only when partitions were added meanwhile: then it is the one in `counted`, if just one is.
    """
    result = Expected()
    kinds = _readers()
    by_identity: defaultdict[tuple[str, str, str], list[tuple[Seen, dict[str, Any]]]]
    by_identity = defaultdict(list)
    for seen in records:
        event = _event(seen, kinds)
        if isinstance(event, str):
            result.quarantine[seen.place] = event
        else:
            by_identity[seen.topic, event["store_id"], event["identity"]].append((seen, event))
    for (_, _, identity), rivals in by_identity.items():
        winner, event = _first(rivals, counted)
        for seen, _ in rivals:
            if seen is not winner:
                result.duplicates[seen.place] = (identity, winner.place)
        (_add_sale if winner.topic == SALES else _add_move)(result, winner, event)
    _stock(result)
    return result


def _first(
    rivals: list[tuple[Seen, dict[str, Any]]], counted: Collection[Place]
) -> tuple[Seen, dict[str, Any]]:
    oldest = rivals[0][0].topic_id
    heads: dict[int, tuple[Seen, dict[str, Any]]] = {}
    for rival in rivals:
        seen = rival[0]
        if seen.topic_id == oldest and (
            seen.partition not in heads or seen.offset < heads[seen.partition][0].offset
        ):
            heads[seen.partition] = rival
    chosen = [rival for rival in heads.values() if rival[0].place in counted]
    if len(heads) > 1 and len(chosen) == 1:
        return chosen[0]
    return min(heads.values(), key=lambda rival: (rival[0].arrival_ms, rival[0].partition))


def _add_sale(result: Expected, seen: Seen, event: dict[str, Any]) -> None:
    at_ms, units = event["timestamp"], event["quantity"]
    amount = event["line_amount"]
    revenue = units * event["unit_price"] if amount is None else amount
    shelf = (event["store_id"], event["product_id"])
    result.sales[seen.place] = (event["identity"], *shelf, units, revenue, at_ms, seen.arrival_ms)
    window = (*shelf, at_ms // 1000 // _WINDOW_S * _WINDOW_S)
    before = result.windows.get(window, (0, 0, 0))
    result.windows[window] = (before[0] + units, before[1] + revenue, before[2] + 1)


def _add_move(result: Expected, seen: Seen, event: dict[str, Any]) -> None:
    result.moves[seen.place] = (
        event["identity"],
        event["store_id"],
        event["product_id"],
        event["new_quantity"],
        event["quantity_change"],
        event["sequence"] or 0,
        event["timestamp"],
        seen.arrival_ms,
    )


def _stock(result: Expected) -> None:
    newest: dict[Shelf, tuple[tuple[int, int, int], int]] = {}
    for place, (_, store, product, on_hand, _, sequence, at_ms, _) in result.moves.items():
        rank = (sequence, at_ms, place[2])
        if (store, product) not in newest or rank > newest[store, product][0]:
            newest[store, product] = (rank, on_hand)
    result.stock.update({shelf: on_hand for shelf, (_, on_hand) in newest.items()})


def _event(seen: Seen, kinds: dict[tuple[str, int], Any]) -> dict[str, Any] | str:
    """The decoded event with its `identity`, or the reason why it must be refused."""
    value = seen.value
    if not value:
        return "empty_value"
    if value[0] != 0:
        return "bad_magic_byte"
    if len(value) < 5:
        return "undecodable"
    schema = kinds.get((seen.topic, struct.unpack_from(">I", value, 1)[0]))
    if schema is None:
        return "unknown_schema_id"
    if not (seen.key or b"").strip():
        return "blank_key"
    try:
        event = schemaless_reader(io.BytesIO(value[5:]), *schema)
    except (EOFError, IndexError, ValueError, UnicodeDecodeError):
        return "undecodable"
    assert isinstance(event, dict)
    if seen.key != event["store_id"].encode():
        return "key_mismatch"
    for name in ("quantity", "new_quantity", "quantity_change"):
        if abs(event.get(name, 0)) > _MOST_UNITS:
            return "impossible_quantity"
    if event["timestamp"] > seen.arrival_ms + _FUTURE_MS:
        return "future_timestamp"
    if event["timestamp"] < _OLDEST_MS:
        return "ancient_timestamp"
    for name in ("unit_price", "line_amount"):
        if event.get(name) is not None:
            event[name] = int.from_bytes(event[name], "big", signed=True)
    if seen.topic == SALES:
        line = f"{event['transaction_id']}:{event['product_id']}:{event['line_number']}"
        event["identity"] = line if event["event_id"] is None else event["event_id"]
    else:
        event["identity"] = event["inventory_id"]
    return event


def _readers() -> dict[tuple[str, int], Any]:
    """(topic, schema id) -> writer's and newest schema, in bare types: an amount stays the unscaled
    bytes it is, a time its milliseconds."""
    entries = json.loads((_AVRO / "catalog.json").read_text(encoding="utf-8"))
    bare = {
        entry["id"]: parse_schema(_bare(json.loads((_AVRO / entry["file"]).read_text("utf-8"))))
        for entry in entries
    }
    newest: dict[str, Any] = {}
    for entry in sorted(entries, key=lambda entry: entry["version"]):
        newest[entry["topic"]] = bare[entry["id"]]
    return {
        (entry["topic"], entry["id"]): (bare[entry["id"]], newest[entry["topic"]])
        for entry in entries
        if entry["topic"] in (SALES, INVENTORY)
    }


def _bare(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_bare(one) for one in schema]
    if isinstance(schema, dict):
        return {name: _bare(one) for name, one in schema.items() if name != "logicalType"}
    return schema

"""`tillstream tail`: what is in a topic, decoded."""

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from tillstream.cli.output import console
from tillstream.contracts.topics import Topic
from tillstream.errors import ConfigError, ContractError
from tillstream.settings import Settings

if TYPE_CHECKING:  # the Kafka and Avro libraries would slow down every other command's start
    from producers.records import RawRecord
    from tillstream.contracts.codec import Codec

ALIASES: dict[str, Topic] = {
    "sales": Topic.SALES,
    "inventory": Topic.INVENTORY,
    "prices": Topic.PRICES,
    "customers": Topic.CUSTOMERS,
    "alerts": Topic.ALERTS,
    "actions": Topic.ALERT_ACTIONS,
    "quarantine": Topic.QUARANTINE,
}

_LAST = 10
_SHOWN_BYTES = 32
_TIMES = frozenset({"timestamp", "effective_from", "effective_to", "arrival"})


def register(app: typer.Typer) -> None:
    app.command(
        "tail",
        epilog="Examples: tillstream tail sales -n 20 | tillstream tail alerts --follow"
        " | tillstream tail sales --json --from-beginning | jq .event.line_amount",
    )(tail)


def tail(
    ctx: typer.Context,
    topic: Annotated[
        str,
        typer.Argument(
            help="sales, inventory, prices, customers, alerts, actions,"
            " quarantine, or a topic's full name"
        ),
    ],
    count: Annotated[
        int | None,
        typer.Option("-n", "--lines", min=0, help=f"How many events; {_LAST} unless told"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line")] = False,
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="Start at the oldest event")
    ] = False,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Wait for new events")] = False,
    partition: Annotated[int | None, typer.Option(min=0, help="Only this partition")] = None,
    offset: Annotated[
        int | None, typer.Option(min=0, help="Start at this offset, which needs --partition")
    ] = None,
) -> None:
    """Show the last events of a topic, decoded, newest last.

    An event that cannot be decoded is shown with the reason and its first bytes.
    """
    from tillstream.contracts.catalogue import load_catalogue
    from tillstream.contracts.codec import Codec

    settings: Settings = ctx.obj
    chosen = resolve_topic(topic)
    if offset is not None and partition is None:
        raise ConfigError("--offset is a place in one partition", hint="add --partition")
    if offset is not None and from_beginning:
        raise ConfigError("--offset and --from-beginning are two different starts; give one")
    codec = Codec(load_catalogue(settings.registry))
    start = 0 if from_beginning else offset
    for raw in _select(settings, chosen, count, start=start, follow=follow, partition=partition):
        if as_json:
            sys.stdout.write(json.dumps(as_document(codec, raw), default=_plain) + "\n")
            sys.stdout.flush()
        else:
            console.print(as_line(codec, raw), soft_wrap=True)


def resolve_topic(name: str) -> Topic:
    """A topic by its full name or its alias. Raises ConfigError listing them all."""
    if name in ALIASES:
        return ALIASES[name]
    try:
        return Topic(name)
    except ValueError as exc:
        known = ", ".join(f"{alias} ({topic})" for alias, topic in ALIASES.items())
        raise ConfigError(f"unknown topic {name!r}", hint=f"one of {known}") from exc


def as_document(codec: "Codec", raw: "RawRecord") -> dict[str, Any]:
    """One record as JSON: where it is, and either its event or why it cannot be decoded."""
    document: dict[str, Any] = {
        "topic": raw.topic,
        "partition": raw.partition,
        "offset": raw.offset,
        "arrival": raw.timestamp_ms,
        "key": None if raw.key is None else raw.key.decode("utf-8", "backslashreplace"),
    }
    try:
        decoded = codec.decode(Topic(raw.topic), raw.value)
    except ContractError as exc:
        return document | {"error": str(exc), "bytes": _first_bytes(raw)}
    return document | {"version": decoded.schema.version, "event": decoded.record}


def as_line(codec: "Codec", raw: "RawRecord") -> str:
    """One record as a line of Rich markup."""
    document = as_document(codec, raw)
    where = f"[dim]{_time(raw.timestamp_ms)} {raw.partition}:{raw.offset}[/]"
    if "error" in document:
        size = len(raw.value or b"")
        return (
            f"{where} [bold red]cannot be decoded:[/] {escape(document['error'])}"
            f" [dim]({size} bytes: {document['bytes'] or 'none'})[/]"
        )
    fields = " ".join(
        f"[dim]{name}=[/]{escape(_text(name, value))}"
        for name, value in document["event"].items()
        if value is not None
    )
    return f"{where} {fields}"


def _select(
    settings: Settings,
    topic: Topic,
    count: int | None,
    *,
    start: int | None,
    follow: bool,
    partition: int | None,
) -> "Iterator[RawRecord]":
    from producers.reader import read_records
    from producers.topics import TopicInspector

    kafka = settings.kafka
    if start is not None:
        records = read_records(kafka, topic.value, partition=partition, start=start, follow=follow)
        yield from islice(records, count)
        return
    with TopicInspector(kafka) as inspector:
        ends = {number: end for (_, number), (_, end) in inspector.offset_ranges([topic]).items()}
    last = _LAST if count is None else count
    history = read_records(kafka, topic.value, partition=partition, start=-last) if last else ()
    # What arrives while the history is read belongs to what is followed, or it would show twice.
    old = [raw for raw in history if raw.offset < ends.get(raw.partition, 0)]
    yield from sorted(old, key=lambda raw: (raw.timestamp_ms, raw.partition, raw.offset))[-last:]
    if follow:
        yield from read_records(kafka, topic.value, partition=partition, start=ends, follow=True)


def _first_bytes(raw: "RawRecord") -> str:
    return (raw.value or b"")[:_SHOWN_BYTES].hex(" ")


def _time(at_ms: int) -> str:
    at = datetime.fromtimestamp(at_ms / 1000, UTC)
    return at.strftime("%Y-%m-%d %H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def _text(name: str, value: Any) -> str:
    if isinstance(value, bytes):
        shown = value[:_SHOWN_BYTES].hex(" ")
        return shown + (f" … ({len(value)} bytes)" if len(value) > _SHOWN_BYTES else "")
    if name in _TIMES:
        return _time(value)
    text = str(value)
    # Control characters of a hostile event must not reach the terminal.
    return text if text.isprintable() else ascii(text)[1:-1]


def _plain(value: Any) -> str:
    """What JSON has no type for: money as its exact digits, bytes in hex."""
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, bytes):
        return value.hex()
    raise TypeError(f"{type(value).__name__} has no form in JSON")

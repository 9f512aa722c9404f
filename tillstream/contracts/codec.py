"""Events to bytes and back, in the Confluent wire format: 0x00, schema id, Avro datum."""

import io
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastavro import parse_schema, schemaless_reader, schemaless_writer
from fastavro.read import SchemaResolutionError
from fastavro.types import Schema

from tillstream.contracts.catalogue import Catalogue, SchemaRef
from tillstream.contracts.fields import (
    FIRST_MS,
    LAST_MS,
    MAX_ID_CHARS,
    Check,
    Rejected,
    compile_check,
    money_from_bytes,
)
from tillstream.contracts.topics import Topic
from tillstream.errors import ContractError

__all__ = ["MAX_ID_CHARS", "Codec", "Decoded", "FieldError"]

_MAGIC = 0
_HEADER = struct.Struct(">bI")
_ABSENT = object()
_SHOWN_CHARS = 80

# What fastavro raises on bytes that are no datum of the schema.
_UNREADABLE = (
    SchemaResolutionError,
    ValueError,
    LookupError,
    TypeError,
    OverflowError,
    MemoryError,
)


class FieldError(ContractError):
    """One field of an event does not fit its contract; `field` names it."""

    def __init__(self, message: str, *, field: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True, slots=True)
class Decoded:
    """An event and the schema it was written with. `record` has the fields of the topic's newest
    schema: money as Decimal, time as UTC milliseconds."""

    schema: SchemaRef
    record: dict[str, Any]


class Codec:
    """Encodes and decodes events of every topic in a catalogue. Immutable and thread-safe."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self._encoders: dict[tuple[Topic, int | None], _Encoder] = {}
        self._decoders: dict[int, _Decoder] = {}
        for ref in catalogue:
            encoder = _Encoder(ref)
            latest = catalogue.latest(ref.topic)
            self._encoders[ref.topic, ref.version] = encoder
            if ref is latest:
                self._encoders[ref.topic, None] = encoder
            self._decoders[ref.id] = _Decoder(ref, latest)

    def encode(
        self, topic: Topic, record: Mapping[str, Any], *, version: int | None = None
    ) -> bytes:
        """The event's bytes, in the topic's newest schema or in `version`.

        A field that has a default may be left out. Money is a Decimal, time is UTC milliseconds
        or a datetime with a time zone (cut to the millisecond). Raises FieldError, a ContractError,
        naming the first field that does not fit, its value and what is allowed.
        """
        encoder = self._encoders.get((topic, version))
        if encoder is None:
            raise ContractError(f"{topic}: there is no schema version {version}")
        return encoder.encode(record)

    def decode(self, topic: Topic, payload: bytes | None) -> Decoded:
        """The event in these bytes, resolved to the topic's newest schema.

        Raises ContractError saying what is wrong with the bytes; never anything else, whatever
        they are.
        """
        if not payload:
            raise ContractError(f"{topic}: empty value")
        if payload[0] != _MAGIC:
            raise ContractError(f"{topic}: wrong magic byte 0x{payload[0]:02x}, expected 0x00")
        if len(payload) < _HEADER.size:
            raise ContractError(
                f"{topic}: truncated: {len(payload)} bytes cannot hold the {_HEADER.size}-byte"
                " schema header"
            )
        schema_id: int = _HEADER.unpack_from(payload)[1]
        decoder = self._decoders.get(schema_id)
        if decoder is None:
            raise ContractError(f"{topic}: unknown schema id {schema_id}")
        if decoder.ref.topic != topic:
            raise ContractError(
                f"{topic}: schema id {schema_id} belongs to topic {decoder.ref.topic}"
            )
        return Decoded(decoder.ref, decoder.decode(payload))


class _Encoder:
    def __init__(self, ref: SchemaRef) -> None:
        self._topic = ref.topic
        self._header = _HEADER.pack(_MAGIC, ref.id)
        self._schema = parse_schema(_without_logical_types(ref.schema))
        self._fields: list[tuple[str, Check, Any]] = [
            (field["name"], compile_check(field["name"], field["type"]), _default(field))
            for field in ref.schema["fields"]
        ]

    def encode(self, record: Mapping[str, Any]) -> bytes:
        prepared: dict[str, Any] = {}
        left_out = 0
        get = record.get
        for name, check, default in self._fields:
            value = get(name, _ABSENT)
            if value is _ABSENT:
                left_out += 1
                if default is _ABSENT:
                    raise FieldError(
                        f"{self._topic}: field {name!r} is missing and has no default", field=name
                    )
                prepared[name] = default
                continue
            try:
                prepared[name] = check(value)
            except Rejected as exc:
                raise FieldError(
                    f"{self._topic}: field {name!r} is {_shown(value)}; allowed: {exc}", field=name
                ) from exc
        if len(record) + left_out != len(self._fields):
            unknown = next(name for name in record if name not in prepared)
            known = ", ".join(name for name, _, _ in self._fields)
            raise FieldError(
                f"{self._topic}: field {unknown!r} is unknown; allowed: {known}",
                field=str(unknown),
            )
        buffer = io.BytesIO()
        buffer.write(self._header)
        schemaless_writer(buffer, self._schema, prepared)
        return buffer.getvalue()


class _Decoder:
    def __init__(self, writer: SchemaRef, reader: SchemaRef) -> None:
        self.ref = writer
        self._writer = parse_schema(_without_logical_types(writer.schema))
        self._reader: Schema | None = None
        if reader is not writer:
            self._reader = parse_schema(_without_logical_types(reader.schema))
        logical = [(field["name"], _inner(field["type"])) for field in reader.schema["fields"]]
        self._money = [
            (name, inner["precision"], inner["scale"])
            for name, inner in logical
            if inner.get("logicalType") == "decimal"
        ]
        # fastavro reads any varint, so a whole number may come back wider than its Avro type.
        self._whole = [
            (name, FIRST_MS, LAST_MS, "UTC milliseconds in years 1 to 9999")
            for name, inner in logical
            if inner.get("logicalType") == "timestamp-millis"
        ] + [
            (name, -(2**31), 2**31 - 1, "a whole number of 32 bits")
            for name, inner in logical
            if inner["type"] == "int"
        ]

    def decode(self, payload: bytes) -> dict[str, Any]:
        buffer = io.BytesIO(payload)
        buffer.seek(_HEADER.size)
        where = f"{self.ref.topic}: schema id {self.ref.id}"
        try:
            record = schemaless_reader(buffer, self._writer, self._reader)
        except EOFError as exc:
            raise ContractError(f"{where}: truncated after {len(payload)} bytes") from exc
        except _UNREADABLE as exc:
            raise ContractError(f"{where}: not a {self.ref.schema['name']}: {exc}") from exc
        left = len(payload) - buffer.tell()
        if left:
            raise ContractError(f"{where}: {left} trailing bytes after the event")
        if not isinstance(record, dict):
            raise ContractError(f"{where}: not a record")
        name = ""
        try:
            for name, precision, scale in self._money:
                raw = record[name]
                if raw is not None:
                    record[name] = money_from_bytes(raw, precision=precision, scale=scale)
        except Rejected as exc:
            raise FieldError(
                f"{where}: field {name!r} is {_shown(raw)}; allowed: {exc}", field=name
            ) from exc
        for name, low, high, allowed in self._whole:
            number = record[name]
            if number is not None and not low <= number <= high:
                raise FieldError(
                    f"{where}: field {name!r} is {number}; allowed: {allowed}", field=name
                )
        return record


def _default(field: Mapping[str, Any]) -> Any:
    if "default" not in field:
        return _ABSENT
    value = field["default"]
    # Avro writes the default of bytes (and so of decimals) as text, one character a byte.
    return value.encode("latin-1") if _inner(field["type"])["type"] == "bytes" and value else value


def _inner(avro_type: Any) -> dict[str, Any]:
    """The type behind an optional null, as a JSON object."""
    if isinstance(avro_type, list):
        avro_type = next(branch for branch in avro_type if branch != "null")
    return avro_type if isinstance(avro_type, dict) else {"type": avro_type}


def _without_logical_types(schema: Any) -> Any:
    """The schema in bare Avro types: money and time are converted here, exactly, because fastavro
    rounds an oversized decimal and overflows on years it cannot hold."""
    if isinstance(schema, list):
        return [_without_logical_types(branch) for branch in schema]
    if not isinstance(schema, dict):
        return schema
    if "logicalType" in schema:
        return schema["type"]
    return {
        key: _without_logical_types(value) if key in ("type", "fields") else value
        for key, value in schema.items()
    }


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 1] + "…"

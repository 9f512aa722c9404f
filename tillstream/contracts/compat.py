"""May this reader read what that writer wrote? By Avro's schema resolution rules.

Checked: same kind of type (or one of Avro's promotions), record and enum names, a default for every
field the writer lacks, every enum symbol, every branch of a union, sizes of fixed types, items of
arrays and maps, and what Avro leaves to the application but would corrupt values here: logical
types, and the scale and precision of decimals. Aliases are not used by these contracts and not
followed. What the walk finds sound is then tried: fastavro resolves generated records of the writer
into the reader, and its refusal is a problem too.
"""

import io
from collections.abc import Iterator, Mapping
from typing import Any

from fastavro import parse_schema, schemaless_reader, schemaless_writer
from fastavro.read import SchemaResolutionError
from fastavro.utils import generate_many

_PROMOTIONS = {
    ("int", "long"),
    ("int", "float"),
    ("int", "double"),
    ("long", "float"),
    ("long", "double"),
    ("float", "double"),
    ("string", "bytes"),
    ("bytes", "string"),
}
_TRIED_RECORDS = 20


def check(reader_schema: Mapping[str, Any], writer_schema: Mapping[str, Any]) -> list[str]:
    """What stops a reader of `reader_schema` from reading data of `writer_schema`, each problem
    with the path of its field; empty when nothing does.

    BACKWARD compatibility is check(new, old), FORWARD is check(old, new).
    """
    problems = list(_compare(reader_schema, writer_schema, str(reader_schema.get("name", ""))))
    return problems or list(_try_to_read(reader_schema, writer_schema))


def _compare(reader: Any, writer: Any, path: str) -> Iterator[str]:
    if isinstance(writer, list):
        for branch in writer:
            yield from _compare(reader, branch, path)
        return
    if isinstance(reader, list):
        if all(any(_compare(branch, writer, path)) for branch in reader):
            names = ", ".join(_kind(branch) for branch in reader)
            yield f"{path}: written as {_kind(writer)}, which none of {names} can read"
        return
    read_as, written_as = _kind(reader), _kind(writer)
    if read_as != written_as and (written_as, read_as) not in _PROMOTIONS:
        yield f"{path}: written as {written_as}, read as {read_as}"
        return
    yield from _compare_logical(reader, writer, path)
    if not isinstance(reader, dict) or not isinstance(writer, dict):
        return
    match read_as:
        case "record":
            yield from _compare_records(reader, writer, path)
        case "enum":
            yield from _compare_names(reader, writer, path)
            missing = [s for s in writer["symbols"] if s not in reader["symbols"]]
            if missing and "default" not in reader:
                yield f"{path}: reader lacks the symbols {', '.join(missing)}"
        case "fixed":
            yield from _compare_names(reader, writer, path)
            if reader["size"] != writer["size"]:
                yield f"{path}: written with {writer['size']} bytes, read with {reader['size']}"
        case "array":
            yield from _compare(reader["items"], writer["items"], f"{path}[]")
        case "map":
            yield from _compare(reader["values"], writer["values"], f"{path}{{}}")


def _compare_records(
    reader: Mapping[str, Any], writer: Mapping[str, Any], path: str
) -> Iterator[str]:
    yield from _compare_names(reader, writer, path)
    written = {field["name"]: field for field in writer["fields"]}
    for field in reader["fields"]:
        where = f"{path}.{field['name']}"
        if field["name"] in written:
            yield from _compare(field["type"], written[field["name"]]["type"], where)
        elif "default" not in field:
            yield f"{where}: the writer has no such field and the reader has no default for it"


def _compare_names(
    reader: Mapping[str, Any], writer: Mapping[str, Any], path: str
) -> Iterator[str]:
    read_as, written_as = (str(schema["name"]).rpartition(".")[2] for schema in (reader, writer))
    if read_as != written_as:
        yield f"{path}: written as {written_as}, read as {read_as}"


def _compare_logical(reader: Any, writer: Any, path: str) -> Iterator[str]:
    for key in ("logicalType", "scale", "precision"):
        read_as, written_as = _attribute(reader, key), _attribute(writer, key)
        if read_as == written_as:
            continue
        if key == "precision" and read_as is not None and read_as >= (written_as or 0):
            continue  # a reader may allow more digits than were ever written
        yield f"{path}: written with {key} {written_as}, read with {read_as}"
        return


def _try_to_read(reader: Mapping[str, Any], writer: Mapping[str, Any]) -> Iterator[str]:
    parsed_reader, parsed_writer = parse_schema(dict(reader)), parse_schema(dict(writer))
    for record in generate_many(parsed_writer, _TRIED_RECORDS):
        buffer = io.BytesIO()
        schemaless_writer(buffer, parsed_writer, record)
        buffer.seek(0)
        try:
            schemaless_reader(buffer, parsed_writer, parsed_reader)
        except (SchemaResolutionError, ValueError, TypeError, LookupError, EOFError) as exc:
            yield f"{writer.get('name')}: fastavro cannot resolve it: {exc}"
            return


def _attribute(schema: Any, key: str) -> Any:
    return schema.get(key) if isinstance(schema, dict) else None


def _kind(schema: Any) -> str:
    return str(schema["type"]) if isinstance(schema, dict) else str(schema)

"""The data dictionary: what tables and views say of themselves in their comments."""

from dataclasses import dataclass

from clickhouse.client import Client
from clickhouse.queries import select


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    type: str
    comment: str


@dataclass(frozen=True, slots=True)
class Relation:
    """A table or view; `comment` and those of columns are empty where nothing was said."""

    name: str
    comment: str
    columns: tuple[Column, ...]


def dictionary(client: Client, *, prefix: str) -> tuple[Relation, ...]:
    """Tables and views whose names begin with `prefix`, by name; columns in their own order."""
    rows = select(
        client,
        "SELECT t.name AS relation, t.comment AS about, c.name AS column, c.type AS type,"
        " c.comment AS comment FROM system.tables AS t"
        " INNER JOIN system.columns AS c ON c.database = t.database AND c.table = t.name"
        " WHERE t.database = currentDatabase() AND startsWith(t.name, {prefix:String})"
        " ORDER BY t.name, c.position",
        parameters={"prefix": prefix},
    ).to_pylist()
    found: dict[str, tuple[str, list[Column]]] = {}
    for row in rows:
        columns = found.setdefault(row["relation"], (row["about"], []))[1]
        columns.append(Column(row["column"], row["type"], row["comment"]))
    return tuple(Relation(name, about, tuple(columns)) for name, (about, columns) in found.items())


def as_markdown(relations: tuple[Relation, ...]) -> str:
    """One section a table."""
    parts = [
        "# Data dictionary\n\n"
        "What dashboards and people may build on: these names and meanings stay. Written by\n"
        "`tillstream dictionary --markdown` from the comments in the warehouse; a test compares.\n"
    ]
    for relation in relations:
        lines = [f"\n## {relation.name}\n", f"{relation.comment}.\n", "| column | type | |"]
        lines.append("|---|---|---|")
        lines += [f"| `{one.name}` | {one.type} | {one.comment} |" for one in relation.columns]
        parts.append("\n".join(lines) + "\n")
    return "".join(parts)

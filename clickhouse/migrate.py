"""Numbered SQL migrations: forward only, each applied once, never edited afterwards."""

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import resources

from clickhouse.client import ClickHouseError, Client, connect
from tillstream.errors import IntegrityError, ServiceError
from tillstream.settings import WarehouseSettings

_FILE = re.compile(r"^(\d{4})_(\w+)\.sql$")
_CREATE_TABLE = re.compile(r"^CREATE TABLE (\w+)", re.MULTILINE)
_CREATE_ANY = re.compile(r"^(CREATE (?:TABLE|VIEW|MATERIALIZED VIEW)) (\w+)", re.MULTILINE)
_DROP = re.compile(r"^(DROP|TRUNCATE) (TABLE|VIEW) (\w+)$")
_ALTER = re.compile(r"^ALTER TABLE (\w+)")
_OF_DATA = re.compile(r"\b(?:PROJECTION|MODIFY SETTING)\b")
_ENGINE = re.compile(r"ENGINE = (\w*MergeTree)(?:\(([^)]*)\))?")

_FEED = re.compile(r"^CREATE MATERIALIZED VIEW (\w+) TO (\w+) AS")
_FROM = re.compile(r"\bFROM (\w+)")

_ORDER_BY = re.compile(r"ORDER BY (?:\(([^)]*)\)|(\w+))")

_LEDGER = """CREATE TABLE IF NOT EXISTS schema_migrations
(
    number      UInt32,
    name        String,
    sha256      String,
    applied_at  DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = MergeTree
ORDER BY number"""


@dataclass(frozen=True, slots=True)
class Migration:
    number: int
    name: str
    sql: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()

    def statements(self) -> Iterator[str]:
        """The statements in order, without comments. A semicolon at the end of a line ends one."""
        lines = (line for line in self.sql.splitlines() if not line.lstrip().startswith("--"))
        for statement in "\n".join(lines).split(";\n"):
            if text := statement.strip().rstrip(";"):
                yield text


def load_migrations() -> tuple[Migration, ...]:
    """Every checked-in migration, by number."""
    found = []
    for entry in resources.files("clickhouse").joinpath("migrations").iterdir():
        if match := _FILE.match(entry.name):
            found.append(Migration(int(match[1]), match[2], entry.read_text(encoding="utf-8")))
    return tuple(sorted(found, key=lambda migration: migration.number))


def clustered(statement: str, cluster: str) -> list[str]:
    """The statement for a cluster: Replicated engines, created everywhere.

    Rows of one store live on one shard, so that a view that follows inserts finds there what it
    needs. Where there is no store, rows that replace each other still must meet, since engines
    merge within a shard only. A table `t` becomes `t_local` behind a Distributed `t`.
    """
    table = _CREATE_TABLE.match(statement)
    spread = f"ON CLUSTER '{cluster}'"
    if dropped := _DROP.match(statement):
        verb, kind, gone = dropped.groups()
        # A table of the same name may follow, and Keeper must have forgotten this one by then.
        sync = " SYNC" if verb == "DROP" else ""
        local_too = [f"{verb} {kind} {gone}_local {spread}{sync}"] if kind == "TABLE" else []
        return [*([] if verb == "TRUNCATE" else [f"{statement} {spread}"]), *local_too]
    if altered := _ALTER.match(statement):
        changes = statement[altered.end() :]
        # Below first: the table that spans them may only have columns that they have. It has no
        # data of its own, and so neither projections nor settings of a MergeTree.
        tables = ("_local",) if _OF_DATA.search(changes) else ("_local", "")
        return [f"ALTER TABLE {altered[1]}{part} {spread}{changes}" for part in tables]
    if feed := _FEED.match(statement):
        # From local table to local table: part of the same insert, under the same token.
        head = f"CREATE MATERIALIZED VIEW {feed[1]} {spread} TO {feed[2]}_local AS"
        return [head + _FROM.sub(r"FROM \1_local", statement[feed.end() :])]
    if table is None or not _ENGINE.search(statement):
        return [_CREATE_ANY.sub(rf"\1 \2 {spread}", statement, count=1)]
    name = table[1]
    local = _CREATE_TABLE.sub(f"CREATE TABLE {name}_local {spread}", statement, count=1)

    def replicated(match: re.Match[str]) -> str:
        path = "'/clickhouse/tables/{shard}/{database}/{table}', '{replica}'"
        arguments = f"{path}, {match[2]}" if match[2] else path
        return f"ENGINE = Replicated{match[1]}({arguments})"

    local = _ENGINE.sub(replicated, local, count=1)
    order = _ORDER_BY.search(statement)
    own = (order[1] or order[2]) if order else "tuple()"
    key = "store_id" if re.search(r"\bstore_id\b", statement) else own
    spanning = (
        f"CREATE TABLE {name} {spread} AS {name}_local "
        f"ENGINE = Distributed('{cluster}', currentDatabase(), {name}_local, cityHash64({key}))"
    )
    return [local, spanning]


def _ledger(cluster: str | None) -> str:
    """Where migrations are recorded. On a cluster each server has all of it, whatever its shard,
    since each may be the one that is asked."""
    if cluster is None:
        return _LEDGER
    name, rest = _LEDGER.split("\n", 1)
    everywhere = "'/clickhouse/tables/{database}/{table}', '{shard}-{replica}'"
    return f"{name} ON CLUSTER '{cluster}'\n" + rest.replace(
        "ENGINE = MergeTree", f"ENGINE = ReplicatedMergeTree({everywhere})"
    )


def pending(
    client: Client, migrations: tuple[Migration, ...], *, cluster: str | None = None
) -> tuple[Migration, ...]:
    """Migrations not applied yet. Raises IntegrityError when an applied one was edited."""
    client.command(_ledger(cluster))
    rows = client.query("SELECT number, name, sha256 FROM schema_migrations").result_rows
    applied = {int(number): (name, sha256) for number, name, sha256 in rows}
    for migration in migrations:
        if migration.number in applied and applied[migration.number][1] != migration.sha256:
            raise IntegrityError(
                f"migration {migration.number:04d}_{migration.name} was edited after it was "
                f"applied to this warehouse",
                hint="restore the file and put the change into a new migration",
            )
    return tuple(m for m in migrations if m.number not in applied)


def migrate(
    warehouse: WarehouseSettings,
    *,
    database: str | None = None,
    on_applied: Callable[[Migration], None] | None = None,
) -> tuple[Migration, ...]:
    """Create the database if needed and apply what is pending, in order. Returns what was applied.

    A migration that fails half way is not recorded: what it already created or dropped is passed
    over the next time.
    """
    name = database or warehouse.database
    root = connect(warehouse, database="default")
    spread = f" ON CLUSTER '{warehouse.cluster}'" if warehouse.cluster else ""
    root.command(f"CREATE DATABASE IF NOT EXISTS `{name}`{spread}")
    root.close()
    client = connect(warehouse, database=name)
    try:
        todo = pending(client, load_migrations(), cluster=warehouse.cluster)
        for migration in todo:
            _apply(client, migration, warehouse.cluster)
            client.insert(
                "schema_migrations",
                [[migration.number, migration.name, migration.sha256]],
                column_names=["number", "name", "sha256"],
            )
            if on_applied:
                on_applied(migration)
        return todo
    finally:
        client.close()


def _apply(client: Client, migration: Migration, cluster: str | None) -> None:
    for statement in migration.statements():
        for text in clustered(statement, cluster) if cluster else [statement]:
            text = re.sub(
                r"^CREATE (TABLE|VIEW|MATERIALIZED VIEW) ", r"CREATE \1 IF NOT EXISTS ", text
            )
            text = re.sub(r"^DROP (TABLE|VIEW) ", r"DROP \1 IF EXISTS ", text)
            text = text.replace(" ADD PROJECTION ", " ADD PROJECTION IF NOT EXISTS ", 1)
            try:
                client.command(text)
            except ClickHouseError as exc:
                raise ServiceError(
                    f"migration {migration.number:04d}_{migration.name} failed: "
                    f"{str(exc).splitlines()[0]}\n  in: {text[:120]}"
                ) from exc

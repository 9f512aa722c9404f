"""The console's own small database: users, sessions, tokens and sign-ins, in `<home>/web.sqlite`.

What belongs to the business is in Kafka and the warehouse; here is only who may come in.
"""

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tillstream.errors import ServiceError
from tillstream.web.people import Person, Role

FILE = "web.sqlite"

_TABLES = """
CREATE TABLE IF NOT EXISTS users (
    name TEXT PRIMARY KEY, role TEXT NOT NULL, stores TEXT NOT NULL, password_hash TEXT NOT NULL,
    added_ms INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS sessions (
    id_hash TEXT PRIMARY KEY, name TEXT NOT NULL, csrf TEXT NOT NULL, expires_ms INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS tokens (
    token_hash TEXT PRIMARY KEY, label TEXT NOT NULL, name TEXT NOT NULL, added_ms INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS sign_ins (
    at_ms INTEGER NOT NULL, name TEXT NOT NULL, address TEXT NOT NULL, outcome TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS sign_ins_by_time ON sign_ins (at_ms);
CREATE TABLE IF NOT EXISTS oidc_users (
    issuer TEXT NOT NULL, subject TEXT NOT NULL, name TEXT NOT NULL UNIQUE, role TEXT NOT NULL,
    stores TEXT NOT NULL, at_ms INTEGER NOT NULL, PRIMARY KEY (issuer, subject)
) STRICT;
CREATE TABLE IF NOT EXISTS oidc_attempts (
    state_hash TEXT PRIMARY KEY, browser_hash TEXT NOT NULL, nonce TEXT NOT NULL,
    verifier TEXT NOT NULL, back TEXT NOT NULL, expires_ms INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS answers (
    name TEXT NOT NULL, key TEXT NOT NULL, request_hash TEXT NOT NULL,
    body TEXT NOT NULL, at_ms INTEGER NOT NULL, PRIMARY KEY (name, key)
) STRICT;
"""


class Database:
    """One file, a connection a call: the console's threads and a `tillstream web user` in another
    process may all use it at once. Raises ServiceError when the file cannot be used."""

    def __init__(self, home: Path) -> None:
        self.path = home / FILE
        try:
            home.mkdir(parents=True, exist_ok=True)
            self.path.touch(mode=0o600, exist_ok=True)
            self.path.chmod(0o600)
        except OSError as exc:
            raise ServiceError(f"{self.path} cannot be written: {exc}") from exc
        with self.open() as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(_TABLES)

    @contextmanager
    def open(self) -> Iterator[sqlite3.Connection]:
        """A connection; what was done is committed at the end, or undone by an exception."""
        try:
            with closing(sqlite3.connect(self.path, timeout=5.0)) as connection:
                connection.row_factory = sqlite3.Row
                with connection:
                    yield connection
        except sqlite3.Error as exc:
            raise ServiceError(
                f"{self.path} cannot be used: {exc}", hint="is the disk full, or the file damaged?"
            ) from exc


def hashed(secret: str) -> str:
    """What is kept of a secret. Ours are random and long: a fast hash is as good as a slow one."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def as_row(person: Person) -> tuple[str, str, str]:
    """(name, role, stores), as `person_of` reads them."""
    return person.name, person.role.value, "\n".join(sorted(person.stores))


def person_of(row: sqlite3.Row) -> Person:
    stores = frozenset(filter(None, row["stores"].split("\n")))
    return Person(row["name"], Role(row["role"]), stores)

"""Those who came by OpenID Connect, with the role and stores of their newest sign-in.

Their names begin with PREFIX, which no local user's may, so neither can be taken for the other. Who
they are is the issuer's `sub`; a name belongs to the first who came with it.
"""

from dataclasses import dataclass

from tillstream.clock import Clock
from tillstream.web.database import Database, as_row, person_of
from tillstream.web.people import Person

PREFIX = "oidc:"
_NO_ROLE = ""


@dataclass(frozen=True, slots=True)
class Members:
    """Only those of `issuer` are found."""

    database: Database
    clock: Clock
    issuer: str | None

    def enter(self, subject: str, person: Person) -> bool:
        """Keep role and stores of `person`, whose name begins with PREFIX. False, and nothing is
        kept, when somebody else has the name. A new name ends the sessions under the old one."""
        with self.database.open() as connection:
            connection.execute("BEGIN IMMEDIATE")
            taken = connection.execute(
                "SELECT 1 FROM users WHERE name = ?"
                " UNION ALL SELECT 1 FROM oidc_users"
                " WHERE name = ? AND NOT (issuer = ? AND subject = ?)",
                (person.name, person.name, self.issuer, subject),
            ).fetchone()
            if taken:
                return False
            connection.execute(
                "DELETE FROM sessions WHERE name IN (SELECT name FROM oidc_users"
                " WHERE issuer = ? AND subject = ? AND name <> ?)",
                (self.issuer, subject, person.name),
            )
            connection.execute(
                "INSERT INTO oidc_users VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (issuer, subject)"
                " DO UPDATE SET name = excluded.name, role = excluded.role,"
                " stores = excluded.stores, at_ms = excluded.at_ms",
                (self.issuer, subject, *as_row(person), self.clock.now_ms()),
            )
        return True

    def shut_out(self, subject: str) -> None:
        """They have no role any more: their sessions end. The name stays theirs."""
        mine = (self.issuer, subject)
        with self.database.open() as connection:
            connection.execute(
                "DELETE FROM sessions WHERE name IN"
                " (SELECT name FROM oidc_users WHERE issuer = ? AND subject = ?)",
                mine,
            )
            connection.execute(
                "UPDATE oidc_users SET role = ?, stores = '' WHERE issuer = ? AND subject = ?",
                (_NO_ROLE, *mine),
            )

    def find(self, name: str) -> Person | None:
        with self.database.open() as connection:
            row = connection.execute(
                "SELECT * FROM oidc_users WHERE name = ? AND issuer = ? AND role <> ?",
                (name, self.issuer, _NO_ROLE),
            ).fetchone()
        return person_of(row) if row else None

    def all(self) -> list[Person]:
        """Who has a role, by name."""
        with self.database.open() as connection:
            rows = connection.execute(
                "SELECT * FROM oidc_users WHERE issuer = ? AND role <> ? ORDER BY name",
                (self.issuer, _NO_ROLE),
            ).fetchall()
        return [person_of(row) for row in rows]

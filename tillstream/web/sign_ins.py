"""The record of sign-ins, and how guessing is slowed down: the record itself says who is locked."""

from dataclasses import dataclass

from tillstream.clock import Clock
from tillstream.web.database import Database

LOCK_MINUTES = 15
FAILURES_A_NAME = 5
FAILURES_AN_ADDRESS = 20
_LOCK_MS = LOCK_MINUTES * 60_000
_LONGEST_NAME = 64


@dataclass(frozen=True, slots=True)
class SignIn:
    at_ms: int
    name: str
    address: str
    outcome: str


@dataclass(frozen=True, slots=True)
class SignIns:
    """Append-only. A name is locked for LOCK_MINUTES after FAILURES_A_NAME wrong passwords in as
    many minutes, an address after FAILURES_AN_ADDRESS; a restart does not unlock."""

    database: Database
    clock: Clock

    def note(self, name: str, address: str, outcome: str) -> None:
        with self.database.open() as connection:
            connection.execute(
                "INSERT INTO sign_ins VALUES (?, ?, ?, ?)",
                (self.clock.now_ms(), _kept(name), address, outcome),
            )

    def locked(self, name: str | None, address: str) -> bool:
        """Without a name, whether the address is."""
        kept = None if name is None else _kept(name)
        with self.database.open() as connection:
            row = connection.execute(
                "SELECT count(*) FILTER (WHERE name = ? AND at_ms > coalesce((SELECT max(at_ms)"
                "  FROM sign_ins WHERE name = ? AND outcome = 'signed in'), 0)) AS by_name,"
                " count(*) FILTER (WHERE address = ?) AS by_address"
                " FROM sign_ins WHERE outcome = 'wrong' AND at_ms > ?",
                (kept, kept, address, self.clock.now_ms() - _LOCK_MS),
            ).fetchone()
        return bool(row["by_name"] >= FAILURES_A_NAME or row["by_address"] >= FAILURES_AN_ADDRESS)

    def newest(self, count: int) -> list[SignIn]:
        with self.database.open() as connection:
            rows = connection.execute(
                "SELECT * FROM sign_ins ORDER BY at_ms DESC, rowid DESC LIMIT ?", (count,)
            ).fetchall()
        return [SignIn(**dict(row)) for row in rows]


def _kept(name: str) -> str:
    """Only printable, and not long: people type passwords into the wrong field, and worse."""
    return "".join(letter for letter in name if letter.isprintable())[:_LONGEST_NAME]

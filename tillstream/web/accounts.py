"""Users and their passwords, in the console's database."""

from dataclasses import dataclass
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from tillstream.clock import Clock
from tillstream.errors import ConfigError
from tillstream.web.database import Database, as_row, person_of
from tillstream.web.oidc.members import PREFIX
from tillstream.web.people import LOCAL, Person, Role

LEAST_PASSWORD = 10
MOST_PASSWORD = 256
_LONGEST_NAME = 64

# argon2id with the parameters of RFC 9106's second recommendation, which the library has as its
# default: 64 MiB, 3 passes, 4 lanes.
_hasher = PasswordHasher()


@dataclass(frozen=True, slots=True)
class Accounts:
    database: Database
    clock: Clock

    def add(self, name: str, role: Role, *, password: str, stores: frozenset[str]) -> Person:
        """Raises ConfigError for a name that is taken or odd, a password that is short, and a store
        manager without stores."""
        _check_name(name)
        _check_password(password)
        if (role is Role.STORE_MANAGER) != bool(stores):
            raise ConfigError(
                "a store manager has stores, and nobody else has",
                hint="for example --role store-manager --store 424 --store 330",
            )
        person = Person(name, role, stores)
        row = (*as_row(person), _hasher.hash(password), self.clock.now_ms())
        with self.database.open() as connection:
            added = connection.execute(
                "INSERT OR IGNORE INTO users VALUES (?, ?, ?, ?, ?)", row
            ).rowcount
        if not added:
            raise ConfigError(
                f"there is a user {name!r} already",
                hint=f"`tillstream web user remove {name}` first",
            )
        return person

    def remove(self, name: str) -> None:
        """The user, local or not, their sessions and tokens. Raises ConfigError when there is no
        such user."""
        with self.database.open() as connection:
            gone = connection.execute("DELETE FROM users WHERE name = ?", (name,)).rowcount
            gone += connection.execute("DELETE FROM oidc_users WHERE name = ?", (name,)).rowcount
            for table in ("sessions", "tokens"):
                connection.execute(f"DELETE FROM {table} WHERE name = ?", (name,))
        if not gone:
            raise ConfigError(
                f"there is no user {name!r}", hint="`tillstream web user list` shows who there is"
            )

    def all(self) -> list[Person]:
        with self.database.open() as connection:
            rows = connection.execute("SELECT * FROM users ORDER BY name").fetchall()
        return [person_of(row) for row in rows]

    def find(self, name: str) -> Person | None:
        with self.database.open() as connection:
            row = connection.execute("SELECT * FROM users WHERE name = ?", (name,)).fetchone()
        return person_of(row) if row else None

    def check(self, name: str, password: str) -> Person | None:
        """The user whose password this is. Takes as long for a name that nobody has, so that time
        does not tell who exists."""
        with self.database.open() as connection:
            row = connection.execute("SELECT * FROM users WHERE name = ?", (name,)).fetchone()
        stored = row["password_hash"] if row else _nobodys_hash()
        try:
            _hasher.verify(stored, password[:MOST_PASSWORD])
        except (VerificationError, InvalidHashError):
            return None
        return person_of(row) if row else None


@cache
def _nobodys_hash() -> str:
    return _hasher.hash("nobody's password")


def _check_name(name: str) -> None:
    if not name.isprintable() or not name.strip() or name != name.strip():
        raise ConfigError(f"{name!r} cannot be a user's name", hint="use letters and digits")
    if name == LOCAL.name:
        raise ConfigError(f"{name!r} is who follows the console's own link", hint="another name")
    if name.lower().startswith(PREFIX):
        raise ConfigError(
            f"{PREFIX!r} begins the names of who comes by OpenID Connect", hint="another name"
        )
    if len(name) > _LONGEST_NAME:
        raise ConfigError(f"a user's name has at most {_LONGEST_NAME} characters")


def _check_password(password: str) -> None:
    if not LEAST_PASSWORD <= len(password) <= MOST_PASSWORD:
        raise ConfigError(
            f"a password has {LEAST_PASSWORD} to {MOST_PASSWORD} characters, this one has"
            f" {len(password)}"
        )

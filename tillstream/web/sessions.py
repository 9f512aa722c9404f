"""Who is signed in: browsers by a cookie, programs by a token. Only hashes of both are kept."""

import secrets
from dataclasses import dataclass

from tillstream.clock import Clock
from tillstream.errors import ConfigError
from tillstream.web.accounts import Accounts
from tillstream.web.database import Database, hashed
from tillstream.web.oidc.members import PREFIX, Members
from tillstream.web.people import LOCAL, Person

SESSION_HOURS = 12
_HOUR_MS = 3_600_000
_LINK_MS = 10 * 60_000


@dataclass(frozen=True, slots=True)
class Session:
    """`csrf` must come back with everything that changes something."""

    person: Person
    csrf: str


class Sessions:
    """Sessions end after SESSION_HOURS, at sign-out, and with their user. Tokens are for local
    users: one of somebody whom the issuer let go would live on."""

    def __init__(
        self,
        database: Database,
        accounts: Accounts,
        clock: Clock,
        *,
        members: Members | None = None,
    ) -> None:
        self._database = database
        self._accounts = accounts
        self._members = members
        self._clock = clock
        self._link: tuple[str, int] | None = None

    def start(self, person: Person) -> str:
        """A new session's id, for the cookie."""
        session_id = secrets.token_urlsafe(32)
        now_ms = self._clock.now_ms()
        with self._database.open() as connection:
            connection.execute("DELETE FROM sessions WHERE expires_ms < ?", (now_ms,))
            connection.execute(
                "INSERT INTO sessions VALUES (?, ?, ?, ?)",
                (
                    hashed(session_id),
                    person.name,
                    secrets.token_urlsafe(24),
                    now_ms + SESSION_HOURS * _HOUR_MS,
                ),
            )
        return session_id

    def find(self, session_id: str | None) -> Session | None:
        if not session_id:
            return None
        with self._database.open() as connection:
            row = connection.execute(
                "SELECT * FROM sessions WHERE id_hash = ? AND expires_ms > ?",
                (hashed(session_id), self._clock.now_ms()),
            ).fetchone()
        person = self._person(row["name"]) if row else None
        return Session(person, row["csrf"]) if person else None

    def end(self, session_id: str) -> None:
        with self._database.open() as connection:
            connection.execute("DELETE FROM sessions WHERE id_hash = ?", (hashed(session_id),))

    def offer_link(self) -> str:
        """A secret that signs in once, within ten minutes, as LOCAL."""
        secret = secrets.token_urlsafe(24)
        self._link = (hashed(secret), self._clock.now_ms() + _LINK_MS)
        return secret

    def redeem(self, secret: str) -> bool:
        """Whether this is the offered link's secret, which is used up by asking."""
        link = self._link
        if link is None or not secrets.compare_digest(hashed(secret), link[0]):
            return False
        self._link = None
        return self._clock.now_ms() <= link[1]

    def add_token(self, label: str, name: str) -> str:
        """A token with which a program acts as local user `name`. Raises ConfigError for no such
        user."""
        if self._accounts.find(name) is None:
            raise ConfigError(
                f"there is no user {name!r}", hint="`tillstream web user list` shows who there is"
            )
        token = f"till_{secrets.token_urlsafe(32)}"
        with self._database.open() as connection:
            connection.execute(
                "INSERT INTO tokens VALUES (?, ?, ?, ?)",
                (hashed(token), label, name, self._clock.now_ms()),
            )
        return token

    def remove_tokens(self, label: str) -> int:
        """How many tokens of this label there were."""
        with self._database.open() as connection:
            return connection.execute("DELETE FROM tokens WHERE label = ?", (label,)).rowcount

    def bearer(self, token: str) -> Person | None:
        with self._database.open() as connection:
            row = connection.execute(
                "SELECT name FROM tokens WHERE token_hash = ?", (hashed(token),)
            ).fetchone()
        return self._accounts.find(row["name"]) if row else None

    def _person(self, name: str) -> Person | None:
        if name.startswith(PREFIX):
            return self._members.find(name) if self._members else None
        return LOCAL if name == LOCAL.name else self._accounts.find(name)

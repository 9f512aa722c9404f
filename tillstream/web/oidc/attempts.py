"""Sign-ins that have begun: what the answer must fit, kept here and not in the browser."""

import secrets
from dataclasses import dataclass

from tillstream.clock import Clock
from tillstream.web.database import Database, hashed

ATTEMPT_MINUTES = 10
_ATTEMPT_MS = ATTEMPT_MINUTES * 60_000
_MOST = 10_000


@dataclass(frozen=True, slots=True)
class Attempt:
    """`back` is the console's own page they wanted."""

    nonce: str
    verifier: str
    back: str


@dataclass(frozen=True, slots=True)
class Attempts:
    """Each may be answered once, within ATTEMPT_MINUTES, by the browser that began it."""

    database: Database
    clock: Clock

    def begin(self, back: str) -> tuple[str, str, Attempt]:
        """The state for the issuer, the secret for the browser's cookie, and the attempt."""
        state, browser = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        attempt = Attempt(secrets.token_urlsafe(32), secrets.token_urlsafe(48), back)
        now_ms = self.clock.now_ms()
        with self.database.open() as connection:
            connection.execute(
                "DELETE FROM oidc_attempts WHERE expires_ms <= ?"
                " OR rowid <= (SELECT max(rowid) FROM oidc_attempts) - ?",
                (now_ms, _MOST),
            )
            connection.execute(
                "INSERT INTO oidc_attempts VALUES (?, ?, ?, ?, ?, ?)",
                (
                    hashed(state),
                    hashed(browser),
                    attempt.nonce,
                    attempt.verifier,
                    attempt.back,
                    now_ms + _ATTEMPT_MS,
                ),
            )
        return state, browser, attempt

    def take(self, state: str, browser: str) -> Attempt | None:
        """The attempt, which is used up."""
        with self.database.open() as connection:
            row = connection.execute(
                "DELETE FROM oidc_attempts WHERE state_hash = ? AND browser_hash = ?"
                " RETURNING nonce, verifier, back, expires_ms",
                (hashed(state), hashed(browser)),
            ).fetchone()
        if row is None or row["expires_ms"] <= self.clock.now_ms():
            return None
        return Attempt(row["nonce"], row["verifier"], row["back"])

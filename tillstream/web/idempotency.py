"""A request sent again with the same key is answered as before, also after a crash between."""

import hashlib
import json
import uuid
from dataclasses import dataclass
from typing import Any

from tillstream.clock import Clock
from tillstream.web.database import Database
from tillstream.web.problems import Problem

_KEPT_MS = 7 * 86_400_000
_ACTIONS = uuid.UUID("6b0f3f5e-7d2b-5c1a-9a54-0d5c7f3a9e21")


@dataclass(frozen=True, slots=True)
class Answers:
    """What was answered to the keys of the last seven days."""

    database: Database
    clock: Clock

    def find(self, name: str, key: str, request: Any) -> dict[str, Any] | None:
        """The earlier answer, None when there is none. Raises Problem when `key` came with another
        request."""
        with self.database.open() as connection:
            row = connection.execute(
                "SELECT request_hash, body FROM answers WHERE name = ? AND key = ?", (name, key)
            ).fetchone()
        if row is None:
            return None
        if row["request_hash"] != _hash(request):
            raise Problem(
                409, "this Idempotency-Key came before, with another request", "use a new key"
            )
        found: dict[str, Any] = json.loads(row["body"])
        return found

    def keep(self, name: str, key: str, request: Any, answer: dict[str, Any]) -> None:
        now_ms = self.clock.now_ms()
        with self.database.open() as connection:
            connection.execute("DELETE FROM answers WHERE at_ms < ?", (now_ms - _KEPT_MS,))
            connection.execute(
                "INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, ?)",
                (name, key, _hash(request), json.dumps(answer), now_ms),
            )


def action_id(name: str, key: str | None, number: int) -> str:
    """The same for the same key: an action that had reached the log before a crash is known there
    when it is sent again."""
    if key is None:
        return str(uuid.uuid4())
    return str(uuid.uuid5(_ACTIONS, f"{name}\n{key}\n{number}"))


def _hash(request: Any) -> str:
    text = json.dumps(request, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()

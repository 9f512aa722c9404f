"""The pages of the outbox on their way to a channel, and how each channel does."""

import json
import sqlite3
from collections.abc import Collection
from dataclasses import asdict
from typing import Any

from tillstream.oncall.policy import Policy, Reach
from tillstream.oncall.records import ChannelHealth, Page
from tillstream.oncall.store import Store
from tillstream.oncall.subjects import Content

PAGE = (
    "page_id, key, event, round, step, target, content, note, reach, position, attempts, created_ms"
)


class Outbox:
    """Safe to use from several threads."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def due(self, channel: str, *, now_ms: int) -> Page | None:
        """The most urgent page that this channel should try now."""
        rows = self._store.read(
            f"SELECT {PAGE} FROM pages WHERE state = 'waiting' AND channel = ? AND due_ms <= ?"
            " ORDER BY urgency, created_ms, rowid LIMIT 1",
            channel,
            now_ms,
        )
        return page_of(rows[0]) if rows else None

    def claim(self, page: Page) -> bool:
        """Before it is sent: that it was tried is on disk first. False when it is not to go out
        any more."""
        with self._store.write() as db:
            done = db.execute(
                "UPDATE pages SET attempts = attempts + 1 WHERE page_id = ? AND state = 'waiting'",
                (page.page_id,),
            )
            return done.rowcount == 1

    def sent(self, page: Page, *, now_ms: int) -> None:
        """The channel has it, also when somebody answered in the meantime."""
        self._set(page, "state = 'sent', sent_ms = ?, problem = ''", now_ms)

    def retry(self, page: Page, *, due_ms: int, problem: str) -> None:
        self._set(page, "due_ms = ?, problem = ?", due_ms, problem)

    def move(self, page: Page, position: int, *, problem: str) -> None:
        """Hand it to another channel of the same person."""
        channel = page.reach[position].channel
        changes = "position = ?, channel = ?, attempts = 0, due_ms = 0, problem = ?"
        self._set(page, changes, position, channel, problem)

    def give_up(self, page: Page, *, problem: str) -> None:
        self._set(page, "state = 'given_up', problem = ?", problem)

    def adopt(self, policy: Policy) -> None:
        """Pages whose channel is no longer in the policy go to one that is; without any they are
        given up."""
        with self._store.write() as db:
            rows = db.execute(f"SELECT {PAGE} FROM pages WHERE state = 'waiting'").fetchall()
            for page in map(page_of, rows):
                if page.via.channel in policy.channels:
                    continue
                known = [n for n, one in enumerate(page.reach) if one.channel in policy.channels]
                if known:
                    self.move(page, known[0], problem="its channel left the policy")
                else:
                    self.give_up(page, problem="its channel left the policy")

    def stuck(self, dead: Collection[str]) -> set[tuple[str, int, int]]:
        """(key, round, step) of triggers that reach nobody: given up, or all their channels are
        dead."""
        rows = self._store.read(
            f"SELECT {PAGE}, state FROM pages WHERE event = 'trigger' AND state = 'given_up'"
            f" UNION ALL SELECT {PAGE}, state FROM pages WHERE event = 'trigger'"
            " AND state = 'waiting' AND channel IN (SELECT name FROM channels WHERE dead)"
        )
        found = set()
        for row in rows:
            page = page_of(row[:-1])
            if row[-1] == "given_up" or all(one.channel in dead for one in page.reach):
                found.add((page.key, page.round, page.step))
        return found

    def elsewhere(self, channel: str, dead: Collection[str]) -> list[tuple[Page, int]]:
        """Pages waiting for this channel, each with the position of another one that is not
        dead."""
        rows = self._store.read(
            f"SELECT {PAGE} FROM pages WHERE state = 'waiting' AND channel = ?", channel
        )
        found = []
        for page in map(page_of, rows):
            other = next_position(page, dead)
            if other is not None:
                found.append((page, other))
        return found

    def sent_since(self, channel: str, since_ms: int) -> list[int]:
        """When this channel took a page lately, oldest first."""
        rows = self._store.read(
            "SELECT sent_ms FROM pages WHERE state = 'sent' AND channel = ? AND sent_ms > ?"
            " ORDER BY sent_ms",
            channel,
            since_ms,
        )
        return [row[0] for row in rows]

    def waiting(self) -> dict[str, int]:
        """Pages waiting, by channel."""
        return dict(
            self._store.read(
                "SELECT channel, count(*) FROM pages WHERE state = 'waiting' GROUP BY 1"
            )
        )

    def states(self) -> dict[str, int]:
        """Trigger pages by state, since the outbox began to remember."""
        sql = "SELECT state, count(*) FROM pages WHERE event = 'trigger' GROUP BY 1"
        return dict(self._store.read(sql))

    def health(self, channel: str) -> ChannelHealth:
        rows = self._store.read("SELECT * FROM channels WHERE name = ?", channel)
        return _health(rows[0]) if rows else ChannelHealth(channel)

    def dead(self) -> set[str]:
        return {row[0] for row in self._store.read("SELECT name FROM channels WHERE dead")}

    def set_health(self, health: ChannelHealth) -> None:
        with self._store.write() as db:
            db.execute(
                "INSERT OR REPLACE INTO channels VALUES (?, ?, ?, ?, ?, ?, ?)",
                tuple(asdict(health).values()),
            )

    def _set(self, page: Page, changes: str, *values: Any) -> None:
        with self._store.write() as db:
            db.execute(f"UPDATE pages SET {changes} WHERE page_id = ?", (*values, page.page_id))


def next_position(page: Page, dead: Collection[str]) -> int | None:
    """Where the page could go instead of the channel it waits for: the next one that works."""
    count = len(page.reach)
    for number in range(page.position + 1, page.position + count):
        one = page.reach[number % count]
        if one.channel not in dead and one.channel != page.via.channel:
            return number % count
    return None


def put_page(db: sqlite3.Connection, page: Page, *, urgency: int) -> int:
    """Add a page that waits. The same page again changes nothing; how many are new."""
    reach = json.dumps([[one.channel, one.address] for one in page.reach])
    done = db.execute(
        f"INSERT OR IGNORE INTO pages ({PAGE}, urgency, channel, state, due_ms, followed,"
        " problem) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'waiting', 0, 0, '')",
        (
            page.page_id,
            page.key,
            page.event,
            page.round,
            page.step,
            page.target,
            json.dumps(asdict(page.content), default=str),
            page.note,
            reach,
            page.position,
            page.attempts,
            page.created_ms,
            urgency,
            page.via.channel,
        ),
    )
    return done.rowcount


def page_of(row: Any) -> Page:
    content = json.loads(row[6])
    page_id, key, event, round_, step, target = row[:6]
    return Page(
        page_id=page_id,
        key=key,
        event=event,
        round=round_,
        step=step,
        target=target,
        content=Content(**{**content, "links": tuple(tuple(one) for one in content["links"])}),
        note=row[7],
        reach=tuple(Reach(*one) for one in json.loads(row[8])),
        position=row[9],
        attempts=row[10],
        created_ms=row[11],
    )


def _health(row: Any) -> ChannelHealth:
    return ChannelHealth(row[0], row[1], row[2], bool(row[3]), row[4], row[5], row[6])

"""The cases of the outbox: what was decided, and what follows when somebody answers."""

import json
import sqlite3
import uuid
from collections.abc import Iterable
from dataclasses import replace

from tillstream.oncall.deciding import Case, Outcome
from tillstream.oncall.outbox import PAGE, page_of, put_page
from tillstream.oncall.policy import Policy
from tillstream.oncall.records import Escalation, Page
from tillstream.oncall.store import Store
from tillstream.oncall.subjects import Status, Subject, severity_rank

_FOLLOW_UPS = uuid.UUID("b0a8f3f4-2f7a-4c53-8f0e-1a1c2d6c0f55")
# Follow-ups give way to whatever still has to reach somebody.
_LAST = 9
_PAGE_OF_T = ", ".join(f"t.{name}" for name in PAGE.split(", "))
_KEEP_MS = 30 * 86_400_000


class Casebook:
    """Safe to use from several threads."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def cases(self) -> dict[str, Case]:
        rows = self._store.read(
            "SELECT key, rule, status, severity, round, step, due_ms, opened_ms FROM cases"
        )
        return {
            row[0]: Case(row[0], row[1], Status(row[2]), row[3], row[4], row[5], row[6], row[7])
            for row in rows
        }

    def record(self, decided: Iterable[tuple[Subject, Outcome]], *, now_ms: int) -> int:
        """Store what was decided: all of it or nothing. How many pages are new."""
        added = 0
        with self._store.write() as db:
            for subject, outcome in decided:
                _put_case(db, outcome.case, subject.note)
                # What is under way and no longer true: a page that was answered for, or the word
                # that it was answered when it fires again.
                firing = outcome.case.status is Status.FIRING
                db.execute(
                    "UPDATE pages SET state = 'cancelled' WHERE key = ? AND state = 'waiting'"
                    " AND (event = 'trigger') != ?",
                    (subject.key, firing),
                )
                for new in outcome.pages:
                    page = Page(
                        page_id=new.page_id,
                        key=new.key,
                        event="trigger",
                        round=outcome.case.round,
                        step=new.step,
                        target=new.target,
                        content=subject.content,
                        note="",
                        reach=new.reach,
                        position=0,
                        attempts=0,
                        created_ms=now_ms,
                    )
                    added += put_page(db, page, urgency=severity_rank(subject.severity))
                if outcome.escalated_to is not None:
                    db.execute(
                        "INSERT OR IGNORE INTO escalations VALUES (?, ?, ?, ?, ?, 0)",
                        (
                            subject.key,
                            outcome.case.round,
                            outcome.escalated_to,
                            json.dumps(subject.alert_ids),
                            now_ms,
                        ),
                    )
        return added

    def follow_up(self, policy: Policy, *, now_ms: int) -> int:
        """Make pages that tell those who were paged that somebody answered, or that it is over."""
        made = 0
        with self._store.write() as db:
            rows = db.execute(
                f"SELECT {_PAGE_OF_T}, c.status, c.round, c.note"
                " FROM pages t JOIN cases c USING (key)"
                " WHERE t.event = 'trigger' AND t.state = 'sent' AND t.followed < 2 AND ("
                " c.status = 'resolved' OR"
                " (c.status IN ('acknowledged', 'snoozed') AND t.followed < 1"
                "  AND t.round = c.round))"
            ).fetchall()
            for row in rows:
                page, (status, round_, note) = page_of(row[:-3]), row[-3:]
                event = "resolve" if status == Status.RESOLVED else "acknowledge"
                db.execute(
                    "UPDATE pages SET followed = ? WHERE page_id = ?",
                    (2 if event == "resolve" else 1, page.page_id),
                )
                channel = policy.channels.get(page.via.channel)
                if channel is None or not channel.follow_up:
                    continue
                what = f"{page.key}\n{round_}\n{event}\n{page.via.channel}\n{page.via.address}"
                follow = replace(
                    page,
                    page_id=str(uuid.uuid5(_FOLLOW_UPS, what)),
                    event=event,
                    round=round_,
                    note=note,
                    reach=(page.via,),
                    position=0,
                    attempts=0,
                    created_ms=now_ms,
                )
                made += put_page(db, follow, urgency=_LAST)
        return made

    def forget(self, *, now_ms: int) -> None:
        """Drop what has been over for a month."""
        with self._store.write() as db:
            old = (now_ms - _KEEP_MS,)
            db.execute(
                "DELETE FROM cases WHERE status = 'resolved' AND NOT EXISTS"
                " (SELECT 1 FROM pages p WHERE p.key = cases.key AND p.created_ms >= ?)"
                " AND opened_ms < ?",
                old * 2,
            )
            db.execute(
                "DELETE FROM pages WHERE state != 'waiting' AND created_ms < ?"
                " AND key NOT IN (SELECT key FROM cases)",
                old,
            )

    def escalations(self) -> list[Escalation]:
        rows = self._store.read(
            "SELECT key, round, level, alert_ids, at_ms FROM escalations WHERE done = 0"
            " ORDER BY at_ms"
        )
        return [Escalation(r[0], r[1], r[2], tuple(json.loads(r[3])), r[4]) for r in rows]

    def escalated(self, one: Escalation) -> None:
        with self._store.write() as db:
            db.execute(
                "UPDATE escalations SET done = 1 WHERE key = ? AND round = ? AND level = ?",
                (one.key, one.round, one.level),
            )


def _put_case(db: sqlite3.Connection, case: Case, note: str) -> None:
    db.execute(
        "INSERT OR REPLACE INTO cases VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            case.key,
            case.rule,
            case.status,
            case.severity,
            case.round,
            case.step,
            case.due_ms,
            case.opened_ms,
            note,
        ),
    )

"""What people do to alerts: events in the topic retail-alert-actions."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tillstream.errors import ConfigError

# A snooze longer than this would hide an alert from everybody who comes after.
SNOOZE_AT_MOST_MS = 7 * 86_400_000
_LONGEST_COMMENT_CHARS = 4096
_LONGEST_NAME_CHARS = 256


class Kind(StrEnum):
    ACKNOWLEDGE = "acknowledge"
    ASSIGN = "assign"
    SNOOZE = "snooze"
    ESCALATE = "escalate"
    RESOLVE = "resolve"
    REOPEN = "reopen"
    COMMENT = "comment"
    UNDO = "undo"


# How each is told of afterwards.
DONE: dict[str, str] = {
    Kind.ACKNOWLEDGE: "acknowledged",
    Kind.ASSIGN: "assigned",
    Kind.SNOOZE: "snoozed",
    Kind.ESCALATE: "escalated",
    Kind.RESOLVE: "resolved",
    Kind.REOPEN: "reopened",
    Kind.COMMENT: "commented on",
    Kind.UNDO: "undid a change of",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One thing that one actor did to one alert. `action_id` is its identity: the same id again is
    the same action.

    `based_on` and `seen` are the `revision` and the `version` of the view that the actor had before
    their eyes; None claims nothing. `kind` is free text here, since a log may hold anything: what
    is not a Kind is refused by the fold.
    """

    action_id: str
    alert_id: str
    kind: str
    actor: str
    at_ms: int
    based_on: int | None = None
    seen: int | None = None
    comment: str | None = None
    until_ms: int | None = None
    assignee: str | None = None
    level: int | None = None
    undoes: str | None = None


def new_action(
    alert_id: str,
    kind: Kind | str,
    *,
    actor: str,
    at_ms: int,
    action_id: str | None = None,
    based_on: int | None = None,
    seen: int | None = None,
    comment: str | None = None,
    until_ms: int | None = None,
    assignee: str | None = None,
    level: int | None = None,
    undoes: str | None = None,
) -> Action:
    """An action that says all that its kind needs. Raises ConfigError saying what is missing."""
    action = Action(
        action_id=action_id or str(uuid.uuid4()),
        alert_id=alert_id,
        kind=str(kind),
        actor=actor,
        at_ms=at_ms,
        based_on=based_on,
        seen=seen,
        comment=comment.strip() or None if comment else None,
        until_ms=until_ms,
        assignee=assignee,
        level=level,
        undoes=undoes,
    )
    wrong = incomplete(action)
    if wrong:
        raise ConfigError(f"{kind} {alert_id}: {wrong}")
    return action


def incomplete(action: Action) -> str | None:
    """What an action of this kind lacks, None when it is whole."""
    if action.kind not in set(Kind):
        return f"no action is called {action.kind!r}; there are {', '.join(Kind)}"
    if not action.actor.strip():
        return "nobody is named as the actor"
    for name in ("action_id", "actor", "assignee", "undoes"):
        if len(getattr(action, name) or "") > _LONGEST_NAME_CHARS:
            return f"{name} has more than {_LONGEST_NAME_CHARS} characters"
    if len(action.comment or "") > _LONGEST_COMMENT_CHARS:
        return f"a comment has at most {_LONGEST_COMMENT_CHARS} characters"
    if action.level is not None and not 1 <= action.level <= 100:
        return "a level is a number from 1 to 100"
    match action.kind:
        case Kind.SNOOZE if action.until_ms is None:
            return "until when?"
        case Kind.ASSIGN if not (action.assignee or "").strip():
            return "to whom?"
        case Kind.RESOLVE if not (action.comment or "").strip():
            return "resolving needs a reason, as a comment"
        case Kind.COMMENT if not (action.comment or "").strip():
            return "the comment is empty"
        case Kind.UNDO if not action.undoes:
            return "which action is to be undone?"
    return None


def as_record(action: Action) -> dict[str, Any]:
    """The action as an event of its topic."""
    return {
        "action_id": action.action_id,
        "alert_id": action.alert_id,
        "action": action.kind,
        "actor": action.actor,
        "comment": action.comment,
        "timestamp": action.at_ms,
        "based_on": action.based_on,
        "seen": action.seen,
        "until": action.until_ms,
        "assignee": action.assignee,
        "level": action.level,
        "undoes": action.undoes,
    }


def from_record(record: Mapping[str, Any]) -> Action:
    return Action(
        action_id=record["action_id"],
        alert_id=record["alert_id"],
        kind=record["action"],
        actor=record["actor"],
        at_ms=record["timestamp"],
        based_on=record["based_on"],
        seen=record["seen"],
        comment=record["comment"],
        until_ms=record["until"],
        assignee=record["assignee"],
        level=record["level"],
        undoes=record["undoes"],
    )

"""The state of an alert, as a pure fold of what the detector found and what people did.

Order: the detector's steps by version; actions by their place in the log. An action comes after the
steps that its actor had seen and before those that came later, so the order follows from the
records alone: whoever folds them, whenever, gets the same state and the same decisions.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from tillstream.alerting.actions import DONE, SNOOZE_AT_MOST_MS, Action, Kind, incomplete
from tillstream.alerting.alert import (
    AlertView,
    Change,
    Comment,
    Decision,
    Detection,
    Place,
    State,
    Step,
)
from tillstream.alerting.lifecycle import (
    DETECTOR,
    as_people_had_it,
    awake,
    changed,
    detected,
    is_worse,
    opened,
)


@dataclass(frozen=True, slots=True)
class Logged:
    """An action as the log holds it. `arrival_ms` is the broker's clock, by which snoozes end."""

    action: Action
    place: Place
    arrival_ms: int


@dataclass(frozen=True, slots=True)
class Folded:
    """`view` is as of the last record; `awake` brings it to the present. `by_people` is the same
    without the detector's word that the alert is over. `waiting` are actions of people who had seen
    more than is known here yet: they are decided once that is known."""

    view: AlertView
    by_people: AlertView
    steps: tuple[Step, ...]
    decisions: dict[Place, Decision]
    waiting: tuple[Logged, ...]


def fold(detections: Sequence[Detection], actions: Iterable[Logged]) -> Folded:
    """`detections` of one alert by ascending version, at least one; `actions` in log order."""
    return _Fold(detections).run(list(actions))


class _Fold:
    def __init__(self, detections: Sequence[Detection]) -> None:
        first = detections[0]
        self._coming = list(detections[1:])
        self._view = opened(first)
        self._is_over = first.state == "resolved"
        self._snoozed_at: AlertView | None = None
        # Before each change that can be undone, newest last: what it was, and who changed it.
        self._undoable: list[tuple[Change, AlertView]] = []
        # (revision, who, kind, when) of every accepted change.
        self._changes: list[tuple[int, Change]] = []
        self._decisions: dict[Place, Decision] = {}
        self._by_id: dict[str, Decision] = {}
        shown = self._shown().state
        self._steps = [Step(first.recorded_at_ms, first.place, shown, detection=first)]

    def run(self, actions: list[Logged]) -> Folded:
        for number, logged in enumerate(actions):
            seen = logged.action.seen or 0
            while self._view.version < seen and self._coming:
                self._detect(self._coming.pop(0))
            if self._view.version < seen:
                return self._result(actions[number:])
            self._act(logged)
        while self._coming:
            self._detect(self._coming.pop(0))
        return self._result([])

    def _result(self, waiting: list[Logged]) -> Folded:
        steps = tuple(self._steps)
        return Folded(self._shown(), self._view, steps, self._decisions, tuple(waiting))

    def _shown(self) -> AlertView:
        """What people made of it, unless the detector says that it is over."""
        if not self._is_over or self._view.state is State.RESOLVED:
            return self._view
        return replace(
            self._view, state=State.RESOLVED, resolved_by=DETECTOR, snoozed_until_ms=None
        )

    def _detect(self, step: Detection) -> None:
        view = detected(self._view, step)
        self._is_over = step.state == "resolved"
        note = ""
        if view.state is State.SNOOZED and self._snoozed_at and is_worse(self._snoozed_at, view):
            view = replace(view, state=State.OPEN, snoozed_until_ms=None)
            note = "it got worse, so the snooze ended"
        self._view = view
        self._steps.append(
            Step(step.recorded_at_ms, step.place, self._shown().state, detection=step, note=note)
        )

    def _act(self, logged: Logged) -> None:
        action = logged.action
        self._view = awake(self._view, logged.arrival_ms)
        before = self._by_id.get(action.action_id)
        if before is not None:
            decision = replace(before, view=self._shown(), repeated=True)
            reason = "sent twice: the first counts"
            self._note(logged, accepted=False, reason=reason)
            self._decisions[logged.place] = decision
            return
        reason = self._refusal(logged)
        if not reason:
            self._apply(logged)
        decision = Decision(action, not reason, reason, self._shown())
        self._by_id[action.action_id] = self._decisions[logged.place] = decision
        self._note(logged, accepted=not reason, reason=reason)

    def _note(self, logged: Logged, *, accepted: bool, reason: str) -> None:
        self._steps.append(
            Step(
                logged.arrival_ms,
                logged.place,
                self._shown().state,
                action=logged.action,
                accepted=accepted,
                reason=reason,
            )
        )

    def _refusal(self, logged: Logged) -> str:
        """Why this cannot be, in words; empty when it can."""
        action = logged.action
        if wrong := incomplete(action):
            return wrong
        if action.kind == Kind.COMMENT:
            return ""
        if self._is_over:
            return "the shelf is safe again: the alert is over"
        return self._stale(action) or self._impossible(logged)

    def _stale(self, action: Action) -> str:
        """Somebody else changed the alert after what this actor had seen."""
        if action.based_on is None:
            return ""
        if action.based_on > self._view.revision:
            return f"based on revision {action.based_on}, but it has only {self._view.revision}"
        for revision, change in self._changes:
            if revision > action.based_on and change.actor != action.actor:
                return f"{change.actor} {DONE[change.kind]} it first, at {_clock(change.at_ms)}"
        return ""

    def _impossible(self, logged: Logged) -> str:
        action, view = logged.action, self._view
        if view.state is State.RESOLVED and action.kind not in (Kind.REOPEN, Kind.UNDO):
            return f"{view.resolved_by} resolved it already"
        match action.kind:
            case Kind.ACKNOWLEDGE if view.state is State.ACKNOWLEDGED:
                return f"{view.owner or 'somebody'} has it already"
            case Kind.ASSIGN if view.owner == action.assignee:
                return f"it is {action.assignee}'s already"
            case Kind.REOPEN if view.state is State.OPEN:
                return "it is open already"
            case Kind.ESCALATE if action.level is not None:
                if action.level <= view.escalation_level:
                    return f"it is at level {view.escalation_level} already"
            case Kind.SNOOZE:
                ahead_ms = (action.until_ms or 0) - logged.arrival_ms
                if ahead_ms <= 0:
                    return f"{_clock(action.until_ms or 0)} is over already"
                if ahead_ms > SNOOZE_AT_MOST_MS:
                    return f"a snooze is at most {SNOOZE_AT_MOST_MS // 86_400_000} days"
            case Kind.UNDO:
                if not self._undoable:
                    return "there is nothing to undo"
                newest = self._undoable[-1][0]
                if newest.action_id != action.undoes:
                    return f"only the newest change can be undone: {newest.actor} " + (
                        f"{DONE[newest.kind]} it at {_clock(newest.at_ms)}"
                    )
        return ""

    def _apply(self, logged: Logged) -> None:
        action, view = logged.action, self._view
        if action.comment:
            said = Comment(
                action.action_id, action.kind, action.actor, action.comment, logged.arrival_ms
            )
            view = replace(view, comments=(*view.comments, said))
        self._view = replace(view, updated_at_ms=max(view.updated_at_ms, logged.arrival_ms))
        if action.kind == Kind.COMMENT:
            return
        change = Change(action.action_id, action.kind, action.actor, logged.arrival_ms)
        if action.kind == Kind.UNDO:
            _, before = self._undoable.pop()
            after = as_people_had_it(self._view, before)
        else:
            self._undoable.append((change, self._view))
            after = changed(self._view, action)
        if after.state is State.SNOOZED:
            self._snoozed_at = after
        last = self._undoable[-1][0] if self._undoable else None
        self._view = replace(after, revision=self._view.revision + 1, last_change=last)
        self._changes.append((self._view.revision, change))


def _clock(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"

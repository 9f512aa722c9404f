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
    SEVERITIES,
    AlertView,
    Change,
    Comment,
    Decision,
    Detection,
    Place,
    State,
    Step,
)

# A snooze ends when the risk has risen by this since. Not a setting: it decides what the log means.
WORSE_RISK = 0.15
DETECTOR = "detector"


@dataclass(frozen=True, slots=True)
class Logged:
    """An action as the log holds it. `arrival_ms` is the broker's clock, by which snoozes end."""

    action: Action
    place: Place
    arrival_ms: int


@dataclass(frozen=True, slots=True)
class Folded:
    """`view` is as of the last record; `awake` brings it to the present. `waiting` are actions of
    people who had seen more than is known here yet: they are decided once that is known."""

    view: AlertView
    steps: tuple[Step, ...]
    decisions: dict[Place, Decision]
    waiting: tuple[Logged, ...]


def fold(detections: Sequence[Detection], actions: Iterable[Logged]) -> Folded:
    """`detections` of one alert by ascending version, at least one; `actions` in log order."""
    return _Fold(detections).run(list(actions))


def awake(view: AlertView, now_ms: int) -> AlertView:
    """The view with a snooze that is over ended. That is no change by anybody: the revision stays,
    and so do owner and level."""
    if view.state is State.SNOOZED and (view.snoozed_until_ms or 0) <= now_ms:
        return replace(view, state=State.OPEN, snoozed_until_ms=None)
    return view


def opened(step: Detection) -> AlertView:
    return AlertView(
        alert_id=step.alert_id,
        incident_id=step.incident_id,
        store_id=step.store_id,
        product_id=step.product_id,
        product_name=step.product_name,
        region=step.region,
        category=step.category,
        supplier_id=step.supplier_id,
        supplier_name=step.supplier_name,
        state=State.OPEN,
        severity=step.severity,
        risk=step.risk,
        on_hand=step.on_hand,
        days_of_cover=step.days_of_cover,
        empty_p50_days=step.empty_p50_days,
        expected_lost_margin=step.expected_lost_margin,
        explanation=step.explanation,
        low_confidence=step.low_confidence,
        opened_at_ms=step.opened_at_ms,
        since_ms=step.recorded_at_ms,
        updated_at_ms=step.recorded_at_ms,
        version=step.version,
    )


def detected(view: AlertView, step: Detection) -> AlertView:
    """The view after the detector's next step. What people did stays, with two exceptions: a
    resolved shelf resolves the alert, and a snooze ends when it got worse."""
    after = replace(
        view,
        incident_id=step.incident_id or view.incident_id,
        severity=step.severity,
        risk=step.risk,
        on_hand=step.on_hand,
        days_of_cover=step.days_of_cover,
        empty_p50_days=step.empty_p50_days,
        expected_lost_margin=step.expected_lost_margin,
        explanation=step.explanation,
        low_confidence=step.low_confidence,
        updated_at_ms=max(view.updated_at_ms, step.recorded_at_ms),
        version=step.version,
    )
    if step.state == "resolved":
        by = view.resolved_by or DETECTOR
        return replace(after, state=State.RESOLVED, resolved_by=by, snoozed_until_ms=None)
    return after


def is_worse(before: AlertView, now: AlertView) -> bool:
    more_severe = SEVERITIES.index(now.severity) < SEVERITIES.index(before.severity)
    emptied = before.on_hand > 0 >= now.on_hand
    return more_severe or emptied or now.risk - before.risk >= WORSE_RISK


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
        self._steps = [Step(first.recorded_at_ms, first.place, State.OPEN, detection=first)]
        if self._is_over:
            self._view = detected(self._view, first)

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
        return Folded(self._view, tuple(self._steps), self._decisions, tuple(waiting))

    def _detect(self, step: Detection) -> None:
        view = detected(self._view, step)
        self._is_over = step.state == "resolved"
        note = ""
        if view.state is State.SNOOZED and self._snoozed_at and is_worse(self._snoozed_at, view):
            view = replace(view, state=State.OPEN, snoozed_until_ms=None)
            note = "it got worse, so the snooze ended"
        self._view = view
        self._steps.append(
            Step(step.recorded_at_ms, step.place, view.state, detection=step, note=note)
        )

    def _act(self, logged: Logged) -> None:
        action = logged.action
        self._view = awake(self._view, logged.arrival_ms)
        before = self._by_id.get(action.action_id)
        if before is not None:
            decision = replace(before, view=self._view, repeated=True)
            reason = "sent twice: the first counts"
            self._note(logged, accepted=False, reason=reason)
            self._decisions[logged.place] = decision
            return
        reason = self._refusal(logged)
        if not reason:
            self._apply(logged)
        decision = Decision(action, not reason, reason, self._view)
        self._by_id[action.action_id] = self._decisions[logged.place] = decision
        self._note(logged, accepted=not reason, reason=reason)

    def _note(self, logged: Logged, *, accepted: bool, reason: str) -> None:
        self._steps.append(
            Step(
                logged.arrival_ms,
                logged.place,
                self._view.state,
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
            after = _as_people_had_it(self._view, before)
        else:
            self._undoable.append((change, self._view))
            after = changed(self._view, action)
        if after.state is State.SNOOZED:
            self._snoozed_at = after
        last = self._undoable[-1][0] if self._undoable else None
        self._view = replace(after, revision=self._view.revision + 1, last_change=last)
        self._changes.append((self._view.revision, change))


def changed(view: AlertView, action: Action) -> AlertView:
    """The view after an action that was accepted."""
    match action.kind:
        case Kind.ACKNOWLEDGE:
            return replace(
                view, state=State.ACKNOWLEDGED, owner=action.actor, snoozed_until_ms=None
            )
        case Kind.ASSIGN:
            return replace(view, owner=action.assignee)
        case Kind.SNOOZE:
            return replace(view, state=State.SNOOZED, snoozed_until_ms=action.until_ms)
        case Kind.ESCALATE:
            level = action.level or view.escalation_level + 1
            return replace(
                view, state=State.ESCALATED, escalation_level=level, snoozed_until_ms=None
            )
        case Kind.RESOLVE:
            return replace(
                view,
                state=State.RESOLVED,
                resolved_by=action.actor,
                resolution=action.comment,
                snoozed_until_ms=None,
            )
        case Kind.REOPEN:
            return replace(
                view,
                state=State.OPEN,
                owner=None,
                snoozed_until_ms=None,
                escalation_level=0,
                resolved_by=None,
                resolution=None,
            )
    return view


def _as_people_had_it(view: AlertView, before: AlertView) -> AlertView:
    """What the detector says stays; what people decided goes back to what it was."""
    return replace(
        view,
        state=before.state,
        owner=before.owner,
        snoozed_until_ms=before.snoozed_until_ms,
        escalation_level=before.escalation_level,
        resolved_by=before.resolved_by,
        resolution=before.resolution,
    )


def _clock(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"

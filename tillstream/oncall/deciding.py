"""What to do about one subject now: pure, so that every rule can be tested by the clock.

A case is what the pager remembers of a subject. It walks through the steps of its rule until
somebody answers; a case that was answered and fires again begins a new round.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace

from tillstream.oncall.policy import Policy, Reach, Rule
from tillstream.oncall.schedules import on_call, span_at
from tillstream.oncall.subjects import Status, Subject, is_worse, rule_for

_PAGES = uuid.UUID("6d1f9d0c-7c86-4d0a-9c57-2f0f7f7f6c11")


@dataclass(frozen=True, slots=True)
class Case:
    """`step` counts the steps done in this round; the next is due at `due_ms`, None when there is
    none. `severity` is the worst of this round."""

    key: str
    rule: str
    status: Status
    severity: str
    round: int
    step: int
    due_ms: int | None
    opened_ms: int


@dataclass(frozen=True, slots=True)
class NewPage:
    """One message to one target, to go out through the first of `reach` that works. The id follows
    from what it is, so deciding the same again makes no second page."""

    page_id: str
    key: str
    target: str
    reach: tuple[Reach, ...]
    step: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """`escalated_to` is the level that this step raised the subject to, None for a first page."""

    case: Case
    pages: tuple[NewPage, ...] = ()
    escalated_to: int | None = None


def decide(
    case: Case | None, subject: Subject, policy: Policy, *, now_ms: int, hurry: bool = False
) -> Outcome | None:
    """The case as it is now and what must be sent; None when nobody is to be told.

    `hurry` makes the next step due at once: nobody could be reached by the last one.
    """
    if subject.status is not Status.FIRING:
        return None if case is None else _answered(case, subject)
    rule = rule_for(policy, subject)
    if rule is None:
        return None if case is None else Outcome(replace(case, due_ms=None))
    case, rule = _in_round(case, subject, rule, policy, now_ms=now_ms)
    if hurry and case.due_ms is not None and case.step < len(rule.steps):
        case = replace(case, due_ms=min(case.due_ms, now_ms))
    by_hand = 0 < case.step <= subject.level
    if case.step < len(rule.steps) and by_hand:
        case = replace(case, due_ms=now_ms)
    if case.due_ms is None:
        return Outcome(case)
    quiet_until = None if by_hand else _quiet_until(rule, now_ms)
    if quiet_until is not None:
        case = replace(case, due_ms=max(case.due_ms, quiet_until))
    if case.due_ms is None or case.due_ms > now_ms:
        return Outcome(case)
    return _take_step(case, subject, rule, policy, now_ms=now_ms)


def targets_now(
    page: tuple[str, ...], policy: Policy, *, now_ms: int
) -> Mapping[str, tuple[Reach, ...]]:
    """Who a step reaches at this moment: person or channel, and by what. A schedule that leaves
    the moment open reaches nobody; somebody named twice is there once."""
    found: dict[str, tuple[Reach, ...]] = {}
    for name in page:
        if name in policy.channels:
            found[name] = (Reach(name),)
            continue
        schedule = policy.schedules.get(name)
        person = on_call(schedule, now_ms) if schedule else name
        if person is not None:
            found[person] = policy.people[person].reach
    return found


def _answered(case: Case, subject: Subject) -> Outcome:
    return Outcome(replace(case, status=subject.status, due_ms=None))


def _in_round(
    case: Case | None, subject: Subject, matching: Rule, policy: Policy, *, now_ms: int
) -> tuple[Case, Rule]:
    """The case in the round it belongs to, and the rule that this round follows. A round keeps its
    rule, unless the subject gets worse and others are meant to know, or the rule is no more."""
    if case is not None and case.status is Status.FIRING:
        current = next((rule for rule in policy.rules if rule.name == case.rule), None)
        worse = is_worse(subject.severity, case.severity)
        if current is not None and not (worse and current.name != matching.name):
            kept = replace(case, severity=subject.severity) if worse else case
            return kept, current
    return (
        Case(
            key=subject.key,
            rule=matching.name,
            status=Status.FIRING,
            severity=subject.severity,
            round=case.round + 1 if case else 1,
            step=0,
            due_ms=now_ms + matching.wait_ms,
            opened_ms=case.opened_ms if case else now_ms,
        ),
        matching,
    )


def _quiet_until(rule: Rule, now_ms: int) -> int | None:
    if rule.quiet is None:
        return None
    span = span_at(rule.quiet.hours, now_ms, rule.quiet.zone)
    return span[1] if span else None


def _take_step(case: Case, subject: Subject, rule: Rule, policy: Policy, *, now_ms: int) -> Outcome:
    """The step that is due, or the first after it that reaches anybody."""
    done = case.step
    reached: Mapping[str, tuple[Reach, ...]] = {}
    for _ in rule.steps:
        reached = targets_now(rule.steps[done % len(rule.steps)].page, policy, now_ms=now_ms)
        done += 1
        if reached or (done % len(rule.steps) == 0 and not rule.repeat_ms):
            break
    pages = tuple(
        NewPage(_page_id(case, done, target), subject.key, target, reach, done)
        for target, reach in reached.items()
    )
    stepped = replace(case, step=done, due_ms=_next_due(rule, done, now_ms))
    # Beginning again after the last step is no new level.
    escalated_to = done - 1 if 1 < done <= len(rule.steps) else None
    return Outcome(stepped, pages, escalated_to)


def _next_due(rule: Rule, done: int, now_ms: int) -> int | None:
    following = done % len(rule.steps)
    if following:
        return now_ms + rule.steps[following].after_ms
    return now_ms + rule.repeat_ms if rule.repeat_ms else None


def _page_id(case: Case, step: int, target: str) -> str:
    return str(uuid.uuid5(_PAGES, f"{case.key}\n{case.round}\n{step}\n{target}"))

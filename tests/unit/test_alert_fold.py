"""What detections and actions make of an alert: every transition, and who is refused."""

from typing import Any

import pytest

from tests.alerting import HOUR_MS, MINUTE_MS, OPENED, T0_MS, detection, logged
from tillstream.alerting.actions import SNOOZE_AT_MOST_MS
from tillstream.alerting.alert import AlertView, Severity
from tillstream.alerting.fold import Folded, fold
from tillstream.alerting.lifecycle import awake

TONIGHT = T0_MS + 8 * HOUR_MS
Did = tuple[str, dict[str, Any]]
ACK: Did = ("acknowledge", {})
SNOOZE: Did = ("snooze", {"until_ms": TONIGHT})
ESCALATE: Did = ("escalate", {})
RESOLVE: Did = ("resolve", {"comment": "ordered by phone"})
REOPEN: Did = ("reopen", {})
ASSIGN: Did = ("assign", {"assignee": "lee"})


def after(*actions: Did, actor: str = "kim") -> Folded:
    log = [logged(n, kind, actor, **said) for n, (kind, said) in enumerate(actions)]
    return fold([OPENED], log)


def reasons(folded: Folded) -> list[str]:
    return [step.reason for step in folded.steps if step.action is not None]


@pytest.mark.parametrize(
    ("actions", "state", "owner", "level"),
    [
        ([], "open", None, 0),
        ([ACK], "acknowledged", "kim", 0),
        ([ASSIGN], "open", "lee", 0),
        ([ASSIGN, ACK], "acknowledged", "kim", 0),
        ([ACK, ASSIGN], "acknowledged", "lee", 0),
        ([SNOOZE], "snoozed", None, 0),
        ([ACK, SNOOZE], "snoozed", "kim", 0),
        ([SNOOZE, ACK], "acknowledged", "kim", 0),
        ([SNOOZE, ESCALATE], "escalated", None, 1),
        ([ESCALATE], "escalated", None, 1),
        ([ESCALATE, ESCALATE], "escalated", None, 2),
        ([("escalate", {"level": 5})], "escalated", None, 5),
        ([ESCALATE, ACK], "acknowledged", "kim", 1),
        ([ACK, ESCALATE], "escalated", "kim", 1),
        ([RESOLVE], "resolved", None, 0),
        ([SNOOZE, RESOLVE], "resolved", None, 0),
        ([ACK, REOPEN], "open", None, 0),
        ([SNOOZE, REOPEN], "open", None, 0),
        ([ESCALATE, REOPEN], "open", None, 0),
        ([RESOLVE, REOPEN], "open", None, 0),
    ],
)
def test_what_actions_lead_to(
    actions: list[Did], state: str, owner: str | None, level: int
) -> None:
    folded = after(*actions)
    view = folded.view
    assert reasons(folded) == [""] * len(actions)
    assert (view.state, view.owner, view.escalation_level) == (state, owner, level)
    assert view.revision == len(actions)
    assert view.snoozed_until_ms == (TONIGHT if state == "snoozed" else None)
    assert view.resolved_by == ("kim" if state == "resolved" else None)


@pytest.mark.parametrize(
    ("actions", "reason"),
    [
        ([ACK, ACK], "kim has it already"),
        ([ASSIGN, ASSIGN], "it is lee's already"),
        ([REOPEN], "it is open already"),
        ([("escalate", {"level": 2}), ("escalate", {"level": 2})], "it is at level 2 already"),
        ([RESOLVE, ACK], "kim resolved it already"),
        ([RESOLVE, RESOLVE], "kim resolved it already"),
        ([("snooze", {})], "until when?"),
        ([("snooze", {"until_ms": T0_MS})], "2026-11-18 11:06:40 UTC is over already"),
        (
            [("snooze", {"until_ms": T0_MS + SNOOZE_AT_MOST_MS + 1})],
            "a snooze is at most 7 days",
        ),
        ([("assign", {})], "to whom?"),
        ([("resolve", {"comment": " "})], "resolving needs a reason, as a comment"),
        ([("comment", {})], "the comment is empty"),
        ([("undo", {})], "which action is to be undone?"),
        ([("undo", {"undoes": "x"})], "there is nothing to undo"),
        ([("dance", {})], "no action is called 'dance'; there are acknowledge, assign, "),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(actions: list[Did], reason: str) -> None:
    folded = after(*actions)
    assert reasons(folded)[-1].startswith(reason)
    assert folded.view == after(*actions[:-1]).view
    assert not folded.steps[-1].accepted


def test_two_who_act_at_once_are_told_who_was_first() -> None:
    both = [
        logged(0, "acknowledge", "kim", based_on=0, seen=1),
        logged(1, "acknowledge", "lee", based_on=0, seen=1),
        logged(2, "snooze", "lee", based_on=0, seen=1, until_ms=TONIGHT),
        logged(3, "comment", "lee", based_on=0, seen=1, comment="I called them"),
    ]
    folded = fold([OPENED], both)
    told = "kim acknowledged it first, at 2026-11-18 11:06:40 UTC"
    assert reasons(folded) == ["", told, told, ""]
    assert (folded.view.owner, folded.view.revision) == ("kim", 1)
    assert [one.text for one in folded.view.comments] == ["I called them"]


def test_ones_own_changes_are_never_news_to_oneself() -> None:
    folded = fold(
        [OPENED],
        [
            logged(0, "acknowledge", based_on=0, seen=1),
            logged(1, "snooze", based_on=0, seen=1, until_ms=TONIGHT),
        ],
    )
    assert reasons(folded) == ["", ""]


def test_revision_that_never_was_is_refused() -> None:
    folded = fold([OPENED], [logged(0, "acknowledge", based_on=3)])
    assert reasons(folded) == ["based on revision 3, but it has only 0"]


def test_action_sent_twice_counts_once() -> None:
    twice = [
        logged(0, "escalate", action_id="same"),
        logged(1, "escalate", action_id="same"),
    ]
    folded = fold([OPENED], twice)
    assert folded.view.escalation_level == 1
    again = folded.decisions[twice[1].place]
    assert (again.accepted, again.repeated) == (True, True)
    assert reasons(folded) == ["", "sent twice: the first counts"]


@pytest.mark.parametrize("last", [ACK, ASSIGN, SNOOZE, ESCALATE, RESOLVE, REOPEN])
@pytest.mark.parametrize("before", [[], [ESCALATE], [ESCALATE, ("snooze", {"until_ms": TONIGHT})]])
def test_undo_returns_to_what_was(before: list[Did], last: Did) -> None:
    if last == REOPEN and not before:
        before = [ACK]
    was = after(*before).view
    done = after(*before, last)
    undone = after(*before, last, ("undo", {"undoes": f"action-{len(before)}"})).view
    assert reasons(done) == [""] * (len(before) + 1)
    assert made_by_people(undone) == made_by_people(was)
    assert undone.revision == len(before) + 2


def made_by_people(view: AlertView) -> tuple[Any, ...]:
    return (
        *(view.state, view.owner, view.snoozed_until_ms, view.escalation_level),
        *(view.resolved_by, view.resolution, view.last_change),
    )


def test_only_the_newest_change_can_be_undone_and_then_the_one_before() -> None:
    folded = after(
        ACK,
        ESCALATE,
        ("undo", {"undoes": "action-0"}),
        ("undo", {"undoes": "action-1"}),
        ("undo", {"undoes": "action-0"}),
    )
    newest = "only the newest change can be undone: kim escalated it at 2026-11-18 11:07:40 UTC"
    assert reasons(folded) == ["", "", newest, "", ""]
    assert folded.view.state == "open"


def test_snooze_ends_by_time_and_the_alert_is_open_again() -> None:
    view = after(ACK, SNOOZE).view
    assert awake(view, TONIGHT - 1).state == "snoozed"
    woken = awake(view, TONIGHT)
    assert (woken.state, woken.owner, woken.revision) == ("open", "kim", view.revision)
    late = fold([OPENED], [logged(0, *SNOOZE[:1], until_ms=T0_MS + MINUTE_MS), logged(1, "reopen")])
    assert reasons(late) == ["", "it is open already"]


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({"risk": 0.84}, "snoozed"),
        ({"risk": 0.86}, "open"),
        ({"on_hand": 1}, "snoozed"),
        ({"on_hand": 0}, "open"),
        ({"severity": Severity.LOW}, "snoozed"),
        ({"severity": Severity.HIGH}, "open"),
    ],
)
def test_snooze_ends_when_it_gets_worse(changes: dict[str, Any], state: str) -> None:
    folded = fold(
        [OPENED, detection(2, **changes)], [logged(0, "snooze", seen=1, until_ms=TONIGHT)]
    )
    assert folded.view.state == state
    assert folded.steps[-1].note == ("it got worse, so the snooze ended" if state == "open" else "")


def test_what_the_snoozer_had_seen_does_not_end_the_snooze() -> None:
    worse = detection(2, risk=0.95, on_hand=0)
    folded = fold([OPENED, worse], [logged(0, "snooze", seen=2, until_ms=TONIGHT)])
    assert folded.view.state == "snoozed"


def test_detector_has_the_last_word_on_what_is_over() -> None:
    over = [OPENED, detection(2, "resolved", risk=0.1, on_hand=40)]
    view = fold(over, [logged(0, "acknowledge", seen=1)]).view
    assert (view.state, view.resolved_by, view.owner) == ("resolved", "detector", "kim")
    late = fold(over, [logged(0, "acknowledge", seen=2), logged(1, "comment", comment="thanks")])
    assert reasons(late) == ["the shelf is safe again: the alert is over", ""]


def test_alert_that_comes_back_is_as_people_had_left_it() -> None:
    back = [OPENED, detection(2, "resolved", risk=0.1), detection(3, "opened", risk=0.8)]
    assert fold(back, [logged(0, "acknowledge", seen=1)]).view.state == "acknowledged"
    assert fold(back, []).view.state == "open"


def test_what_a_person_resolved_stays_so_while_the_shelf_gets_worse() -> None:
    worse = [OPENED, detection(2, risk=0.9), detection(3, risk=1.0, on_hand=0)]
    view = fold(worse, [logged(0, "resolve", seen=1, comment="we stop selling it")]).view
    assert (view.state, view.resolved_by, view.on_hand) == ("resolved", "kim", 0)
    assert view.resolution == "we stop selling it"


def test_action_of_one_who_had_seen_more_waits_and_holds_up_those_after_it() -> None:
    log = [logged(0, "acknowledge", seen=2), logged(1, "comment", comment="hello")]
    early = fold([OPENED], log)
    assert (early.view.state, early.waiting, early.decisions) == ("open", tuple(log), {})
    later = fold([OPENED, detection(2, risk=0.9)], log)
    assert (later.view.state, later.waiting) == ("acknowledged", ())
    assert [step.place for step in later.steps] == [None, None, log[0].place, log[1].place]


def test_history_is_in_the_order_of_what_people_saw() -> None:
    steps = fold(
        [OPENED, detection(2, risk=0.9), detection(3, risk=0.6)],
        [logged(0, "escalate", seen=1), logged(1, "acknowledge", seen=2)],
    ).steps
    found = [one.detection and one.detection.version for one in steps]
    done = [one.action and one.action.kind for one in steps]
    assert found == [1, None, 2, None, 3]
    assert done == [None, "escalate", None, "acknowledge", None]

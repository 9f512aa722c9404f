"""Whoever folds the same records, in whatever order they reached them, sees the same."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.alerting import HOUR_MS, OPENED, T0_MS, detection, logged
from tillstream.alerting.alert import Decision, Detection, Place
from tillstream.alerting.book import Book
from tillstream.alerting.fold import Folded, Logged

ACTORS = st.sampled_from(["kim", "lee", "pager"])
KINDS = st.sampled_from(["acknowledge", "assign", "snooze", "escalate", "resolve", "reopen"])
SAID: dict[str, dict[str, Any]] = {
    "assign": {"assignee": "lee"},
    "snooze": {"until_ms": T0_MS + 2 * HOUR_MS},
    "resolve": {"comment": "done"},
}


def people(folded: Folded) -> tuple[Any, ...]:
    view = folded.by_people
    return (
        *(view.state, view.owner, view.escalation_level, view.snoozed_until_ms),
        *(view.resolved_by, view.resolution),
    )


class Readers(RuleBasedStateMachine):
    """One reader is told everything at once; another hears of detections late."""

    def __init__(self) -> None:
        super().__init__()
        self.detections: list[Detection] = [OPENED]
        self.log: list[Logged] = []
        self.prompt, self.slow = Book(), Book()
        self.prompt.add(detections=[OPENED])
        self.unheard: list[Detection] = [OPENED]
        self.decided: dict[Place, tuple[bool, str]] = {}

    @property
    def now(self) -> Folded:
        folded = self.prompt.get(OPENED.alert_id)
        assert folded is not None
        return folded

    @rule(risk=st.sampled_from([0.4, 0.7, 0.9]), on_hand=st.integers(0, 3))
    def moves(self, risk: float, on_hand: int) -> None:
        self._detect("updated", risk=risk, on_hand=on_hand)

    @rule()
    def ends_or_comes_back(self) -> None:
        ended = self.detections[-1].state == "resolved"
        self._detect("opened" if ended else "resolved", risk=0.8 if ended else 0.1)

    def _detect(self, state: str, **changes: Any) -> None:
        step = detection(len(self.detections) + 1, state, **changes)
        self.detections.append(step)
        self.prompt.add(detections=[step])
        self.unheard.append(step)

    @rule(kind=KINDS, actor=ACTORS, behind=st.integers(0, 2), unseen=st.integers(0, 2))
    def acts(self, kind: str, actor: str, behind: int, unseen: int) -> None:
        view = self.now.view
        self._act(
            kind,
            actor,
            based_on=max(view.revision - behind, 0),
            seen=max(view.version - unseen, 1),
            **SAID.get(kind, {}),
        )

    @precondition(lambda self: self.now.view.last_change is not None)
    @rule(kind=KINDS, actor=ACTORS)
    def acts_and_undoes(self, kind: str, actor: str) -> None:
        before = people(self.now)
        seen = self.now.view.version
        decision = self._act(kind, actor, seen=seen, **SAID.get(kind, {}))
        if decision.accepted:
            # Whether its snooze had ended is a matter of time, not of who folds.
            undone = self._act("undo", actor, seen=seen, undoes=decision.action.action_id)
            assert undone.accepted
            if before[0] != "snoozed":
                assert people(self.now) == before

    def _act(self, kind: str, actor: str, **said: Any) -> Decision:
        one = logged(len(self.log), kind, actor, **said)
        self.log.append(one)
        for book in (self.prompt, self.slow):
            book.add(actions=[one])
        return self.now.decisions[one.place]

    @rule()
    def slow_one_hears(self) -> None:
        self.slow.add(detections=self.unheard)
        self.unheard.clear()

    @invariant()
    def decisions_are_for_ever(self) -> None:
        decisions = {place: (one.accepted, one.reason) for place, one in self.now.decisions.items()}
        assert self.decided.items() <= decisions.items()
        self.decided = decisions

    @invariant()
    def slow_one_decides_the_same_as_far_as_it_knows(self) -> None:
        slow = self.slow.get(OPENED.alert_id)
        if slow is not None:
            for place, decision in slow.decisions.items():
                prompt = self.now.decisions[place]
                assert (decision.accepted, decision.reason) == (prompt.accepted, prompt.reason)

    def teardown(self) -> None:
        self.slow_one_hears()
        replayed = Book()
        replayed.add(actions=reversed(self.log))
        replayed.add(detections=reversed(self.detections))
        assert self.slow.get(OPENED.alert_id) == self.now == replayed.get(OPENED.alert_id)


TestReaders = Readers.TestCase
TestReaders.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)

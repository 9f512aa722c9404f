"""The pager's round: incidents are one page, escalations go into the log, blindness is told."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from tests.alerting import OPENED
from tillstream.alerting.actions import Action
from tillstream.alerting.alert import AlertView, Change, Decision, Severity, State
from tillstream.alerting.fold import fold
from tillstream.clock import FakeClock
from tillstream.errors import ServiceError
from tillstream.oncall.channels.channel import TAKEN, Answer
from tillstream.oncall.desk_subjects import subjects_of
from tillstream.oncall.pager import Pager
from tillstream.oncall.policy import ChannelSpec
from tillstream.oncall.policy_watch import PolicyWatch
from tillstream.oncall.records import Page
from tillstream.oncall.sight import BLIND_AFTER_MS, BLIND_KEY, AlertDesk, Sight
from tillstream.oncall.store import Store
from tillstream.oncall.subjects import Status, Subject
from tillstream.telemetry.pager import PagerMetrics

POLICY = """\
channels:
  hook: {type: webhook, url: "http://127.0.0.1:9/"}
people:
  mara: {reach: [hook]}
rules:
  - name: all
    wait_seconds: 0
    steps:
      - page: mara
      - page: mara
        after_minutes: 10
"""
NOW_MS = 1_795_000_600_000


def alert(number: int, *, incident: str | None = None, state: State = State.OPEN) -> AlertView:
    view = fold([OPENED], []).view
    return replace(view, alert_id=f"a{number}", incident_id=incident, state=state)


def acknowledged(view: AlertView, at_ms: int) -> AlertView:
    change = Change("x", "acknowledge", "ines", at_ms)
    return replace(view, state=State.ACKNOWLEDGED, owner="ines", last_change=change)


def by_key(*alerts: AlertView) -> dict[str, Subject]:
    return {one.key: one for one in subjects_of(alerts)}


def test_an_incident_is_one_subject_and_speaks_for_its_alerts() -> None:
    found = by_key(*(alert(number, incident="i") for number in range(400)), alert(999))
    firing = {key for key, one in found.items() if one.status is Status.FIRING}
    assert firing == {"tillstream/incident/i", "tillstream/alert/a999"}
    incident = found["tillstream/incident/i"]
    assert incident.content.summary == ("400 items of supplier Mill are running out in 1 store")
    assert len(incident.alert_ids) == 400
    assert found["tillstream/alert/a7"].note == "it is part of an incident now"


def test_who_answered_an_incident_answered_for_what_joins_it_unless_it_is_worse() -> None:
    old = acknowledged(alert(1, incident="i"), NOW_MS)
    before = replace(alert(2, incident="i"), since_ms=NOW_MS - 1)
    joined = replace(alert(3, incident="i"), since_ms=NOW_MS + 1)
    worse = replace(joined, severity=Severity.CRITICAL)
    key = "tillstream/incident/i"
    assert by_key(old)[key].status is Status.ACKNOWLEDGED
    assert by_key(old)[key].note == "acknowledged by ines"
    assert by_key(old, joined)[key].status is Status.ACKNOWLEDGED
    assert by_key(old, before)[key].status is Status.FIRING
    assert by_key(old, joined, worse)[key].status is Status.FIRING
    assert by_key(old, worse)[key].severity == "critical"
    over = [replace(one, state=State.RESOLVED) for one in (old, joined)]
    assert by_key(*over)[key].status is Status.RESOLVED


@dataclass(slots=True)
class Desk:
    """A desk by hand: it is away while `away` says why."""

    views: list[AlertView] = field(default_factory=list)
    acted: list[Action] = field(default_factory=list)
    away: str = ""

    def refresh(self) -> set[str]:
        if self.away:
            raise ServiceError(self.away)
        return set()

    def alerts(self) -> list[AlertView]:
        return self.views

    def act_many(self, actions: Sequence[Action]) -> list[Decision]:
        self.refresh()
        self.acted += actions
        return [Decision(one, True, "", None) for one in actions]


@dataclass(slots=True)
class Hook:
    got: list[Page] = field(default_factory=list)

    def send(self, page: Page) -> Answer:
        self.got.append(page)
        return TAKEN

    def close(self) -> None:
        return


@dataclass(slots=True)
class Room:
    """A pager with everything it needs."""

    desk: Desk
    hook: Hook
    clock: FakeClock
    pager: Pager
    path: Path

    def told(self, count: int) -> list[tuple[str, str]]:
        """What the hook got, once it is so many."""
        self.pager.tick()
        deadline = time.monotonic() + 30
        while len(self.hook.got) < count and time.monotonic() < deadline:
            time.sleep(0.01)
        return [(page.event, page.key) for page in self.hook.got]


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    path = tmp_path / "oncall.yaml"
    path.write_text(POLICY)
    desk, hook, clock = Desk(), Hook(), FakeClock(NOW_MS)
    opened: Callable[[], AbstractContextManager[AlertDesk]] = lambda: nullcontext(desk)  # noqa: E731

    def open_hook(_: ChannelSpec, __: Mapping[str, str]) -> Hook:
        return hook

    with Store(tmp_path / "outbox.db") as store:
        pager = Pager(
            store,
            PolicyWatch(path, keep=tmp_path / "kept", environment={}),
            Sight(opened, clock),
            clock=clock,
            metrics=PagerMetrics(CollectorRegistry()),
            open_with=open_hook,
        )
        with closing(pager):
            yield Room(desk, hook, clock, pager, path)


def test_four_hundred_alerts_of_one_incident_page_once(room: Room) -> None:
    room.desk.views = [alert(number, incident="i") for number in range(400)]
    assert room.told(1) == [("trigger", "tillstream/incident/i")]
    room.desk.views.append(alert(400, incident="i"))
    room.pager.tick()
    room.clock.advance(60_000)
    assert room.told(1) == [("trigger", "tillstream/incident/i")]


def test_an_alert_that_joins_an_incident_is_closed_for_who_was_paged(room: Room) -> None:
    room.desk.views = [alert(1)]
    room.told(1)
    room.desk.views = [alert(1, incident="i"), alert(2, incident="i")]
    assert set(room.told(3)[1:]) == {
        ("trigger", "tillstream/incident/i"),
        ("resolve", "tillstream/alert/a1"),
    }


def test_an_escalation_of_the_pager_is_an_action_of_every_alert_once(room: Room) -> None:
    room.desk.views = [alert(1, incident="i"), alert(2, incident="i")]
    room.told(1)
    assert room.desk.acted == []
    room.clock.advance(600_000)
    room.told(2)
    room.pager.tick()
    told = [(one.alert_id, one.kind, one.actor, one.level) for one in room.desk.acted]
    assert told == [("a1", "escalate", "pager", 1), ("a2", "escalate", "pager", 1)]
    assert [one.based_on for one in room.desk.acted] == [0, 0]


def test_what_vanished_while_nobody_looked_is_over(room: Room) -> None:
    room.desk.views = [alert(1)]
    room.told(1)
    room.desk.views = []
    assert room.told(2)[1] == ("resolve", "tillstream/alert/a1")


def test_blindness_is_a_page_of_its_own_and_nothing_escalates_meanwhile(room: Room) -> None:
    room.desk.views = [alert(1)]
    room.told(1)
    room.desk.away = "Kafka does not answer"
    room.clock.advance(BLIND_AFTER_MS - 1)
    assert len(room.told(1)) == 1
    room.clock.advance(3_000)
    assert room.told(2)[1] == ("trigger", BLIND_KEY)
    assert room.hook.got[1].content.details == {"reason": "Kafka does not answer"}
    room.clock.advance(300_000)  # the second step of a1 would be due
    assert len(room.told(2)) == 2
    room.desk.away = ""
    room.clock.advance(3_000)
    assert set(room.told(4)[2:]) == {("resolve", BLIND_KEY), ("trigger", "tillstream/alert/a1")}


def test_a_policy_changed_while_it_runs_counts_from_the_next_round(room: Room) -> None:
    room.path.write_text(POLICY.replace("all", "none").replace("  - name", "  -  name:\n"))
    room.desk.views = [alert(1)]
    assert room.told(1) == [("trigger", "tillstream/alert/a1")]  # the wrong one does not count
    assert "oncall.yaml:" in room.pager.policy_problem
    room.path.write_text(POLICY + "    when: {severity: critical}\n")
    room.desk.views = [alert(1), alert(2)]
    room.pager.tick()
    assert room.pager.policy_problem == ""
    assert len(room.told(1)) == 1  # a2 is not critical

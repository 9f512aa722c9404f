"""The way from a decision to a channel: retries, limits, dead channels, nothing lost or doubled."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from tillstream.clock import FakeClock
from tillstream.oncall.casebook import Casebook
from tillstream.oncall.channels.channel import TAKEN, Answer, Verdict
from tillstream.oncall.courier import Courier
from tillstream.oncall.deciding import decide
from tillstream.oncall.outbox import Outbox
from tillstream.oncall.policy import ChannelSpec, ChannelType, Policy
from tillstream.oncall.policy_file import parse_policy
from tillstream.oncall.records import Page
from tillstream.oncall.store import Store
from tillstream.oncall.subjects import Content, Status, Subject
from tillstream.telemetry.pager import PagerMetrics

POLICY = parse_policy("""\
channels:
  chat: {type: webhook, url: "http://127.0.0.1:9/", dead_after_seconds: 5, pages_per_minute: 3}
  mail: {type: email, server: "127.0.0.1:25", from: a@b.example, to: c@b.example}
people:
  mara: {reach: [chat, mail]}
rules:
  - name: all
    wait_seconds: 0
    steps: [{page: mara}]
""")
LATER, BROKEN = Answer(Verdict.LATER, "HTTP 500"), Answer(Verdict.BROKEN, "HTTP 404")


def subject(number: int, severity: str = "high", status: Status = Status.FIRING) -> Subject:
    content = Content(f"item {number}", "store 1", severity, 0)
    return Subject(f"k{number}", status, severity, content, (f"a{number}",), note="by mara")


@dataclass(slots=True)
class Scripted:
    """A channel that answers as told, then that it has the page."""

    answers: list[Answer] = field(default_factory=list)
    got: list[Page] = field(default_factory=list)

    def send(self, page: Page) -> Answer:
        self.got.append(page)
        return self.answers.pop(0) if self.answers else TAKEN

    def close(self) -> None:
        return

    @property
    def keys(self) -> list[str]:
        return [page.key for page in self.got]


@dataclass(slots=True)
class Post:
    """An outbox, its two couriers, and a clock."""

    path: Path
    store: Store
    clock: FakeClock
    policy: Policy = POLICY
    chat: Scripted = field(default_factory=Scripted)
    mail: Scripted = field(default_factory=Scripted)
    couriers: list[Courier] = field(default_factory=list)

    def __post_init__(self) -> None:
        metrics = PagerMetrics(CollectorRegistry())
        self.couriers = [
            Courier(
                self.policy.channels[name],
                channel,
                Outbox(self.store),
                clock=self.clock,
                metrics=metrics,
                chance=random.Random(7),
            )
            for name, channel in (("chat", self.chat), ("mail", self.mail))
        ]

    @property
    def outbox(self) -> Outbox:
        return Outbox(self.store)

    def say(self, *subjects: Subject) -> None:
        """Decide on these, as the pager does."""
        casebook, now_ms = Casebook(self.store), self.clock.now_ms()
        cases = casebook.cases()
        outcomes = [
            (one, decide(cases.get(one.key), one, self.policy, now_ms=now_ms)) for one in subjects
        ]
        decided = [(one, outcome) for one, outcome in outcomes if outcome is not None]
        casebook.record(decided, now_ms=now_ms)
        casebook.follow_up(self.policy, now_ms=now_ms)

    def run(self, seconds: float) -> None:
        """Let the couriers work for so long, in steps of 0.1 s."""
        for _ in range(round(seconds * 10)):
            for courier in self.couriers:
                while courier.step() == 0:
                    pass
            self.clock.advance(100)


@pytest.fixture
def post(tmp_path: Path) -> Iterator[Post]:
    path = tmp_path / "outbox.db"
    with Store(path) as store:
        yield Post(path, store, FakeClock(1_770_000_000_000))


def test_a_page_goes_once_through_the_first_channel(post: Post) -> None:
    post.say(subject(1))
    post.say(subject(1))
    post.run(120)
    assert post.chat.keys == ["k1"]
    assert post.mail.got == []


def test_the_most_urgent_goes_first_within_the_limit(post: Post) -> None:
    post.say(*(subject(number, "low") for number in range(4)), subject(9, "critical"))
    post.run(1)
    assert post.chat.keys == ["k9", "k0", "k1"]  # three a minute
    post.run(57)
    assert len(post.chat.got) == 3
    post.run(5)
    assert post.chat.keys == ["k9", "k0", "k1", "k2", "k3"]


def test_what_fails_is_tried_again_later_and_later(post: Post) -> None:
    post.chat.answers = [LATER, LATER]
    post.say(subject(1))
    post.run(0.7)
    assert len(post.chat.got) == 1
    post.run(0.6)
    assert len(post.chat.got) == 2
    post.run(1)
    assert len(post.chat.got) == 2
    post.run(2)
    assert len(post.chat.got) == 3
    assert len({page.page_id for page in post.chat.got}) == 1
    assert post.mail.got == []


def test_a_channel_that_asks_for_a_pause_gets_it(post: Post) -> None:
    post.chat.answers = [Answer(Verdict.LATER, "HTTP 429", retry_after_s=30)]
    post.say(subject(1), subject(2))
    post.run(29)
    assert len(post.chat.got) == 1
    post.run(2)
    assert post.chat.keys == ["k1", "k1", "k2"] or post.chat.keys == ["k1", "k2", "k1"]


def test_a_dead_channel_hands_all_its_pages_to_the_next(post: Post) -> None:
    post.chat.answers = [LATER] * 50
    post.say(*(subject(number) for number in range(20)))
    post.run(12)
    assert sorted(post.mail.keys) == sorted(f"k{number}" for number in range(20))
    assert post.outbox.dead() == {"chat"}
    assert post.outbox.health("chat").problem == "HTTP 500"


def test_a_dead_channel_is_tried_again_and_comes_back(post: Post) -> None:
    post.chat.answers = [BROKEN]
    post.say(subject(1))
    post.run(0.2)
    assert post.mail.keys == ["k1"]  # at once: waiting mends no wrong key
    assert post.outbox.dead() == {"chat"}
    post.run(5)
    post.say(subject(2))
    post.run(1)
    assert post.chat.keys == ["k1", "k2"]
    assert post.outbox.dead() == set()


def test_a_page_that_one_channel_refuses_goes_through_another(post: Post) -> None:
    post.chat.answers = [Answer(Verdict.REFUSED, "HTTP 400")]
    post.say(subject(1), subject(2))
    post.run(1)
    assert (post.chat.keys, post.mail.keys) == (["k1", "k2"], ["k1"])
    assert post.outbox.dead() == set()


def test_a_page_that_all_refuse_is_told_as_stuck(post: Post) -> None:
    post.chat.answers = post.mail.answers = [Answer(Verdict.REFUSED, "HTTP 400")] * 2
    post.say(subject(1))
    post.run(120)
    assert len(post.chat.got) == len(post.mail.got) == 1
    assert post.outbox.stuck(set()) == {("k1", 1, 1)}


def test_pages_whose_channels_are_all_dead_wait_and_are_told_as_stuck(post: Post) -> None:
    post.chat.answers, post.mail.answers = [BROKEN] * 3, [BROKEN] * 3
    post.say(subject(1))
    post.run(1)
    assert post.outbox.stuck(post.outbox.dead()) == {("k1", 1, 1)}
    post.run(300)  # both work again by then
    assert post.outbox.states() == {"sent": 1}
    taken = len(post.chat.got) + len(post.mail.got) - 6 + len(post.chat.answers)
    assert taken + len(post.mail.answers) == 1


def test_an_answer_in_time_keeps_a_page_from_going_out(post: Post) -> None:
    post.chat.answers = [LATER]
    post.say(subject(1))
    post.run(0.2)
    post.say(subject(1, status=Status.ACKNOWLEDGED))
    post.run(60)
    assert len(post.chat.got) == 1
    assert post.outbox.states() == {"cancelled": 1}


def test_those_who_were_paged_learn_that_it_was_answered_and_is_over(post: Post) -> None:
    post.say(subject(1))
    post.run(1)
    for status in (Status.ACKNOWLEDGED, Status.ACKNOWLEDGED, Status.RESOLVED, Status.RESOLVED):
        post.say(subject(1, status=status))
        post.run(1)
    told = [(page.event, page.key, page.note) for page in post.chat.got]
    assert told == [
        ("trigger", "k1", ""),
        ("acknowledge", "k1", "by mara"),
        ("resolve", "k1", "by mara"),
    ]


def test_nobody_is_told_that_it_was_answered_once_it_fires_again(post: Post) -> None:
    post.say(subject(1))
    post.run(1)
    post.chat.answers = [LATER]
    post.say(subject(1, status=Status.ACKNOWLEDGED))
    post.run(0.2)
    post.say(subject(1))
    post.run(30)
    assert [page.event for page in post.chat.got] == ["trigger", "acknowledge", "trigger"]


def test_a_mailbox_is_not_told_that_it_is_over(post: Post) -> None:
    post.chat.answers = [BROKEN]
    post.say(subject(1))
    post.run(1)
    post.say(subject(1, status=Status.RESOLVED))
    post.run(1)
    assert [page.event for page in post.mail.got] == ["trigger"]


def test_what_was_stored_is_sent_by_the_next_process(post: Post) -> None:
    post.say(subject(1), subject(2))
    with Store(post.path) as other:
        next_one = Post(post.path, other, post.clock)
        next_one.run(1)
        next_one.say(subject(1), subject(2))
        next_one.run(1)
    assert sorted(next_one.chat.keys) == ["k1", "k2"]
    post.run(1)
    assert post.chat.got == []


def test_a_page_claimed_and_not_noted_goes_out_again_as_the_same_page(post: Post) -> None:
    post.say(subject(1))
    page = post.outbox.due("chat", now_ms=post.clock.now_ms())
    assert page is not None
    assert post.outbox.claim(page)  # … and here the process is killed
    post.run(1)
    assert [one.page_id for one in post.chat.got] == [page.page_id]
    assert post.chat.got[0].attempts == 1


def test_pages_of_a_channel_that_left_the_policy_go_another_way(post: Post) -> None:
    post.say(subject(1))
    post.outbox.adopt(replace(POLICY, channels={"mail": POLICY.channels["mail"]}))
    post.run(1)
    assert (post.chat.keys, post.mail.keys) == ([], ["k1"])
    post.say(subject(2))
    other = ChannelSpec("new", ChannelType.WEBHOOK)
    post.outbox.adopt(replace(POLICY, channels={"new": other}))
    assert post.outbox.stuck(set()) == {("k2", 1, 1)}

"""When whom to page: the rules of a policy, by the clock."""

from dataclasses import dataclass, field, replace

from tillstream.oncall.deciding import Case, Outcome, decide
from tillstream.oncall.policy import Policy
from tillstream.oncall.policy_file import parse_policy
from tillstream.oncall.subjects import Content, Status, Subject

MINUTE_MS = 60_000
NOON_MS = 1_770_033_600_000  # Monday 2026-02-02 12:00 UTC
POLICY = parse_policy("""\
channels:
  hook: {type: webhook, url: "http://127.0.0.1:9/"}
people:
  mara: {reach: [hook]}
  jonas: {reach: [hook]}
schedules:
  shelves: {time_zone: UTC, rotations: [{people: mara, starts: 2026-01-05 08:00}]}
  nights: {time_zone: UTC, rotations: [{people: jonas, starts: 2026-01-05, hours: 20:00-06:00}]}
rules:
  - name: dear
    when: {severity: [critical, high], region: north}
    wait_seconds: 20
    steps:
      - page: shelves
      - page: [jonas, shelves]
        after_minutes: 10
      - page: hook
        after_minutes: 5
    repeat_minutes: 30
  - name: nightly
    when: {category: milk}
    wait_seconds: 0
    steps:
      - page: nights
      - page: mara
        after_minutes: 60
  - name: rest
    when: {severity: [medium, high]}
    wait_seconds: 0
    quiet_hours: {time_zone: UTC, hours: 20:00-07:00}
    steps: [{page: mara}]
""")
CONTENT = Content("Milk is sold out", "store 1", "high", NOON_MS)
SUBJECT = Subject("k", Status.FIRING, "high", CONTENT, ("a",), frozenset({"north"}))


@dataclass(slots=True)
class Desk:
    """Decides again and again, as the pager does."""

    policy: Policy = POLICY
    case: Case | None = None
    paged: list[tuple[int, str]] = field(default_factory=list)
    levels: list[int] = field(default_factory=list)

    def at(self, minutes: float, subject: Subject = SUBJECT, *, hurry: bool = False) -> Outcome:
        now_ms = NOON_MS + round(minutes * MINUTE_MS)
        outcome = decide(self.case, subject, self.policy, now_ms=now_ms, hurry=hurry)
        assert outcome is not None
        again = decide(self.case, subject, self.policy, now_ms=now_ms, hurry=hurry)
        assert again == outcome  # the same ids, so a kill between deciding and storing is harmless
        self.case = outcome.case
        self.paged += [(one.step, one.target) for one in outcome.pages]
        if outcome.escalated_to is not None:
            self.levels.append(outcome.escalated_to)
        return outcome


def test_steps_follow_each_other_until_somebody_answers() -> None:
    desk = Desk()
    desk.at(0)
    assert desk.paged == []  # what belongs together is gathered first
    for minutes in (0.34, 5, 10.3):
        desk.at(minutes)
    assert desk.paged == [(1, "mara")]
    desk.at(10.4)
    assert desk.paged == [(1, "mara"), (2, "jonas"), (2, "mara")]
    desk.at(15.5)
    desk.at(45)
    assert desk.paged[3:] == [(3, "hook")]
    assert desk.levels == [1, 2]
    desk.at(45.6)
    assert desk.paged[4:] == [(4, "mara")]  # from the beginning, and no new level
    assert desk.levels == [1, 2]
    acknowledged = replace(SUBJECT, status=Status.ACKNOWLEDGED)
    for minutes in (46, 100, 1000):
        assert desk.at(minutes, acknowledged).pages == ()


def test_pages_of_one_case_have_ids_of_their_own() -> None:
    desk = Desk()
    desk.at(0)
    ids = [page.page_id for minutes in (1, 11, 16, 46) for page in desk.at(minutes).pages]
    assert len(ids) == len(set(ids)) == 5


def test_whoever_answers_in_time_is_the_only_one_paged() -> None:
    desk = Desk()
    desk.at(0)
    desk.at(1)
    desk.at(9, replace(SUBJECT, status=Status.ACKNOWLEDGED))
    desk.at(60, replace(SUBJECT, status=Status.ACKNOWLEDGED))
    assert desk.paged == [(1, "mara")]


def test_what_fires_again_begins_a_new_round() -> None:
    desk = Desk()
    desk.at(0)
    first = desk.at(1).pages
    desk.at(2, replace(SUBJECT, status=Status.SNOOZED))
    desk.at(30)
    second = desk.at(31).pages
    assert [page.target for page in second] == ["mara"]
    assert first[0].page_id != second[0].page_id
    assert desk.case is not None
    assert desk.case.round == 2


def test_what_was_over_before_anybody_was_paged_is_nobodys_business() -> None:
    over = replace(SUBJECT, status=Status.RESOLVED)
    assert decide(None, over, POLICY, now_ms=NOON_MS) is None
    desk = Desk()
    desk.at(0)
    desk.at(0.2, over)
    desk.at(50, over)
    assert desk.paged == []


def test_people_who_escalate_do_not_wait_for_the_clock() -> None:
    desk = Desk()
    desk.at(0)
    desk.at(1)
    desk.at(2, replace(SUBJECT, level=1))
    assert desk.paged == [(1, "mara"), (2, "jonas"), (2, "mara")]
    desk.at(3, replace(SUBJECT, level=1))
    assert len(desk.paged) == 3


def test_a_step_that_reaches_nobody_is_skipped() -> None:
    desk = Desk()
    milk = replace(SUBJECT, regions=frozenset({"south"}), categories=frozenset({"milk"}))
    desk.at(0, milk)  # noon: nobody is on call in `nights`
    assert desk.paged == [(2, "mara")]
    night = Desk()
    night.at(9 * 60, milk)
    assert night.paged == [(1, "jonas")]


def test_dead_channels_bring_the_next_step_forward_once() -> None:
    desk = Desk()
    desk.at(0)
    desk.at(1)
    desk.at(2, hurry=True)
    desk.at(3)
    assert [step for step, _ in desk.paged] == [1, 2, 2]
    desk.at(4, hurry=True)
    desk.at(5, hurry=True)
    assert [step for step, _ in desk.paged] == [1, 2, 2, 3]  # no racing through repeats


def test_quiet_hours_hold_back_until_they_end() -> None:
    desk = Desk()
    medium = replace(SUBJECT, severity="medium")
    for minutes in (8 * 60, 12 * 60, 18 * 60, 19 * 60 - 0.1):
        desk.at(minutes, medium)
    assert desk.paged == []
    desk.at(19 * 60, medium)  # 07:00 of the next day
    assert desk.paged == [(1, "mara")]


def test_getting_worse_brings_it_to_those_who_are_meant_to_know() -> None:
    desk = Desk()
    desk.at(0, replace(SUBJECT, severity="medium"))
    assert desk.paged == [(1, "mara")]
    desk.at(1, SUBJECT)  # high now: the rule `dear`
    assert desk.case is not None
    assert (desk.case.rule, desk.case.round) == ("dear", 2)
    desk.at(2, replace(SUBJECT, severity="medium"))
    assert desk.case.rule == "dear"  # better again does not change the round


def test_no_rule_means_no_page_and_a_removed_rule_begins_anew() -> None:
    assert decide(None, replace(SUBJECT, severity="low"), POLICY, now_ms=NOON_MS) is None
    desk = Desk()
    desk.at(0)
    desk.at(1)
    renamed = tuple(
        replace(rule, name="very dear") if rule.name == "dear" else rule for rule in POLICY.rules
    )
    desk.policy = replace(POLICY, rules=renamed)
    desk.at(2)
    assert desk.case is not None
    assert (desk.case.rule, desk.case.round, desk.case.step) == ("very dear", 2, 0)

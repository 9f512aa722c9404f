"""The schedule of a seed, and what a campaign covers."""

import pytest

from tillstream.chaos.faults import (
    ANSWERS_TO,
    DISKS,
    FINALE,
    LINKS,
    PAIRS,
    PROCESSES,
    Action,
    Pair,
    Target,
)
from tillstream.chaos.schedule import parse_pair, plan, uncovered
from tillstream.errors import ConfigError


def test_a_seed_gives_the_same_schedule_every_time() -> None:
    assert plan(7, minutes=3) == plan(7, minutes=3)
    assert plan(7, minutes=3) != plan(8, minutes=3)


def test_the_schedule_of_a_seed_does_not_change_between_versions() -> None:
    told = [(step.at_s, str(step.pair), step.hold_s) for step in plan(3, minutes=1)]
    assert told == [
        (5.0, "kill warehouse", 1.2),
        (23.4, "lose-answer commit", 7.6),
        (34.4, "kill driver", 4.4),
    ]


@pytest.mark.parametrize("first", [0, 1, 17, 1000])
def test_thirty_seeds_in_a_row_meet_every_pair(first: int) -> None:
    met = {step.pair for seed in range(first, first + 30) for step in plan(seed, minutes=3)}
    assert uncovered(met) == ()


def test_even_a_short_run_takes_its_two_pairs() -> None:
    steps = plan(2, minutes=0.1)
    assert [step.pair for step in steps] == [PAIRS[2], PAIRS[2 + len(PAIRS) // 2]]


def test_every_action_and_every_target_is_in_the_table_once() -> None:
    assert len(set(PAIRS)) == len(PAIRS)
    assert {pair.action for pair in PAIRS} == set(Action)
    assert {pair.target for pair in PAIRS} == set(Target)
    for action, targets in (
        (Action.KILL, PROCESSES),
        (Action.FREEZE, PROCESSES),
        (Action.SLOW, LINKS),
        (Action.CUT, LINKS),
        (Action.LOSE_ANSWER, ANSWERS_TO),
        (Action.FULL_DISK, DISKS),
    ):
        assert {pair.target for pair in PAIRS if pair.action is action} == set(targets)


def test_steps_do_not_overlap_and_leave_a_calm_end() -> None:
    for seed in range(60):
        steps = [step for step in plan(seed, minutes=3) if step.pair != FINALE]
        ends = [step.at_s + step.hold_s for step in steps]
        assert all(end < step.at_s for end, step in zip(ends, steps[1:], strict=False))
        assert all(step.at_s < 170 for step in steps)


def test_what_loses_records_on_purpose_comes_last_and_is_never_drawn() -> None:
    seeds = range(len(PAIRS))
    with_finale = [seed for seed in seeds if FINALE in {s.pair for s in plan(seed, minutes=3)}]
    assert with_finale == [len(PAIRS) // 2 - 1, len(PAIRS) - 1]
    for seed in with_finale:
        steps = plan(seed, minutes=3)
        assert steps[-1].pair == FINALE
        assert FINALE not in {step.pair for step in steps[:-1]}


def test_only_some_actions() -> None:
    steps = plan(5, minutes=3, only=(Action.KILL, Action.CUT))
    assert {step.pair.action for step in steps} == {Action.KILL, Action.CUT}
    with pytest.raises(ConfigError, match="no pair has an action"):
        plan(5, minutes=3, only=(Action.KILL,), pairs=(Pair(Action.CUT, Target.STREAM_TO_LAKE),))


def test_a_pair_reads_back_from_its_text() -> None:
    assert [parse_pair(str(pair)) for pair in PAIRS] == list(PAIRS)
    with pytest.raises(ConfigError, match="there is no chaos pair 'kill time'"):
        parse_pair("kill time")

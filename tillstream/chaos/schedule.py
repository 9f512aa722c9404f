"""What happens when, as a pure function of the seed."""

import random
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from tillstream.chaos.faults import FINALE, PAIRS, Action, Pair, Target
from tillstream.errors import ConfigError

_FIRST_AT_S = 5.0
_CALM_END_S = 10.0
_REST_S = (3.0, 9.0)
_HOLD_S: dict[Action, tuple[float, float]] = {
    Action.KILL: (0.0, 5.0),
    Action.FREEZE: (3.0, 20.0),
    Action.SLOW: (5.0, 15.0),
    Action.CUT: (2.0, 12.0),
    Action.LOSE_ANSWER: (4.0, 10.0),
    Action.FULL_DISK: (5.0, 12.0),
    Action.DUPLICATE: (4.0, 8.0),
    Action.OUTAGE: (15.0, 25.0),
}
# What restarting takes on a small machine; the schedule leaves room for it.
_RESTART_S = 12.0
_RESTARTS = frozenset(
    {
        Action.KILL,
        Action.RECREATE,
        Action.CORRUPT_CHECKPOINT,
        Action.OUTAGE,
        Action.ADD_PARTITIONS,
    }
)


@dataclass(frozen=True, slots=True)
class Step:
    """`pair` begins `at_s` seconds after the load, and lasts `hold_s`. `dice` (0 to 1) decides what
    else there is to decide: which producer, which topic, how far back."""

    pair: Pair
    at_s: float
    hold_s: float
    dice: float


def plan(
    seed: int, *, minutes: float, only: Collection[Action] = (), pairs: Sequence[Pair] = PAIRS
) -> tuple[Step, ...]:
    """The steps of one seed, in order: always the same for the same arguments.

    The first two are the pairs number `seed` and `seed` plus half the table, so that any run of
    seeds half as long as the table meets all of it. The others come from
    a shuffled deck of all. `only` keeps the pairs
    of those actions. What must come last comes last. Raises ConfigError when nothing is left.
    """
    table = [pair for pair in pairs if not only or pair.action in only]
    if not table:
        raise ConfigError(f"no pair has an action of {sorted(only)}")
    dice = random.Random(seed)
    half = len(table) // 2
    wanted = [table[seed % len(table)], table[(seed + half) % len(table)]]
    if len(table) == 1:
        del wanted[1]
    finale = FINALE in wanted
    wanted = [pair for pair in wanted if pair != FINALE]
    deck: list[Pair] = []
    drawable = [pair for pair in table if pair != FINALE]
    steps: list[Step] = []
    at_s = _FIRST_AT_S
    end_s = minutes * 60 - _CALM_END_S
    while drawable and (wanted or at_s < end_s):
        if not (wanted or deck):
            deck = dice.sample(drawable, len(drawable))
        pair = (wanted or deck).pop(0)
        hold_s = round(dice.uniform(*_HOLD_S.get(pair.action, (0.0, 0.0))), 1)
        steps.append(Step(pair, round(at_s, 1), hold_s, round(dice.random(), 6)))
        at_s += hold_s + dice.uniform(*_REST_S)
        at_s += _RESTART_S if pair.action in _RESTARTS else 0.0
    if finale:
        steps.append(Step(FINALE, round(max(at_s, minutes * 60), 1), 0.0, round(dice.random(), 6)))
    return tuple(steps)


def uncovered(done: Iterable[Pair], *, pairs: Sequence[Pair] = PAIRS) -> tuple[Pair, ...]:
    """The pairs of the table that are not among `done`."""
    seen = set(done)
    return tuple(pair for pair in pairs if pair not in seen)


def parse_pair(text: str) -> Pair:
    """The inverse of `str(pair)`. Raises ConfigError for a pair there is not."""
    action, _, target = text.partition(" ")
    try:
        return Pair(Action(action), Target(target))
    except ValueError as exc:
        raise ConfigError(f"there is no chaos pair {text!r}") from exc

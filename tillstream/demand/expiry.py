"""Shelves that run empty because what stands there must be thrown away."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tillstream.demand.belief import Belief, Floats
from tillstream.demand.risk import demand_at_least

Ints = NDArray[np.int64]

_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Goods:
    """Goods that came, or will come (m,): the row of their item, when (UTC milliseconds), and
    units."""

    row: Ints
    at_ms: Ints
    units: Floats


def spoilt_risk(
    belief: Belief,
    *,
    as_of_ms: int,
    life_days: Ints,
    offset_ms: Ints,
    arrives_ms: Ints,
    came: Goods,
    coming: Goods,
    demand_days: Callable[[Ints, Ints, Ints], Floats],
) -> Floats:
    """P(a shelf is empty before `arrives_ms` because of what must be thrown away), (n,).

    `life_days` (n,) counts from the local day that goods came, 0 for what keeps; `offset_ms` (n,)
    is local time less UTC. `came` needs what came within a shelf life. `demand_days` (rows,
    from_ms, until_ms) are those of items.

    The oldest sell first, so after the midnight at which goods expire no more is left than came
    later, and that may sell out before the order arrives or the next truck comes. Each midnight is
    judged by itself, and the worst counts: a lower bound, since sales before it would only leave
    less.
    """
    risk = np.zeros(len(life_days))
    rows = np.flatnonzero(life_days > 0)
    came_day = (came.at_ms + offset_ms[came.row]) // _DAY_MS
    today = (as_of_ms + offset_ms) // _DAY_MS
    ahead = (arrives_ms + offset_ms) // _DAY_MS - today
    for days in range(1, int(ahead[rows].max(initial=0)) + 1):
        midnight_ms = (today + days) * _DAY_MS - offset_ms
        left = np.zeros(len(life_days))
        still = came_day > (today + days - life_days)[came.row]
        np.add.at(left, came.row[still], came.units[still])
        before = coming.at_ms < midnight_ms[coming.row]
        np.add.at(left, coming.row[before], coming.units[before])
        until_ms = arrives_ms.copy()
        np.minimum.at(until_ms, coming.row[~before], coming.at_ms[~before])
        here = rows[midnight_ms[rows] < arrives_ms[rows]]
        sold_days = demand_days(here, midnight_ms[here], np.maximum(until_ms, midnight_ms)[here])
        known = belief.of_rows(here)
        risk[here] = np.maximum(risk[here], demand_at_least(known, sold_days, left[here]))
    return risk

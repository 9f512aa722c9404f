"""Which orders are still on their way, and which suppliers deliver nothing at present."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tillstream.learning.exposure import DAY_MS, HOUR_MS

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

# What is overdue counts as on its way for so long.
OVERDUE_MS = 7 * DAY_MS
# A delivery fulfils orders that were promised up to so much later.
_EARLY_MS = 12 * HOUR_MS
# How long a supplier goes on delivering nothing has an exponential law whose mean is not known: a
# day, two weeks, and all magnitudes between are as likely (Jeffreys' prior of a scale, cut where a
# buyer would have noticed nothing, and where he would have found another supplier).
_MEAN_DAYS = np.geomspace(1.0, 14.0, 27)
_LONGEST_DAYS = 90.0
# A supplier is held up when most of what fell due within so long has not come.
_RECENT_MS = 36 * HOUR_MS
_LEAST_DUE = 5


@dataclass(frozen=True, slots=True)
class Orders:
    """Arrays (m,), times in UTC milliseconds: the supplier's number from 0, when goods were
    promised, and the newest delivery of the item to that store (0: none)."""

    supplier: Ints
    expected_ms: Ints
    delivered_ms: Ints

    def missing(self, as_of_ms: int) -> Bools:
        """Which have not come, and may yet."""
        not_come = self.delivered_ms < self.expected_ms - _EARLY_MS
        return np.asarray(not_come & (self.expected_ms > as_of_ms - OVERDUE_MS))

    def held_up_ms(self, as_of_ms: int, *, suppliers: int) -> Ints:
        """For how long each of `suppliers` has delivered nothing, from the first order on that
        fell due after his last delivery (to any store): 0 where he does deliver, else a day at
        least, and less than OVERDUE_MS, after which orders are given up."""
        age_ms = as_of_ms - self.expected_ms
        due = (age_ms >= 0) & (age_ms < OVERDUE_MS)
        missing = due & self.missing(as_of_ms)
        recent = due & (age_ms < _RECENT_MS)
        fell_due = np.bincount(self.supplier[recent], minlength=suppliers)
        stayed_away = np.bincount(self.supplier[recent & missing], minlength=suppliers)
        last_ms = np.zeros(suppliers, dtype=np.int64)
        np.maximum.at(last_ms, self.supplier, self.delivered_ms)
        # An order that was late before the others says nothing of how long all have been.
        since = missing & (self.expected_ms > last_ms[self.supplier])
        longest = np.zeros(suppliers, dtype=np.int64)
        np.maximum.at(longest, self.supplier[since], age_ms[since])
        held = (fell_due >= _LEAST_DUE) & (stayed_away > 0.5 * fell_due)
        return np.where(held, np.maximum(longest, DAY_MS), 0)


def held_up_longer_ms(held_ms: Ints, chances: Sequence[float]) -> Ints:
    """How much longer than `held_ms` (n,) suppliers that have delivered nothing go on so with each
    of `chances`: (len(chances), n)."""
    values, which = np.unique(held_ms, return_inverse=True)
    ahead = np.linspace(0.0, _LONGEST_DAYS, 2161)
    lasts = np.exp(-(values[:, None, None] / DAY_MS + ahead[:, None]) / _MEAN_DAYS).mean(axis=2)
    # It falls with time, and interpolation wants what rises.
    longer = [np.interp(-np.asarray(chances), -one / one[0], ahead) for one in lasts]
    return np.asarray((np.transpose(longer) * DAY_MS).astype(np.int64)[:, which])

"""How far behind a query is, and when it will have caught up."""

import math
from collections import deque
from dataclasses import dataclass, field

_SHORTEST_WINDOW_S = 30.0


@dataclass(frozen=True, slots=True)
class Lag:
    """`records` not stored yet, and the rates at which they arrive and are stored. A query keeps up
    when all that arrived before its grace is stored: batches take time."""

    records: int
    arriving_per_s: float
    storing_per_s: float
    keeping_up: bool

    @property
    def catch_up_s(self) -> float:
        """Seconds until nothing waits, if both rates stay; infinite when the lag does not shrink,
        0 when it keeps up."""
        if self.keeping_up:
            return 0.0
        shrinking_per_s = self.storing_per_s - self.arriving_per_s
        return self.records / shrinking_per_s if shrinking_per_s > 0 else math.inf


@dataclass(slots=True)
class LagTrack:
    """Looks at (Kafka's end, what is stored), each summed over all partitions, and what follows
    from the last ones. A query that stores seldom needs a `grace_s` longer than its interval."""

    grace_s: float = 5.0
    _looks: deque[tuple[float, int, int]] = field(default_factory=deque)

    def look(self, at_s: float, *, end: int, stored: int) -> Lag | None:
        """None at the first look: nothing can be said of rates yet. `at_s` is monotonic."""
        looks = self._looks
        if looks and (end < looks[-1][1] or stored < looks[-1][2]):
            looks.clear()  # a topic was created again
        looks.append((at_s, end, stored))
        window_s = max(_SHORTEST_WINDOW_S, 2 * self.grace_s)
        while at_s - looks[0][0] > window_s and len(looks) > 2:
            looks.popleft()
        first_s, first_end, first_stored = looks[0]
        seconds = at_s - first_s
        if seconds <= 0:
            return None
        due = max((past for then_s, past, _ in looks if then_s <= at_s - self.grace_s), default=0)
        return Lag(
            records=max(end - stored, 0),
            arriving_per_s=(end - first_end) / seconds,
            storing_per_s=(stored - first_stored) / seconds,
            keeping_up=stored >= due,
        )

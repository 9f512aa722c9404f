"""The alerts that the stream may take further steps of, held in memory."""

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping

from streaming.alerts import Item, Transition, is_cooling
from tillstream.settings import RiskSettings


class ActiveAlerts:
    """The newest step of each alert that is open, or was resolved so lately that it may come back.

    What a step costs does not depend on how many there are: a chain in trouble has a hundred
    thousand."""

    def __init__(self, steps: Iterable[Transition] = ()) -> None:
        self._newest: dict[Item, Transition] = {}
        self._open: defaultdict[str, dict[Item, Transition]] = defaultdict(dict)
        self._resolved: deque[Transition] = deque()
        self._open_count = 0
        for step in sorted(steps, key=lambda one: one.reading.at_ms):
            self.put(step)

    @property
    def newest(self) -> Mapping[Item, Transition]:
        return self._newest

    @property
    def open_count(self) -> int:
        return self._open_count

    def is_open(self, item: Item) -> bool:
        step = self._newest.get(item)
        return step is not None and step.state != "resolved"

    def open_of(self, supplier_id: str) -> Mapping[Item, Transition]:
        """The open alerts about goods of a supplier."""
        return self._open.get(supplier_id, {})

    def put(self, step: Transition) -> None:
        item = step.reading.item
        if self.is_open(item):
            del self._open[self._newest[item].reading.supplier_id][item]
            self._open_count -= 1
        self._newest[item] = step
        if step.state == "resolved":
            self._resolved.append(step)
        else:
            self._open[step.reading.supplier_id][item] = step
            self._open_count += 1

    def forget(self, now_ms: int, rules: RiskSettings) -> None:
        """Drop those that cannot come back any more at `now_ms`."""
        while self._resolved and not is_cooling(self._resolved[0], now_ms, rules):
            step = self._resolved.popleft()
            if self._newest.get(step.reading.item) is step:
                del self._newest[step.reading.item]

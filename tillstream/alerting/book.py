"""The alerts of one process in memory: what was read of them, and what it folds to."""

from collections.abc import Iterable, Iterator

from tillstream.alerting.alert import AlertView, Detection, Place
from tillstream.alerting.fold import Folded, Logged, fold
from tillstream.alerting.lifecycle import DETECTOR, awake


class Book:
    """Detections and actions in, views out. What is given twice counts once. Not for several
    threads at once."""

    def __init__(self) -> None:
        self._detections: dict[str, dict[int, Detection]] = {}
        self._actions: dict[str, dict[Place, Logged]] = {}
        self._folded: dict[str, Folded] = {}
        self._snoozed: set[str] = set()
        self._changed: set[str] = set()

    def __contains__(self, alert_id: str) -> bool:
        return alert_id in self._folded

    def get(self, alert_id: str) -> Folded | None:
        return self._folded.get(alert_id)

    def has_step(self, alert_id: str, version: int) -> bool:
        """Whether this step of the detector is known."""
        return version in self._detections.get(alert_id, ())

    def recorded_ms(self) -> Iterator[int]:
        """When each step of the detector was recorded."""
        for steps in self._detections.values():
            yield from (step.recorded_at_ms for step in steps.values())

    def views(self, now_ms: int) -> list[AlertView]:
        """The most expensive first."""
        views = [awake(folded.view, now_ms) for folded in self._folded.values()]
        return sorted(views, key=lambda one: (-one.expected_lost_margin, one.alert_id))

    def add(
        self, *, detections: Iterable[Detection] = (), actions: Iterable[Logged] = ()
    ) -> set[str]:
        """Take what was read and fold it; returns the alerts that it was about."""
        touched = set()
        for step in detections:
            known = self._detections.setdefault(step.alert_id, {})
            before = known.get(step.version)
            # A step read again may know its place in Kafka by now.
            if before is None or (before.place is None and step.place is not None):
                known[step.version] = step
                touched.add(step.alert_id)
        for logged in actions:
            log = self._actions.setdefault(logged.action.alert_id, {})
            if logged.place not in log:
                log[logged.place] = logged
                touched.add(logged.action.alert_id)
        for alert_id in touched:
            self._fold(alert_id)
        return touched

    def changes(self, now_ms: int) -> set[str]:
        """The alerts that changed since the last call; a snooze that is over is a change."""
        over = {
            alert_id
            for alert_id in self._snoozed
            if (self._folded[alert_id].view.snoozed_until_ms or 0) <= now_ms
        }
        self._snoozed -= over
        changed, self._changed = self._changed | over, set()
        return changed

    def forget(self, *, over_before_ms: int) -> None:
        """Drop the alerts that the detector ended before that."""
        for alert_id, folded in list(self._folded.items()):
            view = folded.view
            if view.resolved_by == DETECTOR and view.updated_at_ms < over_before_ms:
                del self._folded[alert_id], self._detections[alert_id]
                self._actions.pop(alert_id, None)
                self._snoozed.discard(alert_id)

    def _fold(self, alert_id: str) -> None:
        steps = self._detections.get(alert_id)
        if not steps:
            return
        detections = [steps[version] for version in sorted(steps)]
        folded = fold(detections, in_log_order(self._actions.get(alert_id, {}).values()))
        self._folded[alert_id] = folded
        self._changed.add(alert_id)
        if folded.view.snoozed_until_ms is not None:
            self._snoozed.add(alert_id)
        else:
            self._snoozed.discard(alert_id)


def in_log_order(actions: Iterable[Logged]) -> list[Logged]:
    """By offset. A topic that was created again starts over, after all that the old one held."""
    actions = list(actions)
    began: dict[str, int] = {}
    for logged in actions:
        topic_id = logged.place.topic_id
        began[topic_id] = min(began.get(topic_id, logged.arrival_ms), logged.arrival_ms)
    return sorted(
        actions,
        key=lambda one: (began[one.place.topic_id], one.place.topic_id, one.place.offset),
    )

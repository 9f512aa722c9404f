"""Where alerts are read and acted on: the same for the terminal, the console and the pager."""

import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from clickhouse.client import Client, connect
from producers.following import Follower
from producers.kafka_publisher import KafkaPublisher
from producers.publisher import Delivery, Publisher
from producers.records import RawRecord
from tillstream.alerting import detections
from tillstream.alerting.actions import Action, as_record, from_record
from tillstream.alerting.alert import AlertView, Decision, Detection, Place, Step
from tillstream.alerting.incidents import Incident, incidents
from tillstream.alerting.lifecycle import Folded, Logged, awake, fold
from tillstream.clock import Clock, SystemClock
from tillstream.contracts.catalogue import load_catalogue
from tillstream.contracts.codec import Codec
from tillstream.contracts.topics import Topic
from tillstream.errors import ConfigError, ContractError, ServiceError
from tillstream.settings import Settings

_PATIENCE_S = 15.0


class Desk:
    """Alerts as they are, from the detector's history and the log of actions. Safe to use from
    several threads; every process has its own, and all of them see the same.

    Use it as a context manager. `refresh` brings it up to date; the other reads answer from memory.
    Methods raise ServiceError when Kafka or the warehouse does not answer; what was known stays.
    """

    def __init__(self, settings: Settings, *, clock: Clock | None = None) -> None:
        self._settings = settings
        self._clock = clock or SystemClock()
        self._codec = Codec(load_catalogue(settings.registry))
        self._lock = threading.RLock()
        self._open = ExitStack()
        self._detections: dict[str, list[Detection]] = {}
        self._actions: dict[str, list[Logged]] = {}
        self._folded: dict[str, Folded] = {}
        self._seen_until_us = 0
        self._snoozed: set[str] = set()
        self._changed: set[str] = set()

    def __enter__(self) -> Self:
        with self._lock, ExitStack() as opening:
            self._client: Client = connect(self._settings.warehouse)
            opening.callback(self._client.close)
            self._log = Follower(self._settings.kafka, Topic.ALERT_ACTIONS.value)
            opening.callback(self._log.close)
            self._publisher: Publisher = opening.enter_context(
                KafkaPublisher(self._settings.kafka, self._codec, customer_key=b"")
            )
            self.refresh()
            self._open = opening.pop_all()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._lock:
            self._open.close()

    def alerts(self) -> list[AlertView]:
        """All that are not resolved, and those resolved of late, the most expensive first."""
        with self._lock:
            now_ms = self._clock.now_ms()
            views = [awake(folded.view, now_ms) for folded in self._folded.values()]
        return sorted(views, key=lambda one: (-one.expected_lost_margin, one.alert_id))

    def alert(self, alert_id: str) -> AlertView | None:
        """One alert by its id, None when there is none."""
        with self._lock:
            folded = self._folded.get(alert_id)
            return awake(folded.view, self._clock.now_ms()) if folded else None

    def incidents(self) -> list[Incident]:
        """What has one cause, as one: the alerts of one supplier who delivers nothing."""
        return incidents(self.alerts())

    def members(self, incident_id: str) -> list[AlertView]:
        """The live alerts of an incident, the most expensive first: acting on them all is acting on
        it."""
        return [one for one in self.alerts() if one.incident_id == incident_id and one.is_live]

    def history(self, alert_id: str) -> tuple[Step, ...]:
        """What the detector found and what people did, in the order that counts, each with its
        coordinates in Kafka. Empty for an alert that nobody knows."""
        with self._lock:
            folded = self._folded.get(alert_id)
            return folded.steps if folded else ()

    def refresh(self) -> set[str]:
        """Read what is new; returns the ids of the alerts that changed since the last call. Cheap:
        meant to be called every second."""
        with self._lock:
            self._fold(self._read_detections() | self._take(self._log.read()))
            changed, self._changed = self._changed | self._woken(), set()
            return changed

    def act(self, action: Action) -> Decision:
        """Send the action and wait for what the log decides. See `act_many`."""
        return self.act_many([action])[0]

    def act_many(self, actions: Sequence[Action]) -> list[Decision]:
        """Send the actions and wait for what the log decides on each, in their order.

        Raises ConfigError for an alert that nobody knows, with nothing sent; ServiceError when
        Kafka did not take some: send the same actions again then, for one that had come through
        counts once.
        """
        if not actions:
            return []
        self._require_known({action.alert_id for action in actions})
        sent = self._publish(actions)
        with self._lock:
            self._fold(self._take(self._log.read(up_to=max(sent) + 1)))
            return [self._decision(*pair) for pair in zip(sent, actions, strict=True)]

    def _require_known(self, alert_ids: set[str]) -> None:
        with self._lock:
            if not alert_ids <= self._folded.keys():
                self.refresh()
            for alert_id in sorted(alert_ids - self._folded.keys()):
                raise ConfigError(
                    f"there is no alert {alert_id}",
                    hint="`tillstream alerts list` shows those there are",
                )

    def _publish(self, actions: Sequence[Action]) -> list[int]:
        """The offset of each."""
        deliveries: list[Future[Delivery]] = []
        for action in actions:
            deliveries.append(Future())
            self._publisher.publish(
                Topic.ALERT_ACTIONS, as_record(action), on_delivery=deliveries[-1].set_result
            )
        try:
            done = [delivery.result(_PATIENCE_S) for delivery in deliveries]
        except TimeoutError as exc:
            raise ServiceError(
                f"Kafka at {self._settings.kafka.bootstrap} did not answer within"
                f" {_PATIENCE_S:g} s: whether the action counts is not known",
                hint="send it again: it counts once",
            ) from exc
        for delivery in done:
            if delivery.error:
                raise ServiceError(f"Kafka did not take the action: {delivery.error}")
        return [delivery.offset for delivery in done]

    def _decision(self, offset: int, action: Action) -> Decision:
        place = Place(Topic.ALERT_ACTIONS.value, self._log.topic_id, 0, offset)
        folded = self._folded[action.alert_id]
        decision = folded.decisions.get(place)
        if decision is None:
            raise ServiceError(
                f"action {action.action_id} is in the log at {place}, but waits for step "
                f"{action.seen} of the alert, which the warehouse does not have",
                hint="it counts as soon as the warehouse has it",
            )
        return decision

    def _read_detections(self) -> set[str]:
        found, self._seen_until_us = detections.since(self._client, self._seen_until_us)
        changed = set()
        for step in found:
            known = self._detections.setdefault(step.alert_id, [])
            if not known or known[-1].version < step.version:
                known.append(step)
                changed.add(step.alert_id)
        return changed

    def _take(self, records: Iterable[RawRecord]) -> set[str]:
        changed = set()
        for record in records:
            try:
                decoded = self._codec.decode(Topic.ALERT_ACTIONS, record.value)
            except ContractError:
                continue
            action = from_record(decoded.record)
            place = Place(record.topic, self._log.topic_id, record.partition, record.offset)
            self._actions.setdefault(action.alert_id, []).append(
                Logged(action, place, record.timestamp_ms)
            )
            changed.add(action.alert_id)
        return changed

    def _fold(self, alert_ids: Iterable[str]) -> None:
        for alert_id in alert_ids:
            if found := self._detections.get(alert_id):
                folded = fold(found, self._actions.get(alert_id, ()))
                self._folded[alert_id] = folded
                self._changed.add(alert_id)
                if folded.view.snoozed_until_ms:
                    self._snoozed.add(alert_id)

    def _woken(self) -> set[str]:
        now_ms = self._clock.now_ms()
        over = {
            alert_id
            for alert_id in self._snoozed
            if (self._folded[alert_id].view.snoozed_until_ms or 0) <= now_ms
        }
        self._snoozed -= over
        return over

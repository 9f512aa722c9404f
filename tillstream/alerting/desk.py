"""Where alerts are read and acted on: the same for the terminal, the console and the pager."""

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Self

from clickhouse.client import connect
from producers.following import Follower
from producers.kafka_publisher import KafkaPublisher
from producers.publisher import Delivery, Publisher
from tillstream.alerting.actions import Action, as_record
from tillstream.alerting.alert import AlertView, Decision, Step
from tillstream.alerting.incidents import Incident, incidents
from tillstream.alerting.keeper import Keeper
from tillstream.alerting.lifecycle import awake
from tillstream.clock import Clock, SystemClock
from tillstream.contracts.catalogue import load_catalogue
from tillstream.contracts.codec import Codec
from tillstream.contracts.topics import Topic
from tillstream.errors import ConfigError, ServiceError
from tillstream.settings import Settings

# Alerts that ended longer ago are read when somebody asks for them.
REMEMBERED_MS = 7 * 86_400_000
_PATIENCE_S = 15.0


class Desk:
    """Alerts as they are, from the detector's history and the log of actions. Safe to use from
    several threads; every process has its own, and all of them see the same.

    Use it as a context manager. `refresh` brings it up to date; `alerts` and `incidents` answer
    from memory. Methods raise ServiceError when Kafka or the warehouse does not answer; what was
    known stays, and what is not stored yet is stored later, by this desk or another one.
    """

    def __init__(self, settings: Settings, *, clock: Clock | None = None) -> None:
        self._settings = settings
        self._clock = clock or SystemClock()
        # One thread at a time asks the services; the book is never held for longer than a fold.
        self._asking = threading.RLock()
        self._open = ExitStack()

    def __enter__(self) -> Self:
        codec = Codec(load_catalogue(self._settings.registry))
        with ExitStack() as opening:
            client = connect(self._settings.warehouse)
            opening.callback(client.close)
            log = Follower(self._settings.kafka, Topic.ALERT_ACTIONS.value)
            opening.callback(log.close)
            self._publisher: Publisher = opening.enter_context(
                KafkaPublisher(self._settings.kafka, codec, customer_key=b"")
            )
            self._keeper = Keeper(client, log, codec)
            self._keeper.open(since_ms=self._clock.now_ms() - REMEMBERED_MS)
            self._open = opening.pop_all()
        self.refresh()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._asking:
            self._open.close()

    def alerts(self) -> list[AlertView]:
        """All that are not resolved, and those resolved in the last 7 days; the most expensive
        first."""
        return self._keeper.views(self._clock.now_ms())

    def alert(self, alert_id: str) -> AlertView | None:
        """One alert by its id, however old; None when there is none."""
        self._require({alert_id})
        folded = self._keeper.get(alert_id)
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
        with self._asking:
            self._keeper.load({alert_id})
        folded = self._keeper.get(alert_id)
        return folded.steps if folded else ()

    def refresh(self) -> set[str]:
        """Read what is new and store what is not stored; returns the ids of the alerts that changed
        since the last call, by whatever. Cheap: meant to be called every second."""
        with self._asking:
            self._keeper.follow()
            self._keeper.detect()
            self._keeper.store()
            now_ms = self._clock.now_ms()
            self._keeper.forget(over_before_ms=now_ms - REMEMBERED_MS)
            return self._keeper.changes(now_ms)

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
        unknown = self._require({action.alert_id for action in actions})
        if unknown:
            raise ConfigError(
                f"there is no alert {min(unknown)}",
                hint="`tillstream alerts list` shows those there are",
            )
        offsets = self._publish(actions)
        with self._asking:
            self._keeper.follow(up_to=max(offsets) + 1)
            # The log has them: they count, stored or not.
            with suppress(ServiceError):
                self._keeper.store()
        pairs = zip(offsets, actions, strict=True)
        return [self._decision(offset, action) for offset, action in pairs]

    def _require(self, alert_ids: set[str]) -> set[str]:
        """Read those that are not in memory. Returns those that nobody knows."""
        missing = {one for one in alert_ids if self._keeper.get(one) is None}
        if missing:
            with self._asking:
                self._keeper.load(missing)
        return {one for one in missing if self._keeper.get(one) is None}

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
        place = self._keeper.place(offset)
        folded = self._keeper.get(action.alert_id)
        decision = folded.decisions.get(place) if folded else None
        if decision is None:
            raise ServiceError(
                f"action {action.action_id} is in the log at {place}, but waits for step "
                f"{action.seen} of the alert, which the warehouse does not have",
                hint="it counts as soon as the warehouse has it",
            )
        return decision

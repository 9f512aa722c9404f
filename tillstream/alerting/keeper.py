"""Keeps a book of alerts in step with the log and the warehouse, and the tables in step with it."""

import threading
import time
from collections.abc import Collection, Iterable

from clickhouse.client import Client
from producers.following import Follower
from producers.records import RawRecord
from tillstream.alerting import tables
from tillstream.alerting.actions import from_record
from tillstream.alerting.alert import AlertView, Place
from tillstream.alerting.book import Book
from tillstream.alerting.fold import Folded, Logged
from tillstream.alerting.tables import Entry, Recorded
from tillstream.contracts.codec import Codec
from tillstream.contracts.topics import Topic
from tillstream.errors import ContractError

# Steps are stamped before they are inserted, so one may appear later than a younger one: a little
# later as a rule, much later when the warehouse was busy.
_OVERLAP_MS = 10_000
_LONG_OVERLAP_MS = 15 * 60_000
_LOOK_FAR_BACK_EVERY_S = 60.0


class Keeper:
    """`get`, `views` and `changes` may be called by any thread; what asks the services (`open`,
    `load`, `follow`, `detect`, `store`) by one at a time."""

    def __init__(self, client: Client, log: Follower, codec: Codec) -> None:
        self._client = client
        self._log = log
        self._codec = codec
        self._book = Book()
        self._guard = threading.Lock()
        # Lines of the log that are not stored yet, in its order; and those stored undecided.
        self._unstored: dict[Place, Entry] = {}
        self._waiting: dict[Place, Entry] = {}
        self._untaken: list[Logged] = []
        self._states: set[str] = set()
        self._recorded_ms = 0
        self._looked_far_back_at = time.monotonic()

    def open(self, *, since_ms: int) -> None:
        """Read the alerts of now, and where to go on in the log: after all that is stored."""
        self._log.skip_to(tables.next_offset(self._client, self._log.topic_id))
        self._waiting = {one.place: one for one in tables.waiting_entries(self._client)}
        of_waiting = {one.action.alert_id for one in self._waiting.values() if one.action}
        self.load({*tables.current_alerts(self._client, since_ms=since_ms), *of_waiting})
        with self._guard:
            self._recorded_ms = max([since_ms, *self._book.recorded_ms()])

    def get(self, alert_id: str) -> Folded | None:
        with self._guard:
            return self._book.get(alert_id)

    def views(self, now_ms: int) -> list[AlertView]:
        with self._guard:
            return self._book.views(now_ms)

    def changes(self, now_ms: int) -> set[str]:
        with self._guard:
            return self._book.changes(now_ms)

    def forget(self, *, over_before_ms: int) -> None:
        with self._guard:
            self._book.forget(over_before_ms=over_before_ms)

    def place(self, offset: int) -> Place:
        return Place(Topic.ALERT_ACTIONS.value, self._log.topic_id, 0, offset)

    def load(self, alert_ids: Collection[str]) -> None:
        """Read all that the warehouse has of these alerts."""
        if not alert_ids:
            return
        detections = tables.steps_of(self._client, alert_ids)
        actions = tables.actions_of(self._client, alert_ids)
        with self._guard:
            self._states |= self._book.add(detections=detections, actions=actions)

    def detect(self) -> None:
        """Take what the detector has recorded since."""
        looks_far = time.monotonic() - self._looked_far_back_at > _LOOK_FAR_BACK_EVERY_S
        overlap_ms = _LONG_OVERLAP_MS if looks_far else _OVERLAP_MS
        found = tables.recorded_since(self._client, self._recorded_ms - overlap_ms)
        # The middle of an alert is nothing to fold from: all of it is read.
        self.load(self._missed(found))
        self._recorded_ms = max([self._recorded_ms, *(one.at_ms for one in found)])
        if looks_far:
            self._looked_far_back_at = time.monotonic()

    def follow(self, *, up_to: int | None = None) -> None:
        """Take what came to the log since, at least all below the offset `up_to`."""
        logged = map(self._read, self._log.read(up_to=up_to))
        # Kept until they are in the book: the log does not give them again.
        self._untaken += [one for one in logged if one is not None]
        self.load(self._unknown(one.action.alert_id for one in self._untaken))
        with self._guard:
            self._states |= self._book.add(actions=self._untaken)
        self._untaken.clear()

    def store(self) -> None:
        """Write what was read from the log, with what was decided, and what became of the alerts.
        Lines are written in the log's order and none is left out, so that whoever starts later can
        go on after the last one."""
        with self._guard:
            decided = [one for one in map(self._decided, self._waiting.values()) if one.is_decided]
            fresh = [self._decided(one) for one in self._unstored.values()]
            folded = [one for key in self._states if (one := self._book.get(key))]
        tables.write_entries(self._client, [*decided, *fresh])
        for entry in decided:
            del self._waiting[entry.place]
        for entry in fresh:
            del self._unstored[entry.place]
            if not entry.is_decided:
                self._waiting[entry.place] = entry
        tables.write_states(self._client, [one for one in folded if one.decisions])
        self._states -= {one.view.alert_id for one in folded}

    def _decided(self, entry: Entry) -> Entry:
        folded = self._book.get(entry.action.alert_id) if entry.action else None
        decision = folded.decisions.get(entry.place) if folded else None
        return Entry(entry.place, entry.arrival_ms, entry.action, decision, entry.trouble)

    def _unknown(self, alert_ids: Iterable[str]) -> set[str]:
        with self._guard:
            return {one for one in alert_ids if one not in self._book}

    def _missed(self, recorded: Iterable[Recorded]) -> set[str]:
        with self._guard:
            return {
                one.alert_id
                for one in recorded
                if not self._book.has_step(one.alert_id, one.version)
            }

    def _read(self, record: RawRecord) -> Logged | None:
        place = self.place(record.offset)
        try:
            action = from_record(self._codec.decode(Topic.ALERT_ACTIONS, record.value).record)
        except ContractError as exc:
            self._unstored[place] = Entry(place, record.timestamp_ms, trouble=str(exc))
            return None
        self._unstored[place] = Entry(place, record.timestamp_ms, action)
        return Logged(action, place, record.timestamp_ms)

"""Stock-out risk and restock alerts, refreshed for every shelf that a batch touched."""

import threading
import time
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clickhouse import live_inputs, queries, stored
from clickhouse.client import Client
from clickhouse.writer import insert
from producers.publisher import Delivery, Publisher
from streaming.active import ActiveAlerts
from streaming.alert_rows import alert_event, history_rows, published_rows, transition_of
from streaming.alerts import Reading, Transition, transitions
from streaming.batch import Batch
from streaming.enrich import Dimensions
from streaming.grouping import grouped
from streaming.lane import Lane
from streaming.rows import LIVE, commit_rows
from streaming.score_rows import DOUBTS
from streaming.scoring import Scorer
from streaming.sinks import Follower
from streaming.standing import Standings
from streaming.stock import Touched
from tillstream.clock import Clock, SystemClock
from tillstream.contracts.topics import Topic
from tillstream.settings import RiskSettings

WATCH = "watch"
_AT_MOST_EVERY_S = 0.5
# So many shelves at once, with events as old as that, say that the stream is catching up. Then a
# fifth of the time is enough: facts go first, and a shelf that is touched again meanwhile is scored
# once. Many shelves alone do not say it: those of one slow round would make the next one rest.
# When no batch has come for so long, or for twice as long as between the last two, the stream has
# caught up and the rest is over.
_CATCHING_UP = 20_000
_CATCHING_UP_MS = 10_000
_SHARE_OF_TIME = 0.2
_CAUGHT_UP_S = 5.0
_DAY_MS = 86_400_000
# Events this close to the wall clock are happening now, not being replayed.
_LIVE_WITHIN_MS = 10 * 60 * 1000
# Time alone changes risk. So often so many shelves are looked at, store after store, and up to so
# many that nothing has touched for so long are scored again: a few at a time, since whatever was
# touched waits meanwhile. A million are looked at within half an hour, and the last of a million
# that all need it comes up after an hour and a half.
_SWEEP_EVERY_S = 10.0
_SWEEP_SHELVES = 6_000
_SWEEP_ITEMS = 2_000
_SWEEP_UNTOUCHED_MS = 60 * 60 * 1000

# How many shelves were scored, and of how many each default stood in for something.
OnScored = Callable[[Mapping[str, int]], None]


class StockWatch(Follower):
    """A follower of the warehouse sink. Without a publisher, risk is kept but nobody is alerted:
    a rebuild must not wake anyone about last year.

    In the `background` it scores on a thread of its own: batches that arrive while it is busy are
    scored together, once an item, so that risk never holds up facts. What it has scored it commits
    under the name WATCH; a start scores whatever facts are ahead of that.
    """

    def __init__(
        self,
        client: Client,
        rules: RiskSettings,
        publisher: Publisher | None,
        *,
        clock: Clock | None = None,
        background: bool = False,
        on_scored: OnScored = lambda _: None,
    ) -> None:
        self._client = client
        self._rules = rules
        self._publisher = publisher
        self._clock = clock or SystemClock()
        self._lane = Lane[bool]("watch", lambda _: self._work_at_leisure()) if background else None
        self._guard = threading.Lock()
        self._rest_until = self._fed_at = float("-inf")
        self._fed_every_s = 0.0
        self._hurry = threading.Event()
        self._pending: Touched | None = None
        self._dimensions = Dimensions.empty()
        self._stream_time_ms = 0
        self._watched_since_ms: int | None = None
        self._scorer = Scorer(client, rules)
        self._on_scored = on_scored
        self._swept_at = time.monotonic()
        self._swept_to = ""
        self._standings = Standings(client)
        self._active = ActiveAlerts()
        self._unsent: list[Transition] = []

    def open(self) -> None:
        """Load what was known when the stream last stopped, and score what it left behind."""
        if self._lane:
            self._lane.reset()
        first, last = live_inputs.event_time_span_ms(self._client, days=self._rules.evidence_days)
        self._watched_since_ms, self._stream_time_ms = first, last or 0
        self._scorer.open()
        cooling_ms = self._stream_time_ms - round(self._rules.cooldown_hours * 3_600_000)
        standing = queries.alert_steps(self._client, "standing", since_ms=max(cooling_ms, 0))
        self._active = ActiveAlerts(map(transition_of, standing))
        unsent = queries.alert_steps(self._client, "unsent")
        self._unsent = [transition_of(row) for row in unsent]
        self._hurry.clear()
        self._pending = self._left_behind()
        if self._lane and self._pending:
            self._dimensions = Dimensions.load(self._client)
            self._lane.poke(True)

    def stored(self, winners: pa.Table) -> None:
        self._scorer.states.stored(winners)

    def __call__(self, batch: Batch, dimensions: Dimensions) -> None:
        touched = Touched.by(batch, span_ms=self._rules.evidence_days * _DAY_MS)
        now = time.monotonic()
        with self._guard:
            self._dimensions = dimensions
            self._pending = self._pending.then(touched) if self._pending else touched
            self._fed_every_s, self._fed_at = now - self._fed_at, now
        if self._lane:
            self._lane.poke(True)
        else:
            self._work()

    @property
    def failure(self) -> Exception | None:
        return self._lane.failure if self._lane else None

    @property
    def sizes(self) -> dict[str, int]:
        """How many entries of each kind are in memory."""
        return {"open_alerts": self._active.open_count, **self._scorer.sizes}

    def settle(self) -> None:
        """Wait until all that was seen is scored. Raises what went wrong."""
        if self._lane:
            self._hurry.set()
            try:
                self._lane.poke(True)
                self._lane.settle()
            finally:
                self._hurry.clear()

    def close(self) -> None:
        if self._lane:
            self._hurry.set()
            self._lane.close()

    def _left_behind(self) -> Touched | None:
        """What is stored and committed, but was not scored."""
        scored = {(c.topic_id, c.partition): c for c in queries.committed_cuts(self._client, WATCH)}
        ahead = []
        cuts = {}
        for cut in queries.committed_cuts(self._client, LIVE):
            key = cut.topic_id, cut.partition
            since = scored[key].next_offset if key in scored else 0
            if since < cut.next_offset:
                ahead.append((*key, since, cut.next_offset - 1))
                cuts[key] = cut
        if not ahead or not self._stream_time_ms:
            return None
        items = stored.items_in(self._client, ahead)
        now_ms = self._stream_time_ms
        return Touched(items, {}, self._watched_since_ms or now_ms, now_ms, cuts)

    def _work_at_leisure(self) -> None:
        """Scoring more often than this would cost the facts more than it gives the risk."""
        while (left_s := self._rest_s()) > 0:
            if self._hurry.wait(left_s):
                break
        began, began_ms = time.monotonic(), self._clock.now_ms()
        shelves = self._work()
        behind_ms = began_ms - self._stream_time_ms
        took_s = time.monotonic() - began
        self._rest_until = began + pause_s(took_s, shelves=shelves, behind_ms=behind_ms)

    def _rest_s(self) -> float:
        with self._guard:
            fed_at, every_s = self._fed_at, self._fed_every_s
        return rest_s(time.monotonic(), self._rest_until, fed_at=fed_at, every_s=every_s)

    def _work(self) -> int:
        """Score what was touched. Returns how many shelves."""
        with self._guard:
            touched, self._pending = self._pending, None
            dimensions = self._dimensions
        if touched:
            self._stream_time_ms = max(self._stream_time_ms, touched.last_event_ms)
            if self._watched_since_ms is None and touched.last_event_ms:
                self._watched_since_ms = touched.first_event_ms
            self._scorer.saw(touched)
            self._refresh(touched.items, dimensions, touched)
            self._sweep(dimensions)
        self._send()
        if touched:
            rows = commit_rows(WATCH, list(touched.cuts.values()), batch_id=-1)
            insert(self._client, "stream_commits", rows)
        return touched.items.num_rows if touched else 0

    def _refresh(
        self, items: pa.Table, dimensions: Dimensions, touched: Touched | None = None
    ) -> None:
        if items.num_rows == 0:
            return
        as_of_ms = self._as_of_ms()
        scored = self._scorer(
            items,
            dimensions,
            as_of_ms=as_of_ms,
            watched_since_ms=self._watched_since_ms,
            touched=touched,
            is_live=self._is_live(),
        )
        if scored.num_rows == 0:
            return
        insert(self._client, "stockout_risk_history", scored)
        self._on_scored(_confidence(scored))
        if self._publisher is not None:
            readings = self._readings(scored, as_of_ms, dimensions)
            self._record(transitions(readings, self._active.newest, self._rules))

    def _sweep(self, dimensions: Dimensions) -> None:
        """Score again some of the shelves that only time has changed. Not in a rebuild, which ends
        when its last batch does."""
        if self._lane is None or time.monotonic() - self._swept_at < _SWEEP_EVERY_S:
            return
        before_ms = self._as_of_ms() - _SWEEP_UNTOUCHED_MS
        items, self._swept_to = live_inputs.drifting(
            self._client,
            after=self._swept_to,
            shelves=_SWEEP_SHELVES,
            before_ms=before_ms,
            at_most=_SWEEP_ITEMS,
        )
        self._refresh(items, dimensions)
        self._swept_at = time.monotonic()

    def _as_of_ms(self) -> int:
        """Stream time; the wall clock once the stream is live, for then time passes without us."""
        now_ms = self._clock.now_ms()
        return max(now_ms, self._stream_time_ms) if self._is_live() else self._stream_time_ms

    def _is_live(self) -> bool:
        return abs(self._clock.now_ms() - self._stream_time_ms) < _LIVE_WITHIN_MS

    def _readings(self, scored: pa.Table, as_of_ms: int, dimensions: Dimensions) -> list[Reading]:
        """The rows that can matter to an alert: risky now, or alerted before."""
        risky = scored["risk"].to_numpy() >= self._rules.open_above
        active = np.zeros(scored.num_rows, dtype=bool)
        if alerted := self._active.newest:
            names = (scored[name].to_pylist() for name in ("store_id", "product_id"))
            items = zip(*names, strict=True)
            active = np.fromiter((item in alerted for item in items), bool, scored.num_rows)
        rows = scored.filter(pa.array(active | risky)).to_pylist()
        standings = self._standings.of((row["store_id"], row["product_id"]) for row in rows)
        readings = []
        for row in rows:
            product_id = row["product_id"]
            standing = standings[row["store_id"], product_id]
            name = standing.product_name or dimensions.names.get(product_id, "") or product_id
            readings.append(
                Reading(
                    store_id=row["store_id"],
                    product_id=product_id,
                    product_name=name,
                    risk=row["risk"],
                    on_hand=row["on_hand"],
                    daily_units=row["daily_units"],
                    lead_time_days=row["lead_time_days"],
                    empty_p50_days=row["empty_p50_days"],
                    expected_lost_margin=row["expected_lost_margin"],
                    at_ms=as_of_ms,
                    days_of_cover=row["days_of_cover"],
                    low_confidence=bool(row.get("low_confidence")),
                    region=standing.region,
                    category=standing.category,
                    supplier_id=standing.supplier_id,
                    supplier_name=standing.supplier_name,
                    held_up=bool(row.get("held_up_days")),
                    not_sold=standing.not_sold(as_of_ms),
                )
            )
        return readings

    def _record(self, steps: list[Transition]) -> None:
        if not steps:
            return
        steps = grouped(steps, self._active, self._standings.supplier_shares())
        insert(self._client, "restock_alert_history", history_rows(steps))
        for step in steps:
            self._active.put(step)
        self._active.forget(steps[0].reading.at_ms, self._rules)
        self._unsent.extend(steps)

    def _send(self) -> None:
        """Publish what is recorded but not acknowledged; at least once, in order."""
        if not self._unsent or self._publisher is None:
            return
        places: dict[tuple[str, int], Delivery] = {}
        for step in self._unsent:
            self._publisher.publish(
                Topic.ALERTS,
                alert_event(step),
                on_delivery=partial(places.__setitem__, (step.alert_id, step.version)),
            )
        self._publisher.flush()
        insert(self._client, "restock_alerts_published", published_rows(places))
        self._unsent.clear()


def rest_s(now: float, until: float, *, fed_at: float, every_s: float) -> float:
    """Of a rest that lasts `until`, what is left at `now` (seconds of one clock); the last batch
    came at `fed_at`, `every_s` after the one before."""
    return min(until, fed_at + max(_CAUGHT_UP_S, 2 * every_s)) - now


def pause_s(took_s: float, *, shelves: int, behind_ms: int) -> float:
    """From the beginning of one scoring, which `took_s`, to that of the next; the newest event was
    `behind_ms` old."""
    is_catching_up = shelves >= _CATCHING_UP and behind_ms > _CATCHING_UP_MS
    return max(_AT_MOST_EVERY_S, took_s / _SHARE_OF_TIME if is_catching_up else 0.0)


def _confidence(scored: pa.Table) -> dict[str, int]:
    """How many were scored; how many on some default, and on which."""
    found = pc.value_counts(scored["low_confidence"].combine_chunks())
    counts = {"scored": scored.num_rows, "low_confidence": 0, **dict.fromkeys(DOUBTS, 0)}
    for words, n in zip(found.field(0).to_pylist(), found.field(1).to_pylist(), strict=True):
        counts["low_confidence"] += n if words else 0
        for name in filter(None, words.split(", ")):
            counts[name] += n
    return counts

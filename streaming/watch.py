"""Stock-out risk and restock alerts, refreshed for every shelf that a batch touched."""

import threading
import time
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from clickhouse import queries
from clickhouse.client import Client
from clickhouse.writer import insert
from producers.publisher import Delivery, Publisher
from streaming import risk as model
from streaming.alert_rows import alert_event, history_rows, published_rows, transition_of
from streaming.alerts import Item, Reading, Transition, is_cooling, transitions
from streaming.batch import Batch
from streaming.enrich import Dimensions
from streaming.grouping import grouped
from streaming.lane import Lane
from streaming.money import from_units
from streaming.priors import CurrentPriors, Known
from streaming.rows import LIVE, commit_rows
from streaming.sinks import Follower
from streaming.standing import Standings
from streaming.stock import Touched
from tillstream.clock import Clock, SystemClock
from tillstream.contracts.topics import Topic
from tillstream.settings import RiskSettings

WATCH = "watch"
_AT_MOST_EVERY_S = 0.5
_DAY_MS = 86_400_000
# Events this close to the wall clock are happening now, not being replayed.
_LIVE_WITHIN_MS = 10 * 60 * 1000
_MILLIS = pa.timestamp("ms", tz="UTC")
# Stands in for the price of a product that was never sold and has no history.
_DEFAULT_PRICE = 1.0


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
    ) -> None:
        self._client = client
        self._rules = rules
        self._publisher = publisher
        self._clock = clock or SystemClock()
        self._lane = Lane[bool]("watch", lambda _: self._work_at_leisure()) if background else None
        self._guard = threading.Lock()
        self._worked_at = float("-inf")
        self._pending: Touched | None = None
        self._dimensions = Dimensions.empty()
        self._stream_time_ms = 0
        self._watched_since_ms: int | None = None
        self._priors = CurrentPriors(client)
        self._prices: dict[str, float] = {}
        self._standings = Standings(client)
        # The newest step of each alert that is open, or may still come back.
        self._active: dict[Item, Transition] = {}
        self._unsent: list[Transition] = []

    def open(self) -> None:
        """Load what was known when the stream last stopped, and score what it left behind."""
        if self._lane:
            self._lane.reset()
        first, last = queries.event_time_span_ms(self._client, days=self._rules.evidence_days)
        self._watched_since_ms, self._stream_time_ms = first, last or 0
        self._prices = queries.last_prices(self._client)
        cooling_ms = self._stream_time_ms - round(self._rules.cooldown_hours * 3_600_000)
        standing = queries.alert_steps(self._client, "standing", since_ms=max(cooling_ms, 0))
        self._active = {step.reading.item: step for step in map(transition_of, standing)}
        unsent = queries.alert_steps(self._client, "unsent")
        self._unsent = [transition_of(row) for row in unsent]
        self._pending = self._left_behind()

    def __call__(self, batch: Batch, dimensions: Dimensions) -> None:
        touched = Touched.by(batch, span_ms=self._rules.evidence_days * _DAY_MS)
        with self._guard:
            self._dimensions = dimensions
            if touched:
                self._pending = self._pending.then(touched) if self._pending else touched
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
        is_open = [step.state != "resolved" for step in self._active.values()]
        return {"open_alerts": sum(is_open), "prices": len(self._prices)}

    def settle(self) -> None:
        """Wait until all that was seen is scored. Raises what went wrong."""
        if self._lane:
            self._lane.poke(True)
            self._lane.settle()

    def close(self) -> None:
        if self._lane:
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
        items = queries.items_in(self._client, ahead)
        now_ms = self._stream_time_ms
        return Touched(items, {}, self._watched_since_ms or now_ms, now_ms, cuts)

    def _work_at_leisure(self) -> None:
        """Scoring more often than this would cost the facts more than it gives the risk."""
        time.sleep(max(0.0, self._worked_at + _AT_MOST_EVERY_S - time.monotonic()))
        self._worked_at = time.monotonic()
        self._work()

    def _work(self) -> None:
        with self._guard:
            touched, self._pending = self._pending, None
            dimensions = self._dimensions
        if touched:
            self._stream_time_ms = max(self._stream_time_ms, touched.last_event_ms)
            if self._watched_since_ms is None:
                self._watched_since_ms = touched.first_event_ms
            self._prices.update(touched.prices)
            self._refresh(touched.items, dimensions)
        self._send()
        if touched:
            rows = commit_rows(WATCH, list(touched.cuts.values()), batch_id=-1)
            insert(self._client, "stream_commits", rows)

    def _refresh(self, items: pa.Table, dimensions: Dimensions) -> None:
        if items.num_rows == 0:
            return
        as_of_ms = self._as_of_ms()
        # Sales are kept by UTC day, so evidence begins with one.
        horizon_ms = (as_of_ms // _DAY_MS - self._rules.evidence_days) * _DAY_MS
        since_ms = max(self._watched_since_ms or 0, horizon_ms)
        priors = self._priors()
        if priors.until_ms is not None:
            since_ms = max(since_ms, min(priors.until_ms, as_of_ms))
        known = queries.stock_and_sales(self._client, items, since_s=since_ms // 1000)
        if known.num_rows == 0:
            return
        exposure_days = max((as_of_ms - since_ms) / _DAY_MS, 0.0)
        prior = priors.of(known["item_key"].to_numpy(), self._rules)
        scored = self._score(known, prior, as_of_ms, exposure_days, dimensions)
        insert(self._client, "stockout_risk_history", scored)
        if self._publisher is not None:
            readings = self._readings(scored, as_of_ms, dimensions)
            self._record(transitions(readings, self._active, self._rules))

    def _as_of_ms(self) -> int:
        """Stream time; the wall clock once the stream is live, for then time passes without us."""
        now_ms = self._clock.now_ms()
        is_live = abs(now_ms - self._stream_time_ms) < _LIVE_WITHIN_MS
        return max(now_ms, self._stream_time_ms) if is_live else self._stream_time_ms

    def _score(
        self,
        known: pa.Table,
        prior: Known,
        as_of_ms: int,
        exposure_days: float,
        dimensions: Dimensions,
    ) -> pa.Table:
        n = known.num_rows
        units = known["units"].to_numpy().astype(np.float64)
        belief = model.belief(
            prior_daily_units=prior.daily_units,
            prior_weight_days=prior.weight_days,
            units=units,
            exposure_days=np.full(n, exposure_days),
            dispersion=prior.dispersion,
        )
        on_hand = known["on_hand"].to_numpy().astype(np.float64)
        score = model.score(belief, on_hand=on_hand, lead_time_days=prior.lead_time_days)
        products = known["product_id"].combine_chunks()
        revenue = known["revenue"].to_numpy()
        price = revenue / np.maximum(units, 1.0)
        unsold = np.flatnonzero(units <= 0)
        price[unsold] = [
            self._prices.get(p, _DEFAULT_PRICE) for p in products.take(unsold).to_pylist()
        ]
        lost = score.expected_lost_units * price * dimensions.margins_of(products)
        now_us = time.time_ns() // 1000
        columns: dict[str, Any] = {
            "as_of": pa.array(np.full(n, as_of_ms), _MILLIS),
            "computed_at": pa.array(np.full(n, now_us), pa.timestamp("us", tz="UTC")),
            "store_id": known["store_id"],
            "product_id": products,
            "risk": score.risk,
            "on_hand": known["on_hand"],
            "days_of_cover": score.days_of_cover,
            "empty_p10_days": score.empty_p10_days,
            "empty_p50_days": score.empty_p50_days,
            "empty_p90_days": score.empty_p90_days,
            "daily_units": belief.daily_units,
            "belief_a": belief.a,
            "belief_b": belief.b,
            "dispersion": belief.dispersion,
            "evidence_units": units,
            "evidence_days": np.full(n, exposure_days),
            "lead_time_days": prior.lead_time_days,
            "reorder_point": score.reorder_point.astype(np.int32),
            "safety_stock": score.safety_stock,
            "expected_lost_margin": from_units(np.rint(np.maximum(lost, 0) * 10_000).astype("i8")),
        }
        return pa.table(columns)

    def _readings(self, scored: pa.Table, as_of_ms: int, dimensions: Dimensions) -> list[Reading]:
        """The rows that can matter to an alert: risky now, or alerted before."""
        risky = scored["risk"].to_numpy() >= self._rules.open_above
        active = np.zeros(scored.num_rows, dtype=bool)
        if self._active:
            names = (scored[name].to_pylist() for name in ("store_id", "product_id"))
            items = zip(*names, strict=True)
            active = np.fromiter((item in self._active for item in items), bool, scored.num_rows)
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
            self._active[step.reading.item] = step
        now_ms = steps[0].reading.at_ms
        self._active = {
            item: step
            for item, step in self._active.items()
            if step.state != "resolved" or is_cooling(step, now_ms, self._rules)
        }
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

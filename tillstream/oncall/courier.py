"""Carrying pages to one channel: retries, limits, and what happens when it is dead."""

import logging
import random
from collections import deque
from dataclasses import replace
from typing import Final

from tillstream.clock import Clock
from tillstream.oncall.channels.channel import Answer, Channel, Verdict
from tillstream.oncall.outbox import Outbox, next_position
from tillstream.oncall.policy import ChannelSpec
from tillstream.oncall.records import ChannelHealth, Page
from tillstream.telemetry.pager import PagerMetrics

log = logging.getLogger("tillstream.oncall")

FIRST_WAIT_MS: Final = 1_000
LONGEST_WAIT_MS: Final = 60_000
IDLE_MS: Final = 1_000
_MINUTE_MS = 60_000
# A channel is dead after so many failures in a row over its time; one that is idle has few.
_DEAD_FAILURES = 3
# A page that fails this often tries another channel, though this one works for others.
_TRIES_EACH = 4
_FOLLOW_UP_MS = 3_600_000


class Courier:
    """One channel's pages, one at a time, the most urgent first. Used by one thread."""

    def __init__(
        self,
        spec: ChannelSpec,
        channel: Channel,
        outbox: Outbox,
        *,
        clock: Clock,
        metrics: PagerMetrics,
        chance: random.Random | None = None,
    ) -> None:
        self._spec = spec
        self._channel = channel
        self._outbox = outbox
        self._clock = clock
        self._metrics = metrics
        self._chance = chance or random.Random()
        # Whoever starts the pager may have mended something: the first page is tried at once.
        self._health = replace(outbox.health(spec.name), retry_ms=0)
        lately = clock.now_ms() - _MINUTE_MS
        self._sent_ms = deque(outbox.sent_since(spec.name, lately))

    def step(self) -> int:
        """Try the next page, if one may be tried now. Returns in how many milliseconds it is worth
        to look again, 0 for at once. Raises ServiceError when the outbox cannot be used: then
        nothing was sent that is not noted as tried."""
        now_ms = self._clock.now_ms()
        if now_ms < self._health.retry_ms:
            if self._health.dead:
                self._hand_over(self._health.problem)
            return min(self._health.retry_ms - now_ms, IDLE_MS)
        limited_ms = self._limited_ms(now_ms)
        if limited_ms:
            return min(limited_ms, IDLE_MS)
        page = self._outbox.due(self._spec.name, now_ms=now_ms)
        if page is None:
            return IDLE_MS
        if not self._outbox.claim(page):
            return 0
        answer = self._send(page)
        self._note(replace(page, attempts=page.attempts + 1), answer)
        return 0

    def close(self) -> None:
        self._channel.close()

    def _send(self, page: Page) -> Answer:
        try:
            return self._channel.send(page)
        except Exception as exc:  # else a fault here would end this channel, and nobody would know
            log.exception("channel %s failed on page %s", self._spec.name, page.page_id)
            return Answer(Verdict.LATER, f"unexpected: {type(exc).__name__}")

    def _note(self, page: Page, answer: Answer) -> None:
        now_ms = self._clock.now_ms()
        self._metrics.tried(self._spec.name, answer.verdict.value)
        match answer.verdict:
            case Verdict.TAKEN:
                self._outbox.sent(page, now_ms=now_ms)
                self._sent_ms.append(now_ms)
                if page.event == "trigger":
                    self._metrics.reached((now_ms - page.created_ms) / 1000)
                self._well(now_ms)
            case Verdict.REFUSED:
                self._refused(page, answer.problem)
            case Verdict.LATER | Verdict.BROKEN:
                self._failed(page, answer, now_ms)

    def _well(self, now_ms: int) -> None:
        if self._health.dead:
            log.info("channel %s works again", self._spec.name)
        first = self._health.failures or self._health.last_ok_ms is None
        self._health = ChannelHealth(self._spec.name, last_ok_ms=now_ms)
        if first:
            self._outbox.set_health(self._health)

    def _refused(self, page: Page, problem: str) -> None:
        log.warning("channel %s refused page %s: %s", self._spec.name, page.page_id, problem)
        other = (
            next_position(page, self._outbox.dead()) if page.attempts <= len(page.reach) else None
        )
        if other is None or other <= page.position:  # each channel is asked once
            self._outbox.give_up(page, problem=problem)
        else:
            self._outbox.move(page, other, problem=problem)

    def _failed(self, page: Page, answer: Answer, now_ms: int) -> None:
        health = self._health
        failures = health.failures + 1
        since_ms = health.failing_since_ms or now_ms
        long_enough = now_ms - since_ms >= self._spec.dead_after_s * 1000
        is_dead = (
            health.dead
            or answer.verdict is Verdict.BROKEN
            or (failures >= _DEAD_FAILURES and long_enough)
        )
        if is_dead and not health.dead:
            log.error("channel %s is dead: %s", self._spec.name, answer.problem)
        asked_ms = round(answer.retry_after_s * 1000)
        self._health = replace(
            health,
            failures=failures,
            failing_since_ms=since_ms,
            dead=is_dead,
            retry_ms=now_ms + max(self._backoff_ms(failures), asked_ms),
            problem=answer.problem,
        )
        self._outbox.set_health(self._health)
        if page.event != "trigger" and now_ms - page.created_ms > _FOLLOW_UP_MS:
            self._outbox.give_up(page, problem=answer.problem)
            return
        other = next_position(page, self._outbox.dead())
        if other is not None and (is_dead or page.attempts >= _TRIES_EACH):
            self._outbox.move(page, other, problem=answer.problem)
        else:
            due_ms = now_ms + self._backoff_ms(page.attempts)
            self._outbox.retry(page, due_ms=due_ms, problem=answer.problem)

    def _hand_over(self, problem: str) -> None:
        for page, position in self._outbox.elsewhere(self._spec.name, self._outbox.dead()):
            self._outbox.move(page, position, problem=problem)

    def _limited_ms(self, now_ms: int) -> int:
        """How long until one more page is within the limit."""
        while self._sent_ms and self._sent_ms[0] <= now_ms - _MINUTE_MS:
            self._sent_ms.popleft()
        if len(self._sent_ms) < self._spec.pages_per_minute:
            return 0
        return self._sent_ms[0] + _MINUTE_MS - now_ms

    def _backoff_ms(self, failures: int) -> int:
        """1 s, 2 s, 4 s, … up to a minute, a fifth more or less, so that pagers do not all come
        back in the same moment."""
        wait_ms = min(FIRST_WAIT_MS << min(failures - 1, 10), LONGEST_WAIT_MS)
        return round(wait_ms * self._chance.uniform(0.8, 1.2))

"""The pager: look at the alerts, decide, store, and leave the sending to the couriers."""

import logging
import random
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Final

from tillstream.alerting.actions import Kind, new_action
from tillstream.alerting.alert import AlertView, State
from tillstream.clock import Clock
from tillstream.oncall.casebook import Casebook
from tillstream.oncall.channels.channel import Channel
from tillstream.oncall.channels.opening import open_channel
from tillstream.oncall.courier import Courier
from tillstream.oncall.couriers import Couriers
from tillstream.oncall.deciding import Case, Outcome, decide
from tillstream.oncall.desk_subjects import subjects_of
from tillstream.oncall.outbox import Outbox
from tillstream.oncall.policy import ChannelSpec, Policy
from tillstream.oncall.policy_watch import InForce, PolicyWatch
from tillstream.oncall.records import Escalation
from tillstream.oncall.sight import Sight
from tillstream.oncall.store import Store
from tillstream.oncall.subjects import Content, Status, Subject
from tillstream.telemetry.pager import PagerMetrics

log = logging.getLogger("tillstream.oncall")

ACTOR: Final = "pager"
_ESCALATIONS = uuid.UUID("5a1f5b57-5c0e-4d0b-9f4b-7a5d0b8f3f10")
_FORGET_EVERY_MS = 3_600_000

OpenChannel = Callable[[ChannelSpec, Mapping[str, str]], Channel]


class Pager:
    """Call `tick` about every second; close it at the end."""

    def __init__(
        self,
        store: Store,
        watch: PolicyWatch,
        sight: Sight,
        *,
        clock: Clock,
        metrics: PagerMetrics,
        open_with: OpenChannel = open_channel,
    ) -> None:
        self._watch = watch
        self._sight = sight
        self._clock = clock
        self._metrics = metrics
        self._open_with = open_with
        self.casebook = Casebook(store)
        self.outbox = Outbox(store)
        self._cases = self.casebook.cases()
        self._forgot_ms = 0
        self._couriers = self._start(watch.in_force)

    @property
    def policy(self) -> Policy:
        return self._watch.in_force.policy

    @property
    def policy_path(self) -> Path:
        return self._watch.path

    @property
    def policy_problem(self) -> str:
        """Why the file's policy is not the one in force; empty when it is."""
        return self._watch.problem

    @property
    def blind_because(self) -> str:
        """Why the alerts cannot be seen; empty when they can."""
        return self._sight.problem

    @property
    def cases(self) -> Collection[Case]:
        return self._cases.values()

    def measure(self) -> None:
        """Bring the metrics up to date."""
        dead, waiting = self.outbox.dead(), self.outbox.waiting()
        self._metrics.state(
            waiting={name: waiting.get(name, 0) for name in self.policy.channels},
            alive={name: name not in dead for name in self.policy.channels},
            cases=Counter(case.status.value for case in self._cases.values()),
            policy_valid=not self.policy_problem,
        )

    def tick(self) -> None:
        """One round. Raises ServiceError when the outbox cannot be written; nothing is lost then,
        the next round decides the same."""
        if self._watch.look():
            self._couriers.close()
            self._couriers = self._start(self._watch.in_force)
        alerts = self._sight.look()
        now_ms = self._clock.now_ms()
        subjects = [self._sight.blindness()]
        if alerts is not None:
            self._metrics.looked(now_ms / 1000)
            subjects += subjects_of(alerts, console=self.policy.console)
            subjects += _gone(self._cases.values(), {one.key for one in subjects})
        new = self._decide(subjects, now_ms)
        new += self.casebook.follow_up(self.policy, now_ms=now_ms)
        if new:
            self._couriers.wake()
        if alerts is not None:
            self._tell_escalations({one.alert_id: one for one in alerts})
        if now_ms - self._forgot_ms > _FORGET_EVERY_MS:
            self._forgot_ms = now_ms
            self.casebook.forget(now_ms=now_ms)
            self._cases = self.casebook.cases()

    def close(self) -> None:
        self._couriers.close()
        self._sight.close()

    def _start(self, in_force: InForce) -> Couriers:
        policy = in_force.policy
        self.outbox.adopt(policy)
        return Couriers(
            Courier(
                spec,
                self._open_with(spec, in_force.secrets.get(spec.name, {})),
                self.outbox,
                clock=self._clock,
                metrics=self._metrics,
                chance=random.Random(),
            )
            for spec in policy.channels.values()
        )

    def _decide(self, subjects: Iterable[Subject], now_ms: int) -> int:
        """Store what is new. Returns how many pages that made."""
        dead = self.outbox.dead()
        stuck = self.outbox.stuck(dead)
        decided: list[tuple[Subject, Outcome]] = []
        for subject in subjects:
            case = self._cases.get(subject.key)
            at = (case.key, case.round, case.step) if case else None
            outcome = decide(case, subject, self.policy, now_ms=now_ms, hurry=at in stuck)
            if outcome is not None and (outcome.case != case or outcome.pages):
                decided.append((subject, outcome))
        if not decided:
            return 0
        new = self.casebook.record(decided, now_ms=now_ms)
        for subject, outcome in decided:
            self._cases[subject.key] = outcome.case
        return new

    def _tell_escalations(self, alerts: Mapping[str, AlertView]) -> None:
        """Put what was escalated into the log of actions, where everybody sees it. An alert that
        somebody answered meanwhile is left alone: the log refuses what is based on an older
        state."""
        for one in self.casebook.escalations():
            actions = [
                new_action(
                    alert.alert_id,
                    Kind.ESCALATE,
                    actor=ACTOR,
                    at_ms=one.at_ms,
                    action_id=_action_id(one, alert.alert_id),
                    based_on=alert.revision,
                    seen=alert.version,
                    level=one.level,
                )
                for alert in (alerts.get(alert_id) for alert_id in one.alert_ids)
                if alert is not None
                and alert.state in (State.OPEN, State.ESCALATED)
                and alert.escalation_level < one.level
            ]
            if actions and self._sight.act(actions) is None:
                return  # the rest can wait, in order
            self.casebook.escalated(one)


def _gone(cases: Iterable[Case], seen: set[str]) -> list[Subject]:
    """What was open and is not among the alerts any more, not even as resolved: it ended while
    nobody looked."""
    return [
        Subject(
            key=case.key,
            status=Status.RESOLVED,
            severity=case.severity,
            content=Content("", "", case.severity, case.opened_ms),
            alert_ids=(),
            note="it is no longer among the alerts",
        )
        for case in cases
        if case.status is not Status.RESOLVED and case.key not in seen
    ]


def _action_id(one: Escalation, alert_id: str) -> str:
    return str(uuid.uuid5(_ESCALATIONS, f"{one.key}\n{one.round}\n{one.level}\n{alert_id}"))

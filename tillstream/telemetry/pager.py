"""The metrics of the pager."""

from collections.abc import Mapping

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

# From a second, when all is well, to the hours of a rate limit or an outage.
_REACH_BUCKETS = (0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 14400)


class PagerMetrics:
    """Call these when something happened."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self._tries = Counter(
            "tillstream_pager_tries",
            "Pages handed to a channel, by its answer (taken, later, refused, broken).",
            ["channel", "answer"],
            registry=registry,
        )
        self._reached = Histogram(
            "tillstream_pager_page_seconds",
            "Time from the decision to page somebody to the channel's having the page.",
            buckets=_REACH_BUCKETS,
            registry=registry,
        )
        self._waiting = Gauge(
            "tillstream_pager_waiting_pages",
            "Pages that wait for a channel.",
            ["channel"],
            registry=registry,
        )
        self._alive = Gauge(
            "tillstream_pager_channel_alive",
            "0 while a channel is dead, else 1.",
            ["channel"],
            registry=registry,
        )
        self._cases = Gauge(
            "tillstream_pager_cases", "Cases, by state.", ["state"], registry=registry
        )
        self._policy = Gauge(
            "tillstream_pager_policy_valid",
            "0 while the policy's file is wrong and an older policy is in force, else 1.",
            registry=registry,
        )
        self._looked = Gauge(
            "tillstream_pager_last_look_timestamp_seconds",
            "When the pager last saw all alerts.",
            registry=registry,
        )

    def tried(self, channel: str, answer: str) -> None:
        self._tries.labels(channel, answer).inc()

    def reached(self, seconds: float) -> None:
        self._reached.observe(seconds)

    def looked(self, at_s: float) -> None:
        self._looked.set(at_s)

    def state(
        self,
        *,
        waiting: Mapping[str, int],
        alive: Mapping[str, bool],
        cases: Mapping[str, int],
        policy_valid: bool,
    ) -> None:
        """As it is now; what is not named any more is gone."""
        known: tuple[tuple[Gauge, Mapping[str, float]], ...] = (
            (self._waiting, waiting),
            (self._alive, alive),
            (self._cases, cases),
        )
        for gauge, values in known:
            gauge.clear()
            for name, value in values.items():
                gauge.labels(name).set(value)
        self._policy.set(policy_valid)

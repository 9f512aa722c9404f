"""Figures out of a Prometheus text page, and what changed between two of them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Scrape:
    """The samples of one page, taken at `at_s` (monotonic seconds)."""

    at_s: float
    samples: Mapping[str, Mapping[Labels, float]]

    @classmethod
    def of(cls, text: str, *, at_s: float) -> "Scrape":
        """Raises ValueError when `text` is no such page."""
        samples: dict[str, dict[Labels, float]] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels = tuple(sorted(sample.labels.items()))
                samples.setdefault(sample.name, {})[labels] = sample.value
        return cls(at_s, samples)

    def total(self, name: str, **labels: str) -> float | None:
        """The sum of the samples that have these labels; None when there are none."""
        found = self.by(name, None, **labels)
        return found.get("") if found else None

    def by(self, name: str, label: str | None, **labels: str) -> dict[str, float]:
        """Sums of the samples that have `labels`, by the value of `label`."""
        sums: dict[str, float] = {}
        for having, value in self.samples.get(name, {}).items():
            given = dict(having)
            if all(given.get(key) == wanted for key, wanted in labels.items()):
                key = given.get(label, "") if label else ""
                sums[key] = sums.get(key, 0.0) + value
        return sums


def rate(before: Scrape, after: Scrape, name: str, **labels: str) -> float | None:
    """How much a counter grew a second. None when it is not there, or no time has passed; one
    that began anew counts from 0."""
    new, old = after.total(name, **labels), before.total(name, **labels) or 0.0
    seconds = after.at_s - before.at_s
    if new is None or seconds <= 0:
        return None
    return (new - old if new >= old else new) / seconds


def means(before: Scrape, after: Scrape, name: str, label: str, **labels: str) -> dict[str, float]:
    """The mean of what a histogram saw in between, by `label`."""
    found = {}
    old_sums, old_counts = (before.by(f"{name}_{of}", label, **labels) for of in ("sum", "count"))
    counts = after.by(f"{name}_count", label, **labels)
    for key, total in after.by(f"{name}_sum", label, **labels).items():
        count = counts.get(key, 0.0) - old_counts.get(key, 0.0)
        if count > 0:
            found[key] = (total - old_sums.get(key, 0.0)) / count
    return found


def quantile(before: Scrape, after: Scrape, name: str, q: float) -> float | None:
    """The `q` quantile of what a histogram saw in between, interpolated within its bucket as
    Prometheus does; None when it saw nothing."""
    new, old = after.by(f"{name}_bucket", "le"), before.by(f"{name}_bucket", "le")
    buckets = sorted((float(bound), count - old.get(bound, 0.0)) for bound, count in new.items())
    if not buckets or buckets[-1][1] <= 0:
        return None
    wanted = q * buckets[-1][1]
    below_bound = below_count = 0.0
    for bound, count in buckets:
        if count >= wanted:
            if math.isinf(bound):
                return below_bound
            share = (wanted - below_count) / (count - below_count) if count > below_count else 1.0
            return below_bound + (bound - below_bound) * share
        below_bound, below_count = bound, count
    return None

"""What an audit found, in words and coordinates."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# How many findings of one kind are listed; all are counted.
LISTED = 50


@dataclass(frozen=True, slots=True)
class Finding:
    """One disagreement. `where` holds its coordinates: topic, partition, offset, window, …"""

    kind: str
    detail: str
    where: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Check:
    """One comparison: how much was compared, how much disagreed, and where (the first LISTED)."""

    name: str
    compared: int
    disagreeing: int
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        return self.disagreeing == 0


@dataclass(frozen=True, slots=True)
class PartitionRow:
    """One partition of one incarnation of a topic, at its committed cut.

    `kafka_start` and `kafka_end` are None for an incarnation that no longer exists. Counts are of
    rows below the cut; `missing` and `doubled` of offsets.
    """

    topic: str
    topic_id: str
    partition: int
    kafka_start: int | None
    kafka_end: int | None
    cut: int
    facts: int
    duplicates: int
    quarantine: int
    missing: int
    doubled: int
    lake_cut: int
    lake_records: int
    lake_missing: int

    @property
    def behind(self) -> int:
        """Records Kafka holds beyond the cut."""
        return max((self.kafka_end or 0) - self.cut, 0)

    @property
    def clean(self) -> bool:
        return self.missing == self.doubled == self.lake_missing == 0


@dataclass(frozen=True, slots=True)
class Audit:
    partitions: tuple[PartitionRow, ...]
    checks: tuple[Check, ...]

    @property
    def clean(self) -> bool:
        return all(check.clean for check in self.checks)

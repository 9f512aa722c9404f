"""How archived objects are named, so that a listing alone tells what the lake holds.

    raw-data/<kind>/year=YYYY/month=MM/day=DD/<topic>-<topic id>-<partition>-<first>-<last>.parquet

The date is the arrival date (UTC). An object holds every offset from `first` to `last`, both
included, so `last - first + 1` is its number of records. The topic's id is part of the name
because a topic recreated under the same name counts its offsets from 0 again. Numbers are
zero-padded (partition 5 digits, offsets 20, as Kafka names its own segments), so that names sort
in offset order within a topic.
"""

import re
from dataclasses import dataclass
from datetime import date
from typing import Self

from tillstream.contracts.topics import Topic
from tillstream.errors import ConfigError, IntegrityError

RAW_PREFIX = "raw-data/"

KINDS: dict[Topic, str] = {
    Topic.SALES: "sales",
    Topic.INVENTORY: "inventory",
    Topic.PRICES: "events",
    Topic.CUSTOMERS: "events",
}

_MAX_OFFSET = 2**63 - 1
_TOPIC_ID = re.compile(r"[A-Za-z0-9:_-]+")
_NAME = re.compile(
    RAW_PREFIX + r"(?P<kind>[a-z]+)"
    r"/year=(?P<year>\d{4})/month=(?P<month>\d{2})/day=(?P<day>\d{2})"
    r"/(?P<topic>" + "|".join(re.escape(topic) for topic in KINDS) + r")"
    r"-(?P<topic_id>[A-Za-z0-9:_-]+)"
    r"-(?P<partition>\d{5})-(?P<first>\d{20})-(?P<last>\d{20})\.parquet",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class ObjectName:
    """The identity of one archived object; `str()` gives its path below the lake's root.

    Raises ConfigError for values that cannot be written in a name.
    """

    topic: Topic
    topic_id: str
    partition: int
    first_offset: int
    last_offset: int
    arrival_date: date

    def __post_init__(self) -> None:
        if self.topic not in KINDS:
            raise ConfigError(f"topic {self.topic} is not archived in the lake")
        if not _TOPIC_ID.fullmatch(self.topic_id):
            raise ConfigError(f"topic id {self.topic_id!r} cannot be part of an object name")
        if not 0 <= self.partition < 100_000:
            raise ConfigError(f"partition {self.partition} is outside 0..99999")
        if not 0 <= self.first_offset <= self.last_offset <= _MAX_OFFSET:
            raise ConfigError(f"{self.first_offset}..{self.last_offset} is not an offset range")

    @property
    def rows(self) -> int:
        """Records the name promises."""
        return self.last_offset - self.first_offset + 1

    def __str__(self) -> str:
        on = self.arrival_date
        return (
            f"{RAW_PREFIX}{KINDS[self.topic]}"
            f"/year={on.year:04}/month={on.month:02}/day={on.day:02}"
            f"/{self.topic}-{self.topic_id}-{self.partition:05}"
            f"-{self.first_offset:020}-{self.last_offset:020}.parquet"
        )

    @classmethod
    def parse(cls, path: str) -> Self:
        """The inverse of `str()`. Raises IntegrityError for a path this module did not write."""
        match = _NAME.fullmatch(path)
        if match is None:
            raise IntegrityError(f"lake object {path} is not named like an archived one")
        part = match.groupdict()
        try:
            name = cls(
                topic=Topic(part["topic"]),
                topic_id=part["topic_id"],
                partition=int(part["partition"]),
                first_offset=int(part["first"]),
                last_offset=int(part["last"]),
                arrival_date=date(int(part["year"]), int(part["month"]), int(part["day"])),
            )
        except (ValueError, ConfigError) as exc:
            raise IntegrityError(f"lake object {path} has an impossible name: {exc}") from exc
        if KINDS[name.topic] != part["kind"]:
            raise IntegrityError(f"lake object {path} lies under the wrong kind")
        return name

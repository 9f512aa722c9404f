"""Everything that can be done to the platform, and to which part of it."""

from dataclasses import dataclass
from enum import StrEnum


class Action(StrEnum):
    KILL = "kill"
    FREEZE = "freeze"
    SLOW = "slow"
    CUT = "cut"
    LOSE_ANSWER = "lose-answer"
    FULL_DISK = "full-disk"
    DUPLICATE = "duplicate"
    REPLAY = "replay"
    RECREATE = "recreate"
    ADD_PARTITIONS = "add-partitions"
    LOSE_CHECKPOINT = "lose-checkpoint"
    CORRUPT_CHECKPOINT = "corrupt-checkpoint"
    OUTAGE = "outage"
    RETENTION = "retention"
    RETENTION_UNREAD = "retention-unread"


class Target(StrEnum):
    """A process, a connection between two of them, or something stored."""

    DRIVER = "driver"
    EXECUTOR = "executor"
    BROKER = "broker"
    WAREHOUSE = "warehouse"
    LAKE = "lake"
    PRODUCER = "producer"
    STREAM_TO_KAFKA = "stream-kafka"
    STREAM_TO_WAREHOUSE = "stream-warehouse"
    STREAM_TO_LAKE = "stream-lake"
    PRODUCER_TO_KAFKA = "producer-kafka"
    COMMIT = "commit"
    CHECKPOINT = "checkpoint"
    TOPIC = "topic"


@dataclass(frozen=True, slots=True, order=True)
class Pair:
    """One action on one target."""

    action: Action
    target: Target

    def __str__(self) -> str:
        return f"{self.action} {self.target}"


PROCESSES = (
    Target.DRIVER,
    Target.EXECUTOR,
    Target.BROKER,
    Target.WAREHOUSE,
    Target.LAKE,
    Target.PRODUCER,
)
LINKS = (
    Target.STREAM_TO_KAFKA,
    Target.STREAM_TO_WAREHOUSE,
    Target.STREAM_TO_LAKE,
    Target.PRODUCER_TO_KAFKA,
)

# What a request holds whose answer is thrown away after the server did what it says. Kafka's
# requests are binary: any of the producer's will do, and it has no other than produce when busy.
ANSWERS_TO: dict[Target, bytes] = {
    Target.STREAM_TO_WAREHOUSE: b"insert",
    Target.COMMIT: b"stream_commits",
    Target.STREAM_TO_LAKE: b"put /",
    Target.PRODUCER_TO_KAFKA: b"",
}

# The folders that get a disk of their own when it is going to be full.
DISKS: dict[Target, str] = {
    Target.WAREHOUSE: "warehouse",
    Target.LAKE: "lake",
    Target.CHECKPOINT: "spark",
}

# Needs a lake that is a server.
ON_LAKE_SERVER = frozenset(
    {
        Pair(Action.KILL, Target.LAKE),
        Pair(Action.FREEZE, Target.LAKE),
        Pair(Action.SLOW, Target.STREAM_TO_LAKE),
        Pair(Action.CUT, Target.STREAM_TO_LAKE),
        Pair(Action.LOSE_ANSWER, Target.STREAM_TO_LAKE),
    }
)

# Every pair that makes sense. A seed's schedule begins with pairs counted from its own number, so
# thirty seeds in a row meet all of them.
PAIRS: tuple[Pair, ...] = (
    *(Pair(Action.KILL, target) for target in PROCESSES),
    *(Pair(Action.FREEZE, target) for target in PROCESSES),
    *(Pair(Action.SLOW, target) for target in LINKS),
    *(Pair(Action.CUT, target) for target in LINKS),
    *(Pair(Action.LOSE_ANSWER, target) for target in ANSWERS_TO),
    *(Pair(Action.FULL_DISK, target) for target in DISKS),
    Pair(Action.DUPLICATE, Target.PRODUCER),
    Pair(Action.REPLAY, Target.PRODUCER),
    Pair(Action.RECREATE, Target.TOPIC),
    Pair(Action.ADD_PARTITIONS, Target.TOPIC),
    Pair(Action.LOSE_CHECKPOINT, Target.CHECKPOINT),
    Pair(Action.CORRUPT_CHECKPOINT, Target.CHECKPOINT),
    Pair(Action.OUTAGE, Target.DRIVER),
    Pair(Action.RETENTION, Target.TOPIC),
    Pair(Action.RETENTION_UNREAD, Target.TOPIC),
)

# Loses records on purpose, so it comes last, once everything before it has been judged.
FINALE = Pair(Action.RETENTION_UNREAD, Target.TOPIC)

"""Every topic the platform owns, with its layout."""

from dataclasses import dataclass
from enum import StrEnum

_DAY_MS = 86_400_000


class Topic(StrEnum):
    SALES = "retail-sales-transactions"
    INVENTORY = "retail-inventory-updates"
    PRICES = "retail-price-changes"
    CUSTOMERS = "retail-customer-events"
    ALERTS = "retail-restock-alerts"
    ALERT_ACTIONS = "retail-alert-actions"
    QUARANTINE = "retail-events-quarantine"


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """How a topic is created. `retention_ms` -1 keeps records forever."""

    topic: Topic
    partitions: int
    retention_ms: int = 7 * _DAY_MS

    @property
    def config(self) -> dict[str, str]:
        """Broker-side settings. Arrival is the broker's append time, so that no till's clock
        decides when a record expires."""
        return {
            "message.timestamp.type": "LogAppendTime",
            "retention.ms": str(self.retention_ms),
            "cleanup.policy": "delete",
        }


TOPIC_SPECS: dict[Topic, TopicSpec] = {
    spec.topic: spec
    for spec in (
        TopicSpec(Topic.SALES, 3),
        TopicSpec(Topic.INVENTORY, 3),
        TopicSpec(Topic.PRICES, 2),
        TopicSpec(Topic.CUSTOMERS, 3),
        TopicSpec(Topic.ALERTS, 1),
        TopicSpec(Topic.ALERT_ACTIONS, 1, retention_ms=-1),
        TopicSpec(Topic.QUARANTINE, 1),
    )
}

# The topic id of events that were written straight to lake and warehouse begins with this.
HISTORY_PREFIX = "history:"

# What stores publish and the pipeline consumes, in the order it is reported.
SOURCE_TOPICS: tuple[Topic, ...] = (
    Topic.SALES,
    Topic.INVENTORY,
    Topic.PRICES,
    Topic.CUSTOMERS,
)

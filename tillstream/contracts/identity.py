"""What makes an event itself, and what hides who bought it."""

import hashlib
import hmac
import re
import uuid
from collections.abc import Mapping
from typing import Any

from tillstream.contracts.topics import Topic
from tillstream.errors import ConfigError

# Fixed for ever: changing it would change the identity of every event.
_NAMESPACE = uuid.UUID("b7f1c1de-6a3b-5c52-9f0e-1d8f2c7a4e90")

PSEUDONYM_PREFIX = "cust-"
_PSEUDONYM_HEX = 32
_PSEUDONYM = re.compile(rf"{PSEUDONYM_PREFIX}[0-9a-f]{{{_PSEUDONYM_HEX}}}")


def event_identity(topic: Topic, record: Mapping[str, Any]) -> str:
    """The identity by which the platform deduplicates; readable. Two records of one topic with the
    same identity are the same event."""
    match topic:
        case Topic.SALES:
            event_id = record.get("event_id")
            if event_id is not None:
                return str(event_id)
            line = record.get("line_number", 0)
            return f"{record['transaction_id']}:{record['product_id']}:{line}"
        case Topic.INVENTORY:
            return str(record["inventory_id"])
        case Topic.PRICES:
            return str(record["price_change_id"])
        case Topic.CUSTOMERS:
            return str(record["event_id"])
        case Topic.ALERTS:
            return f"{record['alert_id']}:{record['version']}"
        case Topic.ALERT_ACTIONS:
            return str(record["action_id"])
        case Topic.QUARANTINE:
            return f"{record['topic_id']}:{record['partition']}:{record['offset']}"


def event_uuid(source: str, *parts: object) -> str:
    """A UUIDv5 that depends on the source's own identity alone: the same event read twice, today
    or after a restart, gets the same id. Parts are told apart whatever characters they hold."""
    texts = (source, *(str(part) for part in parts))
    return str(uuid.uuid5(_NAMESPACE, "".join(f"{len(text)}:{text}" for text in texts)))


def pseudonym(key: bytes, customer_id: str) -> str:
    """`cust-` and 32 hex digits of HMAC-SHA256(key, customer_id): the same customer gives the same
    pseudonym, and nobody without the key can tell or test who it is.

    A pseudonym comes back unchanged, so that forwarding an event never hashes twice. Raises
    ConfigError without a key, since an unkeyed hash of a short number is easily reversed.
    """
    if is_pseudonym(customer_id):
        return customer_id
    digest = hmac.new(required_key(key), customer_id.encode(), hashlib.sha256).hexdigest()
    return PSEUDONYM_PREFIX + digest[:_PSEUDONYM_HEX]


def required_key(key: bytes) -> bytes:
    """`key`, if there is one: for those who must know before they send anything. Raises
    ConfigError."""
    if not key:
        raise ConfigError(
            "an event has a customer_id, and no key to pseudonymise it with is set",
            hint="set TILLSTREAM_CUSTOMER_KEY to a long random text, and keep it secret",
        )
    return key


def is_pseudonym(customer_id: str) -> bool:
    return _PSEUDONYM.fullmatch(customer_id) is not None

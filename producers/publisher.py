"""What publishing an event means, whatever carries it."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

from tillstream.contracts.codec import MAX_ID_CHARS, Codec, FieldError
from tillstream.contracts.events import record_key
from tillstream.contracts.identity import event_identity, pseudonym
from tillstream.contracts.topics import Topic


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of one event. Exactly one is reported for every event that `publish` accepted.

    Without an error, Kafka has it at (partition, offset) for good. With one, it is not known to be
    stored, and `partition` and `offset` are -1.
    """

    topic: Topic
    identity: str
    partition: int
    offset: int
    error: str | None = None


@dataclass(frozen=True, slots=True)
class PublisherStats:
    """Events so far. sent = acknowledged + failed + those still under way. `rejected` counts the
    events refused before sending, by (topic, field); the field is empty when it is no field's
    fault."""

    sent: int
    acknowledged: int
    failed: int
    rejected: Counter[tuple[Topic, str]]


OnDelivery = Callable[[Delivery], None]


class Publisher(Protocol):
    """Publishes events that fit their contract. Safe to use from several threads.

    Guarantees: events of one key arrive in the order published and none twice, whatever the broker
    does meanwhile; an event whose delivery failed is reported and counted, never dropped silently.
    """

    def publish(
        self,
        topic: Topic,
        record: Mapping[str, Any],
        *,
        on_delivery: OnDelivery | None = None,
        version: int | None = None,
    ) -> None:
        """Queue one event, in the topic's newest schema or in `version`.

        Blocks while too much is under way. `on_delivery` is called once, on another thread; it
        must be quick. A `customer_id` leaves as its pseudonym. Raises ContractError, counted and
        with nothing sent, when the event does not fit; ServiceError when there is no room for it
        in time or the publisher is closed.
        """
        ...

    def flush(self, timeout_s: float = 30.0) -> None:
        """Wait until everything published is stored. Raises ServiceError saying how many events
        are not: still under way after `timeout_s`, or failed since the last flush."""
        ...

    def close(self) -> None:
        """Flush and disconnect. Raises what flush raises, disconnected all the same."""
        ...

    @property
    def stats(self) -> PublisherStats: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class Envelope:
    """An event ready to be sent."""

    topic: Topic
    identity: str
    key: bytes
    value: bytes


class Sealer:
    """Turns records into envelopes: the customer hidden, the contract checked, the key chosen."""

    def __init__(self, codec: Codec, *, customer_key: bytes) -> None:
        self._codec = codec
        self._customer_key = customer_key

    def seal(self, topic: Topic, record: Mapping[str, Any], version: int | None) -> Envelope:
        """Raises ContractError when the event does not fit, ConfigError when it has a customer
        and there is no key to hide them with."""
        customer_id = record.get("customer_id")
        # What is no customer id at all is left for the codec to refuse; hashing would hide it.
        if isinstance(customer_id, str) and _could_be_an_id(customer_id):
            record = {**record, "customer_id": pseudonym(self._customer_key, customer_id)}
        elif customer_id is not None:
            raise FieldError(
                f"{topic}: field 'customer_id' does not hold an identifier; allowed: null, or a"
                f" string that is not blank, at most {MAX_ID_CHARS} characters",
                field="customer_id",
            )
        value = self._codec.encode(topic, record, version=version)
        return Envelope(
            topic, event_identity(topic, record), record_key(topic, record).encode(), value
        )


def _could_be_an_id(text: str) -> bool:
    if text.isascii():
        return len(text) <= MAX_ID_CHARS and bool(text) and not text.isspace()
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return len(text) <= MAX_ID_CHARS and not text.isspace()

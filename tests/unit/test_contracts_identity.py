"""Identities are stable for ever; customers stay hidden."""

import hashlib
import hmac

import pytest

from tests.contracts_suite.events import EVENTS, old_sale, sale
from tillstream.contracts.identity import event_identity, event_uuid, is_pseudonym, pseudonym
from tillstream.contracts.topics import Topic
from tillstream.errors import ConfigError


def test_identities_are_as_designed() -> None:
    assert {topic.value: event_identity(topic, EVENTS[topic]) for topic in Topic} == {
        "retail-sales-transactions": "6b1f1f5e-8a5a-5b1e-9c1e-2b7c5f6d7e8f",
        "retail-inventory-updates": "304:1095275:7",
        "retail-price-changes": "pc-1",
        "retail-customer-events": "ce-1",
        "retail-restock-alerts": "al-1:2",
        "retail-alert-actions": "aa-1",
        "retail-events-quarantine": "c8164ff5-7aa7-44aa-9a2c-521d5e0f8b1b:1:42",
    }


def test_a_sale_without_an_event_id_is_its_receipt_line() -> None:
    assert event_identity(Topic.SALES, sale(event_id=None)) == "31198570044:1095275:3"
    assert event_identity(Topic.SALES, old_sale()) == "31198570044:1095275:0"


def test_an_event_uuid_never_changes() -> None:
    # Written down once: another value would make every stored event a new one.
    assert (
        event_uuid("complete-journey", 31198570044, "1095275", 3)
        == "8fe96466-e2f9-503b-90be-f7a6c1cf05ca"
    )


def test_an_event_uuid_tells_its_parts_apart() -> None:
    ids = {
        event_uuid("s", "a", "bc"),
        event_uuid("s", "ab", "c"),
        event_uuid("s", "abc"),
        event_uuid("sa", "bc"),
        event_uuid("s", "1:a", "bc"),
    }
    assert len(ids) == 5


def test_a_pseudonym_is_a_keyed_hmac() -> None:
    expected = hmac.new(b"key", b"2375", hashlib.sha256).hexdigest()[:32]
    assert pseudonym(b"key", "2375") == f"cust-{expected}"
    assert pseudonym(b"other", "2375") != pseudonym(b"key", "2375")


def test_a_pseudonym_is_not_hashed_again() -> None:
    once = pseudonym(b"key", "2375")
    assert pseudonym(b"key", once) == pseudonym(b"other", once) == once


@pytest.mark.parametrize(
    "raw", ["2375", "cust-2375", "cust-" + "A" * 32, "cust-" + "a" * 33, "cust-" + "a" * 32 + "\n"]
)
def test_what_only_resembles_a_pseudonym_is_hashed(raw: str) -> None:
    assert not is_pseudonym(raw)
    assert is_pseudonym(pseudonym(b"key", raw))


def test_without_a_key_no_pseudonym_is_made() -> None:
    with pytest.raises(ConfigError, match="no key") as caught:
        pseudonym(b"", "2375")
    assert "TILLSTREAM_CUSTOMER_KEY" in (caught.value.hint or "")

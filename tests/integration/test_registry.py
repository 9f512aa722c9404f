"""Schema ids from a real registry."""

import json

import httpx
import pytest

from tests.contracts_suite.events import sale
from tillstream.contracts.catalogue import load_catalogue
from tillstream.contracts.codec import Codec
from tillstream.contracts.topics import Topic
from tillstream.settings import RegistrySettings

pytestmark = pytest.mark.integration


def test_a_registry_gives_the_ids_and_keeps_them(registry_url: str) -> None:
    # Somebody else's schema comes first, so that no id here can equal the checked-in one by luck.
    foreign = {"schema": json.dumps({"type": "record", "name": "Other", "fields": []})}
    httpx.post(f"{registry_url}/subjects/other-value/versions", json=foreign).raise_for_status()

    first = load_catalogue(RegistrySettings(url=registry_url))
    checked_in = load_catalogue()
    ids = {(ref.topic, ref.version): ref.id for ref in first}
    assert ids.keys() == {(ref.topic, ref.version) for ref in checked_in}
    assert ids != {(ref.topic, ref.version): ref.id for ref in checked_in}

    again = load_catalogue(RegistrySettings(url=registry_url))
    assert {(ref.topic, ref.version): ref.id for ref in again} == ids

    payload = Codec(first).encode(Topic.SALES, sale())
    schema_id = int.from_bytes(payload[1:5], "big")
    served = httpx.get(f"{registry_url}/schemas/ids/{schema_id}").json()["schema"]
    assert json.loads(served) == checked_in.latest(Topic.SALES).schema

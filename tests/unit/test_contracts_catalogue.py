"""Schema ids: from the checkout, or from a registry that speaks Confluent's protocol."""

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from pydantic import SecretStr

from tests.contracts_suite.events import sale
from tillstream.contracts.catalogue import Catalogue, SchemaRef, load_catalogue
from tillstream.contracts.codec import Codec
from tillstream.contracts.topics import Topic
from tillstream.errors import ConfigError, ServiceError
from tillstream.settings import RegistrySettings


class Registry(ThreadingHTTPServer):
    """The part of Confluent's REST interface that is used, with its status and error codes."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.ids: dict[tuple[str, str], int] = {}
        self.log: list[str] = []
        self.credentials: str | None = None
        self.refuse: tuple[int, str] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/apis/ccompat/v7"


class _Handler(BaseHTTPRequestHandler):
    server: Registry

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        path = self.path.removeprefix("/apis/ccompat/v7/subjects/")
        subject, _, versions = path.partition("/")
        known = self.server.ids.get((subject, body["schema"]))
        self.server.log.append("register" if versions else "look up")
        if versions and self.server.refuse:
            status, message = self.server.refuse
            return self._answer(status, {"error_code": status, "message": message})
        if not versions and known is None:
            return self._answer(404, {"error_code": 40401, "message": "Subject not found."})
        if known is None:
            known = 100 + len(self.server.ids)
            self.server.ids[subject, body["schema"]] = known
        return self._answer(200, {"id": known})

    def do_GET(self) -> None:
        wanted = int(self.path.rpartition("/")[2])
        schema = next(text for (_, text), known in self.server.ids.items() if known == wanted)
        self._answer(200, {"schema": schema})

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        if self.server.credentials and self.headers["Authorization"] != self.server.credentials:
            status, body = 401, {"error_code": 401, "message": "Unauthorized"}
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registry() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_the_checked_in_catalogue_has_every_version() -> None:
    catalogue = load_catalogue()
    assert [(ref.id, ref.topic, ref.version) for ref in catalogue.versions(Topic.SALES)] == [
        (1, Topic.SALES, 1),
        (2, Topic.SALES, 2),
    ]
    assert catalogue.latest(Topic.INVENTORY).id == 4
    assert catalogue.by_id(9) == catalogue.latest(Topic.QUARANTINE)
    assert catalogue.by_id(11) is None
    assert load_catalogue(RegistrySettings()).by_id(2) == catalogue.by_id(2)


def test_two_schemas_may_not_share_an_id() -> None:
    first, second = (SchemaRef(7, Topic.SALES, version, schema={}, text="") for version in (1, 2))
    with pytest.raises(
        ConfigError, match="schema id 7 names both retail-sales-transactions v1 and"
    ):
        Catalogue([first, second])


def test_a_registry_gives_its_own_ids_and_learns_what_it_lacks(registry: Registry) -> None:
    settings = RegistrySettings(url=registry.url)
    catalogue = load_catalogue(settings)
    assert len(registry.ids) == len(list(catalogue)) == 10
    assert {subject for subject, _ in registry.ids} == {f"{topic}-value" for topic in Topic}
    latest = catalogue.latest(Topic.SALES)
    assert registry.ids["retail-sales-transactions-value", latest.text] == latest.id >= 100

    codec = Codec(catalogue)
    payload = codec.encode(Topic.SALES, sale())
    assert payload[:5] == b"\x00" + latest.id.to_bytes(4, "big")
    assert codec.decode(Topic.SALES, payload).record == sale()

    registry.log.clear()
    assert [ref.id for ref in load_catalogue(settings)] == [ref.id for ref in catalogue]
    assert registry.log == ["look up"] * 10


def test_credentials_are_sent_and_their_refusal_is_a_wrong_setting(registry: Registry) -> None:
    registry.credentials = "Basic " + base64.b64encode(b"kim:secret").decode()
    right = RegistrySettings(url=registry.url, username="kim", password=SecretStr("secret"))
    assert len(list(load_catalogue(right))) == 10
    wrong = RegistrySettings(url=registry.url, username="kim", password=SecretStr("guess"))
    with pytest.raises(ConfigError, match="refused the credentials") as caught:
        load_catalogue(wrong)
    assert "guess" not in str(caught.value)


def test_a_refused_schema_is_a_wrong_setting_that_names_it(registry: Registry) -> None:
    registry.refuse = (409, "Schema being registered is incompatible")
    with pytest.raises(ConfigError, match=r"subject retail-.*-value .HTTP 409, Schema being"):
        load_catalogue(RegistrySettings(url=registry.url))


def test_a_broken_registry_is_a_service_error(registry: Registry) -> None:
    registry.refuse = (500, "out of memory")
    with pytest.raises(ServiceError, match=r"did not answer .* out of memory"):
        load_catalogue(RegistrySettings(url=registry.url))


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "not a url", "ftp://example"])
def test_an_unreachable_registry_is_one_sentence(url: str) -> None:
    with pytest.raises((ServiceError, ConfigError), match="schema registry") as caught:
        load_catalogue(RegistrySettings(url=url))
    assert url in str(caught.value)
    assert "TILLSTREAM_REGISTRY__URL" in (caught.value.hint or "")

"""The console as programs meet it: the REST API, and everything that must be refused."""

import logging
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok

from tests.fixtures.console import PASSWORD, RunningConsole
from tillstream.web.guard import MOST_BODY_BYTES
from tillstream.web.sign_ins import FAILURES_A_NAME

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def ann(running_console: RunningConsole) -> Iterator[httpx.Client]:
    with running_console.as_("ann") as client:
        yield client


@pytest.fixture(scope="module")
def max_(running_console: RunningConsole) -> Iterator[httpx.Client]:
    with running_console.as_("max") as client:
        yield client


@pytest.fixture
def visitor(running_console: RunningConsole) -> Iterator[httpx.Client]:
    """A browser without a session."""
    with httpx.Client(base_url=running_console.url, timeout=30, trust_env=False) as client:
        yield client


def act(client: httpx.Client, alert_id: str, kind: str, **more: Any) -> httpx.Response:
    headers = {"idempotency-key": more.pop("key")} if "key" in more else {}
    body = {"actions": [{"alert_id": alert_id, "kind": kind, **more}]}
    return client.post("/api/v1/actions", json=body, headers=headers)


def signed_in(visitor: httpx.Client, name: str) -> str:
    """The session's token against forged requests."""
    answer = visitor.post("/sign-in", data={"name": name, "password": PASSWORD})
    assert answer.status_code == 303, answer.text
    found = re.search(r'data-csrf="([^"]+)"', visitor.get("/").text)
    assert found is not None
    return found[1]


def test_an_action_counts_once_however_often_it_is_sent(
    running_console: RunningConsole, ann: httpx.Client
) -> None:
    running_console.empty_shelf("twice")
    alert_id = running_console.alert_id("twice")
    first, again = (act(ann, alert_id, "acknowledge", key="the-same-key") for _ in range(2))
    assert first.json()["decisions"][0]["accepted"] is True
    assert again.json() == first.json()
    kinds = [
        step["what"]
        for step in ann.get(f"/api/v1/alerts/{alert_id}/history").json()["steps"]
        if step["actor"]
    ]
    assert kinds == ["acknowledge"]
    other = act(ann, alert_id, "escalate", key="the-same-key")
    assert (other.status_code, other.json()["hint"]) == (409, "use a new key")


def test_an_action_sent_again_after_a_crash_before_the_answer_counts_once(
    running_console: RunningConsole, ann: httpx.Client
) -> None:
    running_console.empty_shelf("crashed")
    alert_id = running_console.alert_id("crashed")
    act(ann, alert_id, "escalate", key="kill -9 here")
    # Kafka has it; what the console would have answered is lost with its process.
    with running_console.console.database.open() as connection:
        connection.execute("DELETE FROM answers")
    again = act(ann, alert_id, "escalate", key="kill -9 here").json()["decisions"][0]
    assert (again["accepted"], again["repeated"]) == (True, True)
    assert again["alert"]["escalation_level"] == 1


def test_pages_of_alerts_follow_each_other_without_gap_or_repeat(ann: httpx.Client) -> None:
    everything = ann.get("/api/v1/alerts", params={"state": "all", "limit": 500}).json()["alerts"]
    found, after = [], None
    while True:
        query = {"state": "all", "limit": "2", **({"after": after} if after else {})}
        page = ann.get("/api/v1/alerts", params=query).json()
        found += page["alerts"]
        after = page["next"]
        if after is None:
            break
    assert [one["alert_id"] for one in found] == [one["alert_id"] for one in everything]
    assert len(found) >= 2


def test_another_stores_things_are_not_there_and_asking_is_logged(
    running_console: RunningConsole,
    max_: httpx.Client,
    ann: httpx.Client,
    caplog: pytest.LogCaptureFixture,
) -> None:
    hidden = running_console.alert_id("gone-304")
    assert ann.get(f"/api/v1/alerts/{hidden}").status_code == 200
    with caplog.at_level(logging.WARNING, "tillstream.web"):
        answers = [
            max_.get(f"/api/v1/alerts/{hidden}"),
            max_.get(f"/api/v1/alerts/{hidden}/history"),
            max_.get("/api/v1/items/304/gone-304"),
            max_.get("/api/v1/items/304/gone-304/what-if"),
            act(max_, hidden, "acknowledge"),
        ]
    assert [one.status_code for one in answers] == [404] * 5
    assert f"max asked for alert {hidden}" in caplog.text
    assert "max asked for item 304/gone-304" in caplog.text
    alerts = max_.get("/api/v1/alerts", params={"state": "all"}).json()["alerts"]
    assert {one["store_id"] for one in alerts} == {"305"}
    assert [one["store_id"] for one in max_.get("/api/v1/stores").json()] == ["305"]
    own = running_console.alert_id("gone-305")
    assert act(max_, own, "comment", comment="on it").json()["decisions"][0]["accepted"] is True


def test_an_item_says_why_and_what_ordering_now_would_do(ann: httpx.Client) -> None:
    why = ann.get("/api/v1/items/304/gone-304").json()
    assert why["stock"]["on_hand"] == 0
    assert why["stock"]["record"]["topic"] == "retail-inventory-updates"
    answer = ann.get("/api/v1/items/304/gone-304/what-if", params={"lead_days": 3}).json()
    usual = ann.get("/api/v1/items/304/gone-304/what-if").json()
    assert answer["now"]["arrives_days"] == pytest.approx(usual["now"]["arrives_days"] + 3)
    assert answer["now"]["lost_units"] > usual["now"]["lost_units"] > 0
    assert usual["tomorrow"]["lost_units"] > usual["now"]["lost_units"]


@pytest.mark.parametrize("product", ["a%0Ab", "a%00b", "a%5Cb", "a'b", "%E3%80%80", "x" * 300])
def test_an_odd_id_is_not_found(ann: httpx.Client, product: str) -> None:
    assert ann.get(f"/api/v1/items/304/{product}").status_code == 404
    assert ann.get(f"/items/304/{product}").status_code in (303, 404)


def test_nobody_comes_in_without_a_session_or_token(visitor: httpx.Client) -> None:
    for path in ("/", "/now/list", "/now/live", "/stores", "/executive", "/health", "/items/304/x"):
        answer = visitor.get(path)
        assert (answer.status_code, answer.headers["location"][:8]) == (303, "/sign-in"), path
    for path in ("/api/v1/alerts", "/api/v1/incidents", "/api/v1/health", "/api/v1/stores"):
        assert visitor.get(path).status_code == 401, path
    forged = {"authorization": "Bearer till_guess"}
    assert visitor.get("/api/v1/alerts", headers=forged).status_code == 401


def test_a_browser_must_prove_that_a_change_comes_from_its_own_page(
    running_console: RunningConsole, visitor: httpx.Client
) -> None:
    csrf = signed_in(visitor, "ann")
    alert_id = running_console.alert_id("gone-304")
    assert act(visitor, alert_id, "comment", comment="forged").status_code == 403
    visitor.headers["x-csrf-token"] = csrf
    assert act(visitor, alert_id, "comment", comment="real").status_code == 200
    assert visitor.post("/sign-out", data={"csrf": "guess"}).status_code == 403
    assert visitor.post("/sign-out", data={"csrf": csrf}).status_code == 303
    assert visitor.get("/").status_code == 303


def test_a_viewer_may_look_and_not_act(running_console: RunningConsole) -> None:
    with running_console.as_("eve") as eve:
        assert eve.get("/api/v1/alerts").status_code == 200
        refused = act(eve, running_console.alert_id("gone-304"), "acknowledge")
    assert (refused.status_code, refused.json()["error"]) == (403, "eve may look, not act")


def test_a_name_is_locked_after_wrong_passwords_and_all_is_recorded(
    running_console: RunningConsole, visitor: httpx.Client
) -> None:
    wrong = {"name": "bob", "password": "not bob's password"}
    answers = [visitor.post("/sign-in", data=wrong).status_code for _ in range(FAILURES_A_NAME)]
    right = visitor.post("/sign-in", data={"name": "bob", "password": PASSWORD})
    assert (set(answers), right.status_code) == ({403}, 429)
    newest = running_console.console.sign_ins.newest(2)
    assert [(one.name, one.outcome) for one in newest] == [("bob", "locked"), ("bob", "wrong")]
    with running_console.console.database.open() as connection:
        connection.execute("DELETE FROM sign_ins")


def test_the_cookie_and_every_answer_are_hardened(visitor: httpx.Client) -> None:
    entered = visitor.post("/sign-in", data={"name": "eve", "password": PASSWORD})
    cookie = entered.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    for path in ("/", "/health", "/api/v1/alerts", "/static/console.css", "/nothing"):
        headers = visitor.get(path).headers
        assert "script-src 'self';" in headers["content-security-policy"], path
        assert headers["x-content-type-options"] == "nosniff", path
    assert not re.search(r"<script(?![^>]*src=)|\son\w+=|style=", visitor.get("/").text)


@pytest.mark.parametrize("to", ["//evil.example", "https://evil.example", "/\\evil.example", "\n/"])
def test_signing_in_leads_nowhere_else(visitor: httpx.Client, to: str) -> None:
    entered = visitor.post("/sign-in", data={"name": "eve", "password": PASSWORD, "next": to})
    assert entered.headers["location"] == "/"


def test_long_malformed_and_foreign_requests_are_refused(
    running_console: RunningConsole, ann: httpx.Client, visitor: httpx.Client
) -> None:
    post = ann.post
    json = {"content-type": "application/json"}
    long = b"[" + b" " * MOST_BODY_BYTES + b"]"
    assert post("/api/v1/actions", content=long, headers=json).status_code == 413
    chunks = iter([long[:1000], long[1000:]])
    assert post("/api/v1/actions", content=chunks, headers=json).status_code == 413
    assert post("/api/v1/actions", content=b"{", headers=json).status_code == 422
    assert post("/api/v1/actions", json={"actions": []}).status_code == 422
    surrogate = b'{"actions": [{"alert_id": "\\ud800", "kind": "comment", "\\ud800": 1}]}'
    assert post("/api/v1/actions", content=surrogate, headers=json).status_code == 422
    assert ann.get("/api/v1/alerts", params={"after": "?"}).status_code == 422
    assert act(ann, running_console.alert_id("gone-304"), "resolve").json()["error"]
    foreign = visitor.get("/sign-in", headers={"host": "evil.example"})
    assert foreign.status_code == 421


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_no_request_makes_it_fail(
    running_console: RunningConsole, ann: httpx.Client, mode: GenerationMode
) -> None:
    schema = schemathesis.openapi.from_url(f"{running_console.url}/api/v1/openapi.json")
    headers = {"authorization": ann.headers["authorization"]}
    tried = set()
    for found in schema.get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()

        @settings(
            max_examples=10,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def fails_never(case: schemathesis.Case[Any]) -> None:
            tried.add(case.operation.label)
            case.call_and_validate(headers=headers, checks=[not_a_server_error])

        # What takes nothing cannot be asked wrongly.
        with suppress(Unsatisfiable):
            fails_never()
    assert len(tried) >= {GenerationMode.POSITIVE: 9, GenerationMode.NEGATIVE: 3}[mode]

"""Sign-in by OpenID Connect, against a real provider over HTTP."""

import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey

from tests.fixtures.console import PASSWORD, RunningConsole, serving
from tests.fixtures.issuer import (
    CLIENT_ID,
    CLIENT_SECRET,
    Claims,
    TestIssuer,
    running_issuer,
    signed,
    unsigned,
)
from tests.fixtures.warehouse import free_port
from tillstream.settings import OidcSettings, WebSettings
from tillstream.web.oidc.provider import RETURN_PATH
from tillstream.web.people import EVERY_STORE, Role
from tillstream.web.sign_ins import FAILURES_AN_ADDRESS
from tillstream.web.wiring import Console, wire

pytestmark = pytest.mark.integration

ROLES: dict[str, Any] = {
    "lookers": "viewer",
    "managers": "store-manager",
    "pagers": "on-call",
    "owners": "admin",
}
MAX: Claims = {"sub": "1", "preferred_username": "max", "groups": ["managers"], "shops": ["305"]}
EVE: Claims = {"sub": "2", "preferred_username": "eve", "groups": ["lookers"]}


@dataclass(slots=True)
class SingleSignOn:
    url: str
    console: Console
    issuer: TestIssuer

    def outcomes(self, count: int = 1) -> list[tuple[str, str]]:
        return [(one.name, one.outcome) for one in self.console.sign_ins.newest(count)]


@contextmanager
def single_sign_on(settings: Any, home: Path, **other: Any) -> Iterator[SingleSignOn]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with running_issuer(f"{url}{RETURN_PATH}") as issuer:
        oidc = OidcSettings(
            **{
                "issuer": issuer.url,
                "client_id": CLIENT_ID,
                "client_secret": CLIENT_SECRET,
                "public_url": url,
                "label": "Come in with Example",
                "roles": ROLES,
                "stores_claim": "shops",
                **other,
            }
        )
        console = wire(settings.model_copy(update={"home": home, "web": WebSettings(oidc=oidc)}))
        with serving(console, port=port):
            yield SingleSignOn(url, console, issuer)


@pytest.fixture(scope="module")
def module_sso(
    running_console: RunningConsole, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SingleSignOn]:
    home = tmp_path_factory.mktemp("single-sign-on")
    with single_sign_on(running_console.console.settings, home) as sso:
        yield sso


@pytest.fixture
def sso(module_sso: SingleSignOn, monkeypatch: pytest.MonkeyPatch) -> SingleSignOn:
    """A provider that does right, and nobody known."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    issuer = module_sso.issuer
    fresh = TestIssuer(issuer.url, issuer.redirect_uri, key=issuer.key)
    for name in ("person", "change", "sign", "cancels", "secret", "issuer", "codes", "tokens"):
        setattr(issuer, name, getattr(fresh, name))
    with module_sso.console.database.open() as connection:
        for table in ("users", "oidc_users", "oidc_attempts", "sessions", "sign_ins"):
            connection.execute(f"DELETE FROM {table}")
    return module_sso


@pytest.fixture
def browser(sso: SingleSignOn) -> Iterator[httpx.Client]:
    with new_browser(sso) as client:
        yield client


def new_browser(sso: SingleSignOn) -> httpx.Client:
    return httpx.Client(base_url=sso.url, timeout=30, trust_env=False, follow_redirects=True)


def come_in(browser: httpx.Client, person: Claims, sso: SingleSignOn) -> httpx.Response:
    sso.issuer.person = person
    return browser.get("/sign-in/oidc")


def heading(answer: httpx.Response) -> str:
    found = re.search(r"<h1>(.*?)</h1>", answer.text)
    assert found is not None, answer.text
    return found[1].replace("&#39;", "'")


def stops_at_return(browser: httpx.Client) -> str:
    """The address with which the issuer sends the browser back, not yet followed."""
    asked = browser.get("/sign-in/oidc", follow_redirects=False)
    return str(browser.get(asked.headers["location"], follow_redirects=False).headers["location"])


@pytest.mark.parametrize(("group", "role"), ROLES.items())
def test_each_role_comes_in_by_its_group(
    sso: SingleSignOn, browser: httpx.Client, group: str, role: str
) -> None:
    door = browser.get("/sign-in?next=/stores")
    link = re.search(r'href="(/sign-in/oidc[^"]*)">Come in with Example', door.text)
    assert link is not None
    sso.issuer.person = {**EVE, "groups": ["others", group], "shops": ["305"]}
    entered = browser.get(link[1])
    assert (entered.status_code, entered.url.path) == (200, "/stores")
    assert f"<strong>{role}</strong>" in entered.text
    assert 'data-person="oidc:eve"' in entered.text
    assert sso.outcomes() == [("oidc:eve", "signed in by oidc")]


def test_a_manager_sees_their_own_stores_only(
    sso: SingleSignOn, browser: httpx.Client, running_console: RunningConsole
) -> None:
    hidden = running_console.alert_id("gone-304")
    come_in(browser, MAX, sso)
    assert [one["store_id"] for one in browser.get("/api/v1/stores").json()] == ["305"]
    alerts = _alerts(browser, sso)
    assert {one["store_id"] for one in alerts} == {"305"}
    assert browser.get(f"/api/v1/alerts/{hidden}").status_code == 404
    come_in(anew(browser), {**MAX, "groups": ["pagers"]}, sso)
    assert browser.get(f"/api/v1/alerts/{hidden}").status_code == 200


def _alerts(browser: httpx.Client, sso: SingleSignOn) -> Any:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if {"304", "305"} <= {one.store_id for one in sso.console.board.alerts(EVERY_STORE)}:
            return browser.get("/api/v1/alerts", params={"state": "all"}).json()["alerts"]
        time.sleep(0.05)
    raise AssertionError(f"no alerts; {sso.console.board.problem}")


def anew(browser: httpx.Client) -> httpx.Client:
    browser.cookies.clear()
    return browser


def test_the_session_is_like_any_other(sso: SingleSignOn, browser: httpx.Client) -> None:
    sso.issuer.person = EVE
    entered = browser.get(stops_at_return(browser), follow_redirects=False)
    session, gone = entered.headers.get_list("set-cookie")
    assert session.startswith("tillstream=")
    assert {"httponly", "samesite=lax", "max-age=43200"} <= set(session.lower().split("; "))
    assert gone.startswith('tillstream-oidc=""')
    assert "form-action 'self'" in entered.headers["content-security-policy"]
    csrf = re.search(r'data-csrf="([^"]+)"', browser.get("/").text)
    assert csrf is not None
    assert browser.post("/sign-out", data={"csrf": "guess"}).status_code == 403
    assert browser.post("/sign-out", data={"csrf": csrf[1]}).status_code == 200
    assert browser.get("/api/v1/alerts").status_code == 401
    assert sso.outcomes(2) == [("oidc:eve", "signed out"), ("oidc:eve", "signed in by oidc")]


def test_the_newest_sign_in_decides(sso: SingleSignOn, browser: httpx.Client) -> None:
    come_in(browser, {**EVE, "groups": ["owners"]}, sso)
    assert "<strong>admin</strong>" in browser.get("/health").text
    with new_browser(sso) as second:
        come_in(second, EVE, sso)
    assert "<strong>viewer</strong>" in browser.get("/health").text
    with new_browser(sso) as third:
        refused = come_in(third, {**EVE, "groups": []}, sso)
    assert refused.status_code == 403
    assert browser.get("/api/v1/alerts").status_code == 401


def test_nobody_comes_in_without_a_group_or_a_store(
    sso: SingleSignOn, browser: httpx.Client
) -> None:
    refused = come_in(browser, {**EVE, "groups": ["others"]}, sso)
    assert refused.status_code == 403
    assert heading(refused) == "you are known as oidc:eve, but no group of yours has a role here"
    assert "ask those who manage your groups" in refused.text
    assert sso.outcomes() == [("oidc:eve", "no role")]
    assert come_in(browser, {**MAX, "shops": []}, sso).status_code == 403
    assert sso.outcomes() == [("oidc:max", "no store")]
    assert come_in(browser, {"sub": "3", "groups": ["owners"]}, sso).status_code == 403
    assert sso.outcomes() == [("oidc:?", "no name")]
    assert browser.get("/api/v1/alerts").status_code == 401


def _with(**claims: Any) -> Callable[[Claims], Claims]:
    return lambda whole: {**whole, **claims}


def _without(name: str) -> Callable[[Claims], Claims]:
    return lambda whole: {key: value for key, value in whole.items() if key != name}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_with(nonce="another"), "claim 'nonce'"),
        (_without("nonce"), "claim 'nonce'"),
        (_with(aud="another client"), "claim 'aud'"),
        (_with(aud=[CLIENT_ID, "another"]), "claim 'azp'"),
        (_with(aud=[CLIENT_ID, "another"], azp="another"), "claim 'azp'"),
        (_with(iss="https://another.example"), "claim 'iss'"),
        (_with(exp=1), "claim 'exp'"),
        (_without("exp"), "claim 'exp'"),
        (_with(iat=32_503_680_000), "claim 'iat'"),
        (_without("sub"), "claim 'sub'"),
    ],
)
def test_a_token_for_something_else_is_refused(
    sso: SingleSignOn, browser: httpx.Client, change: Callable[[Claims], Claims], said: str
) -> None:
    sso.issuer.change = change
    refused = come_in(browser, {**EVE, "groups": ["owners"]}, sso)
    assert refused.status_code == 403
    assert said in heading(refused)
    assert sso.outcomes() == [("oidc:?", "wrong")]
    assert browser.get("/api/v1/alerts").status_code == 401


def _by_another_key(claims: Claims, _: TestIssuer) -> str:
    return signed(claims, RSAKey.generate_key(2048))


def _unsigned(claims: Claims, _: TestIssuer) -> str:
    return unsigned(claims)


def _changed_after_signing(claims: Claims, issuer: TestIssuer) -> str:
    head, _, signature = signed(claims, issuer.key).split(".")
    return f"{head}.{unsigned({**claims, 'groups': ['owners']}).split('.')[1]}.{signature}"


def _by_what_everybody_knows(claims: Claims, issuer: TestIssuer) -> str:
    secret = OctKey.import_key(issuer.key.as_pem(private=False).hex())
    return jwt.encode({"alg": "HS256", "kid": "one"}, claims, secret, algorithms=["HS256"])


@pytest.mark.parametrize(
    "forged",
    [
        _by_another_key,
        _unsigned,
        _changed_after_signing,
        _by_what_everybody_knows,
        lambda *_: "no token",
    ],
    ids=["another key", "none", "changed", "HS256", "garbage"],
)
def test_a_token_that_the_issuer_did_not_sign_is_refused(
    sso: SingleSignOn, browser: httpx.Client, forged: Callable[[Claims, TestIssuer], str]
) -> None:
    sso.issuer.sign = lambda claims: forged(claims, sso.issuer)
    refused = come_in(browser, EVE, sso)
    assert refused.status_code == 403
    assert "signature does not hold" in heading(refused)
    assert browser.get("/api/v1/alerts").status_code == 401


def test_an_answer_counts_once_and_for_the_browser_that_asked(
    sso: SingleSignOn, browser: httpx.Client
) -> None:
    sso.issuer.person = EVE
    address = stops_at_return(browser)
    with new_browser(sso) as thief:
        assert thief.get(address).status_code == 403
    cookie = browser.cookies["tillstream-oidc"]
    assert browser.get(address).status_code == 200
    anew(browser).cookies["tillstream-oidc"] = cookie
    replayed = browser.get(address)
    assert (replayed.status_code, "used already" in heading(replayed)) == (403, True)
    assert sso.outcomes() == [("oidc:?", "no such attempt")]
    stateless = browser.get(RETURN_PATH, params={"code": "guess"})
    assert stateless.status_code == 403


def test_a_code_is_worth_nothing_without_its_verifier(
    sso: SingleSignOn, browser: httpx.Client
) -> None:
    sso.issuer.person = EVE
    with new_browser(sso) as victim:
        stolen = parse_qs(urlsplit(stops_at_return(victim)).query)["code"][0]
    state = parse_qs(urlsplit(stops_at_return(browser)).query)["state"][0]
    refused = browser.get(RETURN_PATH, params={"state": state, "code": stolen})
    assert refused.status_code == 403
    assert sso.outcomes() == [("oidc:?", "wrong")]


def test_a_cancelled_sign_in_is_told(sso: SingleSignOn, browser: httpx.Client) -> None:
    sso.issuer.cancels = True
    refused = come_in(browser, EVE, sso)
    assert (refused.status_code, heading(refused)) == (403, "the sign-in was cancelled, or refused")
    assert sso.outcomes() == [("oidc:?", "cancelled")]


def test_a_wrong_secret_is_told_and_not_shown(
    sso: SingleSignOn, browser: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    sso.issuer.secret = "another"
    with caplog.at_level(logging.DEBUG):
        refused = come_in(browser, EVE, sso)
        sso.issuer.secret = CLIENT_SECRET
        come_in(browser, EVE, sso)
    assert refused.status_code == 503
    assert "TILLSTREAM_WEB__OIDC__CLIENT_SECRET" in refused.text
    told = [one.getMessage() for one in caplog.records if one.name.startswith("tillstream")]
    assert told == [
        "sign-in by OpenID Connect: the issuer does not accept this console's own login"
    ]
    for secret in (CLIENT_SECRET, *sso.issuer.tokens):
        assert secret not in caplog.text
        assert secret not in refused.text


def test_an_issuer_that_is_away_or_another_is_told(
    running_console: RunningConsole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    settings = running_console.console.settings
    nowhere = f"http://127.0.0.1:{free_port()}"
    with single_sign_on(settings, tmp_path, issuer=nowhere) as sso, new_browser(sso) as browser:
        refused = browser.get("/sign-in/oidc")
        assert refused.status_code == 503
        assert "TILLSTREAM_WEB__OIDC__ISSUER" in refused.text
        assert sso.outcomes() == [("oidc:?", "issuer away")]
        # Local users go on.
        sso.console.accounts.add("ann", Role.VIEWER, password=PASSWORD, stores=frozenset())
        local = browser.post("/sign-in", data={"name": "ann", "password": PASSWORD})
        assert 'data-person="ann"' in local.text
    with single_sign_on(settings, tmp_path) as sso, new_browser(sso) as browser:
        sso.issuer.issuer = "https://another.example"
        refused = browser.get("/sign-in/oidc")
        assert (refused.status_code, "names another issuer" in refused.text) == (503, True)


def test_a_local_user_of_the_same_name_is_somebody_else(
    sso: SingleSignOn, browser: httpx.Client
) -> None:
    accounts = sso.console.accounts
    accounts.add("eve", Role.ADMIN, password=PASSWORD, stores=frozenset())
    come_in(browser, EVE, sso)
    assert "<strong>viewer</strong>" in browser.get("/health").text
    found = accounts.find("eve")
    assert found is not None
    assert found.role is Role.ADMIN
    assert browser.get("/sign-in").url.path == "/"
    local = anew(browser).post("/sign-in", data={"name": "eve", "password": PASSWORD})
    assert "<strong>admin</strong>" in local.text
    anew(browser)
    assert browser.post("/sign-in", data={"name": "oidc:eve", "password": ""}).status_code == 403


def test_a_name_belongs_to_the_first_who_came_with_it(
    sso: SingleSignOn, browser: httpx.Client
) -> None:
    come_in(browser, EVE, sso)
    with new_browser(sso) as other:
        refused = come_in(other, {**EVE, "sub": "another", "groups": ["owners"]}, sso)
    assert (refused.status_code, sso.outcomes()) == (403, [("oidc:eve", "name taken")])
    assert "<strong>viewer</strong>" in browser.get("/health").text
    sso.console.accounts.remove("oidc:eve")
    assert browser.get("/api/v1/alerts").status_code == 401
    assert come_in(anew(browser), {**EVE, "sub": "another"}, sso).status_code == 200


@pytest.mark.parametrize("to", ["//evil.example", "https://evil.example", "/\\evil.example"])
def test_it_leads_nowhere_else(sso: SingleSignOn, browser: httpx.Client, to: str) -> None:
    sso.issuer.person = EVE
    entered = browser.get("/sign-in/oidc", params={"next": to})
    assert (entered.url.host, entered.url.path) == ("127.0.0.1", "/")


def test_wrong_tokens_lock_an_address(sso: SingleSignOn, browser: httpx.Client) -> None:
    for number in range(FAILURES_AN_ADDRESS):
        sso.console.sign_ins.note(f"guess-{number}", "127.0.0.1", "wrong")
    assert come_in(browser, EVE, sso).status_code == 429
    assert sso.outcomes() == [("oidc:?", "locked")]


def test_without_settings_it_is_not_there(running_console: RunningConsole) -> None:
    with httpx.Client(base_url=running_console.url, trust_env=False) as visitor:
        assert visitor.get("/sign-in/oidc").status_code == 404
        assert visitor.get(RETURN_PATH).status_code == 404
        assert "oidc" not in visitor.get("/sign-in").text

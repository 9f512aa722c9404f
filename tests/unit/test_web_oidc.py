"""OpenID Connect at the console: settings, roles by groups, and attempts."""

import os
from pathlib import Path
from typing import Any

import pytest

from tillstream.clock import FakeClock
from tillstream.errors import ConfigError
from tillstream.settings import USER_FILE, OidcSettings, load_settings
from tillstream.web.accounts import Accounts
from tillstream.web.database import Database
from tillstream.web.oidc.attempts import ATTEMPT_MINUTES, Attempts
from tillstream.web.oidc.members import Members
from tillstream.web.oidc.membership import member, name_of
from tillstream.web.oidc.provider import challenge
from tillstream.web.oidc.refusal import Refusal
from tillstream.web.people import Person, Role
from tillstream.web.serving import Place, serve_console
from tillstream.web.sessions import Sessions

WHOLE: dict[str, Any] = {
    "issuer": "https://login.example/realms/shop",
    "client_id": "tillstream",
    "client_secret": "a secret",
    "public_url": "https://console.example",
    "roles": {"lookers": "viewer", "managers": "store-manager", "pagers": "on-call"},
}
RULES = OidcSettings(
    **WHOLE, stores={"managers": ("424",), "north": ("330", "331")}, stores_claim="shops"
)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("TILLSTREAM_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(1_800_000_000_000)


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(tmp_path)


def test_it_is_off_without_settings(tmp_path: Path) -> None:
    assert not load_settings(home=tmp_path).web.oidc.is_on


def test_settings_come_from_file_environment_and_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / USER_FILE).write_text(
        '[web.oidc]\nissuer = "https://login.example"\nclient_id = "tillstream"\n'
        'public_url = "https://console.example"\n'
        '[web.oidc.roles]\n"shop managers" = "store-manager"\n'
        '[web.oidc.stores]\nnorth = ["330", "331"]\n'
    )
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "TILLSTREAM_WEB__OIDC__CLIENT_SECRET").write_text("a secret\n")
    monkeypatch.setenv("TILLSTREAM_SECRETS_DIR", str(secrets))
    monkeypatch.setenv("TILLSTREAM_WEB__OIDC__SCOPES", '["openid", "email"]')
    oidc = load_settings(home=tmp_path).web.oidc
    assert oidc.client_secret is not None
    assert oidc.client_secret.get_secret_value() == "a secret"
    assert (oidc.roles, oidc.stores, oidc.scopes) == (
        {"shop managers": "store-manager"},
        {"north": ("330", "331")},
        ("openid", "email"),
    )


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"client_secret": None}, "needs client_secret too"),
        ({"client_secret": ""}, "needs client_secret too"),
        ({"issuer": None, "public_url": None}, "needs issuer, public_url too"),
        ({"issuer": "http://login.example"}, "issuer must begin with https"),
        ({"issuer": "https://login.example/?x=1"}, "issuer must be an address without"),
        ({"public_url": "http://console.example"}, "public_url must begin with https"),
        ({"public_url": "https://console.example/shop"}, "public_url must have no path"),
        ({"roles": {}}, "roles must give at least one group a role"),
        ({"roles": {"owners": "king"}}, "WEB__OIDC__ROLES__OWNERS"),
        ({"scopes": ["profile"]}, "scopes must contain openid"),
    ],
)
def test_settings_that_would_not_do_are_refused(
    tmp_path: Path, changed: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match="TILLSTREAM_WEB__OIDC") as refused:
        load_settings(home=tmp_path, web={"oidc": {**WHOLE, **changed}})
    assert said in str(refused.value)
    assert "a secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (Place(), "is served by http"),
        (Place(behind_proxy=True), "does not answer to"),
    ],
)
def test_a_public_url_that_leads_nowhere_is_refused(
    tmp_path: Path, place: Place, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        serve_console(load_settings(home=tmp_path, web={"oidc": WHOLE}), place, say=print)


@pytest.mark.parametrize(
    ("claims", "role", "stores"),
    [
        ({"groups": ["lookers"]}, Role.VIEWER, set()),
        ({"groups": "lookers"}, Role.VIEWER, set()),
        ({"groups": ["lookers", "pagers", "others"]}, Role.ON_CALL, set()),
        ({"groups": ["managers"]}, Role.STORE_MANAGER, {"424"}),
        ({"groups": ["managers", "north"]}, Role.STORE_MANAGER, {"424", "330", "331"}),
        ({"groups": ["managers"], "shops": ["9", 7, True]}, Role.STORE_MANAGER, {"424", "9", "7"}),
        ({"groups": ["pagers", "managers"], "shops": ["9"]}, Role.ON_CALL, set()),
        ({"groups": ["managers"], "shops": ["a\nb", ""]}, Role.STORE_MANAGER, {"424"}),
    ],
)
def test_groups_give_the_highest_role_and_a_managers_stores(
    claims: dict[str, Any], role: Role, stores: set[str]
) -> None:
    assert member("oidc:max", claims, RULES) == Person("oidc:max", role, frozenset(stores))


@pytest.mark.parametrize(
    "claims",
    [{}, {"groups": []}, {"groups": None}, {"groups": ["Lookers"]}, {"groups": {"lookers": 1}}],
)
def test_without_a_mapped_group_there_is_no_role(claims: dict[str, Any]) -> None:
    with pytest.raises(Refusal) as refused:
        member("oidc:max", claims, RULES)
    assert (refused.value.status, refused.value.outcome) == (403, "no role")


def test_a_manager_without_a_store_sees_nothing() -> None:
    with pytest.raises(Refusal) as refused:
        member("oidc:max", {"groups": ["managers"]}, OidcSettings(**WHOLE))
    assert refused.value.outcome == "no store"


def test_groups_may_be_inside_another_claim() -> None:
    rules = OidcSettings(**WHOLE, groups_claim="realm_access.roles")
    claims = {"realm_access": {"roles": ["pagers"]}}
    assert member("oidc:max", claims, rules).role is Role.ON_CALL
    dotted = OidcSettings(**WHOLE, groups_claim="https://shop.example/groups")
    claims = {"https://shop.example/groups": ["pagers"]}  # type: ignore[dict-item]
    assert member("oidc:max", claims, dotted).role is Role.ON_CALL


@pytest.mark.parametrize("name", [None, "", " max", "max\n", "m" * 60, 7])
def test_an_odd_name_is_refused(name: Any) -> None:
    assert name_of({"preferred_username": "max"}, RULES) == "oidc:max"
    with pytest.raises(Refusal, match="no name"):
        name_of({"preferred_username": name}, RULES)


def test_no_local_user_may_be_named_like_one_of_the_issuers(
    database: Database, clock: FakeClock
) -> None:
    for name in ("oidc:max", "OIDC:max"):
        with pytest.raises(ConfigError, match="OpenID Connect"):
            Accounts(database, clock).add(
                name, Role.VIEWER, password="a long enough password", stores=frozenset()
            )


def test_a_session_is_worth_what_the_newest_sign_in_was(
    database: Database, clock: FakeClock
) -> None:
    members = Members(database, clock, issuer="https://login.example")
    sessions = Sessions(database, Accounts(database, clock), clock, members=members)

    def who(session_id: str) -> Person | None:
        found = sessions.find(session_id)
        return found.person if found else None

    admin, viewer = Person("oidc:max", Role.ADMIN), Person("oidc:max", Role.VIEWER)
    assert members.enter("1", admin)
    session_id = sessions.start(admin)
    assert who(session_id) == admin
    assert members.enter("1", viewer)
    assert who(session_id) == viewer
    assert members.all() == [viewer]
    # Another subject cannot have the name, nor a console with another issuer the person.
    assert not members.enter("2", admin)
    assert who(session_id) == viewer
    assert Members(database, clock, issuer="https://another.example").find("oidc:max") is None
    assert Members(database, clock, issuer=None).find("oidc:max") is None
    # Under a new name they are signed in by the new session only.
    assert members.enter("1", Person("oidc:maximilian", Role.VIEWER))
    assert who(session_id) is None
    members.shut_out("1")
    assert members.find("oidc:maximilian") is None
    assert not members.enter("2", Person("oidc:maximilian", Role.ADMIN)), "the name stays theirs"


def test_a_token_is_for_local_users_only(database: Database, clock: FakeClock) -> None:
    members = Members(database, clock, issuer="https://login.example")
    members.enter("1", Person("oidc:max", Role.ADMIN))
    sessions = Sessions(database, Accounts(database, clock), clock, members=members)
    with pytest.raises(ConfigError, match="no user 'oidc:max'"):
        sessions.add_token("bot", "oidc:max")


def test_an_attempt_is_answered_once_in_time_by_its_browser(
    database: Database, clock: FakeClock
) -> None:
    attempts = Attempts(database, clock)
    state, browser, attempt = attempts.begin("/stores")
    assert attempts.take(state, "another browser") is None
    assert attempts.take("another state", browser) is None
    assert attempts.take(state, browser) == attempt
    assert attempts.take(state, browser) is None
    late_state, late_browser, _ = attempts.begin("/")
    clock.advance(ATTEMPT_MINUTES * 60_000)
    assert attempts.take(late_state, late_browser) is None


def test_the_challenge_is_that_of_the_standard() -> None:
    # RFC 7636, appendix B.
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    assert challenge(verifier) == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"

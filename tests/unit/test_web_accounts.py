"""Who may come into the console."""

import sqlite3
from pathlib import Path

import pytest

from tillstream.clock import FakeClock
from tillstream.errors import ConfigError
from tillstream.web.accounts import Accounts
from tillstream.web.database import Database
from tillstream.web.people import Person, Role
from tillstream.web.sessions import SESSION_HOURS, Sessions
from tillstream.web.sign_ins import FAILURES_A_NAME, FAILURES_AN_ADDRESS, LOCK_MINUTES, SignIns

PASSWORD = "a long enough password"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(1_800_000_000_000)


@pytest.fixture
def accounts(tmp_path: Path, clock: FakeClock) -> Accounts:
    return Accounts(Database(tmp_path), clock)


@pytest.fixture
def sessions(accounts: Accounts, clock: FakeClock) -> Sessions:
    return Sessions(accounts.database, accounts, clock)


@pytest.fixture
def sign_ins(accounts: Accounts, clock: FakeClock) -> SignIns:
    return SignIns(accounts.database, clock)


def test_a_user_is_known_by_the_right_password_only(accounts: Accounts) -> None:
    max_ = accounts.add("max", Role.STORE_MANAGER, password=PASSWORD, stores=frozenset({"424"}))
    assert (
        accounts.check("max", PASSWORD)
        == max_
        == Person("max", Role.STORE_MANAGER, frozenset({"424"}))
    )
    assert accounts.check("max", PASSWORD + "!") is None
    assert accounts.check("nobody", PASSWORD) is None
    assert accounts.check("max", "") is None


def test_only_a_hash_of_the_password_is_kept_in_a_file_for_its_owner(accounts: Accounts) -> None:
    accounts.add("ann", Role.ADMIN, password=PASSWORD, stores=frozenset())
    assert accounts.database.path.stat().st_mode & 0o777 == 0o600
    with sqlite3.connect(accounts.database.path) as connection:
        (kept,) = connection.execute("SELECT password_hash FROM users").fetchone()
    connection.close()
    assert kept.startswith("$argon2id$")
    assert PASSWORD not in accounts.database.path.read_bytes().decode("latin-1")


@pytest.mark.parametrize(
    ("name", "role", "stores", "password", "complaint"),
    [
        ("local", Role.VIEWER, set(), PASSWORD, "the console's own link"),
        (" ann", Role.VIEWER, set(), PASSWORD, "cannot be a user's name"),
        ("ann\n", Role.VIEWER, set(), PASSWORD, "cannot be a user's name"),
        ("", Role.VIEWER, set(), PASSWORD, "cannot be a user's name"),
        ("a" * 65, Role.VIEWER, set(), PASSWORD, "at most 64"),
        ("ann", Role.VIEWER, set(), "short", "has 5"),
        ("ann", Role.STORE_MANAGER, set(), PASSWORD, "a store manager has stores"),
        ("ann", Role.ON_CALL, {"424"}, PASSWORD, "nobody else has"),
    ],
)
def test_a_user_that_makes_no_sense_is_refused(
    accounts: Accounts, name: str, role: Role, stores: set[str], password: str, complaint: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        accounts.add(name, role, password=password, stores=frozenset(stores))
    assert complaint in f"{refused.value} {refused.value.hint}"
    assert accounts.all() == []


def test_a_name_is_given_once(accounts: Accounts) -> None:
    accounts.add("ann", Role.VIEWER, password=PASSWORD, stores=frozenset())
    with pytest.raises(ConfigError, match="already"):
        accounts.add("ann", Role.ADMIN, password=PASSWORD + "2", stores=frozenset())
    assert accounts.find("ann") == Person("ann", Role.VIEWER)


def test_a_session_ends_with_time_with_sign_out_and_with_its_user(
    accounts: Accounts, sessions: Sessions, clock: FakeClock
) -> None:
    ann = accounts.add("ann", Role.ON_CALL, password=PASSWORD, stores=frozenset())
    old, left, gone = (sessions.start(ann) for _ in range(3))
    assert (found := sessions.find(left)) is not None
    assert found.person == ann
    sessions.end(left)
    assert sessions.find(left) is None
    clock.advance(SESSION_HOURS * 3_600_000 - 1)
    assert sessions.find(old) is not None
    clock.advance(2)
    assert sessions.find(old) is None
    fresh = sessions.start(ann)
    token = sessions.add_token("bot", "ann")
    assert sessions.bearer(token) == ann
    accounts.remove("ann")
    assert (sessions.find(fresh), sessions.find(gone), sessions.bearer(token)) == (None,) * 3


def test_the_link_signs_in_once_and_not_after_ten_minutes(
    sessions: Sessions, clock: FakeClock
) -> None:
    secret = sessions.offer_link()
    assert not sessions.redeem("guess")
    assert sessions.redeem(secret)
    assert not sessions.redeem(secret)
    late = sessions.offer_link()
    clock.advance(10 * 60_000 + 1)
    assert not sessions.redeem(late)


def test_wrong_passwords_lock_a_name_for_a_while(sign_ins: SignIns, clock: FakeClock) -> None:
    for _ in range(FAILURES_A_NAME):
        assert not sign_ins.locked("ann", "10.0.0.1")
        sign_ins.note("ann", "10.0.0.1", "wrong")
    assert sign_ins.locked("ann", "10.9.9.9")
    assert not sign_ins.locked("bob", "10.0.0.1")
    # Being refused meanwhile does not make it longer.
    clock.advance(LOCK_MINUTES * 60_000 - 1)
    sign_ins.note("ann", "10.0.0.1", "locked")
    assert sign_ins.locked("ann", "10.0.0.1")
    clock.advance(2)
    assert not sign_ins.locked("ann", "10.0.0.1")


def test_signing_in_forgives_a_name_but_not_an_address(sign_ins: SignIns, clock: FakeClock) -> None:
    for _ in range(FAILURES_A_NAME - 1):
        sign_ins.note("ann", "10.0.0.1", "wrong")
    clock.advance(1)
    sign_ins.note("ann", "10.0.0.1", "signed in")
    clock.advance(1)
    sign_ins.note("ann", "10.0.0.1", "wrong")
    assert not sign_ins.locked("ann", "10.0.0.1")
    for number in range(FAILURES_AN_ADDRESS):
        sign_ins.note(f"guess-{number}", "10.0.0.1", "wrong")
    assert sign_ins.locked("somebody", "10.0.0.1")


def test_what_is_kept_of_a_name_is_short_and_printable(sign_ins: SignIns) -> None:
    sign_ins.note("a\x1b[31m" + "b" * 100, "10.0.0.1", "wrong")
    kept = sign_ins.newest(1)[0].name
    assert kept.startswith("a[31mbbb")
    assert len(kept) == 64

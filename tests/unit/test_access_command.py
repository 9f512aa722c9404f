"""`tillstream access`: who is let in, as the front reads it."""

import hashlib
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tillstream.cli.main import app
from tillstream.devstack.warehouse.guests import Guests, load
from tillstream.errors import ConfigError


def run(home: Path, *arguments: str) -> str:
    done = CliRunner().invoke(app, ["--home", str(home), "access", *arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def test_a_guest_is_added_listed_and_removed(tmp_path: Path) -> None:
    said = run(tmp_path, "add", "maria", "--store", "424", "--store", "381", "--region", "East")
    password = re.search(r"password of maria: (\S+)", said)
    assert password
    path = tmp_path / "guests.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert password[1] not in path.read_text(encoding="utf-8")
    database, guests = load(path)
    assert database == "tillstream"
    guest = guests["maria"]
    assert (guest.stores, guest.regions) == (("424", "381"), ("East",))
    assert guest.password_sha256 == hashlib.sha256(password[1].encode()).hexdigest()
    assert run(tmp_path, "list").strip() == "maria  store 424, store 381, region East"
    run(tmp_path, "remove", "maria")
    assert load(path)[1] == {}


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("add", "maria"), "would see nothing"),
        (("add", "tillstream", "--store", "1"), "cannot be a guest's name"),
        (("add", "a b", "--store", "1"), "cannot be a guest's name"),
        (("remove", "carl"), "there is no guest 'carl'"),
    ],
)
def test_a_mistake_is_told(tmp_path: Path, arguments: tuple[str, ...], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        run(tmp_path, *arguments)


@pytest.mark.parametrize("text", ["", "{", '{"guests": [{}], "database": "x"}', "[]"])
def test_half_a_file_lets_nobody_in(tmp_path: Path, text: str) -> None:
    path = tmp_path / "guests.json"
    path.write_text(text, encoding="utf-8")
    assert Guests(path).find({}, {"user": "maria", "password": "x"}) is None


def test_a_changed_file_counts_from_the_next_request_on(tmp_path: Path) -> None:
    said = run(tmp_path, "add", "maria", "--store", "1")
    password = said.split("password of maria: ")[1].split()[0]
    guests = Guests(tmp_path / "guests.json")
    params = {"user": "maria", "password": password}
    assert guests.find({}, params) is not None
    run(tmp_path, "remove", "maria")
    assert guests.find({}, params) is None

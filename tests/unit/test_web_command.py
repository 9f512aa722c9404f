"""`tillstream web`: users and tokens from the command line, and places that would not be safe."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tillstream.cli.main import app
from tillstream.errors import ConfigError
from tillstream.web.serving import Place

PASSWORD = "a long enough password\n"


def run(home: Path, *arguments: str, typed: str = "") -> Result:
    return CliRunner().invoke(app, ["--home", str(home), "web", *arguments], input=typed)


def test_users_are_added_listed_and_removed(tmp_path: Path) -> None:
    stores = ("--role", "store-manager", "--store", "424", "--store", "330")
    assert run(tmp_path, "user", "add", "max", *stores, typed=PASSWORD).exit_code == 0
    listed = run(tmp_path, "user", "list", "--json")
    assert json.loads(listed.stdout) == [
        {"name": "max", "role": "store-manager", "stores": ["330", "424"]}
    ]
    shown = run(tmp_path, "user", "list").stdout
    assert "330, 424" in shown
    token = run(tmp_path, "token", "add", "bot", "--user", "max").stdout.strip()
    assert token.startswith("till_")
    assert token not in (tmp_path / "web.sqlite").read_bytes().decode("latin-1")
    assert run(tmp_path, "user", "remove", "max").exit_code == 0
    assert json.loads(run(tmp_path, "user", "list", "--json").stdout) == []


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["user", "add", "ann", "--role", "king"], "--role must be one of viewer, store-manager"),
        (["user", "remove", "nobody"], "there is no user 'nobody'"),
        (["token", "add", "bot", "--user", "nobody"], "there is no user 'nobody'"),
        (["token", "remove", "bot"], "there is no token 'bot'"),
        (["--certificate", "cert.pem"], "go together"),
        (["--host", "0.0.0.0"], "passwords would travel in clear"),
        (["--behind-proxy"], "nobody could sign in"),
        (["--certificate", "no.pem", "--key", "no.pem"], "there is no file no.pem"),
    ],
)
def test_what_would_not_do_is_refused(tmp_path: Path, arguments: list[str], complaint: str) -> None:
    refused = run(tmp_path, *arguments, typed=PASSWORD)
    assert isinstance(refused.exception, ConfigError)
    assert complaint in str(refused.exception)


def test_only_this_machine_is_local() -> None:
    assert Place(host="127.0.0.1").is_local
    assert Place(host="::1").is_local
    assert Place(host="localhost").is_local
    assert not Place(host="0.0.0.0").is_local
    assert not Place(host="127.0.0.1", behind_proxy=True).is_local
    assert "console.example" in Place(behind_proxy=True, names=("console.example",)).hosts

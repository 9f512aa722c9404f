"""Secrets come from the environment or from files, and no message shows them."""

import os
import stat
from pathlib import Path

import pytest

from tillstream.devstack import stack_file
from tillstream.errors import ConfigError
from tillstream.settings import STACK_FILE, USER_FILE, load_settings

ODD = 'od"d\\s€cret$'


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("TILLSTREAM_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of secrets, as an orchestrator mounts it, known to the settings."""
    made = tmp_path / "secrets"
    made.mkdir()
    monkeypatch.setenv("TILLSTREAM_SECRETS_DIR", str(made))
    return made


def test_a_file_named_like_the_variable_gives_the_secret(folder: Path, tmp_path: Path) -> None:
    (folder / "TILLSTREAM_WAREHOUSE__PASSWORD").write_text(f"{ODD}\n", encoding="utf-8")
    (folder / "TILLSTREAM_CUSTOMER_KEY").write_text("key", encoding="utf-8")
    (tmp_path / USER_FILE).write_text("[warehouse]\nuser = 'u'\npassword = 'other'\n")
    settings = load_settings(home=tmp_path)
    assert settings.warehouse.password.get_secret_value() == ODD
    assert settings.warehouse.user == "u", "the rest of a section is kept"
    assert settings.customer_key.get_secret_value() == "key"


def test_the_environment_beats_the_file(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "TILLSTREAM_WAREHOUSE__PASSWORD").write_text("file", encoding="utf-8")
    monkeypatch.setenv("TILLSTREAM_WAREHOUSE__PASSWORD", "environment")
    password = load_settings(home=tmp_path).warehouse.password
    assert password.get_secret_value() == "environment"


def test_a_folder_of_secrets_that_is_not_there_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TILLSTREAM_SECRETS_DIR", str(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match=r"nowhere.* does not exist"):
        load_settings(home=tmp_path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TILLSTREAM_KAFKA__PASWORD", ODD),  # misspelt
        ("TILLSTREAM_LAKE__SECRET", ODD),
        ("TILLSTREAM_KAFKA", f'{{"password": ["{ODD[:2]}hush"]}}'),
        ("TILLSTREAM_KAFKA", "{hush"),  # not JSON
        ("TILLSTREAM_KAFKA__PASSWORD", "hush"),  # not used without SASL
        ("TILLSTREAM_WAREHOUSE", "hush"),
    ],
)
def test_no_message_shows_what_may_be_a_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as caught:
        load_settings(home=tmp_path)
    assert "hush" not in str(caught.value)
    assert ODD not in str(caught.value)
    section = name.removeprefix("TILLSTREAM_").partition("__")[0]
    assert section in str(caught.value).upper()


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"USERNAME": "till"}, "PLAINTEXT does not use username and password: set it to SASL_SSL"),
        ({"PASSWORD": "p"}, "PLAINTEXT does not use username and password"),
        ({"SECURITY_PROTOCOL": "SASL_SSL"}, "SASL_SSL needs username and password"),
        ({"SECURITY_PROTOCOL": "SASL_SSL", "USERNAME": "t"}, "SASL_SSL needs username and"),
        ({"SECURITY_PROTOCOL": "SSL", "USERNAME": "t", "PASSWORD": "p"}, "SSL does not use"),
    ],
)
def test_a_login_that_would_not_be_used_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], said: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"TILLSTREAM_KAFKA__{name}", value)
    with pytest.raises(ConfigError, match=said):
        load_settings(home=tmp_path)


def test_only_the_owner_may_read_generated_secrets(tmp_path: Path) -> None:
    known = stack_file.recall(load_settings(home=tmp_path))
    stack_file.write(tmp_path, known)
    (tmp_path / STACK_FILE).chmod(0o644)
    stack_file.write(tmp_path, known)
    assert stat.S_IMODE((tmp_path / STACK_FILE).stat().st_mode) == 0o600

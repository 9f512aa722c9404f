"""Settings: where they come from, which wins, and how a wrong one is told."""

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from streaming.jobs import rules_of
from tillstream.errors import ConfigError
from tillstream.settings import STACK_FILE, USER_FILE, default_home, load_settings


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("TILLSTREAM_")]:
        monkeypatch.delenv(name)


def write(home: Path, name: str, text: str) -> None:
    home.mkdir(parents=True, exist_ok=True)
    (home / name).write_text(text, encoding="utf-8")


def test_without_any_file_the_defaults_hold(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path)
    assert settings.kafka.bootstrap == "127.0.0.1:9092"
    assert settings.stream.deduplicate is True
    assert settings.lake_url == (tmp_path / "lake").as_uri()


def test_home_is_read_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, USER_FILE, "[kafka]\nbootstrap = 'file:1'\n")
    monkeypatch.setenv("TILLSTREAM_HOME", str(tmp_path))
    assert default_home() == tmp_path
    assert load_settings().home == tmp_path
    assert load_settings().kafka.bootstrap == "file:1"


def test_argument_beats_environment_beats_your_file_beats_the_stacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bootstrap(**overrides: object) -> str:
        return load_settings(home=tmp_path, **overrides).kafka.bootstrap

    write(tmp_path, STACK_FILE, "[kafka]\nbootstrap = 'stack:1'\nheap_mb = 111\n")
    assert bootstrap() == "stack:1"
    write(tmp_path, USER_FILE, "[kafka]\nbootstrap = 'yours:1'\n")
    assert bootstrap() == "yours:1"
    monkeypatch.setenv("TILLSTREAM_KAFKA__BOOTSTRAP", "env:1")
    assert bootstrap() == "env:1"
    assert bootstrap(kafka={"bootstrap": "argument:1"}) == "argument:1"
    assert load_settings(home=tmp_path).kafka.heap_mb == 111, "the rest of a section is kept"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("TILLSTREAM_WAREHOUSE__PORT", "many", "valid integer"),
        ("TILLSTREAM_STREAM__BAD_SHARE_LIMIT", "1.5", "less than or equal to 1"),
        ("TILLSTREAM_STREAM__MAX_OFFSETS_PER_TRIGGER", "0", "greater than 0"),
        ("TILLSTREAM_RISK__OPEN_ABOVE", "1", "less than 1"),
        ("TILLSTREAM_KAFKA__SECURITY_PROTOCOL", "TLS", "SASL_SSL"),
    ],
)
def test_wrong_variable_is_named_with_its_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as caught:
        load_settings(home=tmp_path)
    assert f"{name}: " in str(caught.value)
    assert said in str(caught.value)
    assert f"(got '{value}')" in str(caught.value)


def test_every_wrong_setting_is_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TILLSTREAM_WAREHOUSE__PORT", "many")
    monkeypatch.setenv("TILLSTREAM_STREAM__LAKE_TRIGGER_S", "-1")
    with pytest.raises(ConfigError, match=r"WAREHOUSE__PORT.*; TILLSTREAM_STREAM__LAKE_TRIGGER_S"):
        load_settings(home=tmp_path)


def test_file_that_is_not_toml_is_named(tmp_path: Path) -> None:
    write(tmp_path, USER_FILE, "[kafka\n")
    with pytest.raises(ConfigError, match=r"tillstream\.toml is not valid TOML"):
        load_settings(home=tmp_path)


def test_settings_cannot_be_changed(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path)
    with pytest.raises(ValidationError, match="frozen"):
        settings.kafka.bootstrap = "x:1"


def test_secrets_are_not_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TILLSTREAM_KAFKA__SECURITY_PROTOCOL", "SASL_SSL")
    monkeypatch.setenv("TILLSTREAM_KAFKA__USERNAME", "till")
    for name in ("CUSTOMER_KEY", "KAFKA__PASSWORD", "WAREHOUSE__PASSWORD", "LAKE__SECRET_KEY"):
        monkeypatch.setenv(f"TILLSTREAM_{name}", "hush-hush")
    settings = load_settings(home=tmp_path)
    assert "hush-hush" not in repr(settings)
    assert "hush-hush" not in settings.model_dump_json()
    assert settings.customer_key.get_secret_value() == "hush-hush"


def test_rules_of_the_stream_follow_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TILLSTREAM_STREAM__MAX_FUTURE_S", "60")
    monkeypatch.setenv("TILLSTREAM_STREAM__OLDEST_EVENT", "2015-06-01")
    rules = rules_of(load_settings(home=tmp_path))
    assert rules.max_future_s == 60
    assert rules.oldest_event.isoformat() == "2015-06-01T00:00:00+00:00"

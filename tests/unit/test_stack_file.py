"""The remembered endpoints: what settings read back, private, and never over the user's own."""

from pathlib import Path

import pytest

from tillstream.devstack.stack_file import StackFile, read, recall, require_local, write
from tillstream.errors import ConfigError
from tillstream.settings import KafkaSettings, Settings, load_settings

STACK = StackFile(
    kafka_port=20001,
    warehouse_port=20002,
    user="shop",
    password="pass-word",
    customer_key="ab" * 32,
)


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KAFKA__BOOTSTRAP", "WAREHOUSE__HOST", "WAREHOUSE__PORT", "WAREHOUSE__PASSWORD"):
        monkeypatch.delenv(f"TILLSTREAM_{name}", raising=False)


def test_written_stack_is_what_settings_load(tmp_path: Path) -> None:
    write(tmp_path, STACK)
    assert read(tmp_path) == STACK
    settings = load_settings(home=tmp_path)
    assert settings.kafka.bootstrap == "127.0.0.1:20001"
    assert (settings.warehouse.host, settings.warehouse.port) == ("127.0.0.1", 20002)
    assert settings.warehouse.user == "shop"
    assert settings.warehouse.password.get_secret_value() == "pass-word"
    assert settings.customer_key.get_secret_value() == "ab" * 32
    assert STACK.settings(Settings(home=tmp_path)) == settings


def test_secrets_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    write(tmp_path, STACK)
    assert (tmp_path / "stack.toml").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["stack.toml"]


def test_first_recall_generates_secrets_and_later_ones_keep_them(tmp_path: Path) -> None:
    first = recall(load_settings(home=tmp_path))
    assert (first.kafka_port, first.warehouse_port) == (0, 0)
    assert len(first.customer_key) == 64
    assert len(first.password) >= 32
    write(tmp_path, first)
    assert recall(load_settings(home=tmp_path)) == first


def test_a_customer_key_of_the_users_own_wins(tmp_path: Path) -> None:
    mine = load_settings(home=tmp_path, customer_key="mine")
    assert STACK.settings(mine).customer_key.get_secret_value() == "mine"


def test_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "stack.toml").write_text("[kafka]\n")
    with pytest.raises(ConfigError, match=r"stack\.toml is damaged"):
        read(tmp_path)


def test_up_refuses_endpoints_of_the_users_own(tmp_path: Path) -> None:
    far = load_settings(home=tmp_path, kafka=KafkaSettings(bootstrap="kafka.shop:9092"))
    with pytest.raises(ConfigError, match=r"TILLSTREAM_KAFKA__BOOTSTRAP is kafka\.shop:9092"):
        require_local(far)
    write(tmp_path, STACK)
    require_local(load_settings(home=tmp_path))

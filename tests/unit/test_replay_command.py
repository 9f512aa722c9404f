"""The `tillstream replay` command, without any service."""

import json
from datetime import date
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from tillstream.cli.replay import default_ledger_path, register
from tillstream.errors import ConfigError
from tillstream.settings import Settings, load_settings


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def settings(tmp_path: Path, cache: Path) -> Settings:
    return load_settings(home=tmp_path, cache=cache, customer_key="a key")


def run(settings: Settings, *arguments: str) -> str:
    app = typer.Typer()
    register(app)
    result = CliRunner().invoke(app, list(arguments), obj=settings, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_dry_run_prints_events_as_json_lines_and_sends_nothing(settings: Settings) -> None:
    printed = run(settings, "--days", "1", "--stores", "406,", "--dry-run")
    made = [json.loads(line) for line in printed.splitlines()]

    topics = {each["topic"] for each in made}
    assert topics == {
        "retail-sales-transactions",
        "retail-inventory-updates",
        "retail-price-changes",
    }
    assert {each["event"]["store_id"] for each in made} == {"406"}
    customers = {each["event"]["customer_id"] for each in made if "customer_id" in each["event"]}
    assert all(customer.startswith("cust-") for customer in customers)
    assert not (settings.home / "ledgers").exists()


def test_dry_run_without_a_key_shows_no_customer(tmp_path: Path, cache: Path) -> None:
    keyless = load_settings(home=tmp_path, cache=cache, customer_key="")
    printed = run(keyless, "--days", "1", "--stores", "1", "--dry-run")
    sales = [json.loads(line)["event"] for line in printed.splitlines()]
    assert {sale["customer_id"] for sale in sales if "customer_id" in sale} == {None}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--from", "yesterday"), "--from must be a date, got 'yesterday'"),
        (("--from", "2019-01-01"), "2017-01-01 to 2018-01-01"),
        (("--days", "0"), "days must be at least 1"),
        (("--speed", "0.1"), "'max' or a number from 1 up"),
        (("--stores", "1,"), "unknown store 1: the data set has 457 stores"),
    ],
)
def test_wrong_arguments_are_named_with_what_is_allowed(
    settings: Settings, arguments: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        run(settings, *arguments)
    assert message in str(raised.value)


def test_help_has_examples(settings: Settings) -> None:
    assert "tillstream replay --stores 5 --dry-run" in run(settings, "--help")


def test_ledgers_are_named_by_range_and_time(tmp_path: Path) -> None:
    path = default_ledger_path(tmp_path, start=date(2017, 11, 20), days=7, now_ms=1_511_179_200_123)
    assert path == tmp_path / "ledgers" / "replay-2017-11-20-7d-20171120T120000123000Z.jsonl"

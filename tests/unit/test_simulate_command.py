"""`tillstream simulate`, as far as it needs no services."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from simulators.world.scenario import bundled
from tillstream.cli.main import app
from tillstream.cli.simulate import days_of, default_folder, minutes_of
from tillstream.errors import ConfigError

RUNNER = CliRunner()
SMALL = ["--stores", "2", "--products", "100", "--duration", "2h", "--seed", "7"]


def run(*arguments: str) -> str:
    result = RUNNER.invoke(app, ["simulate", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_dry_run_prints_events_as_json_lines_the_same_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TILLSTREAM_CUSTOMER_KEY", "key")
    text = run(*SMALL, "--dry-run", "--faults", "storm")
    rows = [json.loads(line) for line in text.splitlines()]
    assert {row["topic"] for row in rows} >= {
        "retail-sales-transactions",
        "retail-inventory-updates",
    }
    times = [row["event"]["timestamp"] for row in rows if "fault" not in row]
    assert times == sorted(times)
    assert text == run(*SMALL, "--dry-run", "--faults", "storm")
    named = [row["event"].get("customer_id") for row in rows if "event" in row]
    assert any(name and name.startswith("cust-") for name in named)


def test_the_bundled_scenarios_are_listed() -> None:
    text = run("--list")
    for name in bundled():
        assert name in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--scenario", "nowhere.yaml"], "there is no scenario 'nowhere.yaml'"),
        (["--rate", "-1"], "--rate: input should be greater than 0 (got -1.0)"),
        (["--stores", "0"], "--stores: input should be greater than or equal to 1 (got 0)"),
        (["--faults", "hail"], "--faults: input should be 'none', 'light' or 'storm'"),
        (["--duration", "10"], "--duration must be a number and s, m, h or d, got '10'"),
        (["--speed", "0.5"], "speed must be 'max' or a number from 1 up, got '0.5'"),
        (["--start", "soon"], "--start must be a time or now, got 'soon'"),
        (["--history", "0d"], "--history must be 1d to 1100d, got '0d'"),
    ],
)
def test_bad_arguments_are_told_and_nothing_is_started(arguments: list[str], said: str) -> None:
    result = RUNNER.invoke(app, ["simulate", *arguments])
    assert isinstance(result.exception, ConfigError)
    assert said in str(result.exception)
    assert result.stdout == ""


def test_a_bad_scenario_file_is_told_with_line_and_field(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\nversion: 1\nrate: -3\n", encoding="utf-8")
    result = RUNNER.invoke(app, ["simulate", "--scenario", str(path)])
    assert isinstance(result.exception, ConfigError)
    assert f"{path}, line 3, rate: input should be greater than 0" in str(result.exception)


def test_lengths_of_time_have_units() -> None:
    assert [minutes_of(text) for text in ("90s", "10m", "1.5h", "2d")] == [1.5, 10, 90, 2880]
    assert (days_of("120d"), days_of("7")) == (120, 7)


def test_a_run_has_a_folder_of_its_own() -> None:
    folder = default_folder(Path("/home/x"), "storm", now_ms=1_790_000_000_123)
    assert folder == Path("/home/x/runs/storm-20260921T141320123000Z")

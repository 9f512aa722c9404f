"""What `verify`, `digest`, `rebuild` and the demo's screen tell a person and a script."""

import io
from dataclasses import asdict
from pathlib import Path

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from simulators.run import ReplayProgress
from tillstream.audit.findings import Audit, Check, Finding, PartitionRow
from tillstream.cli import audit, rebuild
from tillstream.cli.demo_view import DemoView, Snapshot
from tillstream.errors import ConfigError, ServiceError
from tillstream.settings import load_settings

ROW = PartitionRow(
    topic="retail-sales-transactions",
    topic_id="c8164ff5-7aa7-44aa-9a2c-521d5e0f8b1b",
    partition=1,
    kafka_start=0,
    kafka_end=1_250,
    cut=1_200,
    facts=1_190,
    duplicates=6,
    quarantine=4,
    missing=0,
    doubled=0,
    lake_cut=1_200,
    lake_records=1_200,
    lake_missing=0,
)
FINDING = Finding("missing", "retail-sales-transactions-1 offset 7: in no table", {"offset": 7})


def shown(found: Audit, monkeypatch: pytest.MonkeyPatch) -> str:
    console = Console(width=160, record=True, file=io.StringIO())
    monkeypatch.setattr(audit, "console", console)
    audit.show_audit(found)
    return console.export_text()


def test_clean_audit_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Audit((ROW,), (Check("offsets", 1_200, 0), Check("stock", 3, 0, notes=("a note",))))
    text = shown(found, monkeypatch)
    assert "retail-sales-transactions-1" in text
    assert "0–1250" in text
    assert "✓ offsets           1,200 compared, agree" in text
    assert "a note" in text
    assert text.endswith("clean: nothing is missing, nothing is there twice\n")
    assert ROW.behind == 50


def test_damage_is_told_with_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(Audit((ROW,), (Check("offsets", 1_200, 1, (FINDING,)),)), monkeypatch)
    assert "✗ offsets           1,200 compared, 1 disagree" in text
    assert "missing: retail-sales-transactions-1 offset 7: in no table" in text
    assert "damaged: see above for the coordinates" in text


def test_partition_of_a_deleted_topic_is_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = PartitionRow(**{**asdict(ROW), "kafka_start": None, "kafka_end": None})
    text = shown(Audit((gone,), ()), monkeypatch)
    assert "deleted" in text
    assert "c8164ff5" in text
    assert gone.behind == 0


@pytest.mark.parametrize("trouble", ["missing", "doubled", "lake_missing"])
def test_partition_with_any_trouble_is_not_clean(trouble: str) -> None:
    assert ROW.clean
    assert not PartitionRow(**{**asdict(ROW), trouble: 1}).clean


@pytest.fixture
def cli(tmp_path: Path) -> typer.Typer:
    """Commands in a home where nothing runs."""
    app = typer.Typer()

    @app.callback()
    def root(ctx: typer.Context) -> None:
        nowhere = {"warehouse": {"port": 1}, "kafka": {"bootstrap": "127.0.0.1:1"}}
        ctx.obj = load_settings(home=tmp_path, **nowhere)

    audit.register(app)
    rebuild.register(app)
    return app


def test_missing_ledger_is_named(cli: typer.Typer, tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["verify", "--ledger", str(tmp_path / "none.jsonl")])
    assert isinstance(result.exception, ConfigError)
    assert "none.jsonl" in str(result.exception)


@pytest.mark.parametrize("command", [["verify"], ["digest"], ["verify", "--json"]])
def test_service_that_is_not_there_is_named(cli: typer.Typer, command: list[str]) -> None:
    result = CliRunner().invoke(cli, command)
    assert isinstance(result.exception, ServiceError)
    assert "127.0.0.1:1" in str(result.exception)
    assert result.output == ""


def test_rebuild_knows_its_sources(cli: typer.Typer) -> None:
    result = CliRunner().invoke(cli, ["rebuild", "--from", "memory"])
    assert result.exit_code == 2
    assert CliRunner().invoke(cli, ["rebuild"]).exit_code == 2


def test_help_has_examples(cli: typer.Typer) -> None:
    for command in ("verify", "digest", "rebuild"):
        text = CliRunner().invoke(cli, [command, "--help"]).output
        assert f"tillstream {command}" in text
        assert "Example" in text


def screen(view: DemoView) -> str:
    console = Console(width=140, record=True, file=io.StringIO())
    console.print(view)
    return console.export_text()


def test_demo_screen_begins_before_anything_is_known() -> None:
    view = DemoView(started=0.0)
    assert "opening the stores" in screen(view)
    view.show(None, Snapshot(), 0, 0)
    assert view.first_alert_s is None


def test_demo_screen_shows_numbers_risks_and_alerts() -> None:
    totals = {"lines": 28_011, "revenue": 91_234.5, "stores": 115, "windows": 9, "shelves": 8}
    totals |= {"empty": 7, "open_alerts": 6, "resolved": 5, "anomalies": 4}
    explanation = "Milk at store 304 is sold out; [not markup]"
    alert = {"state": "opened", "risk": 1.0, "explanation": explanation, "at": "Mon 09:00"}
    shelf = {"store": "304", "product": None, "on_hand": 3, "risk": 0.83}
    shelf |= {"daily_units": 2.5, "empty_days": 1.24}
    view = DemoView(started=0.0)
    progress = ReplayProgress(5, 10, 500, 480, 0, 1_511_170_200_000, 4.0)
    view.show(progress, Snapshot(totals, [alert], [shelf]), 1_234, 5_678)
    text = screen(view)
    for told in ("Mon 20 Nov 2017 09:30", "480 events, 120/s", "to store 1,234", "28,011"):
        assert told in text
    for told in ("91,234.50", "to archive 5,678", "83%", "1.2 d", explanation, "opened"):
        assert told in text
    assert view.first_alert_s is not None
    first = view.first_alert_s
    view.show(progress, Snapshot(totals, [alert], []), 0, 0)
    assert view.first_alert_s == first

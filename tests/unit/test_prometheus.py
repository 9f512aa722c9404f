"""The alert rules: they fire when they should, speak of metrics that exist, and lead somewhere."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY, CollectorRegistry

from tests.unit.test_docs import anchors
from tillstream.telemetry import clients
from tillstream.telemetry.front import FrontMetrics
from tillstream.telemetry.pager import PagerMetrics
from tillstream.telemetry.stream import StreamMetrics

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy/prometheus"
RULES: list[dict[str, Any]] = yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"][0][
    "rules"
]


@pytest.fixture
def promtool() -> Callable[..., str]:
    """Runs promtool. In CI it must be there; elsewhere the test is skipped without it."""
    found = shutil.which("promtool")
    if found is None and not os.environ.get("CI"):
        pytest.skip("promtool is missing (Debian: apt install prometheus)")
    assert found is not None, "promtool is missing: .ci/run installs it"

    def run(*arguments: str) -> str:
        done = subprocess.run([found, *arguments], capture_output=True, text=True, cwd=FOLDER)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def test_every_alert_fires_when_it_should_and_not_before(promtool: Callable[..., str]) -> None:
    assert "SUCCESS" in promtool("test", "rules", "alerts.test.yml")


def test_every_alert_has_a_test_in_which_it_fires() -> None:
    tests = yaml.safe_load((FOLDER / "alerts.test.yml").read_text())["tests"]
    fired = {
        case["alertname"]
        for test in tests
        for case in test.get("alert_rule_test", ())
        if case["exp_alerts"]
    }
    fired |= set(re.findall(r'alertname="(\w+)"', yaml.safe_dump(tests)))
    assert fired == {rule["alert"] for rule in RULES}


def test_the_configuration_is_understood(promtool: Callable[..., str]) -> None:
    assert f"{len(RULES)} rules found" in promtool("check", "config", "prometheus.yml")


def test_every_alert_leads_to_its_place_in_the_runbook() -> None:
    known = anchors(ROOT / "docs/runbook.md")
    for rule in RULES:
        document, _, anchor = rule["annotations"]["runbook"].partition("#")
        assert (document, anchor in known) == ("docs/runbook.md", True), rule["alert"]
        assert rule["labels"]["severity"] in ("page", "ticket")
    named = (ROOT / "docs/runbook.md").read_text(encoding="utf-8")
    assert [rule["alert"] for rule in RULES if f"`{rule['alert']}`" not in named] == []


def test_rules_speak_of_metrics_that_exist(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    metrics = StreamMetrics(registry)
    metrics.machine({"home": tmp_path})
    FrontMetrics(registry)
    PagerMetrics(registry)
    assert clients._INSERT_ERRORS is not None  # registered by its import
    exist = {
        name
        for one in (registry, REGISTRY)
        for family in one.collect()
        for name in (family.name, f"{family.name}_total", f"{family.name}_bucket")
    }
    exist |= {"tillstream_publisher_events_total"}
    used = {name for rule in RULES for name in re.findall(r"tillstream_\w+", rule["expr"])}
    assert len(used) > 10
    assert used - exist == set()

"""What the audit of locked packages lets pass, and what it says."""

from datetime import date
from importlib import util
from pathlib import Path
from typing import Any

import pytest

_FILE = Path(__file__).resolve().parents[2] / "tools" / "audit.py"
_SPEC = util.spec_from_file_location("dependency_audit", _FILE)
assert _SPEC is not None
assert _SPEC.loader is not None
audit = util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(audit)

TODAY = date(2026, 6, 1)
FOUND = {"id": "PYSEC-1", "aliases": ["GHSA-1", "CVE-1"], "fix_versions": ["1.1"]}


def report(*vulnerabilities: dict[str, Any], skipped: int = 0) -> dict[str, Any]:
    packages: list[dict[str, Any]] = [
        {"name": "clean", "version": "2.0", "vulns": []},
        {"name": "holed", "version": "1.0", "vulns": list(vulnerabilities)},
    ]
    unknown = [
        {"name": f"u{number}", "skip_reason": "Dependency not found on PyPI"}
        for number in range(skipped)
    ]
    return {"dependencies": packages + unknown}


def excuse(name: str, until: date) -> dict[str, Any]:
    return {"id": name, "until": until, "reason": "not reachable"}


def test_a_clean_report_passes() -> None:
    verdict = audit.judge(report(), [], today=TODAY)
    assert verdict.passed
    assert verdict.lines == ("audited 2 packages: 0 vulnerabilities",)


def test_a_known_vulnerability_fails_the_build() -> None:
    verdict = audit.judge(report(FOUND), [], today=TODAY)
    assert not verdict.passed
    assert verdict.lines[0] == "VULNERABLE holed 1.0: PYSEC-1, fixed in 1.1"


@pytest.mark.parametrize("name", ["PYSEC-1", "GHSA-1", "CVE-1"])
def test_one_on_the_list_passes_until_its_day_by_any_of_its_names(name: str) -> None:
    verdict = audit.judge(report(FOUND), [excuse(name, TODAY)], today=TODAY)
    assert verdict.passed
    assert verdict.lines[0].endswith("until 2026-06-01: not reachable")
    late = audit.judge(report(FOUND), [excuse(name, date(2026, 5, 31))], today=TODAY)
    assert not late.passed
    assert "ignored until 2026-05-31, which is over" in late.lines[0]


def test_an_entry_that_is_not_needed_any_more_is_told() -> None:
    verdict = audit.judge(report(), [excuse("CVE-9", TODAY)], today=TODAY)
    assert verdict.passed
    assert "CVE-9 is ignored but not found: remove it" in verdict.lines


def test_packages_nobody_answered_for_are_not_called_clean() -> None:
    part = audit.judge(report(skipped=7), [], today=TODAY)
    assert part.passed
    assert part.lines[0].startswith("NOT AUDITED: 7 of 9 packages")
    assert "u0, u1, u2, u3, u4 and 2 more" in part.lines[0]
    assert part.lines[1] == "audited 2 packages: 0 vulnerabilities"
    nothing = {"dependencies": report(skipped=2)["dependencies"][2:]}
    verdict = audit.judge(nothing, [], today=TODAY)
    assert verdict.passed
    assert not verdict.asked
    assert next(iter(audit.framed(verdict))) == "!" * 78


def test_no_network_is_told_loudly_and_does_not_fail_the_build(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def answers_with(words: str) -> Any:
        class Done:
            stderr = f"Traceback\n{words}"

        monkeypatch.setattr(audit.subprocess, "run", lambda *_, **__: Done())
        return audit.audit()

    verdict = answers_with("requests.exceptions.ProxyError: HTTPSConnectionPool(host='pypi.org')")
    assert (verdict.passed, verdict.asked) == (True, False)
    assert verdict.lines[0].startswith("NOT AUDITED: no vulnerability service answers: requests")
    broken = answers_with("error: unrecognized arguments")
    assert not broken.passed
    assert broken.lines == ("pip-audit failed: error: unrecognized arguments",)

"""Ask for known vulnerabilities of the locked Python packages: `make audit`.

Exits 1 for one that tools/audit-ignore.toml does not name, or names until a day that has passed.
A machine that cannot reach the service is told so loudly, and its build goes on: the network is
not the code's fault.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
IGNORED = ROOT / "tools" / "audit-ignore.toml"

# What pip-audit's last words contain when it was the network's fault.
_NETWORK = re.compile(r"ConnectionError|ProxyError|Timeout|Could not connect|Max retries exceeded")
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to say, and whether the build may go on. `asked` is False when nothing was audited."""

    lines: tuple[str, ...]
    passed: bool
    asked: bool = True


def judge(
    report: Mapping[str, Any], ignored: Sequence[Mapping[str, Any]], *, today: date
) -> Verdict:
    """Weigh pip-audit's report. An entry of `ignored` has an id, until (a date) and a reason."""
    packages = report["dependencies"]
    skipped = [one["name"] for one in packages if "skip_reason" in one]
    excuses = {one["id"]: one for one in ignored}
    lines, bad, seen = [], 0, set()
    for one in packages:
        for found in one.get("vulns", []):
            names = {found["id"], *found.get("aliases", [])}
            excuse = next((excuses[name] for name in sorted(names) if name in excuses), None)
            seen |= names
            what = f"{one['name']} {one['version']}: {found['id']}, {_remedy(found)}"
            if excuse is None:
                bad += 1
                lines.append(f"VULNERABLE {what}")
            elif excuse["until"] < today:
                bad += 1
                lines.append(f"VULNERABLE {what}; ignored until {excuse['until']}, which is over")
            else:
                lines.append(f"ignored {what}, until {excuse['until']}: {excuse['reason']}")
    lines += [f"{name} is ignored but not found: remove it" for name in excuses if name not in seen]
    if skipped:
        lines.append(_not_audited(len(packages), skipped))
    asked = len(skipped) < len(packages)
    if asked:
        lines.append(f"audited {len(packages) - len(skipped)} packages: {bad} vulnerabilities")
    return Verdict(tuple(lines), passed=bad == 0, asked=asked)


def _remedy(found: Mapping[str, Any]) -> str:
    versions = found.get("fix_versions") or []
    return f"fixed in {', '.join(versions)}" if versions else "no fixed version yet"


def _not_audited(total: int, skipped: Sequence[str]) -> str:
    more = "" if len(skipped) <= _SHOWN else f" and {len(skipped) - _SHOWN} more"
    return (
        f"NOT AUDITED: {len(skipped)} of {total} packages are unknown to the service that answers "
        f"here ({', '.join(skipped[:_SHOWN])}{more})"
    )


def audit() -> Verdict:
    """Export the lock, ask the service, judge."""
    with tempfile.TemporaryDirectory() as folder:
        locked, answer = Path(folder, "locked.txt"), Path(folder, "answer.json")
        uv = os.environ.get("UV", "uv")  # where `uv run` says it is
        export = [uv, "export", "--frozen", "--no-emit-project", "--quiet", "-o", str(locked)]
        subprocess.run(export, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        ask = [sys.executable, "-m", "pip_audit", "-r", str(locked), "--require-hashes"]
        ask += ["--disable-pip", "--progress-spinner", "off", "-f", "json", "-o", str(answer)]
        done = subprocess.run(ask, cwd=ROOT, capture_output=True, text=True, check=False)
        if answer.is_file() and answer.stat().st_size:
            report = json.loads(answer.read_text(encoding="utf-8"))
            ignored = tomllib.loads(IGNORED.read_text(encoding="utf-8")).get("ignore", [])
            return judge(report, ignored, today=datetime.now(UTC).date())
    last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
    if _NETWORK.search(last):
        return Verdict((f"NOT AUDITED: no vulnerability service answers: {last}",), True, False)
    return Verdict((f"pip-audit failed: {last}",), passed=False)


def framed(verdict: Verdict) -> Iterator[str]:
    """The lines; between rules that nobody overlooks when nothing was audited."""
    rule = () if verdict.asked else ("!" * 78,)
    yield from (*rule, *verdict.lines, *rule)


def main() -> int:
    verdict = audit()
    for line in framed(verdict):
        print(line, file=sys.stdout if verdict.asked else sys.stderr)
    return 0 if verdict.passed else 1


if __name__ == "__main__":
    sys.exit(main())

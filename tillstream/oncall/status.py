"""What the pager is doing: one small file, for the console and `tillstream oncall status`."""

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import psutil

from tillstream.oncall.outbox import Outbox
from tillstream.oncall.pager import Pager
from tillstream.oncall.schedules import on_call

# The pager writes every second; older than this it hangs.
STALE_MS = 60_000


def status_file(home: Path) -> Path:
    return home / "run" / "pager.json"


def write_status(path: Path, state: dict[str, Any]) -> None:
    """Replace it at once, so that a reader never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".tmp")
    beside.write_text(json.dumps(state), encoding="utf-8")
    beside.replace(path)


def status_of(pager: Pager, *, now_ms: int) -> dict[str, Any]:
    """Everything a person needs to know, as JSON has it. Times are UTC milliseconds."""
    policy = pager.policy
    waiting = pager.outbox.waiting()
    return {
        "pid": os.getpid(),
        "state": "running",
        "updated_at_ms": now_ms,
        "alerts": {"problem": pager.blind_because},
        "policy": {"file": str(pager.policy_path), "problem": pager.policy_problem},
        "on_call": {name: on_call(one, now_ms) for name, one in policy.schedules.items()},
        "channels": {
            name: _channel(pager.outbox, name, waiting.get(name, 0)) for name in policy.channels
        },
        "cases": dict(Counter(case.status.value for case in pager.cases)),
        "pages": pager.outbox.states(),
    }


def read_status(home: Path, *, now_ms: int) -> dict[str, Any]:
    """What the file says, with `state` "stopped" when its process is gone and "hangs" when it has
    said nothing for a minute; and `troubles`, each a sentence for a person."""
    try:
        state = json.loads(status_file(home).read_text(encoding="utf-8"))
        pid, updated_at_ms = int(state["pid"]), int(state["updated_at_ms"])
    except (OSError, ValueError, LookupError, TypeError):
        return {"state": "never ran", "troubles": ["the pager has never run here"]}
    if state["state"] == "running" and not psutil.pid_exists(pid):
        state["state"] = "died"
    elif state["state"] == "running" and now_ms - updated_at_ms > STALE_MS:
        state["state"] = "hangs"
    state["troubles"] = list(_troubles(state))
    return dict(state)


def stopped(path: Path, *, now_ms: int) -> None:
    """Leave word that it stopped on purpose."""
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    write_status(path, {**state, "state": "stopped", "updated_at_ms": now_ms})


def _channel(outbox: Outbox, name: str, waiting: int) -> dict[str, Any]:
    health = outbox.health(name)
    state = "dead" if health.dead else "failing" if health.failures else "ok"
    return {
        "state": state,
        "problem": health.problem,
        "failing_since_ms": health.failing_since_ms,
        "waiting": waiting,
    }


def _troubles(state: dict[str, Any]) -> list[str]:
    found = [] if state["state"] == "running" else [f"the pager {state['state']}"]
    if state["alerts"]["problem"]:
        found.append(f"alerts cannot be seen: {state['alerts']['problem']}")
    if state["policy"]["problem"]:
        found.append(f"the policy of before is in force: {state['policy']['problem']}")
    for name, one in state["channels"].items():
        if one["state"] == "dead":
            found.append(f"channel {name} is dead: {one['problem']}")
    return found

"""Detached processes: never the wrong one, never a silent death."""

import json
import os
import sys
import time
from pathlib import Path

import psutil
import pytest

from tillstream.devstack import process
from tillstream.errors import ServiceError

STUBBORN = (
    "import signal, subprocess, sys, time\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
    "print('child', child.pid, flush=True)\n"
    "time.sleep(60)\n"
)


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def logged(managed: process.Managed, word: str) -> bool:
    return word in Path(managed.log).read_text()


def test_started_process_is_remembered_and_stopped(tmp_path: Path) -> None:
    managed = process.start("till", python("import time; time.sleep(60)"), home=tmp_path)
    assert process.running("till", home=tmp_path) == managed
    assert os.getsid(managed.pid) == managed.pid
    assert process.stop(managed, home=tmp_path)
    assert process.running("till", home=tmp_path) is None
    assert not psutil.pid_exists(managed.pid)
    assert not process.pid_file(tmp_path, "till").exists()


def test_recycled_pid_is_neither_running_nor_stopped(tmp_path: Path) -> None:
    other = process.start("other", python("import time; time.sleep(60)"), home=tmp_path)
    stale = process.Managed("till", other.pid, "boot:0", "", other.log)
    process.pid_file(tmp_path, "till").write_text(
        json.dumps({name: getattr(stale, name) for name in stale.__slots__})
    )
    assert process.running("till", home=tmp_path) is None
    process.stop(stale, home=tmp_path)
    process.kill(stale)
    assert other.is_alive()
    process.stop(other, home=tmp_path)


def test_damaged_pid_file_claims_nothing(tmp_path: Path) -> None:
    path = process.pid_file(tmp_path, "till")
    path.parent.mkdir()
    path.write_text('{"name": "ti')
    assert process.running("till", home=tmp_path) is None


def ended(pid: int, *, timeout_s: float) -> bool:
    """A signal takes effect once the machine gets round to it."""
    deadline = time.monotonic() + timeout_s
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_process_that_ignores_sigterm_is_killed_with_its_children(tmp_path: Path) -> None:
    managed = process.start("stubborn", python(STUBBORN), home=tmp_path)
    process.wait_until_healthy(lambda: logged(managed, "child"), managed, timeout_s=20)
    child = int(Path(managed.log).read_text().split()[1])
    assert not process.stop(managed, home=tmp_path, timeout_s=0.2)
    assert not managed.is_alive()
    assert ended(child, timeout_s=10)


def test_death_while_starting_shows_the_log_at_once(tmp_path: Path) -> None:
    managed = process.start("till", python("raise SystemExit('no such shelf')"), home=tmp_path)
    with pytest.raises(ServiceError, match="till ended while starting") as caught:
        process.wait_until_healthy(lambda: False, managed, timeout_s=20)
    assert "no such shelf" in str(caught.value)
    assert managed.log in (caught.value.hint or "")


def test_never_healthy_is_a_timeout(tmp_path: Path) -> None:
    managed = process.start("till", python("import time; time.sleep(60)"), home=tmp_path)
    try:
        with pytest.raises(ServiceError, match="till is not healthy after 0 s"):
            process.wait_until_healthy(lambda: False, managed, timeout_s=0.1)
    finally:
        process.stop(managed, home=tmp_path)


def test_missing_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match=r"cannot run /no/such/java for kafka"):
        process.start("kafka", ["/no/such/java"], home=tmp_path)


def test_tail_gives_the_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "till.log"
    log.write_text("one\ntwo\nthree\n")
    assert process.tail(log, lines=2) == ["two", "three"]
    assert process.tail(log, lines=0) == []
    assert process.tail(tmp_path / "none.log", lines=2) == []

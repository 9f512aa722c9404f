"""Detached processes, remembered by a pid file that a recycled pid cannot fool.

A process is its pid *and* the moment it started; nothing here signals a pid whose start differs.
"""

import json
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from tillstream.errors import ServiceError

_LOG_LIMIT_BYTES = 20_000_000
_POLL_S = 0.05
_TAIL_LINES = 15


@dataclass(frozen=True, slots=True)
class Managed:
    """A started process. `mark` identifies its start; `endpoint` is where it serves, if it does."""

    name: str
    pid: int
    mark: str
    endpoint: str
    log: str

    def is_alive(self) -> bool:
        return _mark(self.pid) == self.mark


def log_file(home: Path, name: str) -> Path:
    return home / "logs" / f"{name}.log"


def pid_file(home: Path, name: str) -> Path:
    return home / "run" / f"{name}.pid"


def start(
    name: str,
    argv: Sequence[str],
    *,
    home: Path,
    endpoint: str = "",
    env: Mapping[str, str] | None = None,
) -> Managed:
    """Start a process in its own session: it outlives us and never sees our terminal's Ctrl-C.

    Its output is appended to `<home>/logs/<name>.log`. Raises ServiceError when it cannot be run.
    """
    log = log_file(home, name)
    log.parent.mkdir(parents=True, exist_ok=True)
    _rotate(log)
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    try:
        # Unlike subprocess.Popen this leaves no object that must outlive the child.
        pid = os.posix_spawn(
            argv[0],
            list(argv),
            dict(os.environ if env is None else env),
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(log), append, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
            setsigdef=[signal.SIGINT, signal.SIGTERM, signal.SIGPIPE],
        )
    except OSError as exc:
        raise ServiceError(f"cannot run {argv[0]} for {name}: {exc}") from exc
    managed = Managed(name, pid, _mark(pid) or "", endpoint, str(log))
    _write(pid_file(home, name), json.dumps(asdict(managed)))
    return managed


def running(name: str, *, home: Path) -> Managed | None:
    """The remembered process when it is still the same one and alive."""
    try:
        managed = Managed(**json.loads(pid_file(home, name).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        return None  # cut short by a crash: nothing can be claimed about that pid
    return managed if managed.is_alive() else None


def stop(managed: Managed, *, home: Path, timeout_s: float = 30.0) -> bool:
    """SIGTERM, wait, then SIGKILL to what is left of its session. Whether SIGTERM was enough."""
    gentle = True
    if managed.is_alive():
        os.kill(managed.pid, signal.SIGTERM)
        gentle = wait_dead(managed, timeout_s=timeout_s)
        if not gentle:
            kill(managed)
    pid_file(home, managed.name).unlink(missing_ok=True)
    return gentle


def kill(managed: Managed) -> None:
    """SIGKILL to the process and its children (one session, one group), as a power cut would."""
    if managed.is_alive():
        os.killpg(managed.pid, signal.SIGKILL)
        wait_dead(managed, timeout_s=10.0)


def wait_dead(managed: Managed, *, timeout_s: float) -> bool:
    """Whether it ended within the time."""
    deadline = time.monotonic() + timeout_s
    while managed.is_alive():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True


def wait_until_healthy(
    check: Callable[[], bool], managed: Managed, *, timeout_s: float = 60.0
) -> float:
    """Poll until `check` is true; the seconds it took.

    Raises ServiceError with the end of its log as soon as the process dies, or on timeout.
    """
    began = time.monotonic()
    while True:
        if not managed.is_alive():
            raise _failure(managed, "ended while starting")
        if check():
            return time.monotonic() - began
        if time.monotonic() - began > timeout_s:
            raise _failure(managed, f"is not healthy after {timeout_s:.0f} s")
        time.sleep(_POLL_S)


def tail(path: Path, *, lines: int) -> list[str]:
    """The last lines of a log; none when there is no such file. Reads at most 1 MB."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 1_000_000))
            return file.read().decode("utf-8", "replace").splitlines()[-lines:] if lines else []
    except FileNotFoundError:
        return []


def _failure(managed: Managed, what: str) -> ServiceError:
    last = "\n  ".join(tail(Path(managed.log), lines=_TAIL_LINES)) or "(its log is empty)"
    return ServiceError(
        f"{managed.name} {what}. The end of its log:\n  {last}",
        hint=f"read {managed.log}, and run: tillstream doctor",
    )


def _mark(pid: int) -> str | None:
    """What tells this process from any other that ever had the pid; None when it is dead."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE and _has_ended(pid):
            return None
        return _linux_mark(pid) or f"{process.create_time():.2f}"
    except psutil.NoSuchProcess:
        return None


def _linux_mark(pid: int) -> str | None:
    # Ticks since boot: unlike psutil's wall-clock time they do not move when the clock is set.
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return f"{boot}:{stat.rpartition(')')[2].split()[19]}"


def _has_ended(pid: int) -> bool:
    """Whether a zombie is all that is left of a process; reaps it if it is our child.

    Only its first thread may be dead: while the others still end, its files and ports are taken.
    """
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:  # somebody else's child: init reaps it
        try:
            return len(list(Path(f"/proc/{pid}/task").iterdir())) <= 1
        except OSError:
            return True


def _rotate(log: Path) -> None:
    if log.exists() and log.stat().st_size > _LOG_LIMIT_BYTES:
        log.replace(log.with_suffix(".log.1"))


def _write(path: Path, text: str) -> None:
    """Replace a file at once, so that a reader never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_text(text, encoding="utf-8")
    part.replace(path)

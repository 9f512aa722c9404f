"""One night at a time on a database: two would fill the same staging tables."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tillstream.errors import ServiceError

_POLL_S = 0.2


@contextmanager
def only_night(home: Path, database: str, *, doing: str, wait_s: float = 0.0) -> Iterator[None]:
    """Hold the lock of the nights; the kernel drops it when the process dies, however it dies.

    Raises ServiceError, naming who holds it, when it is not free within `wait_s`.
    """
    path = home / "run" / f"night-{database}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        deadline = time.monotonic() + wait_s
        while not _locked(file.fileno()):
            if time.monotonic() >= deadline:
                file.seek(0)
                raise ServiceError(
                    f"another night is at work on {database!r}: {file.read().strip()}",
                    hint="wait until it has ended (`tillstream night status`), and try again",
                )
            time.sleep(_POLL_S)
        file.truncate(0)
        file.write(f"{doing} (pid {os.getpid()})")
        file.flush()
        yield


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

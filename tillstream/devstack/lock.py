"""One `up` or `down` at a time on a home."""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tillstream.errors import ServiceError

_POLL_S = 0.1


@contextmanager
def exclusive(home: Path, *, timeout_s: float = 120.0) -> Iterator[None]:
    """Hold the home's lock. The system drops it when the holder dies, however it dies.

    Raises ServiceError when another process still holds it after `timeout_s`.
    """
    path = home / "run" / "lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        deadline = time.monotonic() + timeout_s
        while not _locked(file.fileno()):
            if time.monotonic() > deadline:
                raise ServiceError(
                    f"another tillstream up or down has held {path} for {timeout_s:.0f} s",
                    hint="wait for it, or end it and try again",
                )
            time.sleep(_POLL_S)
        yield


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

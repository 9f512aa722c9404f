"""Asking a part again and again on a thread of its own, so that nobody waits for it."""

import threading
import time
from collections.abc import Callable

# A part that answers slowly is asked less often: looking must not add to its load.
_REST_FACTOR = 5.0


class Poller:
    """Calls `read` at once, every `every_s` seconds, and on `refresh`. The thread never keeps the
    program alive."""

    def __init__(self, read: Callable[[], None], *, every_s: float, name: str) -> None:
        self._read = read
        self._every_s = every_s
        self._wake = threading.Event()
        self._stopped = False
        self.paused = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def refresh(self) -> None:
        """Ask now, paused or not."""
        self._wake.set()

    def stop(self) -> None:
        self._stopped = True
        self._wake.set()

    def _run(self) -> None:
        asked = True
        while not self._stopped:
            began = time.monotonic()
            if asked or not self.paused:
                self._read()
            took_s = time.monotonic() - began
            asked = self._wake.wait(max(self._every_s, took_s * _REST_FACTOR))
            if asked:  # one that comes just after the wait must not be cleared away unseen
                self._wake.clear()

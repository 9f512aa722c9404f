"""How much may be under way at once."""

import threading
from collections.abc import Callable


class Window:
    """Bounds the events and the bytes that are published and not yet settled.

    kafka-python itself buffers without limit. A full window reopens when half of it has drained,
    so that a fast publisher is not woken for every single acknowledgement.
    """

    def __init__(self, *, max_events: int, max_bytes: int) -> None:
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._changed = threading.Condition(threading.Lock())
        self._events = 0
        self._bytes = 0
        self._waiting = 0

    @property
    def events(self) -> int:
        return self._events

    def enter(self, size: int, *, timeout_s: float) -> bool:
        """Take room for one event of `size` bytes; False when there is none within `timeout_s`.
        One event alone may be larger than the window."""
        with self._changed:
            if self._full(size) and not self._wait(
                lambda: not self._full(size), timeout_s=timeout_s
            ):
                return False
            self._events += 1
            self._bytes += size
            return True

    def leave(self, size: int) -> None:
        with self._changed:
            self._events -= 1
            self._bytes -= size
            if self._waiting and (
                not self._events
                or (self._events * 2 <= self._max_events and self._bytes * 2 <= self._max_bytes)
            ):
                self._changed.notify_all()

    def drained(self, *, timeout_s: float) -> bool:
        """Wait until nothing is under way; False when something still is after `timeout_s`."""
        with self._changed:
            return self._wait(lambda: not self._events, timeout_s=timeout_s)

    def _full(self, size: int) -> bool:
        return self._events > 0 and (
            self._events >= self._max_events or self._bytes + size > self._max_bytes
        )

    def _wait(self, done: Callable[[], bool], *, timeout_s: float) -> bool:
        self._waiting += 1
        try:
            return self._changed.wait_for(done, timeout_s)
        finally:
            self._waiting -= 1

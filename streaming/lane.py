"""Work on a thread of its own, so that one batch is stored while the next one is decoded."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Lane(Generic[T]):
    """Does `work` on one item at a time, in the order they were put.

    `put` waits until the item before is done and returns when work on its own begins: whoever puts
    is one item ahead, never more, which bounds memory and the time that an item waits. After a
    failure `put` raises what went wrong, until `reset`.
    """

    def __init__(self, name: str, work: Callable[[T], None]) -> None:
        self.failure: Exception | None = None
        self._work = work
        self._next: list[T] = []  # at most one
        self._busy = False
        self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, item: T) -> None:
        with self._changed:
            self._await_idle()
            self._raise()
            self._next.append(item)
            self._changed.notify_all()

    def poke(self, item: T) -> None:
        """Put `item` unless one waits already. Never waits itself."""
        with self._changed:
            self._raise()
            if not self._next:
                self._next.append(item)
                self._changed.notify_all()

    def settle(self) -> None:
        """Wait until everything put is done. Raises what went wrong."""
        with self._changed:
            self._await_idle()
            self._raise()

    def reset(self) -> None:
        """Wait until nothing is under way and forget a failure."""
        with self._changed:
            self._await_idle()
            self.failure = None

    def close(self) -> None:
        """Finish what was put and end the thread. Closing twice does nothing more."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()

    def _raise(self) -> None:
        if self.failure is not None:
            raise self.failure

    def _await_idle(self) -> None:
        self._changed.wait_for(lambda: not self._busy and not self._next)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._next or self._closing)
                if not self._next:
                    return
                item = self._next.pop()
                self._busy = True
            try:
                if self.failure is None:
                    self._work(item)
            except Exception as exc:
                self.failure = exc
            finally:
                with self._changed:
                    self._busy = False
                    self._changed.notify_all()

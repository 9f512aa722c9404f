"""Work on a thread of its own, so that one batch is stored while the next one is decoded."""

import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

T = TypeVar("T")


class Lane(Generic[T]):
    """Does `work` on items in the order they were put, one at a time.

    At most `depth` items wait; then `put` waits too, which is what bounds memory. After a failure
    nothing more is done: the items that wait are forgotten and `put` raises what went wrong, until
    `reset`. The stream forgets nothing by that: it starts again from what is committed.
    """

    def __init__(self, name: str, work: Callable[[T], None], *, depth: int = 1) -> None:
        self.failure: Exception | None = None
        self._work = work
        self._items: queue.Queue[T | None] = queue.Queue(maxsize=depth)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, item: T) -> None:
        self._raise()
        self._items.put(item)

    def poke(self, item: T) -> None:
        """Put `item` unless one waits already. Never waits itself."""
        self._raise()
        with suppress(queue.Full):
            self._items.put_nowait(item)

    def settle(self) -> None:
        """Wait until everything put is done. Raises what went wrong."""
        self._items.join()
        self._raise()

    def reset(self) -> None:
        """Wait until nothing is under way and forget a failure."""
        self._items.join()
        self.failure = None

    def close(self) -> None:
        """Finish what was put and end the thread. Closing twice does nothing more."""
        if self._thread.is_alive():
            self._items.put(None)
            self._thread.join()

    def _raise(self) -> None:
        if self.failure is not None:
            raise self.failure

    def _run(self) -> None:
        while True:
            item = self._items.get()
            try:
                if item is None:
                    return
                if self.failure is None:
                    self._work(item)
            except Exception as exc:
                self.failure = exc
            finally:
                self._items.task_done()

"""One thread for each channel, so that a slow one holds up nobody else."""

import logging
import threading
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

from tillstream.errors import ServiceError
from tillstream.oncall.courier import Courier

log = logging.getLogger("tillstream.oncall")

_AFTER_TROUBLE_S = 5.0


class Couriers:
    """Runs couriers until closed; closing waits for pages that are under way."""

    def __init__(self, couriers: Iterable[Courier]) -> None:
        self._stopping = threading.Event()
        self._work: list[threading.Event] = []
        self._threads: list[threading.Thread] = []
        for courier in couriers:
            work = threading.Event()
            self._work.append(work)
            thread = threading.Thread(target=self._run, args=(courier, work), daemon=True)
            self._threads.append(thread)
            thread.start()

    def wake(self) -> None:
        """There are new pages."""
        for work in self._work:
            work.set()

    def close(self) -> None:
        self._stopping.set()
        self.wake()
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _run(self, courier: Courier, work: threading.Event) -> None:
        try:
            while not self._stopping.is_set():
                wait_s = _safely(courier.step)
                if wait_s > 0:
                    work.wait(wait_s)
                    work.clear()
        finally:
            courier.close()


def _safely(step: Callable[[], int]) -> float:
    """Seconds until the next look."""
    try:
        return step() / 1000
    except ServiceError as exc:
        log.error("%s; nothing is sent meanwhile", exc)
    except Exception:  # a fault must not end the thread: its channel would be silent for ever
        log.exception("a courier failed")
    return _AFTER_TROUBLE_S

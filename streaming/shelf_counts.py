"""How many shelves have stock, counted once a minute for all who ask."""

import logging
import threading

from clickhouse.client import Client
from clickhouse.live_inputs import count_shelves
from streaming.batch import Batch
from streaming.enrich import Dimensions
from streaming.sinks import Follower
from tillstream.errors import ServiceError

log = logging.getLogger("tillstream.stream")

EVERY_S = 60.0
# The first count of a start must not wait for a whole minute: until then everybody counts.
_FIRST_SHARE = 0.25


class ShelfCounts(Follower):
    """Counts on a thread of its own, each minute in which batches came, and a last time at the end.
    A count that fails is told of and left to the next minute: `bi_availability` counts by itself
    where nobody has."""

    def __init__(self, client: Client, *, every_s: float = EVERY_S) -> None:
        self._client = client
        self._every_s = every_s
        self._is_due = False
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="shelf-counts", daemon=True)
        self._thread.start()

    def __call__(self, batch: Batch, dimensions: Dimensions) -> None:
        self._is_due = True

    def close(self) -> None:
        if not self._closing.is_set():
            self._closing.set()
            self._thread.join()
            self._count()

    def _run(self) -> None:
        wait_s = self._every_s * _FIRST_SHARE
        while not self._closing.wait(wait_s):
            self._count()
            wait_s = self._every_s

    def _count(self) -> None:
        if not self._is_due:
            return
        self._is_due = False
        try:
            count_shelves(self._client)
        except ServiceError as exc:
            log.warning("shelves with stock were not counted: %s", exc)
            self._is_due = True

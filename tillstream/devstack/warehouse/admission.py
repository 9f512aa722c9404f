"""Who may run now. Reads take turns among themselves, so that they never hold up a write.

ClickHouse starts every query at once and refuses what is beyond its limit. On a few cores a
hundred dashboards would then share the processor with every insert; here reads wait for a turn in
the order they came, and writes have turns of their own.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tillstream.devstack.warehouse.errors import QueryError

TOO_MANY_SIMULTANEOUS_QUERIES = 202
QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING = 216


class Turn:
    """A query's turn, given back once its answer begins to flow or it has ended."""

    def __init__(self, turns: asyncio.Semaphore) -> None:
        self._turns = turns
        self._held = False
        self.waited = turns.locked()

    async def take(self) -> None:
        await self._turns.acquire()
        self._held = True

    def give_back(self) -> None:
        if self._held:
            self._held = False
            self._turns.release()


class Admission:
    """The queries of one server. Used on its event loop only."""

    def __init__(self, *, reads_at_once: int, writes_at_once: int, at_most: int) -> None:
        self._reads = asyncio.Semaphore(reads_at_once)
        self._writes = asyncio.Semaphore(writes_at_once)
        self._at_most = at_most
        self._present: set[str] = set()

    def enter(self, query_id: str) -> None:
        """Count a query in, until `leave`. Raises QueryError when there are too many."""
        if query_id in self._present:
            raise QueryError(
                QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING,
                f"Query with id = {query_id} is already running",
            )
        if len(self._present) >= self._at_most:
            raise QueryError(
                TOO_MANY_SIMULTANEOUS_QUERIES,
                f"Too many simultaneous queries. Maximum: {self._at_most}",
            )
        self._present.add(query_id)

    def leave(self, query_id: str) -> None:
        self._present.discard(query_id)

    @asynccontextmanager
    async def turn(self, *, urgent: bool) -> AsyncIterator[Turn]:
        """Wait for a turn among the writes (`urgent`) or the other queries."""
        turn = Turn(self._writes if urgent else self._reads)
        await turn.take()
        try:
            yield turn
        finally:
            turn.give_back()

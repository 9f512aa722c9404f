"""One query under way: its worker thread, and its answer as far as it has come."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, cast

from tillstream.devstack.warehouse.answer import Encoder
from tillstream.devstack.warehouse.engine import Engine, Reply
from tillstream.devstack.warehouse.errors import QueryError, binding_error
from tillstream.devstack.warehouse.outlet import Pipe
from tillstream.devstack.warehouse.request import QueryRequest

# ClickHouse's response buffer: an answer that fits is sent whole, with its exact summary.
BUFFER_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Beginning:
    """The first bytes of an answer. `reply` is there once the query has ended."""

    chunks: list[bytes]
    reply: Reply | None
    complete: bool


class Query:
    """One query under way: its worker, and what it has answered so far."""

    def __init__(self, request: QueryRequest, engine: Engine, workers: ThreadPoolExecutor) -> None:
        self.request = request
        self._engine = engine
        self._pipe = Pipe() if request.statement.is_select else None
        self._held: IO[bytes] | None = None
        loop = asyncio.get_running_loop()
        self.work: asyncio.Future[Reply] = loop.run_in_executor(workers, self._run)

    def _run(self) -> Reply:
        pipe = self._pipe
        try:
            return self._engine.run(self.request, output=None if pipe is None else pipe.descriptor)
        except (MemoryError, OSError, TypeError, ValueError) as exc:
            # The binding's own refusals, such as text that UTF-8 cannot hold.
            raise binding_error(exc) from exc
        finally:
            if pipe is not None:
                pipe.finish()

    async def beginning(self) -> Beginning:
        """Wait for the end, or until there is more than a response buffer holds.

        Raises QueryError.
        """
        if self._pipe is None:
            reply = await asyncio.shield(self.work)
            return Beginning([bytes(reply.body or b"")], reply, complete=True)
        chunks: list[bytes] = []
        size = 0
        while size < BUFFER_BYTES:
            chunk = await self._pipe.read()
            if not chunk:
                return Beginning(chunks, await asyncio.shield(self.work), complete=True)
            chunks.append(chunk)
            size += len(chunk)
        ended = await self._hold(self._pipe) if self.request.answer.whole else None
        return Beginning(chunks, ended, complete=False)

    async def _hold(self, pipe: Pipe) -> Reply:
        """Keep the rest of the answer until the query has ended."""
        try:
            file = tempfile.TemporaryFile(dir=self._engine.spool)  # noqa: SIM115 - see close
            self._held = cast(IO[bytes], file)
            while chunk := await pipe.read():
                file.write(chunk)
            file.seek(0)
        except OSError as exc:
            raise binding_error(exc) from exc
        return await asyncio.shield(self.work)

    async def _next(self) -> bytes:
        if self._held is not None:
            return self._held.read(BUFFER_BYTES)
        return b"" if self._pipe is None else await self._pipe.read()

    async def rest(self, encoder: Encoder) -> AsyncIterator[bytes]:
        """What follows the beginning, encoded. Raises QueryError when the query fails."""
        while chunk := await self._next():
            yield await encoder.encode((chunk,), last=False)
        await asyncio.shield(self.work)
        yield await encoder.encode((), last=True)

    async def cancel(self) -> None:
        """Ask the engine to stop a read; a write goes on to its end."""
        await asyncio.to_thread(self._engine.cancel_read, self.request.query_id)

    async def give_up(self) -> None:
        """Stop a query whose caller left, and wait for its end."""
        await self.cancel()
        self.close()
        with suppress(QueryError):
            await asyncio.shield(self.work)

    def close(self) -> None:
        if self._pipe is not None:
            self._pipe.close()
        if self._held is not None:
            self._held.close()

"""TCP proxies that can be slow, cut, or lose an answer after the request was carried out.

All links of one `Proxies` share an event loop on a thread of its own.
"""

import asyncio
import threading
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

from tillstream.devstack.ports import LOOPBACK

T = TypeVar("T")

_CHUNK_BYTES = 64 * 1024


@dataclass(slots=True)
class Link:
    """One way from a port of ours to a service. Connections see its fields as they are now."""

    name: str
    port: int
    upstream: int
    delay_s: float = 0.0
    is_cut: bool = False
    # Requests that hold this (in lower case) get no answer. None loses nothing.
    lose: bytes | None = None
    lost: int = 0
    carried_bytes: int = 0
    _open: set[asyncio.StreamWriter] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection until either side ends it, or we do."""
        if self.is_cut:
            _drop(writer)
            return
        try:
            back_reader, back_writer = await asyncio.open_connection(LOOPBACK, self.upstream)
        except OSError:
            _drop(writer)
            return
        pair = _Conversation(self, (writer, back_writer))
        self._open |= {writer, back_writer}
        try:
            await asyncio.gather(
                pair.carry(reader, back_writer, is_request=True),
                pair.carry(back_reader, writer, is_request=False),
            )
        except (OSError, asyncio.IncompleteReadError):
            pair.drop()
        finally:
            self._open -= {writer, back_writer}
            writer.close()
            back_writer.close()

    def cut(self) -> None:
        """Reset every connection, and each new one, until `heal`."""
        self.is_cut = True
        for writer in list(self._open):
            _drop(writer)

    def heal(self) -> None:
        self.is_cut, self.delay_s, self.lose = False, 0.0, None


@dataclass(slots=True)
class _Conversation:
    link: Link
    writers: tuple[asyncio.StreamWriter, asyncio.StreamWriter]
    is_doomed: bool = False

    async def carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_request: bool
    ) -> None:
        link = self.link
        while chunk := await reader.read(_CHUNK_BYTES):
            if is_request:
                self.is_doomed = self.is_doomed or _holds(chunk, link.lose)
            elif self.is_doomed:
                # The server has begun to answer, so it has done what was asked.
                link.lost += 1
                self.drop()
                return
            if link.delay_s:
                await asyncio.sleep(link.delay_s)
            link.carried_bytes += len(chunk)
            writer.write(chunk)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()

    def drop(self) -> None:
        for writer in self.writers:
            _drop(writer)


def _holds(chunk: bytes, wanted: bytes | None) -> bool:
    return wanted is not None and wanted in chunk[:8192].lower()


def _drop(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


class Proxies:
    """Links by name. Use it in a `with`; every method may be called from any thread."""

    def __init__(self) -> None:
        self._links: dict[str, Link] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxies", daemon=True)
        self._servers: list[asyncio.Server] = []

    def open(self, name: str, *, port: int, upstream: int) -> Link:
        """Listen on loopback `port` for what goes to loopback `upstream`, which need not serve
        yet. Raises OSError when the port is taken."""
        link = Link(name, port, upstream)
        self._servers.append(self._run(asyncio.start_server(link.serve, LOOPBACK, port)))
        self._links[name] = link
        return link

    def __getitem__(self, name: str) -> Link:
        return self._links[name]

    def __contains__(self, name: str) -> bool:
        return name in self._links

    def cut(self, name: str) -> None:
        self._loop.call_soon_threadsafe(self._links[name].cut)

    def heal(self) -> None:
        for link in self._links.values():
            self._loop.call_soon_threadsafe(link.heal)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _stop(self) -> None:
        for server in self._servers:
            server.close()
        for link in self._links.values():
            link.cut()
        mine = asyncio.current_task()
        rest = [task for task in asyncio.all_tasks() if task is not mine]
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=30)

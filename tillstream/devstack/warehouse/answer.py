"""An answer on its way to the caller: encoded, and sent while the query may still run."""

import asyncio
import logging
import secrets
import string
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress

from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from tillstream.devstack.warehouse.blocks import BlockDeflater
from tillstream.devstack.warehouse.compression import Deflater, deflater
from tillstream.devstack.warehouse.errors import QueryError
from tillstream.devstack.warehouse.native import FRAMED_SINCE, NativeFramer
from tillstream.devstack.warehouse.request import QueryRequest

# ClickHouse's http_send_timeout.
_SEND_TIMEOUT_S = 30.0
# Encoding less than this is quicker than handing it to a thread.
_INLINE_BYTES = 1 << 16


class AnswerCut(Exception):
    """The answer broke off after its beginning was sent, and the caller was told why."""


class HideCuts(logging.Filter):
    """Keeps the web server from logging a cut answer as its own failure."""

    def filter(self, record: logging.LogRecord) -> bool:
        exc_info = record.exc_info
        return not (isinstance(exc_info, tuple) and isinstance(exc_info[1], AnswerCut))


class Encoder:
    """What an answer's bytes go through: Native framing, blocks, HTTP content encoding."""

    def __init__(self, request: QueryRequest) -> None:
        answer = request.answer
        self._framer: NativeFramer | None = None
        self._deflaters: list[Deflater] = []
        if request.output_format is None:
            return
        if answer.revision >= FRAMED_SINCE and request.output_format == "Native":
            self._framer = NativeFramer()
        if answer.blocks:
            self._deflaters.append(BlockDeflater())
        if answer.encoding:
            self._deflaters.append(deflater(answer.encoding))

    async def encode(self, chunks: Sequence[bytes | memoryview], *, last: bool) -> bytes:
        if sum(map(len, chunks)) < _INLINE_BYTES:
            return self._encode(chunks, last)
        return await asyncio.to_thread(self._encode, chunks, last)

    def broken_off(self, error: bytes) -> bytes:
        """The end of an answer that failed: what was begun is dropped for the error."""
        self._framer = None
        return self._encode((error,), last=True)

    def _encode(self, chunks: Sequence[bytes | memoryview], last: bool) -> bytes:
        stages: list[Deflater] = [*([self._framer] if self._framer else []), *self._deflaters]
        if not stages:
            return b"".join(chunks)
        for stage in stages:
            encoded = [stage.compress(chunk) for chunk in chunks]
            chunks = [*encoded, stage.flush()] if last else encoded
        return b"".join(chunks)


def new_exception_tag() -> str:
    return "".join(secrets.choice(string.ascii_lowercase) for _ in range(16))


def exception_frame(text: str, tag: str) -> bytes:
    """How ClickHouse reports an error inside an answer (16 KiB at most)."""
    message = text.encode()[: (16 << 10) - 128]
    return b"\r\n__exception__\r\n%s\r\n%s\n%d %s\r\n__exception__\r\n" % (
        tag.encode(), message.rstrip(b"\n"), len(message.rstrip(b"\n")) + 1, tag.encode()
    )  # fmt: skip


async def until_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class Flow:
    """Sends an answer as it is made; a caller that stops reading for 30 s or leaves ends it.

    `rest` yields what follows `head`, and raises QueryError when the query fails after all.
    `give_up` is awaited when the answer ends early, `done` is called in every case.
    """

    def __init__(
        self,
        head: bytes,
        rest: AsyncIterator[bytes],
        *,
        headers: Mapping[str, str],
        cut: Callable[[QueryError], bytes],
        give_up: Callable[[], Awaitable[None]],
        done: Callable[[], None],
    ) -> None:
        self._head = head
        self._rest = rest
        self._headers = [(k.lower().encode(), v.encode()) for k, v in headers.items()]
        self._cut = cut
        self._give_up = give_up
        self._done = done

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sending = asyncio.ensure_future(self._send(send))
        left = asyncio.ensure_future(until_disconnect(receive))
        try:
            await asyncio.wait({sending, left}, return_when=asyncio.FIRST_COMPLETED)
            if not sending.done():
                raise ClientDisconnect
            await sending
        except BaseException as exc:
            sending.cancel()
            with suppress(asyncio.CancelledError, AnswerCut, TimeoutError):
                await sending
            await self._give_up()
            if isinstance(exc, TimeoutError):
                raise AnswerCut("the caller does not read") from exc
            if not isinstance(exc, ClientDisconnect):
                raise
        finally:
            left.cancel()
            self._done()

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self._headers})
        try:
            await self._body(send, self._head)
            async for chunk in self._rest:
                await self._body(send, chunk)
        except QueryError as exc:
            await self._body(send, self._cut(exc))
            # Only an incomplete body tells every caller that something is missing.
            raise AnswerCut(str(exc)) from exc
        await send({"type": "http.response.body", "body": b""})

    async def _body(self, send: Send, chunk: bytes) -> None:
        if chunk:
            async with asyncio.timeout(_SEND_TIMEOUT_S):
                await send({"type": "http.response.body", "body": chunk, "more_body": True})

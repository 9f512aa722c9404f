"""ClickHouse's HTTP interface over the engine, as an ASGI application."""

import asyncio
import tempfile
import uuid
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any, cast
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from tillstream.devstack.warehouse.compression import Deflater, choose_encoding, deflater
from tillstream.devstack.warehouse.engine import Engine, Reply
from tillstream.devstack.warehouse.errors import UNKNOWN_EXCEPTION, QueryError
from tillstream.devstack.warehouse.request import Credentials, build_request
from tillstream.devstack.warehouse.response import identity_headers, reply_headers

CHUNK_BYTES = 1 << 20
# Bodies up to this size stay in memory, larger ones go to the spool folder.
_SPOOL_ABOVE_BYTES = 8 << 20
_MAX_FORM_FIELD_BYTES = 1 << 28
_CANCEL_ON_CLOSE = "cancel_http_readonly_queries_on_client_close"


@dataclass(frozen=True, slots=True)
class _Answer:
    reply: Reply
    headers: Mapping[str, str]
    encoding: str | None
    content: bytes | None
    """The encoded body when it is short; a long one is encoded while it is sent."""


class Interface:
    """Serves one engine to one user. Queries run in `workers`, never on the event loop."""

    def __init__(
        self, engine: Engine, *, credentials: Credentials, workers: ThreadPoolExecutor
    ) -> None:
        self._engine = engine
        self._credentials = credentials
        self._workers = workers

    def app(self) -> Starlette:
        methods = ["GET", "POST", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"]
        return Starlette(
            routes=[
                Route("/", self.root, methods=methods),
                Route("/ping", _ok, methods=methods),
                Route("/replicas_status", _ok, methods=methods),
            ],
            exception_handlers={HTTPException: _no_handle},
        )

    async def root(self, request: Request) -> Response:
        params = dict(parse_qsl(request.url.query, keep_blank_values=True))
        if request.method in ("GET", "HEAD") and not params.get("query"):
            return await _ok(request)
        if not params.get("query_id"):
            params["query_id"] = str(uuid.uuid4())
        try:
            return await self._serve(request, params)
        except QueryError as exc:
            headers = identity_headers(params["query_id"], "UTC")
            headers["X-ClickHouse-Exception-Code"] = str(exc.code)
            if exc.status == 401:
                headers["WWW-Authenticate"] = 'Basic realm="ClickHouse server HTTP API"'
            return PlainTextResponse(exc.body(self._engine.version), exc.status, headers)
        except ClientDisconnect:
            return PlainTextResponse("the client left", 499)

    async def _serve(self, request: Request, params: dict[str, str]) -> Response:
        self._credentials.check(request.headers, params)
        if request.method not in ("GET", "HEAD", "POST"):
            return PlainTextResponse("Method not allowed\n", 405)
        files: dict[str, bytes] = {}
        with tempfile.SpooledTemporaryFile(
            max_size=_SPOOL_ABOVE_BYTES, dir=str(self._engine.spool)
        ) as spool:
            if request.headers.get("content-type", "").startswith("multipart/form-data"):
                await _read_form(request, params, files)
            else:
                async for chunk in request.stream():
                    spool.write(chunk)
            body = cast(IO[bytes], spool)
            work = asyncio.get_running_loop().run_in_executor(
                self._workers, self._answer, request.method, request.headers, params, body, files
            )
            try:
                answer = await self._finished(work, request, params)
            finally:
                if not work.done():
                    # The worker still reads the spool: leave it open until it is done.
                    with suppress(QueryError):
                        await asyncio.shield(work)
        return _respond(request.method, answer)

    def _answer(
        self,
        method: str,
        headers: Mapping[str, str],
        params: dict[str, str],
        body: IO[bytes],
        files: dict[str, bytes],
    ) -> _Answer:
        request = build_request(
            method=method, headers=headers, params=params, body=body, files=files
        )
        try:
            reply = self._engine.run(request)
        except (MemoryError, OSError, TypeError, ValueError) as exc:
            # The binding's own refusals, such as text that UTF-8 cannot hold.
            raise QueryError(UNKNOWN_EXCEPTION, f"{type(exc).__name__}: {exc}") from exc
        encoding = None
        if request.settings.get("enable_http_compression", "1") not in ("0", "false"):
            encoding = choose_encoding(headers.get("accept-encoding", ""))
        view = reply.body
        content: bytes | None = b""
        if view is None:
            encoding = None
        elif len(view) > CHUNK_BYTES:
            content = None
        elif encoding is None:
            content = bytes(view)
        else:
            pipe = deflater(encoding)
            content = pipe.compress(view) + pipe.flush()
        answer_headers = {
            **identity_headers(request.query_id, request.settings.get("session_timezone") or "UTC"),
            **reply_headers(reply),
        }
        if encoding:
            answer_headers["Content-Encoding"] = encoding
        return _Answer(reply, answer_headers, encoding, content)

    async def _finished(
        self, work: "asyncio.Future[_Answer]", request: Request, params: Mapping[str, str]
    ) -> _Answer:
        """Wait for the worker; a read-only query whose client hangs up is cancelled."""
        if params.get(_CANCEL_ON_CLOSE, "0") not in ("1", "true"):
            return await work
        done, _ = await asyncio.wait({work}, timeout=0.05)
        if done:
            return work.result()
        left = asyncio.ensure_future(_until_disconnect(request))
        either: set[asyncio.Future[Any]] = {work, left}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                await asyncio.get_running_loop().run_in_executor(
                    None, self._engine.cancel_read, params["query_id"]
                )
            return await work
        finally:
            left.cancel()


async def _until_disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _read_form(request: Request, params: dict[str, str], files: dict[str, bytes]) -> None:
    async with request.form(
        max_files=1000, max_fields=10_000, max_part_size=_MAX_FORM_FIELD_BYTES
    ) as form:
        for name, value in form.multi_items():
            if isinstance(value, UploadFile):
                files[name] = await value.read()
            else:
                params[name] = value


def _respond(method: str, answer: _Answer) -> Response:
    headers = dict(answer.headers)
    if answer.content is not None or method == "HEAD":
        return Response(answer.content or b"", headers=headers)
    return StreamingResponse(_stream(answer), headers=headers)


async def _stream(answer: _Answer) -> AsyncIterator[bytes]:
    view = answer.reply.body
    if view is None:
        return
    pipe: Deflater | None = deflater(answer.encoding) if answer.encoding else None
    for start in range(0, len(view), CHUNK_BYTES):
        part = view[start : start + CHUNK_BYTES]
        if pipe is None:
            yield bytes(part)
        elif chunk := await asyncio.to_thread(pipe.compress, part):
            yield chunk
    if pipe is not None:
        yield pipe.flush()


async def _ok(_: Request) -> Response:
    return PlainTextResponse("Ok.\n", media_type="text/html")


async def _no_handle(request: Request, _: Exception) -> Response:
    return PlainTextResponse(
        f"There is no handle {request.url.path}\n\n"
        "Use / or /ping for health checks.\n"
        "Send queries from your program with POST method or GET /?query=...\n",
        404,
    )

"""ClickHouse's HTTP interface over the engine, as an ASGI application."""

import asyncio
import tempfile
import time
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import IO, Any, cast
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from tillstream.devstack.warehouse.admission import Admission, Turn
from tillstream.devstack.warehouse.answer import (
    Encoder,
    Flow,
    exception_frame,
    new_exception_tag,
    until_disconnect,
)
from tillstream.devstack.warehouse.cache import AnswerCache
from tillstream.devstack.warehouse.engine import Engine, Reply
from tillstream.devstack.warehouse.errors import QueryError, binding_error
from tillstream.devstack.warehouse.guests import Guest, Guests
from tillstream.devstack.warehouse.query import Beginning, Query
from tillstream.devstack.warehouse.request import Credentials, QueryRequest, build_request
from tillstream.devstack.warehouse.response import answer_headers, identity_headers

# Bodies up to this size stay in memory, larger ones go to the spool folder.
_SPOOL_ABOVE_BYTES = 8 << 20
_MAX_FORM_FIELD_BYTES = 1 << 28
_READ_INLINE_BYTES = 1 << 16


class Interface:
    """Serves one engine to one user, who may do anything, and to guests, who may ask for named
    queries. Queries run in `workers`, never on the event loop."""

    def __init__(
        self,
        engine: Engine,
        *,
        credentials: Credentials,
        workers: ThreadPoolExecutor,
        admission: Admission,
        guests: Guests | None = None,
    ) -> None:
        self._engine = engine
        self._credentials = credentials
        self._workers = workers
        self._admission = admission
        self._guests = guests or Guests(None)
        self._cache = AnswerCache()

    def app(self) -> Starlette:
        methods = ["GET", "POST", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"]
        return Starlette(
            routes=[
                Route("/ping", _ok, methods=methods),
                Route("/replicas_status", _ok, methods=methods),
                # Queries come to any path: the ODBC driver's is /query, curl -T adds a file name.
                Route("/{path:path}", self.root, methods=methods),
            ],
        )

    async def root(self, request: Request) -> ASGIApp:
        params = dict(parse_qsl(request.url.query, keep_blank_values=True))
        if request.method in ("GET", "HEAD") and not params.get("query"):
            return await (_ok(request) if request.url.path == "/" else _no_handle(request))
        query_id = params["query_id"] = params.get("query_id") or str(uuid.uuid4())
        guest: Guest | None = None
        began = time.monotonic()
        try:
            guest = self._guests.find(request.headers, params)
            if guest is None:
                self._credentials.check(request.headers, params)
            if request.method not in ("GET", "HEAD", "POST"):
                return PlainTextResponse("Method not allowed\n", 405)
            self._admission.enter(query_id)
        except QueryError as exc:
            return self._refusal(exc, query_id)
        flows: ASGIApp | None = None
        asked = params.get("query", "")
        code = 0
        try:
            if guest is not None:
                params = guest.request(request.headers, params, self._guests.database)
            answer = await self._serve(request, params, reads_body=guest is None)
            flows = answer if isinstance(answer, Flow) else None
        except QueryError as exc:
            answer, code = self._refusal(exc, query_id), exc.code
        except ClientDisconnect:
            answer = PlainTextResponse("the client left", 499)
        finally:
            if flows is None:
                self._admission.leave(query_id)
            if guest is not None:
                self._guests.note(guest, query=asked, code=code, began=began)
        return answer

    def _refusal(self, exc: QueryError, query_id: str) -> Response:
        headers = identity_headers(query_id, "UTC")
        headers["X-ClickHouse-Exception-Code"] = str(exc.code)
        if exc.status == 401:
            headers["WWW-Authenticate"] = 'Basic realm="ClickHouse server HTTP API"'
        return PlainTextResponse(exc.body(self._engine.version), exc.status, headers)

    async def _serve(
        self, request: Request, params: dict[str, str], *, reads_body: bool
    ) -> ASGIApp:
        with tempfile.SpooledTemporaryFile(
            max_size=_SPOOL_ABOVE_BYTES, dir=str(self._engine.spool)
        ) as spool:
            parsed = await self._read(
                request, params, cast(IO[bytes], spool), reads_body=reads_body
            )
            encoder = Encoder(parsed)
            async with self._cache.answering(parsed) as kept:
                if kept is not None:
                    age = {"Age": str(self._cache.age_s(kept))}
                    return await _whole(request, parsed, encoder, kept.body, kept.reply, age)
                return await self._in_turn(request, parsed, encoder)

    async def _in_turn(self, request: Request, parsed: QueryRequest, encoder: Encoder) -> ASGIApp:
        # A reader that says it matters takes turns with the writes.
        urgent = not parsed.statement.returns_rows or parsed.settings.get("priority") == "1"
        async with self._admission.turn(urgent=urgent) as turn:
            if turn.waited and await request.is_disconnected():
                raise ClientDisconnect
            query = Query(parsed, self._engine, self._workers)
            try:
                return await self._answer(request, query, encoder, turn)
            except BaseException:
                query.close()
                raise
            finally:
                if parsed.statement.insert_format is not None and not query.work.done():
                    # The worker still reads the spool: leave it open until it is done.
                    with suppress(QueryError):
                        await asyncio.shield(query.work)

    async def _read(
        self, request: Request, params: dict[str, str], spool: IO[bytes], *, reads_body: bool
    ) -> QueryRequest:
        files: dict[str, bytes] = {}
        if not reads_body:
            pass
        elif request.headers.get("content-type", "").startswith("multipart/form-data"):
            await _read_form(request, params, files)
        else:
            async for chunk in request.stream():
                try:
                    spool.write(chunk)
                except OSError as exc:
                    raise binding_error(exc) from exc

        def build() -> QueryRequest:
            return build_request(
                method=request.method,
                headers=request.headers,
                params=params,
                body=spool,
                files=files,
            )

        if spool.tell() + len(params.get("query", "")) < _READ_INLINE_BYTES:
            return build()
        return await asyncio.get_running_loop().run_in_executor(self._workers, build)

    async def _answer(
        self, request: Request, query: Query, encoder: Encoder, turn: Turn
    ) -> ASGIApp:
        parsed = query.request
        beginning = await self._beginning(request, query)
        if beginning.complete or request.method == "HEAD":
            body = b"".join(beginning.chunks)
            if not beginning.complete:
                await query.give_up()
            else:
                query.close()
                if beginning.reply is not None:
                    self._cache.keep(parsed, body, beginning.reply)
            return await _whole(request, parsed, encoder, body, beginning.reply)
        tag = new_exception_tag()
        headers = answer_headers(
            parsed, beginning.reply, tag=tag, result_bytes=sum(map(len, beginning.chunks))
        )
        turn.give_back()

        def done() -> None:
            query.close()
            self._admission.leave(parsed.query_id)

        return Flow(
            await encoder.encode(beginning.chunks, last=False),
            query.rest(encoder),
            headers=headers,
            cut=lambda exc: encoder.broken_off(
                exception_frame(exc.body(self._engine.version), tag)
            ),
            give_up=query.give_up,
            done=done,
        )

    async def _beginning(self, request: Request, query: Query) -> Beginning:
        """Wait for the answer's beginning; a read whose client hangs up is cancelled if wished."""
        beginning = asyncio.ensure_future(query.beginning())
        if query.request.answer.cancel_when_left:
            done, _ = await asyncio.wait({beginning}, timeout=0.05)
            if not done:
                left = asyncio.ensure_future(until_disconnect(request.receive))
                either: set[asyncio.Future[Any]] = {beginning, left}
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
                left.cancel()
                if not beginning.done():
                    await query.cancel()
        return await beginning


async def _whole(
    request: Request,
    parsed: QueryRequest,
    encoder: Encoder,
    body: bytes,
    reply: Reply | None,
    more_headers: Mapping[str, str] | None = None,
) -> Response:
    """An answer that is there from its beginning to its end."""
    headers = answer_headers(parsed, reply, tag=new_exception_tag(), result_bytes=len(body))
    content = b"" if request.method == "HEAD" else await encoder.encode((body,), last=True)
    return Response(content, headers={**headers, **(more_headers or {})})


async def _read_form(request: Request, params: dict[str, str], files: dict[str, bytes]) -> None:
    async with request.form(
        max_files=1000, max_fields=10_000, max_part_size=_MAX_FORM_FIELD_BYTES
    ) as form:
        for name, value in form.multi_items():
            if isinstance(value, UploadFile):
                files[name] = await value.read()
            else:
                params[name] = value


async def _ok(_: Request) -> Response:
    return PlainTextResponse("Ok.\n", media_type="text/html")


async def _no_handle(request: Request) -> Response:
    return PlainTextResponse(
        f"There is no handle {request.url.path}\n\n"
        "Use / or /ping for health checks.\n"
        "Send queries from your program with POST method or GET /?query=...\n",
        404,
    )

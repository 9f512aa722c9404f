"""Metrics of the embedded warehouse's HTTP interface, gathered around the application."""

import time
from collections.abc import MutableMapping
from typing import Any, Final
from urllib.parse import parse_qs

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tillstream.telemetry.stream import STEP_BUCKETS

PATH: Final = "/metrics"
_KINDS: Final = frozenset(
    (
        *("alter", "attach", "create", "delete", "desc", "describe", "drop", "exists", "explain"),
        *("insert", "kill", "optimize", "rename", "select", "set", "show", "system", "truncate"),
        *("use", "with"),
    )
)
_PEEK_BYTES: Final = 256


class FrontMetrics:
    """Counts requests of one application."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self.registry = registry
        self.requests = Counter(
            "tillstream_warehouse_requests",
            "Requests by first word of the statement and error code (0: none).",
            ["kind", "code"],
            registry=registry,
        )
        self.seconds = Histogram(
            "tillstream_warehouse_request_seconds",
            "Time until the last byte of the answer was sent.",
            ["kind"],
            buckets=STEP_BUCKETS,
            registry=registry,
        )
        self.bytes = Counter(
            "tillstream_warehouse_bytes",
            "Bytes of requests (in) and answers (out), as on the wire.",
            ["direction"],
            registry=registry,
        )
        self.damaged = Counter(
            "tillstream_warehouse_damaged_parts",
            "Parts that could not be read: put aside and replaced (healed), put aside (lost),"
            " or still in their table (failed).",
            ["outcome"],
            registry=registry,
        )
        self.running = Gauge(
            "tillstream_warehouse_running_requests", "Requests under way.", registry=registry
        )


class Observed:
    """`app` with its requests counted, and the metrics of the process at `/metrics`.

    The metrics need no password: they hold figures, never a statement or a value.
    """

    def __init__(self, app: ASGIApp, metrics: FrontMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif scope["path"] == PATH:
            answer = Response(
                generate_latest(self._metrics.registry), media_type=CONTENT_TYPE_LATEST
            )
            await answer(scope, receive, send)
        else:
            await self._count(scope, receive, send)

    async def _count(self, scope: Scope, receive: Receive, send: Send) -> None:
        metrics = self._metrics
        given = parse_qs(scope["query_string"], keep_blank_values=True).get(b"query", [b""])[0]
        seen = _Seen(start=given[:_PEEK_BYTES], is_ping=scope["path"] != "/")

        async def counted_receive() -> Message:
            message = await receive()
            if body := message.get("body"):
                metrics.bytes.labels("in").inc(len(body))
                if len(seen.start) < _PEEK_BYTES:
                    seen.start += b" " + bytes(body[:_PEEK_BYTES])
            return message

        async def counted_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                seen.code = _code(message)
            elif body := message.get("body"):
                metrics.bytes.labels("out").inc(len(body))
            await send(message)

        began = time.perf_counter()
        with metrics.running.track_inprogress():
            try:
                await self._app(scope, counted_receive, counted_send)
            except BaseException:
                seen.code = "broken"  # the client left, or the answer ended in an error
                raise
            finally:
                kind = seen.kind
                metrics.requests.labels(kind, seen.code).inc()
                metrics.seconds.labels(kind).observe(time.perf_counter() - began)


class _Seen:
    """What one request turned out to be."""

    def __init__(self, *, start: bytes, is_ping: bool) -> None:
        self.start = start
        self.code = "broken"
        self._is_ping = is_ping

    @property
    def kind(self) -> str:
        """The statement's first word, where it can be read: one that is compressed, or begins with
        a comment, is "other". So the number of kinds stays small, whatever clients send."""
        if self._is_ping:
            return "ping"
        words = self.start.lstrip(b" \t\r\n(").split(maxsplit=1)
        word = words[0].lower().decode("ascii", "replace") if words else "ping"
        return word if word in _KINDS or word == "ping" else "other"


def _code(message: MutableMapping[str, Any]) -> str:
    headers = dict(message.get("headers", ()))
    code = headers.get(b"x-clickhouse-exception-code")
    if code is not None:
        return str(code.decode("ascii", "replace"))
    return "0" if message["status"] < 400 else f"http-{message['status']}"

"""What every request and answer must have, whatever page it is for."""

import re
from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BODY_BYTES = 64 * 1024

_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "manifest-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ]
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
_PORT = re.compile(r":\d+$")


class Guard:
    """Refuses foreign host names (a web page elsewhere can point its own name at this machine) and
    long bodies; adds the security headers to every answer."""

    def __init__(self, app: ASGIApp, *, hosts: Collection[str], https: bool) -> None:
        self._app = app
        self._hosts = frozenset(hosts)
        self._headers = dict(_HEADERS)
        if https:
            self._headers["strict-transport-security"] = "max-age=31536000"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        answer = self._refused(headers)
        if answer is not None:
            await answer(scope, receive, self._with_headers(scope, send))
            return
        await self._app(scope, _limited(receive), self._with_headers(scope, send))

    def _refused(self, headers: Headers) -> PlainTextResponse | None:
        host = _PORT.sub("", headers.get("host", "")).lower()
        if self._hosts and host not in self._hosts:
            return PlainTextResponse(
                f"this console does not answer to the name {host!r}: start it with --name\n", 421
            )
        length = headers.get("content-length", "0")
        if not length.isascii() or not length.isdigit():
            return PlainTextResponse("Content-Length must be a number\n", 400)
        if len(length) > 12 or int(length) > MOST_BODY_BYTES:
            return PlainTextResponse(f"a body has at most {MOST_BODY_BYTES:,} bytes\n", 413)
        return None

    def _with_headers(self, scope: Scope, send: Send) -> Send:
        kept = scope["path"].startswith("/static/")

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers[name] = value
                # A file's address changes with its content: browsers may keep it.
                headers["cache-control"] = "max-age=31536000, immutable" if kept else "no-store"
            await send(message)

        return sending


def _limited(receive: Receive) -> Receive:
    seen = 0

    async def receiving() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > MOST_BODY_BYTES:
            raise HTTPException(413, f"a body has at most {MOST_BODY_BYTES:,} bytes")
        return message

    return receiving

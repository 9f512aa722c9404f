"""Posting JSON, and what the answer means."""

import json
import ssl
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from tillstream.clock import Clock, SystemClock
from tillstream.oncall.channels.channel import TAKEN, Answer, Verdict

_QUOTED_CHARS = 200
_READ_BYTES = 4096
_LONGEST_WAIT_S = 900.0
# A page cannot be right one day where it is wrong now, but the address or the key may be corrected.
_BROKEN = frozenset({401, 402, 403, 404, 405, 407, 410})
_LATER = frozenset({408, 425, 429})


class JsonPost:
    """One address. Redirects are not followed: the page would go where nobody said."""

    def __init__(self, url: str, *, timeout_s: float, clock: Clock | None = None) -> None:
        self._url = url
        self._clock = clock or SystemClock()
        self._http = httpx.Client(timeout=timeout_s, follow_redirects=False)

    def post(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> Answer:
        return self.post_bytes(json.dumps(body, ensure_ascii=False).encode(), headers)

    def post_bytes(self, content: bytes, headers: Mapping[str, str]) -> Answer:
        kind = {"Content-Type": "application/json; charset=utf-8", "User-Agent": "tillstream"}
        try:
            with self._http.stream(
                "POST", self._url, content=content, headers={**kind, **headers}
            ) as response:
                return self._answer(response)
        except httpx.TimeoutException:
            return Answer(Verdict.LATER, "no answer in time")
        except httpx.ConnectError as exc:
            return _unreached(exc)
        except (httpx.TransportError, httpx.DecodingError) as exc:
            return Answer(Verdict.LATER, f"the connection broke ({type(exc).__name__})")
        except httpx.InvalidURL:
            return Answer(Verdict.BROKEN, "its address is not one")

    def close(self) -> None:
        self._http.close()

    def _answer(self, response: httpx.Response) -> Answer:
        code = response.status_code
        if response.is_success:
            _start_of(response)  # a short answer that was read lets the connection be used again
            return TAKEN
        said = f"HTTP {code}"
        if quoted := _start_of(response):
            said = f"{said}: {quoted}"
        if code in _LATER or code >= 500:
            return Answer(Verdict.LATER, said, self._retry_after_s(response))
        if code in _BROKEN or response.is_redirect:
            return Answer(Verdict.BROKEN, said)
        return Answer(Verdict.REFUSED, said)

    def _retry_after_s(self, response: httpx.Response) -> float:
        """Seconds, or a date; nothing when it is neither."""
        value = response.headers.get("Retry-After", "").strip()
        if value.isdigit():
            return min(float(value), _LONGEST_WAIT_S)
        try:
            at_s = parsedate_to_datetime(value).timestamp()
        except ValueError:
            return 0.0
        return min(max(at_s - self._clock.now_ms() / 1000, 0.0), _LONGEST_WAIT_S)


def _start_of(response: httpx.Response) -> str:
    """The beginning of a text that the other side says; it may be long, or never end."""
    try:
        start = next(response.iter_raw(_READ_BYTES), b"")
    except httpx.HTTPError:
        return ""
    text = start.decode("utf-8", "replace")
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:_QUOTED_CHARS]


def _unreached(exc: httpx.ConnectError) -> Answer:
    cause: BaseException | None = exc
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return Answer(Verdict.BROKEN, f"its certificate is refused: {cause.verify_message}")
        cause = cause.__cause__ or cause.__context__
    return Answer(Verdict.LATER, "cannot be reached")

"""Any program that takes a JSON document over HTTP."""

import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import Any

from tillstream.oncall.channels.channel import Answer
from tillstream.oncall.channels.http import JsonPost
from tillstream.oncall.records import Page


class Webhook:
    """`Idempotency-Key` is the page id. With a signing key, `X-Tillstream-Signature` is
    `sha256=` and the HMAC-SHA256 of the body in hex; with a token, it is sent as a bearer's."""

    def __init__(
        self, url: str, *, timeout_s: float, token: str = "", signing_key: str = ""
    ) -> None:
        self._http = JsonPost(url, timeout_s=timeout_s)
        self._token = token
        self._key = signing_key.encode()

    def send(self, page: Page) -> Answer:
        content = json.dumps(document(page), ensure_ascii=False).encode()
        headers = {"Idempotency-Key": page.page_id}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        if self._key:
            signature = hmac.new(self._key, content, hashlib.sha256).hexdigest()
            headers["X-Tillstream-Signature"] = f"sha256={signature}"
        return self._http.post_bytes(content, headers)

    def close(self) -> None:
        self._http.close()


def document(page: Page) -> dict[str, Any]:
    """A page as plain data."""
    content = page.content
    return {
        "page_id": page.page_id,
        "dedup_key": page.key,
        "event": page.event,
        "step": page.step,
        "to": page.target,
        "address": page.via.address or None,
        "sent_for": _iso(page.created_ms),
        "severity": content.severity,
        "summary": content.summary,
        "source": content.source,
        "opened_at": _iso(content.opened_at_ms),
        "note": page.note or None,
        "details": dict(content.details),
        "links": [{"text": text, "href": href} for href, text in content.links],
    }


def _iso(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, tz=UTC).isoformat(timespec="milliseconds")

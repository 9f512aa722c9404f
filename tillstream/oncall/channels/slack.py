"""Slack, by an incoming webhook.

https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks
"""

from typing import Any

from tillstream.oncall.channels.channel import Answer
from tillstream.oncall.channels.http import JsonPost
from tillstream.oncall.records import Page

_SECTION_CHARS = 3000
_MARKS = {"critical": ":red_circle:", "high": ":large_orange_circle:"}
_HEADS = {"acknowledge": ":eyes: Answered", "resolve": ":white_check_mark: Over"}


class Slack:
    """One room. A person's address is their member id (U024BE7LH), which is mentioned."""

    def __init__(self, url: str, *, timeout_s: float) -> None:
        self._http = JsonPost(url, timeout_s=timeout_s)

    def send(self, page: Page) -> Answer:
        return self._http.post(message(page), {})

    def close(self) -> None:
        self._http.close()


def message(page: Page) -> dict[str, Any]:
    """The page as a message; `text` is what a phone shows of it."""
    content = page.content
    if page.event == "trigger":
        mark = _MARKS.get(content.severity, ":large_yellow_circle:")
        mention = f"<@{escape(page.via.address)}> " if page.via.address else ""
        head = f"{mark} {mention}*{escape(content.summary)}*"
    else:
        note = f" {escape(page.note)}" if page.note else ""
        head = f"{_HEADS[page.event]}: {escape(content.summary)}{note}"
    lines = [head]
    if page.event == "trigger":
        lines += [f"{name.replace('_', ' ')}: {escape(str(value))}" for name, value in _shown(page)]
    lines += [f"<{href}|{escape(text)}>" for href, text in content.links]
    body = "\n".join(lines)
    return {
        "text": head[:_SECTION_CHARS],
        "blocks": [
            {"type": "section", "text": {"type": "mrkdwn", "text": body[:_SECTION_CHARS]}},
            {
                "type": "context",
                "elements": [{"type": "mrkdwn", "text": f"{escape(page.key)} · {page.page_id}"}],
            },
        ],
    }


def escape(text: str) -> str:
    """What Slack asks for, so that a product's name cannot mention the whole room."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _shown(page: Page) -> list[tuple[str, Any]]:
    details = page.content.details.items()
    return [(name, value) for name, value in details if isinstance(value, str | int | float)]

"""What a channel is, whatever carries the message."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from tillstream.oncall.records import Page


class Verdict(StrEnum):
    TAKEN = "taken"
    """The other side answered that it has the page."""
    LATER = "later"
    """It may work later. When no answer came, it may even have been taken."""
    REFUSED = "refused"
    """Not this page, whenever it is sent; others may go through."""
    BROKEN = "broken"
    """Nothing goes through until somebody corrects something: a key, an address, a certificate."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`problem` never holds a secret: no address of a webhook, no key."""

    verdict: Verdict
    problem: str = ""
    retry_after_s: float = 0.0


TAKEN = Answer(Verdict.TAKEN)


class Channel(Protocol):
    """Sends one page at a time and says what came of it; raises nothing that the other side can
    cause. Sending the same page again carries the same page id and deduplication key. Used by one
    thread."""

    def send(self, page: Page) -> Answer: ...

    def close(self) -> None: ...

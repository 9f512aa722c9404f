"""What the outbox keeps, as Python sees it."""

from dataclasses import dataclass

from tillstream.oncall.policy import Reach
from tillstream.oncall.subjects import Content


@dataclass(frozen=True, slots=True)
class Page:
    """A message that waits for its channel. `event` is trigger, acknowledge or resolve."""

    page_id: str
    key: str
    event: str
    round: int
    step: int
    target: str
    content: Content
    note: str
    reach: tuple[Reach, ...]
    position: int
    attempts: int
    created_ms: int

    @property
    def via(self) -> Reach:
        return self.reach[self.position]


@dataclass(frozen=True, slots=True)
class ChannelHealth:
    """`failures` in a row; nothing is tried before `retry_ms`."""

    name: str
    failures: int = 0
    failing_since_ms: int | None = None
    dead: bool = False
    retry_ms: int = 0
    last_ok_ms: int | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Escalation:
    """Something the pager did that belongs into the log of actions."""

    key: str
    round: int
    level: int
    alert_ids: tuple[str, ...]
    at_ms: int

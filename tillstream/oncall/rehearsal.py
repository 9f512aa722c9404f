"""Test messages: sent at once, past the outbox, to see with one's own eyes that they arrive."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tillstream.errors import ConfigError
from tillstream.oncall.channels.channel import Answer
from tillstream.oncall.channels.opening import open_channel
from tillstream.oncall.credentials import find_secrets
from tillstream.oncall.deciding import targets_now
from tillstream.oncall.policy import Policy, Reach
from tillstream.oncall.policy_file import read_policy
from tillstream.oncall.records import Page
from tillstream.oncall.subjects import Content


@dataclass(frozen=True, slots=True)
class Rehearsed:
    channel: str
    address: str
    answer: Answer

    def as_json(self) -> dict[str, Any]:
        return {
            "channel": self.channel,
            "address": self.address or None,
            "answer": self.answer.verdict.value,
            "problem": self.answer.problem,
        }


def rehearse(
    path: Path,
    target: str | None,
    *,
    environment: Mapping[str, str],
    now_ms: int,
    message_id: str,
) -> list[Rehearsed]:
    """Send one test message through every channel of the target; what each answered. Raises
    PolicyError for a policy that is wrong, ConfigError for a target that reaches nobody."""
    policy = read_policy(path)
    secrets = find_secrets(policy, environment)
    results: list[Rehearsed] = []
    for name, reach in _wanted(policy, target, now_ms):
        channel = open_channel(policy.channels[reach.channel], secrets[reach.channel])
        try:
            page = _page(name, reach, now_ms, f"{message_id}-{len(results)}")
            results.append(Rehearsed(reach.channel, reach.address, channel.send(page)))
        finally:
            channel.close()
    return results


def _wanted(policy: Policy, target: str | None, now_ms: int) -> list[tuple[str, Reach]]:
    if target is None:
        # A channel that needs an address has none of its own: its people's are used.
        own = {
            one.channel: (person.key, one)
            for person in reversed(list(policy.people.values()))
            for one in reversed(person.reach)
        }
        return [own.get(name, (name, Reach(name))) for name in policy.channels]
    known = [*policy.schedules, *policy.people, *policy.channels]
    if target not in known:
        raise ConfigError(
            f"the policy knows nothing called {target!r}", hint=f"there are: {', '.join(known)}"
        )
    reached = targets_now((target,), policy, now_ms=now_ms)
    if not reached:
        raise ConfigError(
            f"nobody is on call in {target} now", hint="`tillstream oncall who` lists the shifts"
        )
    return [(name, one) for name, reach in reached.items() for one in reach]


def _page(name: str, reach: Reach, now_ms: int, message_id: str) -> Page:
    return Page(
        page_id=message_id,
        key=f"tillstream/test/{message_id}",
        event="trigger",
        round=1,
        step=1,
        target=name,
        content=Content(
            summary="This is a test of the pager: nothing is wrong.",
            source="tillstream oncall test",
            severity="low",
            opened_at_ms=now_ms,
            component="pager",
        ),
        note="",
        reach=(reach,),
        position=0,
        attempts=0,
        created_ms=now_ms,
    )

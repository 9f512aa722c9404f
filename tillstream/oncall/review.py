"""What is allowed in a policy and probably not meant."""

from datetime import datetime

from tillstream.oncall.policy import Policy, When
from tillstream.oncall.schedules import shifts


def review(policy: Policy, *, start_ms: int, end_ms: int) -> list[str]:
    """Remarks, each a sentence: alerts that page nobody, rules that are never reached, times in
    which nobody is on call, names that nothing uses."""
    return [*_coverage(policy), *_gaps(policy, start_ms, end_ms), *_unused(policy)]


def _coverage(policy: Policy) -> list[str]:
    catch_all = next((n for n, rule in enumerate(policy.rules) if rule.when == When()), None)
    if catch_all is None:
        return ["no rule takes every alert: what none of them takes pages nobody"]
    return [
        f"rule {rule.name!r} is never reached: {policy.rules[catch_all].name!r} before it takes"
        " every alert"
        for rule in policy.rules[catch_all + 1 :]
    ]


def _gaps(policy: Policy, start_ms: int, end_ms: int) -> list[str]:
    found = []
    for name, schedule in policy.schedules.items():
        gaps = [one for one in shifts(schedule, start_ms, end_ms) if one.person is None]
        if gaps:
            first = datetime.fromtimestamp(gaps[0].start_ms / 1000, tz=schedule.zone)
            more = f", and {len(gaps) - 1} times more in these weeks" if len(gaps) > 1 else ""
            found.append(
                f"nobody is on call in {name} from {first:%Y-%m-%d %H:%M}{more}:"
                " the next step is taken at once then"
            )
    return found


def _unused(policy: Policy) -> list[str]:
    used = {name for rule in policy.rules for step in rule.steps for name in step.page}
    members = {
        person
        for name in used & policy.schedules.keys()
        for rotation in policy.schedules[name].rotations
        for person in rotation.people
    }
    people = (used | members) & policy.people.keys()
    channels = used | {one.channel for person in people for one in policy.people[person].reach}
    return [
        f"nothing uses the {kind} {name!r}"
        for kind, names, needed in (
            ("schedule", policy.schedules, used),
            ("person", policy.people, people),
            ("channel", policy.channels, channels),
        )
        for name in names
        if name not in needed
    ]

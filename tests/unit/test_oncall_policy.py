"""Policies: the example is one, and whatever is wrong is told with its line."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tillstream.oncall.credentials import find_secrets
from tillstream.oncall.nodes import PolicyError
from tillstream.oncall.policy import Reach
from tillstream.oncall.policy_file import parse_policy, read_policy
from tillstream.oncall.policy_watch import PolicyWatch
from tillstream.oncall.review import review
from tillstream.oncall.schedules import on_call

EXAMPLE = Path(__file__).resolve().parents[2] / "deploy/oncall/policy.yaml"
SMALL = """\
channels:
  hook: {type: webhook, url: "http://127.0.0.1:9/"}
  mail: {type: email, server: "127.0.0.1:25", security: none, from: a@b.example}
people:
  mara: {reach: [hook, {mail: mara@b.example}]}
schedules:
  shelves:
    time_zone: Europe/Berlin
    rotations:
      - {people: [mara], starts: 2026-01-05 08:00}
rules:
  - name: all
    steps:
      - page: shelves
"""


def test_the_example_is_a_policy_that_needs_no_remark() -> None:
    policy = read_policy(EXAMPLE)
    start_ms = round(datetime(2026, 2, 1, tzinfo=UTC).timestamp() * 1000)
    assert review(policy, start_ms=start_ms, end_ms=start_ms + 365 * 86_400_000) == []
    wednesday_noon_ms = start_ms + 3 * 86_400_000 + 12 * 3_600_000
    assert on_call(policy.schedules["shelves"], wednesday_noon_ms) == "ines"
    assert policy.people["mara"].reach[1] == Reach("chat", "U024BE7LH")
    assert policy.rules[0].steps[1].after_ms == 600_000
    assert str(policy.channels["duty"].secrets["routing_key"]) == (
        "environment variable TILLSTREAM_PAGERDUTY_KEY"
    )


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("rules:", "rulez:", "p:11: unknown: 'rulez'"),
        ("  hook:", "  hook", "p:2: not YAML: mapping values are not allowed here"),
        ("type: webhook", "type: pigeon", "p:2: 'pigeon' is not one of: webhook, slack"),
        ('"http://127.0.0.1:9/"', "ftp://x", "p:2: not an address"),
        ("[hook, ", "[hooks, ", "p:5: there is no channel 'hooks'"),
        ("mara@b.example", "mara", "p:5: 'mara' is not a mail address"),
        ("{mail: mara@b.example}", "mail", "p:5: mail needs a mail address"),
        ("Europe/Berlin", "Europe/Berlim", "p:8: 'Europe/Berlim' is not a time zone"),
        ("people: [mara]", "people: [jonas]", "p:10: there is no person 'jonas'"),
        ("2026-01-05 08:00", "2026-02-30", "p:10: '2026-02-30' is not a local time"),
        ("08:00}", "08:00, every: month}", "p:10: 'month' is not a number of days or weeks"),
        ("08:00}", "08:00, hours: 8-20}", "p:10: '8-20' is not a span of hours"),
        ("page: shelves", "page: shelfs", "p:14: there is no schedule, person or channel 'shelfs'"),
        ("page: shelves", "after_minutes: 5", "p:14: 'page' is missing"),
        ("page: shelves", "{page: mara, after_minutes: -1}", "p:14: -1 is not between 0 and"),
        ("page: shelves", "page:", "p:14: a value is missing"),
        ("  - name: all", "  - name: all\n    when: {severity: bad}", "p:13: 'bad' is not one of"),
        ("  mara:", "  hook:", "p:5: 'hook' is also one of channels (line 2)"),
        ("people:\n", "people:\n  mara: {reach: [hook]}\n", "p:6: 'mara' is here twice"),
        ("security: none, ", "username: u, ", "p:3: username and password go together"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(old: str, new: str, told: str) -> None:
    assert old in SMALL
    with pytest.raises(PolicyError) as caught:
        parse_policy(SMALL.replace(old, new, 1), source="p")
    assert str(caught.value).startswith(told)


@pytest.mark.parametrize("text", ["", "- 1", "\x00", "a: &a [*a]", "channels: 1", "{" * 3000])
def test_what_is_no_policy_at_all_is_told_too(text: str) -> None:
    with pytest.raises(PolicyError, match=r"^p:\d+: "):
        parse_policy(text, source="p")


def test_a_secret_in_the_policy_is_refused_without_being_told() -> None:
    text = SMALL.replace("url:", "token: hunter2hunter2, url:", 1)
    with pytest.raises(PolicyError, match="p:2: a secret does not belong") as caught:
        parse_policy(text, source="p")
    assert "hunter2" not in f"{caught.value}{caught.value.hint}"


def test_secrets_come_from_the_environment_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from-file\n")
    text = SMALL.replace("url:", "token: {env: TOK}, signing_key: {file: key}, url:", 1)
    policy = parse_policy(text, source="p", folder=tmp_path)
    found = find_secrets(policy, {"TOK": "from-env"})
    assert found["hook"] == {"token": "from-env", "signing_key": "from-file"}
    with pytest.raises(PolicyError, match=r"^p:2: hook.token: environment variable TOK is not set"):
        find_secrets(policy, {})
    (tmp_path / "key").unlink()
    with pytest.raises(PolicyError, match=r"^p:2: hook.signing_key: file key cannot be read"):
        find_secrets(policy, {"TOK": "x"})


def test_a_broken_policy_leaves_the_running_one_in_force(tmp_path: Path) -> None:
    path, keep = tmp_path / "oncall.yaml", tmp_path / "kept"
    path.write_text(SMALL)
    watch = PolicyWatch(path, keep=keep, environment={})
    before = watch.in_force
    path.write_text(SMALL.replace("shelves\n", "nobody\n"))
    assert watch.look() is False
    assert watch.in_force is before
    assert watch.problem == f"{path}:14: there is no schedule, person or channel 'nobody'"
    # A pager that starts now goes on with the policy of before.
    assert PolicyWatch(path, keep=keep, environment={}).in_force.policy.rules == before.policy.rules
    path.write_text(SMALL.replace("name: all", "name: every one"))
    assert watch.look() is True
    assert (watch.problem, watch.in_force.policy.rules[0].name) == ("", "every one")


def test_a_pager_without_any_policy_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="there is no policy at"):
        PolicyWatch(tmp_path / "oncall.yaml", keep=tmp_path / "kept", environment={})


def test_a_review_tells_of_what_is_probably_not_meant() -> None:
    text = SMALL.replace("08:00}", "08:00, hours: 08:00-20:00}", 1)
    text = text.replace("    steps:", "    when: {severity: critical}\n    steps:")
    text = text.replace("  mara:", "  jonas: {reach: [hook]}\n  mara:")
    start_ms = round(datetime(2026, 2, 2, 12, tzinfo=UTC).timestamp() * 1000)
    remarks = review(parse_policy(text), start_ms=start_ms, end_ms=start_ms + 2 * 86_400_000)
    assert remarks == [
        "no rule takes every alert: what none of them takes pages nobody",
        "nobody is on call in shelves from 2026-02-02 20:00, and 1 times more in these weeks: "
        "the next step is taken at once then",
        "nothing uses the person 'jonas'",
    ]

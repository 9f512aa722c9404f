"""The pager's process in a storm of alerts, killed again and again."""

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from itertools import count
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from tests.fixtures.paging import program, raise_alerts
from tests.fixtures.platform import wait_for
from tests.fixtures.receivers import Posted, Reply, http_receiver, mail_receiver
from tests.fixtures.warehouse import WarehouseProcess, own_database
from tillstream.alerting.actions import Kind, new_action
from tillstream.alerting.desk import Desk
from tillstream.clock import SystemClock
from tillstream.oncall.pager import Pager
from tillstream.oncall.policy_watch import PolicyWatch
from tillstream.oncall.sight import Sight
from tillstream.oncall.status import read_status
from tillstream.oncall.store import Store
from tillstream.settings import KafkaSettings, Settings, load_settings
from tillstream.telemetry.pager import PagerMetrics

pytestmark = [pytest.mark.integration, pytest.mark.timeout(2400)]

STORM = 300
POLICY = """\
channels:
  hook: {{type: webhook, url: "http://127.0.0.1:{http}/", pages_per_minute: 100000}}
  mail:
    type: email
    server: 127.0.0.1:{smtp}
    security: none
    from: till@b.example
    pages_per_minute: 100000
people:
  mara: {{reach: [hook]}}
  jonas: {{reach: [{{mail: jonas@b.example}}]}}
rules:
  - name: all
    wait_seconds: 0
    steps:
      - page: [mara, jonas]
{more}"""


@pytest.fixture
def settings(
    kafka: KafkaSettings, warehouse_server: WarehouseProcess, tmp_path: Path
) -> Iterator[Settings]:
    with own_database(warehouse_server, "oncall") as warehouse:
        yield load_settings(home=tmp_path, kafka=kafka, warehouse=warehouse)


def test_a_storm_with_kills_loses_no_page_and_repeats_only_what_was_under_way(
    settings: Settings,
) -> None:
    with http_receiver() as http, mail_receiver() as mail:
        requests = count(1)

        def grumpy(_: Posted) -> Reply:
            return Reply(503) if next(requests) % 100 == 0 else Reply()

        http.reply = grumpy
        policy = POLICY.format(http=http.port, smtp=mail.port, more="")
        (settings.home / "oncall.yaml").write_text(policy)
        # In the log of actions, which all tests share, nobody has answered for these.
        raise_alerts(settings, STORM, "unanswered-")

        def taken_more_than(number: float) -> bool:
            return len(http.taken) > number

        kills = (0.1, 0.5)
        for share in kills:
            with program(settings, "oncall", "run") as pager:
                pager.until(partial(taken_more_than, STORM * share))
                pager.kill()
        with program(settings, "oncall", "run") as pager:
            wanted = {f"tillstream/alert/unanswered-{number}" for number in range(STORM)}
            pager.until(lambda: {one.body["dedup_key"] for one in http.taken} == wanted)
            pager.until(lambda: {key for key, _ in mail.keys} == wanted)
            pager.until(lambda: set(_waiting(settings)) == {0})
            assert pager.stop() == 0
    by_hook = Counter(one.body["dedup_key"] for one in http.taken)
    by_mail = Counter(key for key, _ in mail.keys)
    # The rule: at most the one page that each channel had under way when the kill came.
    assert sum(by_hook.values()) - STORM <= len(kills)
    assert sum(by_mail.values()) - STORM <= len(kills)
    assert len({one.body["page_id"] for one in http.taken}) == STORM
    assert len(set(mail.keys)) == STORM
    state = read_status(settings.home, now_ms=SystemClock().now_ms())
    assert state["state"] == "stopped"
    assert state["pages"] == {"sent": 2 * STORM}


def _waiting(settings: Settings) -> list[int]:
    state = read_status(settings.home, now_ms=SystemClock().now_ms())
    return [one["waiting"] for one in state.get("channels", {}).values()] or [1]


def test_the_pager_sees_answers_and_puts_its_escalations_into_the_log(settings: Settings) -> None:
    more = "      - {page: mara, after_minutes: 0.02}\n"
    clock = SystemClock()
    with http_receiver() as http, mail_receiver() as mail, Desk(settings) as desk:
        path = settings.home / "oncall.yaml"
        path.write_text(POLICY.format(http=http.port, smtp=mail.port, more=more))
        watch = PolicyWatch(path, keep=settings.home / "kept", environment={})
        raise_alerts(settings, 2, "esc-")
        desk.refresh()
        desk.act(new_action("esc-0", Kind.ACKNOWLEDGE, actor="ines", at_ms=clock.now_ms()))
        with (
            Store(settings.home / "outbox.db") as store,
            closing(
                Pager(
                    store,
                    watch,
                    Sight(lambda: Desk(settings), clock),
                    clock=clock,
                    metrics=PagerMetrics(CollectorRegistry()),
                )
            ) as pager,
        ):

            def events(number: int) -> bool:
                pager.tick()
                return len(http.taken) >= number

            wait_for(lambda: events(2), timeout_s=60, what="both steps")
            told = [(one.body["dedup_key"], one.body["step"]) for one in http.taken]
            assert told == [("tillstream/alert/esc-1", 1), ("tillstream/alert/esc-1", 2)]

            def escalated() -> bool:
                pager.tick()
                desk.refresh()
                alert = desk.alert("esc-1")
                return alert is not None and alert.escalation_level == 1

            wait_for(escalated, timeout_s=30, what="the escalation in the log")
            step = desk.history("esc-1")[-1]
            assert step.action is not None
            assert (step.action.actor, step.action.kind, step.accepted) == (
                "pager",
                "escalate",
                True,
            )
            desk.act(new_action("esc-1", Kind.ACKNOWLEDGE, actor="mara", at_ms=clock.now_ms()))
            wait_for(lambda: events(3), timeout_s=30, what="the answer told to those paged")
            assert http.taken[2].body["event"] == "acknowledge"
            assert http.taken[2].body["note"] == "acknowledged by mara"
            for _ in range(3):
                pager.tick()
            assert len(http.taken) == 3

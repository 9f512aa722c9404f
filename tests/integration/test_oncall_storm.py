"""The pager's process in a storm of a thousand alerts, killed again and again."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from clickhouse.client import connect
from tests.fixtures.platform import wait_for
from tests.fixtures.receivers import Posted, Reply, http_receiver, mail_receiver
from tests.fixtures.warehouse import WarehouseProcess, environment_of, own_database
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

pytestmark = pytest.mark.integration

STORM = 1_000
_START_S = 180.0
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


def raise_alerts(settings: Settings, count: int, name: str) -> None:
    """So many alerts of the detector, each of an item of its own."""
    with closing(connect(settings.warehouse)) as client:
        client.command(
            "INSERT INTO restock_alert_history (alert_id, version, store_id, product_id, state,"
            " risk, on_hand, expected_lost_margin, explanation, opened_at, at, recorded_at,"
            " severity) SELECT concat({name:String}, toString(number)), 1, toString(number % 20),"
            " toString(number), 'opened', 0.9, 1, number / 10, 'almost sold out', now64(3),"
            " now64(3), now64(6), 'high' FROM numbers({count:UInt32})",
            parameters={"name": name, "count": count},
        )


@contextmanager
def pager_process(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    environment = {
        **os.environ,
        **environment_of(settings.warehouse),
        "TILLSTREAM_KAFKA__BOOTSTRAP": settings.kafka.bootstrap,
    }
    argv = [sys.executable, "-P", "-m", "tillstream.cli.main", "--home", str(settings.home)]
    with (settings.home / "pager.log").open("ab") as log:
        process = subprocess.Popen(
            [*argv, "oncall", "run"], env=environment, stdout=log, stderr=log
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(timeout=30)


def test_a_storm_with_kills_loses_no_page_and_repeats_only_what_was_under_way(
    settings: Settings,
) -> None:
    with http_receiver() as http, mail_receiver() as mail:
        every_fortieth = iter(range(1, 10**9))

        def grumpy(_: Posted) -> Reply:
            return Reply(503) if next(every_fortieth) % 40 == 0 else Reply()

        http.reply = grumpy
        policy = POLICY.format(http=http.port, smtp=mail.port, more="")
        (settings.home / "oncall.yaml").write_text(policy)
        raise_alerts(settings, STORM, "storm-")

        def until(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
            deadline = time.monotonic() + _START_S
            while not condition():
                log = (settings.home / "pager.log").read_text
                assert process.poll() is None, log()
                assert time.monotonic() < deadline, log()[-3000:]
                time.sleep(0.002)

        kills = 0
        for share in (0.1, 0.4, 0.7):
            with pager_process(settings) as process:
                until(lambda share=share: len(http.taken) > STORM * share, process)
                process.send_signal(signal.SIGKILL)
                process.wait(timeout=30)
                kills += 1
        with pager_process(settings) as process:
            wanted = {f"tillstream/alert/storm-{number}" for number in range(STORM)}
            until(lambda: {one.body["dedup_key"] for one in http.taken} == wanted, process)
            until(lambda: {one["X-Tillstream-Dedup-Key"] for one in mail.taken} == wanted, process)
            until(lambda: set(_waiting(settings)) == {0}, process)
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=60) == 0
    by_hook = Counter(one.body["dedup_key"] for one in http.taken)
    by_mail = Counter(str(one["X-Tillstream-Dedup-Key"]) for one in mail.taken)
    # The rule: at most the one page that each channel had under way when the kill came.
    assert sum(by_hook.values()) - STORM <= kills
    assert sum(by_mail.values()) - STORM <= kills
    assert len({one.body["page_id"] for one in http.taken}) == STORM
    assert len({str(one["Message-ID"]) for one in mail.taken}) == STORM
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

            def events(count: int) -> bool:
                pager.tick()
                return len(http.taken) >= count

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

"""A storm of a thousand alerts, while console, pager and warehouse are killed: no action is lost,
no page is lost, none is sent twice beyond the rule, and everything catches up."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from clickhouse.migrate import migrate
from tests.fixtures.paging import Program, program, raise_alerts
from tests.fixtures.platform import in_background
from tests.fixtures.receivers import HttpReceiver, http_receiver
from tests.fixtures.warehouse import WarehouseProcess, free_port
from tillstream.alerting.alert import State
from tillstream.alerting.desk import Desk
from tillstream.clock import SystemClock
from tillstream.errors import TillstreamError
from tillstream.settings import KafkaSettings, Settings, load_settings
from tillstream.web.accounts import Accounts
from tillstream.web.database import Database
from tillstream.web.people import Role
from tillstream.web.sessions import Sessions

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2400)]

STORM, BATCH = 1_000, 100
ANSWERED = range(0, STORM, 10)
POLICY = """\
channels:
  hook: {{type: webhook, url: "http://127.0.0.1:{port}/", pages_per_minute: 100000}}
people:
  mara: {{reach: [hook]}}
rules:
  - name: all
    wait_seconds: 0
    steps: [{{page: mara}}]
"""


@pytest.fixture
def settings(
    kafka: KafkaSettings, own_warehouse: WarehouseProcess, tmp_path: Path
) -> Iterator[Settings]:
    warehouse = own_warehouse.settings("storm")
    migrate(warehouse)
    yield load_settings(home=tmp_path, kafka=kafka, warehouse=warehouse)


def answer(url: str, token: str) -> None:
    """Acknowledge every tenth alert, one request each, sent again until it was answered."""
    headers = {"authorization": f"Bearer {token}"}
    deadline = time.monotonic() + 900
    with httpx.Client(base_url=url, headers=headers, timeout=30, trust_env=False) as client:
        for number in ANSWERED:
            body = {"actions": [{"alert_id": f"storm-{number}", "kind": "acknowledge"}]}
            key = {"idempotency-key": f"storm-answer-{number}"}
            while True:
                assert time.monotonic() < deadline, f"storm-{number} cannot be answered"
                try:
                    reply = client.post("/api/v1/actions", json=body, headers=key)
                except httpx.TransportError:
                    reply = None
                if reply is not None and reply.status_code == httpx.codes.OK:
                    assert reply.json()["decisions"][0]["accepted"], reply.text
                    break
                time.sleep(0.2)


def storm(settings: Settings) -> None:
    """The detector's side: every batch again until the warehouse took it."""
    for first in range(0, STORM, BATCH):
        while True:
            try:
                raise_alerts(settings, BATCH, "storm-", first=first)
                break
            except TillstreamError:
                time.sleep(0.5)
        time.sleep(0.5)


def test_a_storm_while_console_pager_and_warehouse_are_killed(
    settings: Settings, own_warehouse: WarehouseProcess
) -> None:
    clock = SystemClock()
    accounts = Accounts(Database(settings.home), clock)
    accounts.add("ann", Role.ON_CALL, password="correct horse battery staple", stores=frozenset())
    token = Sessions(accounts.database, accounts, clock).add_token("storm", "ann")
    port = free_port()
    web = ("web", "--port", str(port))
    with http_receiver() as http, ExitStack() as running:
        (settings.home / "oncall.yaml").write_text(POLICY.format(port=http.port))
        console = running.enter_context(program(settings, *web))
        pager = running.enter_context(program(settings, "oncall", "run"))
        done = threading.Event()

        def answer_all() -> None:
            answer(f"http://127.0.0.1:{port}", token)
            done.set()

        answering = in_background(answer_all)
        storming = in_background(lambda: storm(settings))
        pager.until(lambda: len(pages(http)) > 100)
        pager.kill()
        own_warehouse.kill()
        console.kill()
        own_warehouse.start()
        console = running.enter_context(program(settings, *web))
        pager = running.enter_context(program(settings, "oncall", "run"))
        settled = _settled(http)
        pager.until(lambda: done.is_set() and settled())
        storming()
        answering()
        pager.until(lambda: _caught_up(pager, http))
        assert (console.stop(), pager.stop()) == (0, 0)
    sent = Counter(one for one in pages(http))
    with Desk(settings) as desk:
        for number in ANSWERED:
            alert = desk.alert(f"storm-{number}")
            assert alert is not None
            assert (alert.state, alert.owner) == (State.ACKNOWLEDGED, "ann")
            accepted = [one for one in desk.history(alert.alert_id) if one.action and one.accepted]
            assert len(accepted) == 1
        assert len(desk.alerts()) == STORM
    unanswered = {f"tillstream/alert/storm-{n}" for n in range(STORM) if n not in ANSWERED}
    assert unanswered <= sent.keys()
    # The rule: one channel, one kill, so at most one page that was under way.
    assert sent.total() - len(sent) <= 1


def pages(http: HttpReceiver) -> list[str]:
    return [one.body["dedup_key"] for one in list(http.taken) if one.body["event"] == "trigger"]


def _settled(http: HttpReceiver) -> Callable[[], bool]:
    """Whether everybody who should be was paged."""
    wanted = {f"tillstream/alert/storm-{n}" for n in range(STORM) if n not in ANSWERED}
    return lambda: wanted <= set(pages(http))


def _caught_up(pager: Program, http: HttpReceiver) -> bool:
    """Whether those who were paged for what was answered know that it was."""
    paged = {one for one in pages(http) if int(one.rpartition("-")[2]) in ANSWERED}
    told = {one.body["dedup_key"] for one in list(http.taken) if one.body["event"] != "trigger"}
    assert pager.process.poll() is None
    return paged <= told

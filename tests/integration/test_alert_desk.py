"""Several desks on a real broker and a real warehouse: nothing is lost, and all see the same."""

import json
import os
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer
from typer.testing import CliRunner

from clickhouse.client import Client, connect
from tests.fixtures.warehouse import WarehouseProcess, own_database
from tillstream.alerting.actions import Action, new_action
from tillstream.alerting.alert import AlertView, Decision
from tillstream.alerting.desk import Desk
from tillstream.cli.main import app
from tillstream.clock import FakeClock, SystemClock
from tillstream.contracts.topics import Topic
from tillstream.errors import ConfigError
from tillstream.settings import KafkaSettings, Settings, load_settings

pytestmark = pytest.mark.integration

_KILLED_BEFORE_IT_STORES = """
import os, signal, sys
from pathlib import Path
from tillstream.alerting.actions import new_action
from tillstream.alerting.desk import Desk
from tillstream.alerting.keeper import Keeper
from tillstream.settings import load_settings

with Desk(load_settings(home=Path(sys.argv[1]))) as desk:
    Keeper.store = lambda self: os.kill(os.getpid(), signal.SIGKILL)
    desk.act(new_action(sys.argv[2], "acknowledge", actor="kim", at_ms=1, action_id=sys.argv[3]))
"""


@pytest.fixture
def settings(
    warehouse_server: WarehouseProcess, kafka: KafkaSettings, tmp_path: Path
) -> Iterator[Settings]:
    with own_database(warehouse_server, "desk") as own:
        lines = [
            *("[kafka]", f'bootstrap = "{kafka.bootstrap}"', "[warehouse]"),
            *(f'host = "{own.host}"', f"port = {own.port}", f'database = "{own.database}"'),
            f'password = "{own.password.get_secret_value()}"',
        ]
        (tmp_path / "tillstream.toml").write_text("\n".join(lines), encoding="utf-8")
        yield load_settings(home=tmp_path)


@pytest.fixture
def client(settings: Settings) -> Iterator[Client]:
    with closing(connect(settings.warehouse)) as client:
        yield client


def detect(client: Client, state: str = "opened", version: int = 1, **columns: Any) -> str:
    """Record a step of an alert as the stream does; returns the alert's id."""
    row = {
        "alert_id": str(uuid.uuid4()),
        "version": version,
        "state": state,
        "store_id": "304",
        "product_id": "milk",
        "risk": 0.7,
        "on_hand": 6,
        "severity": "medium",
        "explanation": "Milk at store 304 has 6 left.",
        **columns,
    }
    now_ms = SystemClock().now_ms()
    names = [*row, "opened_at", "at", "recorded_at"]
    values = [*row.values(), now_ms, now_ms, now_ms * 1000]
    client.insert("restock_alert_history", [values], column_names=names)
    return str(row["alert_id"])


def does(view: AlertView | None, kind: str, actor: str = "kim", **said: Any) -> Action:
    """An action of somebody who has `view` before their eyes."""
    assert view is not None
    now_ms = SystemClock().now_ms()
    basis = {"based_on": view.revision, "seen": view.version}
    return new_action(view.alert_id, kind, actor=actor, at_ms=now_ms, **(basis | said))


def rows(client: Client, sql: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in client.query(sql).result_rows]


def test_two_desks_acting_at_once_lose_nothing_and_see_the_same(
    settings: Settings, client: Client
) -> None:
    alert_ids = [detect(client, product_id=f"p-{number}") for number in range(20)]
    decisions: dict[str, list[Decision]] = {}
    with Desk(settings) as kims, Desk(settings) as lees:
        start = threading.Barrier(2)

        def acknowledge(desk: Desk, actor: str) -> None:
            actions = [does(desk.alert(alert_id), "acknowledge", actor) for alert_id in alert_ids]
            start.wait()
            decisions[actor] = [desk.act(action) for action in actions]

        threads = [
            threading.Thread(target=acknowledge, args=(kims, "kim")),
            threading.Thread(target=acknowledge, args=(lees, "lee")),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert kims.refresh() | lees.refresh() == set(alert_ids)
        assert kims.alerts() == lees.alerts()
        for alert_id, kim, lee in zip(alert_ids, decisions["kim"], decisions["lee"], strict=True):
            assert kim.accepted is not lee.accepted
            first, second = ("kim", lee) if kim.accepted else ("lee", kim)
            assert second.reason.startswith(f"{first} acknowledged it first, at 20")
            view = kims.alert(alert_id)
            assert view is not None
            assert (view.state, view.owner, view.revision) == ("acknowledged", first, 1)
            assert kims.history(alert_id) == lees.history(alert_id)
    stored = rows(
        client,
        "SELECT outcome, count() FROM alert_actions FINAL WHERE alert_id IN"
        " (SELECT alert_id FROM restock_alert_history) GROUP BY outcome ORDER BY outcome",
    )
    assert stored == [("accepted", 20), ("refused", 20)]


def test_dashboards_see_what_the_desk_shows(settings: Settings, client: Client) -> None:
    names = ("untouched", "acknowledged", "snoozed", "woken", "assigned", "done", "over")
    ids = {name: detect(client, product_id=name) for name in names}
    clock = FakeClock(SystemClock().now_ms())
    later_ms = clock.at_ms + 3_600_000
    with Desk(settings, clock=clock) as desk:
        desk.act_many(
            [
                does(desk.alert(ids["acknowledged"]), "acknowledge"),
                does(desk.alert(ids["snoozed"]), "snooze", until_ms=later_ms),
                does(desk.alert(ids["woken"]), "snooze", until_ms=later_ms),
                does(desk.alert(ids["assigned"]), "assign", assignee="lee"),
                does(desk.alert(ids["done"]), "resolve", comment="ordered"),
                does(desk.alert(ids["over"]), "acknowledge"),
            ]
        )
        detect(client, "updated", 2, alert_id=ids["woken"], product_id="woken", on_hand=0)
        detect(client, "resolved", 2, alert_id=ids["over"], product_id="over", risk=0.1)
        assert {ids["woken"], ids["over"]} <= desk.refresh()
        shown = {view.product_id: (str(view.state), view.owner) for view in desk.alerts()}
        assert shown == {
            "untouched": ("open", None),
            "acknowledged": ("acknowledged", "kim"),
            "snoozed": ("snoozed", None),
            "woken": ("open", None),
            "assigned": ("open", "lee"),
            "done": ("resolved", None),
            "over": ("resolved", "kim"),
        }
        found = rows(client, "SELECT product_id, state, owner FROM alert_desk")
        assert {name: (state, owner) for name, state, owner in found} == shown
        clock.at_ms = later_ms
        assert desk.refresh() == {ids["snoozed"]}
        view = desk.alert(ids["snoozed"])
        assert view is not None
        assert view.state == "open"


def test_action_of_a_process_that_was_killed_is_stored_by_another(
    settings: Settings, client: Client
) -> None:
    alert_id, action_id = detect(client), str(uuid.uuid4())
    script = [sys.executable, "-c", _KILLED_BEFORE_IT_STORES]
    died = subprocess.run(
        [*script, str(settings.home), alert_id, action_id],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "TILLSTREAM_HOME": str(settings.home)},
    )
    assert died.returncode == -signal.SIGKILL, died.stderr
    mine = f"SELECT outcome, state, owner FROM alert_actions FINAL WHERE action_id = '{action_id}'"
    assert rows(client, mine) == []
    with Desk(settings) as desk:
        assert rows(client, mine) == [("accepted", "acknowledged", "kim")]
        view = desk.alert(alert_id)
        assert view is not None
        # Whoever was not told sends it again, and it counts once.
        again = desk.act(does(view, "acknowledge", action_id=action_id))
        assert (again.accepted, again.repeated) == (True, True)
        assert again.view == view


def test_tables_that_were_lost_are_made_again_from_the_topic(
    settings: Settings, client: Client
) -> None:
    alert_id = detect(client)
    with Desk(settings) as desk:
        first = desk.act(does(desk.alert(alert_id), "escalate", comment="no answer"))
        desk.act(does(first.view, "acknowledge", "lee"))
        desk.act(does(first.view, "resolve", "mia", comment="too late"))
        history = desk.history(alert_id)
    columns = "* EXCEPT decided_at FROM alert_actions FINAL"
    of_this = f"WHERE alert_id = '{alert_id}' ORDER BY offset"
    actions = rows(client, f"SELECT {columns} {of_this}")
    states = rows(client, f"SELECT * FROM alert_states FINAL WHERE alert_id = '{alert_id}'")
    assert len(actions) == 3
    for table in ("alert_actions", "alert_states"):
        client.command(f"TRUNCATE TABLE {table}")
    with Desk(settings) as desk:
        assert desk.history(alert_id) == history
    assert rows(client, f"SELECT {columns} {of_this}") == actions
    found = rows(client, f"SELECT * FROM alert_states FINAL WHERE alert_id = '{alert_id}'")
    assert found == states


def test_record_that_cannot_be_read_is_told_and_holds_nobody_up(
    settings: Settings, client: Client
) -> None:
    alert_id = detect(client)
    with Desk(settings) as desk:
        producer = KafkaProducer(bootstrap_servers=settings.kafka.bootstrap)
        sent = producer.send(Topic.ALERT_ACTIONS.value, value=b"{}", key=alert_id.encode())
        offset = sent.get(timeout=30).offset
        producer.close()
        assert desk.act(does(desk.alert(alert_id), "acknowledge")).accepted
    told = f"SELECT outcome, reason FROM alert_actions WHERE offset = {offset}"
    assert rows(client, told) == [
        ("unreadable", "retail-alert-actions: wrong magic byte 0x7b, expected 0x00")
    ]


def test_alert_that_nobody_knows_is_refused_before_anything_is_sent(settings: Settings) -> None:
    with Desk(settings) as desk, pytest.raises(ConfigError, match="there is no alert nowhere"):
        desk.act(new_action("nowhere", "acknowledge", actor="kim", at_ms=1))


def test_terminal_acts_and_scripts_can_tell(settings: Settings, client: Client) -> None:
    alert_id = detect(client, product_name="Milk 1 l", expected_lost_margin=7.5)

    def run(*arguments: str) -> Any:
        command = ["--home", str(settings.home), "alerts", *arguments]
        return CliRunner().invoke(app, command)

    listed = run("list")
    assert listed.exit_code == 0, listed.output
    assert alert_id[:8] in listed.output
    assert "1 alerts, 1 live" in listed.output
    taken = run("ack", alert_id[:8], "--as", "kim", "--json")
    assert taken.exit_code == 0, taken.output
    (decision,) = json.loads(taken.output)
    assert (decision["accepted"], decision["state"], decision["owner"]) == (
        True,
        "acknowledged",
        "kim",
    )
    twice = run("ack", alert_id, "--as", "lee")
    assert twice.exit_code == 1
    assert "kim has it already" in twice.output
    assert run("undo", alert_id, "--as", "lee").exit_code == 0
    (shown,) = json.loads(run("list", "--json").output)["alerts"]
    assert (shown["state"], shown["revision"]) == ("open", 2)
    story = run("why", alert_id)
    assert "kim: acknowledge" in story.output
    assert "lee: acknowledge refused: kim has it already" in story.output
    assert run("list", "--state", "resolved", "--json").output.startswith('{\n  "total": 0')

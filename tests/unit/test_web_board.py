"""The alerts in the console's memory: what changed, for whom, and what when the desk is away."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, cast

import pytest

from tests.unit.test_web_pages import VIEW
from tillstream.alerting.alert import AlertView, Severity
from tillstream.errors import ServiceError
from tillstream.web import board as module
from tillstream.web.board import Board
from tillstream.web.people import EVERY_STORE, Scope


@dataclass
class FakeDesk:
    """What a desk knows, and what it says changed."""

    views: dict[str, AlertView] = field(default_factory=dict)
    changed: set[str] = field(default_factory=set)
    trouble: str = ""

    def put(self, *views: AlertView) -> None:
        self.views |= {view.alert_id: view for view in views}
        self.changed |= {view.alert_id for view in views}

    def alerts(self) -> list[AlertView]:
        return list(self.views.values())

    def alert(self, alert_id: str) -> AlertView | None:
        return self.views.get(alert_id)

    def refresh(self) -> set[str]:
        if self.trouble:
            raise ServiceError(self.trouble)
        changed, self.changed = self.changed, set()
        return changed


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> FakeDesk:
    monkeypatch.setattr(module, "_LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(module, "_RETRY_S", 0.01)
    return FakeDesk()


@contextmanager
def following(desk: FakeDesk) -> Iterator[Board]:
    @contextmanager
    def open_desk() -> Iterator[FakeDesk]:
        yield desk

    board = Board(cast(Any, open_desk))

    async def start() -> None:
        board.start()

    asyncio.run(start())
    try:
        until(lambda: board.problem == "")
        yield board
    finally:
        board.close()


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def ids(views: list[AlertView]) -> list[str]:
    return [view.alert_id for view in views]


def test_what_changed_since_a_version_is_told_to_those_who_may_see_it(desk: FakeDesk) -> None:
    desk.put(VIEW, replace(VIEW, alert_id="a2", store_id="330"))
    with following(desk) as board:
        assert ids(board.alerts(EVERY_STORE)) == ["a1", "a2"]
        before = board.version
        desk.put(replace(VIEW, alert_id="a3", expected_lost_margin=Decimal(99)))
        until(lambda: board.version > before)
        assert ids(board.changes(EVERY_STORE, before)) == ["a3"]
        assert ids(board.alerts(EVERY_STORE)) == ["a3", "a1", "a2"]
        north = Scope(frozenset({"330"}))
        assert board.changes(north, before) == []
        assert ids(board.alerts(north)) == ["a2"]
        assert board.alert("a1", north) is None
        assert board.totals(north).live == 1


def test_an_older_view_never_replaces_a_newer_one(desk: FakeDesk) -> None:
    desk.put(replace(VIEW, revision=2))
    with following(desk) as board:
        desk.put(replace(VIEW, revision=1), replace(VIEW, alert_id="a2"))
        until(lambda: board.alert("a2", EVERY_STORE) is not None)
        found = board.alert("a1", EVERY_STORE)
        assert found is not None
        assert found.revision == 2


def test_what_the_desk_no_longer_remembers_is_dropped(
    desk: FakeDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FORGET_EVERY_S", 0.01)
    desk.put(VIEW, replace(VIEW, alert_id="a2"))
    with following(desk) as board:
        del desk.views["a1"]
        until(lambda: ids(board.alerts(EVERY_STORE)) == ["a2"])
        assert ids(board.changes(EVERY_STORE, 0)) == ["a2"]


def test_while_the_desk_is_away_what_was_known_is_shown_and_said_so(desk: FakeDesk) -> None:
    desk.put(VIEW)
    with following(desk) as board:
        desk.trouble = "ClickHouse is gone"
        until(lambda: board.problem == "ClickHouse is gone")
        assert ids(board.alerts(EVERY_STORE)) == ["a1"]
        desk.trouble = ""
        desk.put(replace(VIEW, severity=Severity.CRITICAL, version=2))
        until(lambda: board.problem == "")
        until(lambda: board.totals(EVERY_STORE).by_severity == {"critical": 1})


def test_one_supplier_with_two_alerts_is_an_incident_for_whoever_sees_both(desk: FakeDesk) -> None:
    strike = replace(VIEW, incident_id="i1")
    desk.put(strike, replace(strike, alert_id="a2", store_id="330"))
    with following(desk) as board:
        assert [one.alert_ids for one in board.incidents(EVERY_STORE)] == [("a1", "a2")]
        assert board.incidents(Scope(frozenset({"330"}))) == []


def test_nothing_can_be_done_before_the_desk_is_open() -> None:
    board = Board(cast(Any, None))
    with pytest.raises(ServiceError, match="nothing can be done to alerts now"):
        board.act([])

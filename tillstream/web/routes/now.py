"""The Now page: what is wrong, ranked by what it costs, and what changes while one looks."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, StreamingResponse

from tillstream.alerting.alert import SEVERITIES, AlertView
from tillstream.web.board import Board
from tillstream.web.filters import STATES, Filters
from tillstream.web.gate import ConsoleHere, SignedIn, session_of
from tillstream.web.pages import Pages
from tillstream.web.people import Scope
from tillstream.web.problems import not_found
from tillstream.web.wiring import Console

router = APIRouter(include_in_schema=False)

MOST_ROWS = 200
# More changes than this at once are quicker to load anew than to send one by one.
_MOST_CHANGES = 120
_HEARTBEAT_S = 15.0
# So that a burst of changes makes few messages, and one change is seen well within two seconds.
_GATHER_S = 0.3


def filters_of(
    region: str = "",
    store: str = "",
    category: str = "",
    severity: str = "",
    state: str = "active",
    text: str = "",
) -> Filters:
    return Filters(region, store, category, severity, state if state in STATES else "all", text)


Wanted = Annotated[Filters, Depends(filters_of)]


@router.get("/")
def now(request: Request, session: SignedIn, console: ConsoleHere, wanted: Wanted) -> HTMLResponse:
    pages: Pages = request.app.state.pages
    scope = session.person.scope
    rows = Rows(pages, console)
    everything = console.board.alerts(scope)
    listed = rows.listed(scope, wanted)
    html = pages.page(
        "now.html",
        session,
        wanted=wanted,
        choices=_choices(everything),
        board=console.board,
        **listed,
    )
    return HTMLResponse(html)


@router.get("/now/list")
def listed(
    request: Request, session: SignedIn, console: ConsoleHere, wanted: Wanted
) -> HTMLResponse:
    """The list alone, after a filter was changed or too much happened at once."""
    pages: Pages = request.app.state.pages
    rows = Rows(pages, console)
    html = pages.render("now_list.html", wanted=wanted, **rows.listed(session.person.scope, wanted))
    return HTMLResponse(html, headers={"hx-push-url": f"/?{wanted.query}"})


@router.get("/now/incidents/{incident_id}")
def incident(
    request: Request, session: SignedIn, console: ConsoleHere, incident_id: str
) -> HTMLResponse:
    """The items of one incident."""
    pages: Pages = request.app.state.pages
    scope = session.person.scope
    members = [
        view
        for view in console.board.alerts(scope)
        if view.incident_id == incident_id and view.is_live
    ]
    if not members:
        raise not_found(request, session.person.name, f"incident {incident_id}")
    rows = Rows(pages, console)
    items = "".join(rows.html(view) for view in members[:MOST_ROWS])
    return HTMLResponse(f'<ol class="alerts">{items}</ol>')


@router.get("/alerts/{alert_id}")
def one(
    request: Request, session: SignedIn, console: ConsoleHere, alert_id: str
) -> RedirectResponse:
    """Where pagers and letters link to: the item that the alert is about."""
    view = console.board.alert(alert_id, session.person.scope)
    if view is None:
        raise not_found(request, session.person.name, f"alert {alert_id}")
    return RedirectResponse(f"/items/{view.store_id}/{view.product_id}#{alert_id}", 303)


@router.get("/now/live")
async def live(
    request: Request, session: SignedIn, console: ConsoleHere, since: str = ""
) -> StreamingResponse:
    """Server-sent events: the rows that changed, as they change."""
    scope = session.person.scope
    last = request.headers.get("last-event-id") or since
    stream = _stream(request, console, scope, last)
    return StreamingResponse(stream, media_type="text/event-stream")


async def _stream(
    request: Request, console: Console, scope: Scope, last: str
) -> AsyncIterator[bytes]:
    board, rows = console.board, Rows(request.app.state.pages, console)
    version = _version(board, last)
    yield b"retry: 2000\n\n"
    while True:
        if version is None:
            version = board.version
            yield _message(board, version, {"reload": True})
        elif board.version > version:
            until = board.version
            yield rows.message(scope, since=version, until=until)
            version = until
        else:
            yield b": still here\n\n"
            if session_of(request) is None:
                return
        await board.wait(version, _HEARTBEAT_S)
        await asyncio.sleep(_GATHER_S)


def _version(board: Board, last: str) -> int | None:
    epoch, _, version = last.partition("-")
    return int(version) if epoch == board.epoch and version.isdecimal() else None


def _message(board: Board, version: int, news: dict[str, Any]) -> bytes:
    text = json.dumps(news, separators=(",", ":"))
    return f"id: {board.epoch}-{version}\nevent: news\ndata: {text}\n\n".encode()


class Rows:
    """Alerts as HTML, worked out once for everybody who sees the same."""

    def __init__(self, pages: Pages, console: Console) -> None:
        self._pages = pages
        self._console = console
        self._board = console.board

    def html(self, view: AlertView) -> str:
        key = f"row {view.alert_id} {view.version} {view.revision} {view.state}"
        names, clock = self._console.names, self._console.clock
        return self._pages.kept(
            key,
            "row.html",
            lambda: {
                "view": view,
                "store": names.store(view.store_id),
                "now_ms": clock.now_ms(),
            },
        )

    def listed(self, scope: Scope, wanted: Filters) -> dict[str, Any]:
        """What the templates of the list need."""
        board = self._board
        version = board.version
        incidents = board.incidents(scope)
        grouped = {alert_id for one in incidents for alert_id in one.alert_ids}
        found = wanted.of(board.alerts(scope))
        single = [view for view in found if view.alert_id not in grouped]
        return {
            "rows": [self.html(view) for view in single[:MOST_ROWS]],
            "found": len(single),
            "most": MOST_ROWS,
            "totals": board.totals(scope),
            "incidents": [one for one in incidents if wanted == Filters()],
            "at": f"{board.epoch}-{version}",
            "problem": board.problem,
            "now_ms": self._console.clock.now_ms(),
        }

    def message(self, scope: Scope, *, since: int, until: int) -> bytes:
        return self._pages.kept_bytes(
            f"news {self._board.epoch} {scope.key} {since} {until}",
            lambda: _message(self._board, until, self._news(scope, since)),
        )

    def _news(self, scope: Scope, since: int) -> dict[str, Any]:
        changes = self._board.changes(scope, since)
        news: dict[str, Any] = {
            "problem": self._board.problem,
            "totals": self._pages.render("totals.html", totals=self._board.totals(scope)),
        }
        if any(view.incident_id for view in changes) or len(changes) > _MOST_CHANGES:
            return {**news, "reload": True}
        return {**news, "rows": [self.html(view) for view in sorted(changes, key=_by_id)]}


def _by_id(view: AlertView) -> str:
    return view.alert_id


def _choices(views: Sequence[AlertView]) -> dict[str, list[str]]:
    """What the filters offer: whatever there is."""
    return {
        "region": sorted({view.region for view in views if view.region}),
        "store": sorted({view.store_id for view in views}, key=lambda one: (len(one), one)),
        "category": sorted({view.category for view in views if view.category}),
        "severity": [severity.value for severity in SEVERITIES],
        "state": list(STATES),
    }

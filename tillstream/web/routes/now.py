"""The Now page: what is wrong, ranked by what it costs, and what changes while one looks."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, StreamingResponse

from tillstream.alerting.alert import SEVERITIES, AlertView
from tillstream.errors import ServiceError
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
    html = pages.page(
        "now.html",
        session,
        wanted=wanted,
        choices=_choices(console, scope),
        list_html=Rows(pages, console).list_html(scope, wanted),
    )
    return HTMLResponse(html)


@router.get("/now/list")
def listed(
    request: Request, session: SignedIn, console: ConsoleHere, wanted: Wanted
) -> HTMLResponse:
    """The list alone, after a filter was changed or too much happened at once."""
    pages: Pages = request.app.state.pages
    html = Rows(pages, console).list_html(session.person.scope, wanted)
    return HTMLResponse(html, headers={"hx-push-url": f"/?{wanted.query}"})


@router.get("/now/incidents/{incident_id:path}")
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
        raise not_found(session.person.name, f"incident {incident_id}")
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
        raise not_found(session.person.name, f"alert {alert_id}")
    return RedirectResponse(f"/items/{view.store_id}/{view.product_id}#{alert_id}", 303)


@router.get("/incidents/{incident_id:path}")
def whole_incident(session: SignedIn, incident_id: str) -> RedirectResponse:
    """Where pagers link to: the incident, open."""
    return RedirectResponse(f"/#{quote(incident_id, safe='')}", 303)


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
            yield _message(board, version, {"reload": True}).encode()
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


def _message(board: Board, version: int, news: dict[str, Any]) -> str:
    text = json.dumps(news, separators=(",", ":"))
    return f"id: {board.epoch}-{version}\nevent: news\ndata: {text}\n\n"


class Rows:
    """Alerts as HTML, worked out once for everybody who sees the same."""

    def __init__(self, pages: Pages, console: Console) -> None:
        self._pages = pages
        self._console = console
        self._board = console.board

    def html(self, view: AlertView) -> str:
        return self._pages.kept(
            f"row {view.alert_id} {view.version} {view.revision} {view.state}",
            lambda: self._row(view),
        )

    def list_html(self, scope: Scope, wanted: Filters) -> str:
        board = self._board
        version = board.version
        return self._pages.kept(
            f"list {board.epoch} {version} {scope.key} {wanted.query}",
            lambda: self._list(scope, wanted, at=f"{board.epoch}-{version}"),
        )

    def message(self, scope: Scope, *, since: int, until: int) -> bytes:
        """What changed between two versions of the board, for the browsers of a scope."""
        return self._pages.kept(
            f"news {self._board.epoch} {scope.key} {since} {until}",
            lambda: _message(self._board, until, self._news(scope, since)),
        ).encode()

    def _row(self, view: AlertView) -> str:
        names = self._console.names
        known = view.product_name != view.product_id
        return self._pages.render(
            "row.html",
            view=view,
            product=view.product_name if known else names.product(view.product_id).name,
            store=names.store(view.store_id),
            now_ms=self._console.clock.now_ms(),
        )

    def _list(self, scope: Scope, wanted: Filters, *, at: str) -> str:
        board = self._board
        incidents = board.incidents(scope)
        grouped = {alert_id for one in incidents for alert_id in one.alert_ids}
        single = [one for one in wanted.of(board.alerts(scope)) if one.alert_id not in grouped]
        return self._pages.render(
            "now_list.html",
            rows=[self.html(view) for view in single[:MOST_ROWS]],
            found=len(single),
            most=MOST_ROWS,
            totals=board.totals(scope),
            incidents=incidents,
            now_ms=self._console.clock.now_ms(),
            wanted=wanted,
            problem=board.problem,
            at=at,
        )

    def _news(self, scope: Scope, since: int) -> dict[str, Any]:
        board = self._board
        changes = board.changes(scope, since)
        news: dict[str, Any] = {
            "problem": board.problem,
            "totals": self._pages.render("totals.html", totals=board.totals(scope)),
            "incidents": self._pages.render(
                "incidents.html",
                incidents=board.incidents(scope),
                now_ms=self._console.clock.now_ms(),
            ),
        }
        if len(changes) > _MOST_CHANGES:
            return {**news, "reload": True}
        return {**news, "rows": [self.html(view) for view in changes]}


def _choices(console: Console, scope: Scope) -> dict[str, list[tuple[str, str]]]:
    """What the filters offer, as (value, words): the stores and categories that there are, so that
    an alert that arrives later can be looked for too. Without the warehouse, none."""
    try:
        stores = console.names.stores(scope)
        categories = console.names.categories()
    except ServiceError:
        stores, categories = {}, []
    regions = sorted({one.region for one in stores.values()} - {""})
    return {
        "severity": [(severity.value, severity.value) for severity in SEVERITIES],
        "region": [(one, one) for one in regions],
        "store": [(key, one.name) for key, one in stores.items()],
        "category": [(one, one.lower()) for one in categories],
        "state": [(one, one) for one in STATES],
    }

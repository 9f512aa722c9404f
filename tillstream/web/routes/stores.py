"""The pages of stores, of one store, and of the whole chain."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from tillstream.web.gate import Caller, ConsoleHere, SignedIn
from tillstream.web.pages import Pages
from tillstream.web.people import Scope
from tillstream.web.problems import not_found
from tillstream.web.reads import stores
from tillstream.web.reads.warehouse import Row
from tillstream.web.routes.now import Rows
from tillstream.web.wiring import Console

router = APIRouter()

_MOST_ALERTS = 12
T = TypeVar("T")


@router.get("/stores", include_in_schema=False)
def listed(request: Request, session: SignedIn, console: ConsoleHere) -> HTMLResponse:
    pages: Pages = request.app.state.pages
    scope = session.person.scope
    now = _kept(console, "today", lambda: stores.today(console.warehouse))
    rows = _by_store(console, scope, now) if now else []
    html = pages.page("stores.html", session, now=now, rows=rows, names=console.names.stores(scope))
    return HTMLResponse(html)


@router.get("/stores/{store_id}", include_in_schema=False)
def store(request: Request, session: SignedIn, console: ConsoleHere, store_id: str) -> HTMLResponse:
    pages: Pages = request.app.state.pages
    known = console.names.stores(session.person.scope)
    if store_id not in known:
        raise not_found(session.person.name, f"store {store_id}")
    scope = Scope(frozenset({store_id}))
    rows = Rows(pages, console)
    live = [view for view in console.board.alerts(scope) if view.is_live]
    html = pages.page(
        "store.html",
        session,
        store=known[store_id],
        alerts=[rows.html(view) for view in live[:_MOST_ALERTS]],
        live=len(live),
        **_figures(console, scope),
    )
    return HTMLResponse(html)


@router.get("/executive", include_in_schema=False)
def executive(request: Request, session: SignedIn, console: ConsoleHere) -> HTMLResponse:
    pages: Pages = request.app.state.pages
    scope = session.person.scope
    html = pages.page(
        "executive.html",
        session,
        names=console.names.stores(scope),
        totals=console.board.totals(scope),
        **_figures(console, scope),
    )
    return HTMLResponse(html)


@router.get("/api/v1/stores", tags=["stores"])
def summaries(person: Caller, console: ConsoleHere) -> list[dict[str, Any]]:
    """Today's figures of each store that you may see, the most margin at stake first."""
    now = _kept(console, "today", lambda: stores.today(console.warehouse))
    return _by_store(console, person.scope, now) if now else []


def _figures(console: Console, scope: Scope) -> dict[str, Any]:
    """What both the page of a store and that of the chain show; `now` is None before any score."""
    now = _kept(console, "today", lambda: stores.today(console.warehouse))
    if now is None:
        return {"now": None}
    rows = _by_store(console, scope, now)

    def ask(what: str, read: Callable[..., T]) -> T:
        return _kept(console, f"{what} {scope.key}", lambda: read(console.warehouse, scope, now))

    return {
        "now": now,
        "rows": rows,
        "sums": _sums(rows),
        "hours": asdict(ask("hours", stores.hours)),
        "emptied": ask("emptied", stores.emptied),
        "slow": ask("slow", stores.slow_movers),
        "lost": ask("lost", stores.shrinkage),
    }


def _by_store(console: Console, scope: Scope, now: stores.Today) -> list[Row]:
    return _kept(
        console,
        f"by store {scope.key}",
        lambda: stores.by_store(console.warehouse, scope, now),
    )


def _sums(rows: Sequence[Row]) -> Row:
    names = ("items", "empty", "at_risk", "stake", "revenue", "profit", "lines", "expected")
    sums: Row = {name: sum(row[name] for row in rows) for name in names}
    sums["availability"] = 1 - sums["empty"] / sums["items"] if sums["items"] else None
    return sums


def _kept(console: Console, key: str, read: Callable[[], T]) -> T:
    return console.answers.get(key, read)

"""The page of one product in one store: what happened, why we think what we think, what to do."""

import json
from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, JSONResponse

from tillstream.errors import ConfigError
from tillstream.planning.whatif import Change
from tillstream.watching.explain import Explanation
from tillstream.watching.explain import explain as explain_item
from tillstream.watching.explain_words import sentences
from tillstream.web.gate import Caller, ConsoleHere, SignedIn
from tillstream.web.pages import Pages
from tillstream.web.people import Person
from tillstream.web.problems import Problem, not_found
from tillstream.web.reads import item
from tillstream.web.reads.ordering import WhatIfOrdered, what_if_ordered
from tillstream.web.reads.warehouse import utc_ms
from tillstream.web.routes.now import Rows
from tillstream.web.wiring import Console

router = APIRouter()

_NEWEST_STEPS = 40
_LONGEST_ID = 256
_Percent = Annotated[float, Query(ge=-90, le=900)]
_LeadDays = Annotated[float, Query(ge=-60, le=60)]


@router.get("/items/{store_id}/{product_id:path}/what-if", include_in_schema=False)
def what_if_part(
    request: Request,
    session: SignedIn,
    console: ConsoleHere,
    store_id: str,
    product_id: str,
    demand_percent: _Percent = 0.0,
    lead_days: _LeadDays = 0.0,
) -> HTMLResponse:
    """The table alone, after something was changed."""
    shelf = _card(request, console, session.person, store_id, product_id)
    pages: Pages = request.app.state.pages
    answer = _what_if(console, shelf, demand_percent=demand_percent, lead_days=lead_days)
    return HTMLResponse(pages.render("what_if.html", answer=answer))


@router.get("/items/{store_id}/{product_id:path}", include_in_schema=False)
def page(
    request: Request, session: SignedIn, console: ConsoleHere, store_id: str, product_id: str
) -> HTMLResponse:
    shelf = _card(request, console, session.person, store_id, product_id)
    pages: Pages = request.app.state.pages
    scope, warehouse, now_ms = session.person.scope, console.warehouse, _now_ms(console, shelf)
    live = [
        view
        for view in console.board.alerts(scope)
        if (view.store_id, view.product_id) == (store_id, product_id) and view.is_live
    ]
    past = item.past_alerts(warehouse, scope, shelf)
    newest = live[0].alert_id if live else (past[0]["alert_id"] if past else "")
    html = pages.page(
        "item.html",
        session,
        shelf=shelf,
        store=console.names.store(store_id),
        rows=[Rows(pages, console).html(view) for view in live],
        stock=asdict(item.stock_chart(warehouse, scope, shelf, now_ms=now_ms)),
        velocity=asdict(item.velocity_chart(warehouse, scope, shelf, now_ms=now_ms)),
        deliveries=item.deliveries(warehouse, scope, shelf, now_ms=now_ms),
        why=sentences(_explained(console, shelf)),
        past=past,
        steps=list(reversed(console.board.history(newest)))[:_NEWEST_STEPS],
        answer=_what_if(console, shelf, demand_percent=0.0, lead_days=0.0),
        now_ms=now_ms,
    )
    return HTMLResponse(html)


@router.get("/api/v1/items/{store_id}/{product_id}", tags=["items"])
def described(
    request: Request, person: Caller, console: ConsoleHere, store_id: str, product_id: str
) -> JSONResponse:
    """Stock, demand, risk and why, each with the Kafka offsets it came from."""
    shelf = _card(request, console, person, store_id, product_id)
    found = asdict(_explained(console, shelf))
    return JSONResponse(json.loads(json.dumps(found, default=str)))


@router.get("/api/v1/items/{store_id}/{product_id}/what-if", tags=["items"])
def what_if(
    request: Request,
    person: Caller,
    console: ConsoleHere,
    store_id: str,
    product_id: str,
    demand_percent: _Percent = 0.0,
    lead_days: _LeadDays = 0.0,
) -> WhatIfOrdered:
    """What comes of ordering now, and of ordering tomorrow. Nothing is ordered by asking."""
    shelf = _card(request, console, person, store_id, product_id)
    answer = _what_if(console, shelf, demand_percent=demand_percent, lead_days=lead_days)
    if answer is None:
        raise Problem(404, "this item was not scored yet", "the stream has not come to it")
    return answer


def _card(
    request: Request, console: Console, person: Person, store_id: str, product_id: str
) -> item.Card:
    """Raises Problem 404 for an item that is not there, or not this person's."""
    shelf = None
    # Letters that cannot be printed are in no id, and not every way to the warehouse takes them.
    is_id = f"{store_id}{product_id}".isprintable() and len(product_id) <= _LONGEST_ID
    if is_id and person.scope.sees(store_id):
        shelf = item.card(console.warehouse, person.scope, store_id=store_id, product_id=product_id)
    if shelf is None:
        raise not_found(person.name, f"item {store_id}/{product_id}")
    return shelf


def _explained(console: Console, shelf: item.Card) -> Explanation:
    rules = console.settings.risk
    try:
        return console.warehouse.use(
            lambda client: explain_item(client, rules, shelf.store_id, shelf.product_id)
        )
    except ConfigError as exc:
        raise Problem(404, str(exc), exc.hint or "") from exc


def _what_if(
    console: Console, shelf: item.Card, *, demand_percent: float, lead_days: float
) -> WhatIfOrdered | None:
    return what_if_ordered(
        console.warehouse,
        shelf.store_id,
        shelf.product_id,
        zone=console.names.store(shelf.store_id).time_zone,
        change=Change(lead_days=lead_days, demand=1 + demand_percent / 100),
    )


def _now_ms(console: Console, shelf: item.Card) -> int:
    """The wall clock; in a replay of old days, when this item was last scored or moved."""
    newest_ms = shelf.moved_at_ms
    if shelf.score is not None:
        newest_ms = max(newest_ms, utc_ms(shelf.score["as_of"]))
    now_ms = console.clock.now_ms()
    return now_ms if now_ms - newest_ms < item.LIVE_WITHIN_MS else newest_ms

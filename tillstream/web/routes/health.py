"""The Health page: is what the other pages say to be trusted?"""

import math
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from tillstream.web.gate import Caller, ConsoleHere, SignedIn
from tillstream.web.pages import Pages
from tillstream.web.people import Person
from tillstream.web.reads import health
from tillstream.web.wiring import Console

router = APIRouter()

_SIGN_INS = 12


@router.get("/health", include_in_schema=False)
def page(request: Request, session: SignedIn, console: ConsoleHere) -> HTMLResponse:
    pages: Pages = request.app.state.pages
    return HTMLResponse(pages.page("health.html", session, **_figures(console, session.person)))


@router.get("/health/part", include_in_schema=False)
def part(request: Request, session: SignedIn, console: ConsoleHere) -> HTMLResponse:
    """The figures alone, which the page asks for every few seconds."""
    pages: Pages = request.app.state.pages
    html = pages.render(
        "health_part.html", person=session.person, **_figures(console, session.person)
    )
    return HTMLResponse(html)


@router.get("/api/v1/health", tags=["health"])
def summary(person: Caller, console: ConsoleHere) -> dict[str, Any]:
    """Each part: good, warn, bad or unknown, and why; and how far the stream is behind."""
    found = _figures(console, person)
    return {
        "parts": [
            {"part": one.part, "level": one.level, "words": one.words} for one in found["parts"]
        ],
        "lag_records": {name: query.lag for name, query in found["queries"].items()},
        "events_per_s": found["stream"].events_per_s if found["stream"] else None,
        "quarantined_last_day": sum(row["lately"] for row in found["quarantined"]),
    }


def _figures(console: Console, person: Person) -> dict[str, Any]:
    moment = console.watched.moment
    samples = list(console.watched.samples)
    is_up = moment.warehouse is not None and not moment.warehouse.problem
    kept, warehouse, home = console.answers, console.warehouse, console.settings.home
    now_ms = console.clock.now_ms()
    pager = health.pager(home, now_ms=now_ms)
    return {
        "parts": (*moment.parts, *([pager] if pager else [])),
        "stream": moment.stream,
        "queries": {} if moment.stream is None else dict(moment.stream.queries),
        "warehouse": moment.warehouse,
        "board_problem": console.board.problem,
        "quarantined": kept.get("quarantined", lambda: health.quarantined(warehouse))
        if is_up
        else [],
        "counted": kept.get("counted", lambda: health.counted(warehouse)) if is_up else None,
        "night": kept.get("night", lambda: health.last_night(warehouse)) if is_up else None,
        "verdict": health.last_verdict(home),
        "sign_ins": console.sign_ins.newest(_SIGN_INS) if person.is_admin else [],
        "throughput": {
            "at_s": [round(one.at_s) for one in samples],
            "values": {"events a second": [_finite(one.events_per_s) for one in samples]},
        },
        "lag": {
            "at_s": [round(one.at_s) for one in samples],
            "values": {"records waiting": [float(one.lag) for one in samples]},
        },
        "now_ms": now_ms,
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None

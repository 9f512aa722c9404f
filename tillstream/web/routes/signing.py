"""Coming in and leaving."""

import secrets
import threading
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from tillstream.web.gate import ConsoleHere, cookie_name, session_of
from tillstream.web.pages import Pages
from tillstream.web.people import LOCAL, Person
from tillstream.web.problems import Problem
from tillstream.web.sessions import SESSION_HOURS
from tillstream.web.sign_ins import LOCK_MINUTES
from tillstream.web.wiring import Console

router = APIRouter(include_in_schema=False)

# A check takes 64 MiB and both cores for a moment: one at a time, and guesses in turn.
_one_check = threading.Lock()


@router.get("/sign-in")
def door(request: Request, console: ConsoleHere, next: str = "/") -> Response:
    if session_of(request) is not None:
        return RedirectResponse(own(next), 303)
    return _door(request, console, back=next)


@router.post("/sign-in")
def sign_in(
    request: Request,
    console: ConsoleHere,
    name: Annotated[str, Form(max_length=1000)] = "",
    password: Annotated[str, Form(max_length=1000)] = "",
    next: Annotated[str, Form(max_length=1000)] = "/",
) -> Response:
    address = address_of(request)
    with _one_check:
        if console.sign_ins.locked(name, address):
            console.sign_ins.note(name, address, "locked")
            wrong = f"Too many wrong passwords. Try again in {LOCK_MINUTES} minutes."
            return _door(request, console, back=next, name=name, wrong=wrong, status=429)
        person = console.accounts.check(name, password)
        console.sign_ins.note(name, address, "signed in" if person else "wrong")
    if person is None:
        wrong = "Name and password do not belong together."
        return _door(request, console, back=next, name=name, wrong=wrong, status=403)
    return start_session(console, person, to=own(next))


@router.get("/enter/{secret}")
def enter(request: Request, console: ConsoleHere, secret: str) -> Response:
    """The one-time link that a local console prints."""
    if not console.sessions.redeem(secret):
        console.sign_ins.note(LOCAL.name, address_of(request), "used link")
        raise Problem(
            403,
            "this link was used already, or is too old",
            "start `tillstream web` again for a new one, or sign in with a name and password",
        )
    console.sign_ins.note(LOCAL.name, address_of(request), "signed in")
    return start_session(console, LOCAL, to="/")


@router.post("/sign-out")
def sign_out(
    request: Request, console: ConsoleHere, csrf: Annotated[str, Form(max_length=200)] = ""
) -> Response:
    session = session_of(request)
    if session is not None:
        if not secrets.compare_digest(csrf.encode(), session.csrf.encode()):
            raise Problem(403, "this page is too old to act from", "reload it and try again")
        console.sessions.end(request.cookies[cookie_name(console)])
        console.sign_ins.note(session.person.name, address_of(request), "signed out")
    reply = RedirectResponse("/sign-in", 303)
    reply.delete_cookie(cookie_name(console), secure=console.https, httponly=True, samesite="lax")
    return reply


def start_session(console: Console, person: Person, *, to: str) -> Response:
    reply = RedirectResponse(to, 303)
    reply.set_cookie(
        cookie_name(console),
        console.sessions.start(person),
        max_age=SESSION_HOURS * 3600,
        httponly=True,
        secure=console.https,
        samesite="lax",
    )
    return reply


def _door(
    request: Request,
    console: Console,
    *,
    back: str,
    name: str = "",
    wrong: str = "",
    status: int = 200,
) -> HTMLResponse:
    pages: Pages = request.app.state.pages
    html = pages.render(
        "sign_in.html",
        person=None,
        next=own(back),
        name=name[:64],
        wrong=wrong,
        label=console.provider.label if console.provider else "",
        nobody=console.provider is None and not console.accounts.all(),
    )
    return HTMLResponse(html, status)


def own(address: str) -> str:
    """Only to pages of this console: a link must not lead people elsewhere after they signed in."""
    parts = urlsplit(address)
    is_own = address.startswith("/") and not address.startswith(("//", "/\\"))
    return address if is_own and not parts.netloc and address.isprintable() else "/"


def address_of(request: Request) -> str:
    return request.client.host if request.client else "unknown"
